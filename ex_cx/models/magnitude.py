"""How large is it? A panel regression's estimates in units that readers can picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd

from ex_cx.errors import SpecError, nearest
from ex_cx.estimation.design import Design
from ex_cx.estimation.inference import t_columns
from ex_cx.linkage.panel import Panel
from ex_cx.models.regress import PanelResult, compress_panel

__all__ = ["effect_sizes", "predict_change"]


def predict_change(
    result: PanelResult, changes: Mapping[str, float], *, conf_level: float = 0.95
) -> pd.DataFrame:
    """Difference in the outcome that goes with changes in several terms at once.

    Parameters
    ----------
    result : from `fit_panel`.
    changes : term -> change in its own units; terms left out do not change. A change in a column
        that also enters as `a:b` or `a^2` must state what those terms change by. The sum of the
        coefficients of several lags is `{"x": 1, "x_lag1": 1}`.

    Returns
    -------
    The tidy columns, one row; `term` names the changes, the estimate is in outcome units.

    Raises
    ------
    SpecError : no change, one that is no number, or a term that the result does not have.

    Examples
    --------
    >>> from ex_cx.models.regress import PanelSpec, fit_panel
    >>> rows = pd.DataFrame({"unit": np.arange(40) // 4, "period": np.arange(40) % 4})
    >>> rows["x"], rows["z"] = np.sin(np.arange(40.0)), np.cos(np.arange(40.0) ** 2)
    >>> rows["y"] = 2 * rows["x"] - rows["z"] + 0.1 * np.sin(np.arange(40.0) ** 3)
    >>> panel = Panel.from_frame(rows, unit="unit", period="period")
    >>> result = fit_panel(panel, PanelSpec(outcome="y", exposures=("x", "z")))
    >>> predict_change(result, {"x": 1, "z": -1})["estimate"].round(1).tolist()
    [3.0]
    """
    if not changes:
        raise SpecError("No change is given. Name at least one term and by how much it changes.")
    contrast = np.zeros(len(result.terms))
    for term, change in changes.items():
        if term not in result.terms:
            raise SpecError(
                f"There is no coefficient {term!r} among {', '.join(result.terms)}."
                f"{nearest(term, result.terms)}"
            )
        if not isinstance(change, int | float | np.number) or not np.isfinite(change):
            raise SpecError(f"The change in {term!r} is {change!r}. Give a finite number.")
        contrast[result.terms.index(term)] = change
    name = ", ".join(f"{term} {change:+g}" for term, change in changes.items())
    return _rows(result, contrast[None, :], [name], conf_level)


def effect_sizes(panel: Panel, result: PanelResult, *, conf_level: float = 0.95) -> pd.DataFrame:
    """Each exposure's estimate per unit, per within-unit standard deviation, and across its range.

    Parameters
    ----------
    panel : the rows that `result` was fitted to.
    result : from `fit_panel`; not of between or fama_macbeth, which compare units.

    Returns
    -------
    The tidy columns, then change (`one unit`, `one within-unit sd`, `25th to 75th percentile of
    the unit's own history`) and size (that change in the exposure's units).

    Raises
    ------
    SpecError : an estimator that says nothing about change within units.

    Notes
    -----
    The within-unit standard deviation is that of the exposure net of the effects in `absorb` (of
    unit effects, where there are none), on the rows that within estimates use, weighted as they
    are. The third change is the median over units of the distance between the 25th and 75th
    percentile of the unit's own values. Errors take both sizes as given. Each row moves one term
    and holds the others, so that the parts `x`, `x^2` and `x:z` of one exposure are to be read
    together (`turning_point`, `slopes_over`).
    """
    design, spreads = _within(panel, result)
    rows = len(design.periods)
    frames = []
    for at, term in enumerate(result.terms[: len(result.spec.exposures)]):
        bounds = np.append(design.unit_starts, rows)
        column = design.columns[at + 1]
        own = [np.subtract(*np.percentile(column[lo:hi], [75, 25])) for lo, hi in pairwise(bounds)]
        sizes = {
            "one unit": 1.0,
            "one within-unit sd": float(spreads[at]),
            "25th to 75th percentile of the unit's own history": float(np.median(own)),
        }
        contrast = np.zeros((len(sizes), len(result.terms)))
        contrast[:, at] = list(sizes.values())
        frame = _rows(result, contrast, [term] * len(sizes), conf_level)
        frames.append(frame.assign(change=list(sizes), size=list(sizes.values())))
    return pd.concat(frames, ignore_index=True)


def _within(panel: Panel, result: PanelResult) -> tuple[Design, np.ndarray]:
    """The rows of within estimates, and the terms' standard deviations net of the effects."""
    spec = result.spec
    if spec.estimator in ("between", "fama_macbeth"):
        raise SpecError(
            f"estimator={spec.estimator!r} compares units, so its estimates are no effects of "
            "changes within a unit. Use estimator='within'."
        )
    absorb = spec.absorb if "unit" in spec.absorb else ("unit", *spec.absorb)
    if spec.estimator == "within":
        absorb = spec.absorb
    compressed = compress_panel(panel, replace(spec, estimator="within", absorb=absorb))
    design = compressed.design
    mass = design.n_obs if design.weights is None else float(design.weights.sum())
    spreads = np.sqrt(np.diag(compressed.moments.total)[1:] / mass)
    return design, spreads


def _rows(
    result: PanelResult, contrast: np.ndarray, names: list[str], conf_level: float
) -> pd.DataFrame:
    estimate = contrast @ result.coef
    std_error = np.sqrt(np.einsum("ij,jk,ik->i", contrast, result.vcov, contrast))
    used = contrast != 0
    df = np.where(used.sum(axis=1) == 1, result.df_by_term[used.argmax(axis=1)], result.df_t)
    return pd.DataFrame({"term": names, **t_columns(estimate, std_error, df, conf_level)})
