"""Columns made from columns of the linked panel, and the rows to keep: verbs, never code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from ex_cx.errors import LinkError, SchemaError
from ex_cx.linkage.audit import Flow
from ex_cx.linkage.link import Linked
from ex_cx.linkage.linkspec import DeriveSpec, WhereSpec
from ex_cx.linkage.panel import Panel
from ex_cx.linkage.wording import counted

__all__ = ["derive", "keep_where"]


def derive(linked: Linked, steps: Sequence[DeriveSpec]) -> Linked:
    """Add the columns of `steps`, in order; each may use those before it.

    Raises
    ------
    PanelError : a column that does not exist. SchemaError : text where numbers are needed, or a
        name that is taken.
    """
    panel, notes = linked.panel, []
    for step in steps:
        for name, values in _derived(panel, step).items():
            if name in panel.frame.columns:
                raise SchemaError(f"There is a column {name!r} already. Name the derived one anew.")
            label = _provenance(panel, step.columns)
            panel = replace(
                panel,
                frame=panel.frame.assign(**{name: values}),
                provenance={**panel.provenance, **({name: label} if label else {})},
            )
            text = f"{_words(step)}; {counted(int(pd.Series(values).notna().sum()), 'value')}"
            notes.append((name, "derived", label, text))
    if not notes:
        return linked
    added = pd.DataFrame(notes, columns=["column", "source", "measured_on", "definition"])
    return replace(linked, panel=panel, audit=linked.audit.with_steps(None, added))


def keep_where(linked: Linked, filters: Sequence[WhereSpec]) -> Linked:
    """Keep the rows that meet every filter; the rows each one drops are counted in the audit.

    Raises
    ------
    PanelError : a column that does not exist. LinkError : no row is left.
    """
    if not filters:
        return linked
    panel = linked.panel
    keep = np.ones(len(panel), dtype=bool)
    flow = Flow(source="linked panel").step("filtered", len(panel), counting="unit-periods")
    for each in filters:
        column = panel.column(each.column)
        keep &= column.notna().to_numpy()
        flow = flow.lose(keep, f"{each.column!r} missing", step="where")
        for reason, passes in _conditions(each, column):
            keep &= passes
            flow = flow.lose(keep, reason, step="where")
        if not keep.any():
            raise LinkError(
                f"The filter on {each.column!r} leaves none of the {len(panel):,} linked rows. "
                "Loosen it."
            )
    return replace(linked, panel=panel.where(keep), audit=linked.audit.with_steps(flow))


def _conditions(spec: WhereSpec, column: pd.Series) -> list[tuple[str, np.ndarray]]:
    out = []
    if spec.at_least is not None:
        passes = _numbers(column) >= spec.at_least
        out.append((f"{spec.column!r} below {spec.at_least:g}", passes))
    if spec.at_most is not None:
        passes = _numbers(column) <= spec.at_most
        out.append((f"{spec.column!r} above {spec.at_most:g}", passes))
    if spec.any_of:
        out.append((f"{spec.column!r} none of those wanted", _among(column, spec.any_of)))
    return out


def _among(column: pd.Series, wanted: tuple[str | float | bool, ...]) -> np.ndarray:
    if pd.api.types.is_bool_dtype(column) or pd.api.types.is_numeric_dtype(column):
        numbers = [value for value in wanted if not isinstance(value, str)]
        return column.isin(numbers).to_numpy()
    return column.astype(str).isin([str(value) for value in wanted]).to_numpy()


def _numbers(column: pd.Series) -> np.ndarray:
    if not pd.api.types.is_numeric_dtype(column):
        raise SchemaError(
            f"{column.name!r} holds {column.dtype}, not numbers. Name a numeric column, or read it "
            "as numbers."
        )
    return column.to_numpy(dtype=float)


def _provenance(panel: Panel, columns: Sequence[str]) -> str:
    labels = {panel.provenance[name] for name in columns if name in panel.provenance}
    return " and ".join(sorted(labels))


def _derived(panel: Panel, step: DeriveSpec) -> dict[str, pd.Series | np.ndarray]:
    """New columns by name."""
    columns = [panel.column(name) for name in step.columns]
    if step.verb == "standardise":
        groups = panel.period_codes if step.within else np.zeros(len(panel), dtype=np.int64)
        use = np.ones(len(panel), dtype=bool)
        if step.rows == "linked":
            use = panel.column("linked").to_numpy(dtype=bool)
        names = [step.name] if step.name else [f"{name}_z" for name in step.columns]
        return {
            name: _z_scores(np.where(use, _numbers(column), np.nan), groups)
            for name, column in zip(names, columns, strict=True)
        }
    if step.verb == "text_part":
        text = columns[0].astype("str").str.slice(step.start, step.stop)
        return {step.name: text.where(columns[0].notna() & (text != ""))}
    if step.verb == "first_present":
        found = columns[0]
        for column in columns[1:]:
            found = found.where(found.notna(), column)
        return {step.name: found.rename(step.name)}
    return {step.name: _arithmetic(step, [_numbers(column) for column in columns])}


def _z_scores(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """(value - mean) / sd by group, sd on n - 1; missing where a group does not vary."""
    series = pd.Series(values)
    by = series.groupby(groups)
    mean, sd = by.transform("mean").to_numpy(), by.transform("std").to_numpy()
    varies = sd > 1e-12 * np.maximum(np.abs(mean), 1e-300)
    return np.where(varies, (values - mean) / np.where(varies, sd, 1.0), np.nan)


def _arithmetic(step: DeriveSpec, columns: Sequence[np.ndarray]) -> np.ndarray:
    if step.verb == "multiply":
        return columns[0] * step.by
    if step.verb == "difference":
        return columns[0] - columns[1]
    if step.verb == "ratio":
        return columns[0] / np.where(columns[1] == 0, np.nan, columns[1])
    stacked = np.stack(columns)
    if step.verb == "product":
        return stacked.prod(axis=0)
    present = ~np.isnan(stacked)
    n = present.sum(axis=0)
    mean = np.where(present, stacked, 0.0).sum(axis=0) / np.maximum(n, 1)
    return np.where((n > 0) & (n >= step.min_share * len(columns) - 1e-9), mean, np.nan)


def _words(step: DeriveSpec) -> str:
    names = ", ".join(step.columns)
    within = " within each period" if step.within else ""
    rows = " over rows seen in every source" if step.rows == "linked" else ""
    texts = {
        "standardise": f"z score of {names}{within}{rows}",
        "mean_of": f"mean of {names}, at least {step.min_share:.0%} of them present",
        "first_present": f"first present of {names}",
        "ratio": f"ratio of {names}",
        "difference": f"difference of {names}",
        "product": f"product of {names}",
        "multiply": f"{step.by:g} x {names}",
        "text_part": f"letters {step.start} to {step.stop} of {names}",
    }
    return texts[step.verb]
