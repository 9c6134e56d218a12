"""Panel regression on a table that stays in its database, from its compressed moments."""

from __future__ import annotations

from typing import Any

import numpy as np

from ex_cx.errors import SpecError
from ex_cx.estimation.conventions import Sizes, check_match, small_sample
from ex_cx.estimation.covariance import named_after, refuse_vanishing
from ex_cx.estimation.database_moments import TableMoments, compress_table
from ex_cx.estimation.design import DesignTerm
from ex_cx.estimation.equation import ILL_CONDITIONED
from ex_cx.estimation.inference import check_rank, jackknife_vcov, sandwich, solve_equation
from ex_cx.models.regress import PanelResult
from ex_cx.models.spec import PanelSpec, convention_in_words, term_names

__all__ = ["fit_table"]


def fit_table(
    table: Any, spec: PanelSpec, *, unit: str, period: str, cluster: str | None = None
) -> PanelResult:
    """Estimate a within regression where the rows are; only per-cluster moments come back.

    Parameters
    ----------
    table : what `open_table` opens or an Ibis table, with one row per unit and period.
    spec : estimator within; unit, or unit and period effects; errors cluster, jackknife or
        unadjusted; terms, lag (by calendar: a gap is missing) and weights as in `fit_panel`.
    unit, period, cluster : columns; `spec.cluster` goes first.

    Returns
    -------
    As of `fit_panel` on the same rows, to rounding.

    Raises
    ------
    SpecError : what a database cannot do, or a table that is no panel.
    PanelError : a lag of periods that are on no calendar.
    RankError : a coefficient that is not identified.
    SourceError : the database failed; its own message, which may quote values, is not passed on.
    """
    moments = _moments(table, spec, unit, period, cluster)
    terms = tuple(term_names(spec))
    total, own = moments.total(), list(range(1, 1 + len(terms)))
    normal = total[np.ix_(own, own)]
    condition = check_rank(normal, moments.before[own], list(terms), spec.absorb)
    if condition > ILL_CONDITIONED:
        raise SpecError(
            f"The regressors are nearly dependent (condition number {condition:.1e}); that needs "
            "the rows. Read them into a Panel, or drop one of the terms."
        )
    coef = solve_equation(total, 0, own)
    contrast = np.concatenate([[1.0], -coef])
    vcov, df_t, convention = _covariance(moments, spec, coef, contrast, total)
    return PanelResult(
        spec=spec,
        terms=terms,
        coef=coef,
        vcov=vcov,
        df_t=df_t,
        df_by_term=np.full(len(terms), df_t),
        r2=1 - float(contrast @ total @ contrast) / float(total[0, 0]),
        condition_number=condition,
        n_obs=moments.n_obs,
        n_units=moments.n_units,
        n_periods=moments.n_periods,
        n_clusters=moments.n_clusters,
        rows_in=moments.rows_in,
        lost=moments.lost,
        convention=convention_in_words(spec, convention),
        warnings=(),
    )


def _moments(
    table: Any, spec: PanelSpec, unit: str, period: str, cluster: str | None
) -> TableMoments:
    """Moments of the outcome, the exposures at their lag, and the controls."""
    _check(spec)
    exposures = [DesignTerm(term, spec.lag) for term in spec.exposures]
    return compress_table(
        table,
        (spec.outcome, *exposures, *spec.controls),
        unit=unit,
        period=period,
        cluster=spec.cluster or cluster,
        weights=spec.weights,
        absorb=spec.absorb,
    )


def _check(spec: PanelSpec) -> None:
    found = {
        f"estimator={spec.estimator!r}": spec.estimator != "within",
        "instruments": bool(spec.instruments),
        f"vcov={spec.vcov!r}": spec.vcov not in ("cluster", "jackknife", "unadjusted"),
    }
    refused = [name for name, is_there in found.items() if is_there]
    if refused:
        raise SpecError(
            f"{refused[0]} needs the rows in memory: a table in a database is fitted with unit "
            "(and period) effects and errors cluster, jackknife or unadjusted. Read the rows "
            "into a Panel."
        )
    if isinstance(spec.lag, bool) or not isinstance(spec.lag, int | np.integer):
        raise SpecError(f"lag={spec.lag!r} is not a whole number of periods, such as 1.")
    check_match(spec.match, spec.vcov, spec.estimator, absorbs_unit=True)


def _covariance(
    moments: TableMoments,
    spec: PanelSpec,
    coef: np.ndarray,
    contrast: np.ndarray,
    total: np.ndarray,
) -> tuple[np.ndarray, float, str]:
    """Covariance, degrees of freedom and convention, as `estimation.covariance` has them."""
    own = list(range(1, len(contrast)))
    bread = np.linalg.inv(total[np.ix_(own, own)])
    g, (_, rank) = moments.n_clusters, moments.period_solution()
    if spec.vcov == "jackknife":
        left_out = solve_equation(moments.leave_one_out(), 0, own, moments.before)
        centre = left_out.mean(axis=0) if spec.match == "stata" else coef
        meat = jackknife_vcov(left_out, centre) * (g / (g - 1))
    elif spec.vcov == "unadjusted":
        meat = float(contrast @ total @ contrast) * bread
    else:
        meat = sandwich(bread, moments.scores(contrast)[:, 1:])
    sizes = Sizes(
        n=moments.n_obs,
        p=len(own),
        nested=1 + rank,
        levels=moments.n_units + rank,
        period_levels=moments.n_periods - 1 if "period" in spec.absorb else 0,
        n_clusters=g,
        n_periods=0,
    )
    factor, df_t, text = small_sample(spec.vcov, spec.match, sizes)
    if spec.vcov == "cluster":
        rss = float(contrast @ total @ contrast)
        refuse_vanishing(factor * meat, bread, rss, sizes.n, f"{g} clusters")
    return factor * meat, np.min(df_t).item(), f"{text}{named_after(spec.vcov, spec.match)}"
