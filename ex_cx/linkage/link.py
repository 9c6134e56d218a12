"""Measured sources side by side: one panel, nothing dropped, everything counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from ex_cx.errors import LinkError, some
from ex_cx.linkage.audit import Flow, LinkAudit
from ex_cx.linkage.calendar import calendar_codes
from ex_cx.linkage.confidentiality.identifiers import key_from
from ex_cx.linkage.confidentiality.protect import ReleaseAsked, protect_release, protect_sources
from ex_cx.linkage.confidentiality.releases import Release
from ex_cx.linkage.connections import close_table, measured_sha256, refuse_changed
from ex_cx.linkage.crosswalk import Crosswalk, read_crosswalk
from ex_cx.linkage.evidence import ScaleEvidence, scale_evidence, without_totals
from ex_cx.linkage.linkspec import LinkSpec
from ex_cx.linkage.measure import MeasuredSource, measure_source
from ex_cx.linkage.opening import read_source
from ex_cx.linkage.panel import Panel
from ex_cx.linkage.periods import period_label, period_values
from ex_cx.linkage.schema import SourceSpec
from ex_cx.linkage.sources import TableRead
from ex_cx.linkage.suggest import alike_units
from ex_cx.linkage.wording import counted

__all__ = ["Linked", "link_sources", "link_study_data"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Linked:
    """The linked panel and the record of how it came about.

    Attributes
    ----------
    release : what a register is to keep, if the panel was compared with earlier releases.
    hidden_totals : source, measure and period whose total over all units is withheld.
    """

    panel: Panel
    audit: LinkAudit
    release: Release | None = field(default=None, repr=False)
    hidden_totals: frozenset[tuple[str, str, str]] = field(default=frozenset(), repr=False)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Keys:
    """All unit-periods that any source has.

    `labels` are the sorted units; `unit`, `position` have one entry per unit-period; `rows` gives
    for each source its row number at every unit-period, -1 where it has none.
    """

    labels: np.ndarray
    unit: np.ndarray
    position: np.ndarray
    rows: list[np.ndarray]


def link_study_data(
    sources: Mapping[str, SourceSpec],
    link: LinkSpec | None = None,
    root: str | Path = ".",
    asked: ReleaseAsked | None = None,
) -> Linked:
    """Read, check, measure, link, derive and filter in one call: files in, panel and audit out.

    Parameters
    ----------
    sources : name -> what the file is and what is taken from it.
    link : window, derived columns and filters.
    root : folder that the paths of the sources start from.
    asked : earlier releases to compare with; None: none is looked at.

    Raises
    ------
    SourceError, SchemaError, LinkError : with the source, the rows and the remedy.
    """
    from ex_cx.linkage.derive import derive, keep_where

    plan = link or LinkSpec()
    if not sources:
        raise LinkError("There are no sources to link. List at least one under `sources`.")
    with key_from(plan.identifier_key_file, root):
        measured, scales = _measured(sources, plan, root)
    linked = _with_selective(link_sources(measured, asked))
    waves = without_totals(scales.waves, linked.hidden_totals)
    audit = replace(linked.audit, scales=scales.scales, waves=waves)
    linked = replace(linked, audit=audit)
    return keep_where(derive(linked, plan.derive), plan.where)


def _measured(
    sources: Mapping[str, SourceSpec], plan: LinkSpec, root: str | Path
) -> tuple[list[MeasuredSource], ScaleEvidence]:
    """Every source read and measured, and the evidence on its scales."""
    measured, evidence = [], []
    for name, spec in sources.items():
        table = read_source(spec, root)
        try:
            source = measure_source(
                table,
                spec,
                name,
                first=plan.first,
                last=plan.last,
                frequency=plan.frequency,
                crosswalk=_crosswalk(spec, root),
            )
        finally:
            close_table(table)
        refuse_changed(source.flow.steps[0][3], table.report, name)
        measured.append(source)
        if isinstance(table, TableRead):
            evidence.append(scale_evidence(table.frame, spec, name, source.people))
    return measured, ScaleEvidence.joined(evidence)


def _with_selective(linked: Linked) -> Linked:
    """The audit with rows seen in every source compared to the others, where there are others."""
    from ex_cx.linkage.selective import compare_lost

    frame = linked.panel.frame
    columns = [c for c in linked.audit.definitions["column"] if frame[c].dtype.kind in "iuf"]
    if not columns or frame["linked"].all():
        return linked
    found = compare_lost(linked, columns, kept="linked")
    return replace(linked, audit=replace(linked.audit, selective=found))


def _crosswalk(spec: SourceSpec, root: str | Path) -> Crosswalk | None:
    named = spec.crosswalk
    if named is None:
        return None
    people = spec.unit in spec.identifiers
    return read_crosswalk(named, root, dated=spec.is_dated, people=people)


def link_sources(sources: Sequence[MeasuredSource], asked: ReleaseAsked | None = None) -> Linked:
    """Put sources side by side by unit and period; every unit-period of any source is kept.

    A unit-period that a source does not have is missing in its columns and counted in the audit;
    the column `linked` says which are seen in every source. Units that close stay in until then.
    With `asked`, what a difference from earlier releases would tell is withheld, too.

    Raises
    ------
    LinkError : different frequencies, a column that two sources bring, an attribute on which they
        disagree, or a source that has no unit, or no period, in common with the others.
    """
    _check_compatible(sources)
    (sources, hidden), release = protect_sources(sources), None
    if asked is not None:
        sources, release, more = protect_release(sources, asked)
        hidden |= more
    sources = [_hashed(source) for source in sources]
    keys = _all_keys(sources)
    _check_overlap(sources, keys)
    linked = np.all([rows >= 0 for rows in keys.rows], axis=0)
    unit = keys.labels[keys.unit]
    columns: dict[str, object] = {
        "unit": unit,
        "period": period_values(keys.position, sources[0].frequency).array,
    }
    for name, values in _attributes(sources).items():
        columns[name] = values.reindex(unit).array
    for source, rows in zip(sources, keys.rows, strict=True):
        found = source.frame.drop(columns=["unit", "period"]).reset_index(drop=True).reindex(rows)
        columns |= {name: found[name].array for name in found.columns}
    frame = pd.DataFrame({**columns, "linked": linked})
    provenance = {name: label for source in sources for name, label in source.provenance.items()}
    panel = Panel.from_frame(frame, unit="unit", period="period", provenance=provenance)
    audit = _audit(sources, keys, linked)
    return Linked(panel=panel, audit=audit, release=release, hidden_totals=hidden)


def _hashed(source: MeasuredSource) -> MeasuredSource:
    """A table of a connection has no bytes to hash: what is shown of it is hashed instead."""
    report = source.report
    if report is None or report.hashed:
        return source
    told = [source.attributes.sort_values("unit"), source.flow.frame(), source.suppressed]
    found = measured_sha256([source.frame, *told, source.crosswalk, source.combined])
    return replace(source, report=replace(report, hashed=found))


def _check_compatible(sources: Sequence[MeasuredSource]) -> None:
    if not sources:
        raise LinkError("There are no sources to link. Measure at least one.")
    frequencies = {source.frequency: source.name for source in sources}
    if len(frequencies) > 1:
        found = ", ".join(f"{name!r} by {frequency}" for frequency, name in frequencies.items())
        raise LinkError(
            f"The sources have {len(frequencies)} frequencies ({found}). State one `frequency` for "
            "all; a survey wave can be carried over the following periods with `carry`."
        )
    owner: dict[str, str] = {}
    for source in sources:
        extra = set(source.attributes.columns[1:])
        for name in source.frame.columns[2:]:
            if name in owner:
                raise LinkError(
                    f"Both {owner[name]!r} and {source.name!r} bring a column {name!r}. Rename one."
                )
            owner[name] = source.name
        clash = [name for name in extra if name in owner]
        if clash:
            raise LinkError(
                f"{clash[0]!r} is an attribute in {source.name!r} and a column of "
                f"{owner[clash[0]]!r}. Rename one."
            )


def _all_keys(sources: Sequence[MeasuredSource]) -> _Keys:
    sizes = [len(source.frame) for source in sources]
    units = pd.concat([source.frame["unit"] for source in sources], ignore_index=True)
    codes, labels = pd.factorize(units, sort=True)
    position = np.concatenate([calendar_codes(source.frame["period"]) for source in sources])
    origin = int(position.min())
    span = int(position.max()) - origin + 1
    keys = codes * span + (position - origin)
    union = np.unique(keys)
    rows, start = [], 0
    for size in sizes:
        own = np.full(len(union), -1)
        own[np.searchsorted(union, keys[start : start + size])] = np.arange(size)
        rows.append(own)
        start += size
    return _Keys(
        labels=np.asarray(labels, dtype=object),
        unit=union // span,
        position=union % span + origin,
        rows=rows,
    )


def _check_overlap(sources: Sequence[MeasuredSource], keys: _Keys) -> None:
    """A source that shares no unit, or no period, with any other is a mistake, not a result."""
    for source, rows in zip(sources, keys.rows, strict=True) if len(sources) > 1 else ():
        here = rows >= 0
        elsewhere = np.any([other >= 0 for other in keys.rows if other is not rows], axis=0)
        own, others = np.unique(keys.unit[here]), np.unique(keys.unit[elsewhere])
        if not np.intersect1d(own, others).size:
            raise LinkError(
                f"{source.name!r} has no unit in common with the other sources: "
                f"{counted(len(own), 'unit')} here ({some(keys.labels[own])}), {len(others):,} "
                f"elsewhere ({some(keys.labels[others])}).{_alike(keys.labels, own, others)} Check "
                "that all name units by the same code."
            )
        times, other_times = np.unique(keys.position[here]), np.unique(keys.position[elsewhere])
        if not np.intersect1d(times, other_times).size:
            frequency = source.frequency
            ends = [period_label(p, frequency) for p in (*times[[0, -1]], *other_times[[0, -1]])]
            raise LinkError(
                f"{source.name!r} has no {frequency} in common with the other sources: it runs "
                f"from {ends[0]} to {ends[1]}, they run from {ends[2]} to {ends[3]}. "
                "Check the dates."
            )


def _alike(labels: np.ndarray, own: np.ndarray, others: np.ndarray) -> str:
    plain = {str(label).casefold().replace(" ", "") for label in labels[own]}
    same = any(str(label).casefold().replace(" ", "") in plain for label in labels[others])
    return " Some differ only in capitals or spaces." if same else ""


def _attributes(sources: Sequence[MeasuredSource]) -> dict[str, pd.Series]:
    """Attribute -> its value by unit, from all sources that have it."""
    out: dict[str, pd.Series] = {}
    for source in sources:
        known = source.attributes.set_index("unit")
        for name in known.columns:
            values = known[name].dropna()
            if name not in out:
                out[name] = values
                continue
            both = out[name].index.intersection(values.index)
            differ = both[(out[name].loc[both] != values.loc[both]).to_numpy()]
            if len(differ):
                raise LinkError(
                    f"The sources disagree on {name!r} of {counted(len(differ), 'unit')} "
                    f"({some(differ)}). Correct one, or take {name!r} from one source only."
                )
            out[name] = pd.concat([out[name], values.drop(both)])
    return out


def _audit(sources: Sequence[MeasuredSource], keys: _Keys, linked: np.ndarray) -> LinkAudit:
    flow = Flow(source="linked panel").step("linked", len(linked), counting="unit-periods")
    sides = [_side(sources, keys, linked, i) for i in range(len(sources))]
    definitions = [
        (name, source.name, source.provenance[name], text)
        for source in sources
        for name, text in source.definitions.items()
    ]
    files = [(s.name, s.report) for s in sources]
    files += [(f"{s.name}, crosswalk", s.crosswalk_report) for s in sources]
    reads = [{"source": name, **report.to_dict()} for name, report in files if report is not None]
    suppressed = [s.suppressed.assign(source=s.name) for s in sources if len(s.suppressed)]
    weighed = [(s.name, s.weighed) for s in sources if s.weighed is not None]
    known = _known(sources, keys)
    return LinkAudit(
        flow=pd.concat([*(s.flow.frame() for s in sources), flow.frame()], ignore_index=True),
        unmatched=pd.DataFrame(sides),
        suppressed=_source_first(suppressed),
        definitions=pd.DataFrame(
            definitions, columns=["column", "source", "measured_on", "definition"]
        ),
        reads=pd.DataFrame(reads),
        crosswalk=_source_first([s.crosswalk.assign(source=s.name) for s in sources]),
        combined=_source_first([s.combined.assign(source=s.name) for s in sources]),
        weighting=_source_first([w.periods.assign(source=name) for name, w in weighed]),
        margins=_source_first([w.margins.assign(source=name) for name, w in weighed]),
        strangers=known[known["lacks"] != ""].reset_index(drop=True),
        alike=alike_units(known["unit"], known["seen_in"]),
    )


def _known(sources: Sequence[MeasuredSource], keys: _Keys) -> pd.DataFrame:
    """The units, and which sources know them: unit, seen_in, lacks, unit_periods."""
    n = len(keys.labels)
    seen = np.stack([np.bincount(keys.unit[rows >= 0], minlength=n) > 0 for rows in keys.rows])
    names = np.array([source.name for source in sources], dtype=object)
    return pd.DataFrame(
        {
            "unit": keys.labels,
            "seen_in": [", ".join(names[seen[:, at]]) for at in range(n)],
            "lacks": [", ".join(names[~seen[:, at]]) for at in range(n)],
            "unit_periods": np.bincount(keys.unit, minlength=n),
        }
    )


def _source_first(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    filled = [frame for frame in frames if len(frame)]
    if not filled:
        return pd.DataFrame()
    whole = pd.concat(filled, ignore_index=True)
    return whole[["source", *whole.columns.drop("source")]]


def _side(
    sources: Sequence[MeasuredSource], keys: _Keys, linked: np.ndarray, i: int
) -> dict[str, object]:
    here = keys.rows[i] >= 0
    others = [rows >= 0 for j, rows in enumerate(keys.rows) if j != i]
    own = np.unique(keys.unit[here])
    known = np.unique(keys.unit[np.any(others, axis=0)]) if others else own
    alone = keys.labels[np.setdiff1d(own, known)]
    return {
        "source": sources[i].name,
        "units": len(own),
        "units_only_here": len(alone),
        "first_only_here": some(alone),
        "unit_periods": int(here.sum()),
        "carried": sources[i].carried,
        "linked": int(linked.sum()),
        "not_linked": int((here & ~linked).sum()),
        "absent": int((~here).sum()),
    }
