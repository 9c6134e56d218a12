"""A mediation inside units and between them, side by side, with their difference."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from ex_cx.errors import InferenceError, RankError, SpecError
from ex_cx.estimation.design import Design, DesignTerm, build_design
from ex_cx.estimation.equation import check_resampling, fit_equation
from ex_cx.estimation.inference import cluster_factor
from ex_cx.estimation.moments import ClusterMoments
from ex_cx.estimation.path_intervals import (
    FEWEST_SOUND,
    Interval,
    blank_shares,
    bootstrap_jointly,
    check_draws,
    interval_columns,
    left_out_terms,
    monte_carlo_jointly,
)
from ex_cx.estimation.paths import PathModel, linear_paths
from ex_cx.linkage.panel import Panel
from ex_cx.models.mediation_spec import MediationSpec, check_mediation_spec

__all__ = ["compare_levels"]

MEANINGS = {
    "within": "change inside units",
    "between": "differences between the means of units",
    "difference": "contextual effect: between less within",
    "pooled": "a mixture of the first two by their variances; no effect of its own",
}


def compare_levels(
    panel: Panel,
    spec: MediationSpec,
    *,
    n_boot: int = 4999,
    interval: Interval = "percentile",
    rng: np.random.Generator,
    conf_level: float = 0.95,
) -> pd.DataFrame:
    """The paths of a mediation within units, between units, and the difference of the two.

    Parameters
    ----------
    panel, spec : as for `fit_mediation`; unit effects are absorbed whether or not the spec says so.
    n_boot, interval, rng : as for `fit_mediation`; all levels are estimated in the same draws.
    conf_level : of each interval.

    Returns
    -------
    The tidy columns, then level, n_obs, n_clusters, meaning. Levels: within; between (one row a
    unit, the means of the rows that within uses, with a constant); difference (between less within,
    the contextual effect, not for the proportion mediated); pooled (the same rows without unit
    effects), which says nothing that the first two do not.

    Raises
    ------
    SpecError, RankError, InferenceError : as `fit_mediation`; also where units are too few, or
        their means too alike, for the paths between them.

    Notes
    -----
    Between is least squares on observed means. With few rows a unit these hold part of the
    variation inside units, which draws the between estimate towards the within one, and the
    difference towards zero. Period effects are not taken out of unit means: where units are seen in
    different periods, what these periods share is part of the between estimate.
    Source: Preacher, Zyphur and Zhang (2010), Psychological Methods 15(3), 209-233, who take the
    means as latent; Mundlak (1978), Econometrica 46(1), 69-85.

    Examples
    --------
    >>> rng = np.random.default_rng(4)
    >>> units, periods = np.divmod(np.arange(400), 8)
    >>> x = rng.normal(size=400)
    >>> m = 0.5 * x + rng.normal(size=400)
    >>> rows = pd.DataFrame({"unit": units, "period": periods,
    ...                      "x": x, "m": m, "y": 0.4 * m + rng.normal(size=400)})
    >>> panel = Panel.from_frame(rows, unit="unit", period="period")
    >>> spec = MediationSpec(outcome="y", exposure="x", mediators=("m",))
    >>> table = compare_levels(panel, spec, n_boot=199, rng=rng)
    >>> table.query("term == 'indirect'")["level"].tolist()
    ['within', 'between', 'difference', 'pooled']
    """
    spec = spec if "unit" in spec.absorb else replace(spec, absorb=("unit", *spec.absorb))
    check_mediation_spec(panel, spec)
    check_draws(n_boot, interval, rng)
    model = _paths(spec)
    levels = _levels(panel, spec, model)
    within, between, pooled = _numbers(levels, model, interval, n_boot, rng)
    found = (within, between, _less(between, within), pooled)
    rows = [levels[at].moments for at in (0, 1, 1, 2)]
    frames = [
        _frame(numbers, model, interval, conf_level, moments.n_clusters).assign(
            level=level, n_obs=moments.rows.n_obs, n_clusters=moments.n_clusters, meaning=meaning
        )
        for (level, meaning), numbers, moments in zip(MEANINGS.items(), found, rows, strict=True)
    ]
    frames[2] = frames[2][~frames[2]["term"].isin(model.ratios)]
    return pd.concat(frames, ignore_index=True)


class _Level(NamedTuple):
    """The rows of one level, and what is taken out of them."""

    moments: ClusterMoments
    absorbed: tuple[str, ...]
    factor: float


class _Numbers(NamedTuple):
    """Estimates (terms,), draws (draws, terms), left_out (G, terms) or None, and the factor."""

    estimates: np.ndarray
    draws: np.ndarray
    left_out: np.ndarray | None
    factor: float


def _paths(spec: MediationSpec) -> PathModel:
    if spec.moderator is not None or spec.interaction:
        raise SpecError(
            "Levels are compared for direct and indirect effects without a moderator or an "
            "interaction. Leave both out of the spec."
        )
    return linear_paths(
        outcome=DesignTerm(spec.outcome),
        exposures=[DesignTerm(x, spec.exposure_lag) for x in spec.exposures],
        mediators=[DesignTerm(m, spec.lag_of(m)) for m in spec.mediators],
        controls=[DesignTerm(c) for c in spec.controls],
        serial=spec.structure == "serial",
    )


def _levels(panel: Panel, spec: MediationSpec, model: PathModel) -> list[_Level]:
    """Within, between and pooled, from the same rows."""
    design = build_design(
        panel, model.columns, absorb=spec.absorb, cluster=spec.cluster, weights=spec.weights
    )
    if design.n_clusters < 2:
        raise InferenceError(
            f"Draws of clusters need at least 2 clusters; the rows used have {design.n_clusters}. "
            "Add units, or cluster by a finer column."
        )
    outside = tuple(effect for effect in spec.absorb if effect != "unit")
    levels = []
    rows: tuple[tuple[str, Design, tuple[str, ...]], ...] = (
        ("within", design, spec.absorb),
        ("between", design.unit_means(), ()),
        ("pooled", design, outside),
    )
    for name, used, absorbed in rows:
        moments = ClusterMoments(used.moment_rows(absorbed))
        _check_level(moments, model, name, absorbed)
        nested = int("unit" in absorbed) + moments.period_rank
        most = max(len(equation.regressors) for equation in model.equations)
        factor = cluster_factor(moments.n_clusters, used.n_obs, most, nested)
        levels.append(_Level(moments, absorbed, factor))
    return levels


def _check_level(
    moments: ClusterMoments, model: PathModel, name: str, absorbed: tuple[str, ...]
) -> None:
    """Refuse a level at which a path is not identified, and say which level it is."""
    for equation in model.richest():
        names = [model.columns[at].term for at in equation.regressors]
        n, used = moments.rows.n_obs, len(names) + 1
        if name == "between" and n <= used:
            raise InferenceError(
                f"The means of {n} units cannot carry {used} coefficients, so there are no paths "
                "between units. Use more units, or fewer terms."
            )
        try:
            fit = fit_equation(moments, equation.outcome, equation.regressors, names, absorbed)
            check_resampling(fit)
        except (RankError, InferenceError) as error:
            raise type(error)(f"{name.capitalize()} units: {error}") from error


def _numbers(
    levels: list[_Level],
    model: PathModel,
    interval: Interval,
    n_boot: int,
    rng: np.random.Generator,
) -> list[_Numbers]:
    """Every level's estimates and draws, from the same draws of clusters."""
    if interval == "monte_carlo":
        sides = [(level.moments, level.absorbed) for level in levels]
        drawn = monte_carlo_jointly(sides, model, n_boot, rng)
    else:
        drawn = bootstrap_jointly([level.moments for level in levels], model, n_boot, rng)
    sound = _sound(drawn, model)
    return [
        _Numbers(
            estimates=model.compute(level.moments.total[None], level.moments.before)[0],
            draws=draws[sound],
            left_out=left_out_terms(level.moments, model) if interval == "bca" else None,
            factor=1.0 if interval == "monte_carlo" else level.factor,
        )
        for level, draws in zip(levels, drawn, strict=True)
    ]


