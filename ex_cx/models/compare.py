"""Panel regressions side by side, and the rows behind a slope."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

import numpy as np
import pandas as pd

from ex_cx.errors import ExCxError, SpecError, nearest
from ex_cx.estimation.conventions import MATCHED
from ex_cx.estimation.inference import check_rank, solve_equation
from ex_cx.linkage.panel import Panel
from ex_cx.models.regress import compress_panel, fit_panel
from ex_cx.models.spec import Estimator, PanelSpec, term_name, term_names
from ex_cx.results import TIDY

__all__ = ["COMPARED", "compare_estimators", "within_bins"]


COMPARED: tuple[Estimator, ...] = (
    "pooled",
    "between",
    "within",
    "first_difference",
    "correlated_random",
)
"""What a report shows side by side unless it is told otherwise."""


def compare_estimators(
    panel: Panel,
    spec: PanelSpec,
    estimators: Sequence[Estimator] = COMPARED,
    conf_level: float = 0.95,
) -> pd.DataFrame:
    """The terms of a spec by several estimators, side by side.

    Returns
    -------
    The tidy columns, then estimator, vcov, n_obs, n_clusters, note; one row per estimator and term.
    Each estimator uses the rows that it can: within drops units and periods seen once,
    first_difference gaps. Where it has no errors of the kind asked for (between none that need
    periods, fama_macbeth only its own), `vcov` says which it has. An estimator that the rows or
    the spec do not admit has no numbers; its `note` says why.

    Raises
    ------
    SpecError, RankError, InferenceError : as `fit_panel`, for the spec's own estimator, for one
        that does not exist, and where none of them can be had.
    """
    frames: list[pd.DataFrame] = []
    refused: list[ExCxError] = []
    for estimator in estimators:
        try:
            frames.append(_line(panel, _with_estimator(spec, estimator), conf_level))
        except ExCxError as error:
            if estimator == spec.estimator or estimator not in get_args(Estimator):
                raise
            refused.append(error)
            frames.append(_empty_line(spec, estimator, conf_level, str(error)))
    if refused and len(refused) == len(frames):
        raise refused[0]
    return pd.concat(frames, ignore_index=True)


def _with_estimator(spec: PanelSpec, estimator: Estimator) -> PanelSpec:
    """The spec for another estimator, with the nearest errors that this one has."""
    vcov, match = spec.vcov, spec.match if estimator in MATCHED else "fixest"
    if estimator == "between" and vcov in ("cluster_two_way", "driscoll_kraay"):
        vcov = "cluster"
    if estimator == "fama_macbeth" and vcov != "driscoll_kraay":
        vcov = "unadjusted"
    if vcov == "bias_reduced" and estimator.endswith("random"):
        vcov = "jackknife"
    return replace(spec, estimator=estimator, vcov=vcov, match=match)


def _line(panel: Panel, spec: PanelSpec, conf_level: float) -> pd.DataFrame:
    """One estimator's rows; those of terms that only this estimator has are left out."""
    result = fit_panel(panel, spec)
    return (
        result.tidy(conf_level)
        .head(len(term_names(spec)))
        .assign(
            estimator=spec.estimator,
            vcov=spec.vcov,
            n_obs=result.n_obs,
            n_clusters=result.n_clusters,
            note="",
        )
    )


def _empty_line(spec: PanelSpec, estimator: str, conf_level: float, why: str) -> pd.DataFrame:
    return (
        pd.DataFrame({"term": term_names(spec)})
        .assign(**dict.fromkeys(TIDY[1:-1], np.nan))
        .assign(
            conf_level=conf_level,
            estimator=estimator,
            vcov=spec.vcov,
            n_obs=0,
            n_clusters=0,
            note=why,
        )
    )


def within_bins(
    panel: Panel, spec: PanelSpec, exposure: str | None = None, n_bins: int = 20
) -> pd.DataFrame:
    """Bin means of outcome and exposure, net of the effects and of all other terms.

    Parameters
    ----------
    exposure : a term of the spec; None means the first exposure.
    n_bins : bins of equal size by exposure; fewer where rows are few.

    Returns
    -------
    exposure, outcome (bin means, moved to the means of the rows used, natural units), n (rows). The
    least-squares line through the rows has the slope that `fit_panel` reports.
    """
    if spec.estimator in ("random", "correlated_random"):
        raise SpecError(
            f"estimator={spec.estimator!r} moves rows by part of their unit's mean, so its bins "
            "have no natural units. Draw them for estimator='within'."
        )
    compressed = compress_panel(panel, spec)
    design, moments, names = compressed.design, compressed.moments, compressed.terms
    label = term_name(exposure or spec.exposures[0], spec)
    if label not in names:
        raise SpecError(
            f"{exposure!r} is not a term of the spec ({', '.join(names)}).{nearest(label, names)}"
        )
    wanted = names.index(label) + 1
    others = [j for j in range(1, len(names) + 1) if j != wanted]
    rows = np.concatenate([block.copy() for block in moments.demeaned()], axis=1)
    x, y = rows[wanted].copy(), rows[0].copy()
    if others:
        check_rank(
            moments.total[np.ix_(others, others)],
            moments.before[others],
            [names[j - 1] for j in others],
            compressed.absorbed,
        )
        x -= solve_equation(moments.total, wanted, others) @ rows[others]
        y -= solve_equation(moments.total, 0, others) @ rows[others]
    size = np.argsort(np.argsort(x, kind="stable"), kind="stable")
    bins = size * min(n_bins, len(x)) // len(x)
    count = np.bincount(bins)
    return pd.DataFrame(
        {
            "exposure": np.bincount(bins, weights=x) / count + design.columns[wanted].mean(),
            "outcome": np.bincount(bins, weights=y) / count + design.columns[0].mean(),
            "n": count,
        }
    )