def _sound(drawn: list[np.ndarray], model: PathModel) -> np.ndarray:
    """Draws that identify every path at every level; too few of them are refused."""
    kept = [at for at, term in enumerate(model.terms) if term not in model.ratios]
    sound = np.all([np.isfinite(draws[:, kept]).all(axis=1) for draws in drawn], axis=0)
    if sound.mean() < FEWEST_SOUND:
        raise InferenceError(
            f"In {int((~sound).sum())} of {len(sound)} draws a path is not identified within or "
            "between units: too few clusters carry the variation. Use fewer terms, or more "
            "clusters."
        )
    return np.asarray(sound)


def _less(one: _Numbers, other: _Numbers) -> _Numbers:
    """One level less another, in every draw; tails by the larger factor."""
    lefts = one.left_out, other.left_out
    return _Numbers(
        estimates=one.estimates - other.estimates,
        draws=one.draws - other.draws,
        left_out=None if lefts[0] is None or lefts[1] is None else lefts[0] - lefts[1],
        factor=max(one.factor, other.factor),
    )


def _frame(
    numbers: _Numbers, model: PathModel, interval: Interval, conf_level: float, n_clusters: int
) -> pd.DataFrame:
    columns = interval_columns(
        model.terms,
        numbers.estimates,
        numbers.draws,
        kind=interval,
        conf_level=conf_level,
        n_clusters=n_clusters,
        factor=numbers.factor,
        left_out=numbers.left_out,
    )
    return blank_shares(columns)
