"""Which way round? Placebo leads, the reverse equation, and a mediation in the other order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from ex_cx.errors import SpecError
from ex_cx.estimation.design import DesignTerm, term_columns, term_values
from ex_cx.linkage.panel import Panel
from ex_cx.models.mediation import MediationSpec
from ex_cx.models.regress import PanelSpec, fit_panel
from ex_cx.models.spec import refuse_instruments
from ex_cx.results import TIDY

__all__ = [
    "lead_placebo",
    "reverse_equation",
    "reversed_order",
    "swapped_spec",
    "timed_term",
    "within_spec",
]


def lead_placebo(panel: Panel, spec: PanelSpec, conf_level: float = 0.95) -> pd.DataFrame:
    """Does the exposure of the period after the outcome `predict` it, beside the spec's own terms?

    y_it = b' x_i,t-L + d' x_i,t+1 + controls + unit effect + period effect + e_it, where d is 0
    unless the outcome moves later exposure, something else moves both, or the exposure is
    recorded late (a survey wave carried forward) or with error. Where L > 0, x_it is held too.

    Parameters
    ----------
    spec : what is claimed; its estimator is replaced by within, units absorbed. A column
        `x_lag1` of the panel counts as `x` with a lag of 1.
    conf_level : of each interval.

    Returns
    -------
    The tidy columns, one row for each exposure and then for each lead (`<x>_lead1`), then
    `exposure` (without its lag), `is_lead`, n_obs, n_clusters; outcome units per unit of the term.

    Raises
    ------
    SpecError, RankError, InferenceError : as `fit_panel`, e.g. where no unit is seen in two
        periods that follow each other.

    Notes
    -----
    Source: Wooldridge (2010), Econometric Analysis of Cross Section and Panel Data, 2nd ed.,
    section 10.7.1 (test of strict exogeneity by leads).

    Examples
    --------
    >>> rng = np.random.default_rng(5)
    >>> rows = pd.DataFrame(rng.normal(size=(360, 2)), columns=["x", "y"])
    >>> rows["unit"], rows["period"] = np.divmod(np.arange(360), 6)
    >>> panel = Panel.from_frame(rows, unit="unit", period="period")
    >>> lead_placebo(panel, PanelSpec(outcome="y", exposures=("x",)))["term"].tolist()
    ['x', 'x_lead1']
    """
    bases = [timed_term(panel, term)[0] for term in spec.exposures]
    timed = _timed_exposures(panel, spec)
    unique = list(dict.fromkeys(term for term, _ in timed))
    ahead, leads = _shift(panel, unique, -1)
    now = {term for term, lag in timed if lag == 0} | set(spec.controls)
    held = [] if spec.lag < 0 else [term for term in unique if term not in now]
    controls = (*spec.controls, *held, *leads)
    result = fit_panel(ahead, replace(within_spec(spec), controls=controls))
    tidy = result.tidy(conf_level)
    wanted = [*range(len(bases)), *range(len(tidy) - len(leads), len(tidy))]
    return (
        tidy.iloc[wanted]
        .reset_index(drop=True)
        .assign(
            exposure=[*bases, *unique],
            is_lead=[False] * len(bases) + [True] * len(unique),
            n_obs=result.n_obs,
            n_clusters=result.n_clusters,
        )
    )


def reverse_equation(panel: Panel, spec: PanelSpec, conf_level: float = 0.95) -> pd.DataFrame:
    """Does the outcome of one period earlier predict each exposure, within units?

    x_it = r y_i,t-1 + held terms + unit effect + period effect + e_it. Held are the exposure's
    own value at t-1 and all that explains the outcome at t-1 (the exposures at t-1-L, the
    controls at t-1): without them r would not be 0 where exposure drives outcome and goes on.

    Parameters
    ----------
    spec : what is claimed; only its roles, absorbed effects, errors and lag are used.
    conf_level : of each interval.

    Returns
    -------
    The tidy columns, one row for each exposure (term `<outcome>_lag1`; exposure units per outcome
    unit), then `exposure`, n_obs, n_clusters.

    Raises
    ------
    SpecError, RankError, InferenceError : as `fit_panel`.

    Notes
    -----
    Source: Granger (1969), Econometrica 37(3), 424-438, with unit effects. The held own past
    carries a bias of order 1/T, r does not where nothing runs backwards.

    Examples
    --------
    >>> rng = np.random.default_rng(5)
    >>> rows = pd.DataFrame(rng.normal(size=(360, 2)), columns=["x", "y"])
    >>> rows["unit"], rows["period"] = np.divmod(np.arange(360), 6)
    >>> panel = Panel.from_frame(rows, unit="unit", period="period")
    >>> reverse_equation(panel, PanelSpec(outcome="y", exposures=("x",)))["term"].tolist()
    ['y_lag1']
    """
    timed = _timed_exposures(panel, spec)
    moved, (before,) = _shift(panel, [spec.outcome], 1)
    held: list[str] = []
    for term, lag in timed:
        moved, names = _shift(moved, [term], 1 + lag)
        held += names
    moved, names = _shift(moved, spec.controls, 1)
    held += names
    frames = []
    for term in dict.fromkeys(term for term, _ in timed):
        moved, own = _shift(moved, [term], 1)
        others = [name for name in dict.fromkeys([*own, *held]) if name not in (before, term)]
        reverse = replace(
            within_spec(spec), outcome=term, exposures=(before,), controls=tuple(others), lag=0
        )
        result = fit_panel(moved, reverse)
        counts = {"n_obs": result.n_obs, "n_clusters": result.n_clusters}
        frames.append(result.tidy(conf_level).head(1).assign(exposure=term, **counts))
    return pd.concat(frames, ignore_index=True)


def reversed_order(panel: Panel, spec: MediationSpec, conf_level: float = 0.95) -> pd.DataFrame:
    """Each mediator and the outcome in swapped places: exposure -> outcome -> mediator.

    Parameters
    ----------
    spec : what is claimed. Lags stay with the steps: the outcome follows the exposure by
        `lag_mediator`, the mediator follows the outcome by `lag_outcome`.

    Returns
    -------
    The tidy columns and `mediator`; for each mediator three rows, all on the same rows of the
    panel: a:<outcome>, b:<outcome> with CR1 t intervals, and their product `indirect` (without
    an interval; `fit_mediation` of `swapped_spec` has one).

    Raises
    ------
    SpecError, RankError, InferenceError : as `fit_panel`; SpecError where lagged columns make a
        mediator precede the exposure.

    Notes
    -----
    Within one period, one mediator and the outcome have the same partial correlation whichever
    comes first: such data cannot tell the two orders apart.
    Source: Thoemmes (2015), Basic and Applied Social Psychology 37(4), 226-234.
    """
    return pd.concat(
        [_reversed_one(panel, spec, mediator, conf_level) for mediator in spec.mediators],
        ignore_index=True,
    )


def swapped_spec(panel: Panel, spec: MediationSpec, mediator: str) -> MediationSpec:
    """The spec with `mediator` and the outcome in swapped places, other mediators left out.

    >>> rows = pd.DataFrame({"unit": ["A"], "period": [1], "x": [1.0], "m": [2.0], "y": [3.0]})
    >>> panel = Panel.from_frame(rows, unit="unit", period="period")
    >>> spec = MediationSpec(outcome="y", exposure="x", mediators=("m",))
    >>> swapped = swapped_spec(panel, spec, "m")
    >>> swapped.exposure, swapped.mediators, swapped.outcome
    ('x', ('y',), 'm')
    """
    exposure, exposure_lag = timed_term(panel, spec.single_exposure)
    middle, middle_lag = timed_term(panel, mediator)
    outcome, outcome_lag = timed_term(panel, spec.outcome)
    first = spec.exposure_lag - spec.lag_of(mediator) + exposure_lag - middle_lag
    second = spec.lag_of(mediator) + middle_lag - outcome_lag
    if min(first, second) < 0:
        raise SpecError(
            f"By its lagged columns the spec puts {spec.single_exposure!r} {first} periods before "
            f"{mediator!r} and that {second} before {spec.outcome!r}: neither may be negative. "
            "Use columns without lags, and lag_mediator and lag_outcome."
        )
    return replace(
        spec,
        outcome=middle,
        exposure=exposure,
        mediators=(outcome,),
        structure="parallel",
        lag_mediator=first,
        lag_serial=0,
        lag_outcome=second,
    )


def timed_term(panel: Panel, term: str) -> tuple[str, int]:
    """A term without the lag in its columns' names, and that lag.

    >>> rows = pd.DataFrame({"unit": ["A"], "period": [1], "x": [1.0], "x_lag2": [2.0]})
    >>> panel = Panel.from_frame(rows, unit="unit", period="period")
    >>> timed_term(panel, "x_lag2"), timed_term(panel, "x_lag2^2"), timed_term(panel, "x")
    (('x', 2), ('x^2', 2), ('x', 0))
    """
    parts = []
    for column in term_columns(panel, term):
        found = re.fullmatch(r"(.+)_lag(\d+)", column)
        known = found is not None and found[1] in panel.frame.columns
        parts.append((found[1], int(found[2])) if found and known else (column, 0))
    lags = {lag for _, lag in parts}
    if len(lags) > 1:
        raise SpecError(
            f"The term {term!r} multiplies columns of different periods (lags "
            f"{', '.join(map(str, sorted(lags)))}), so it has no period of its own to move."
        )
    return _joined([name for name, _ in parts]), lags.pop()


def within_spec(spec: PanelSpec) -> PanelSpec:
    """The spec with units absorbed and errors that allow for repeated measurement."""
    refuse_instruments(spec, "A check of the order in time")
    absorb = spec.absorb if "unit" in spec.absorb else ("unit", *spec.absorb)
    vcov = spec.vcov if spec.vcov in ("cluster", "jackknife") else "cluster"
    return replace(spec, estimator="within", absorb=absorb, vcov=vcov)


def _timed_exposures(panel: Panel, spec: PanelSpec) -> list[tuple[str, int]]:
    """Exposures other than the outcome's own past, without their lag, and that lag."""
    outcome = timed_term(panel, spec.outcome)[0]
    timed = [timed_term(panel, term) for term in spec.exposures]
    others = [(term, lag + spec.lag) for term, lag in timed if term != outcome]
    if not others:
        raise SpecError(
            f"The spec's exposures are the past of {outcome!r} itself, so there is no other "
            "variable whose order in time could be checked."
        )
    return others


def _shift(panel: Panel, terms: Iterable[str], by: int) -> tuple[Panel, list[str]]:
    """The panel with the columns of `terms` moved `by` periods, and the moved terms."""
    parts = [term_columns(panel, term) for term in terms]
    if by == 0 or not parts:
        return panel, [_joined(columns) for columns in parts]
    moved = panel.with_lag(list(dict.fromkeys(c for columns in parts for c in columns)), by)
    suffix = f"lag{by}" if by > 0 else f"lead{-by}"
    return moved, [_joined([f"{column}_{suffix}" for column in columns]) for columns in parts]


def _joined(columns: Sequence[str]) -> str:
    """The term that multiplies `columns`."""
    alike = len(columns) > 1 and len(set(columns)) == 1
    return f"{columns[0]}^{len(columns)}" if alike else ":".join(columns)


def _reversed_one(
    panel: Panel, spec: MediationSpec, mediator: str, conf_level: float
) -> pd.DataFrame:
    swapped = swapped_spec(panel, spec, mediator)
    (middle,) = swapped.mediators
    first = swapped.lag_mediator + swapped.lag_outcome
    moved, (exposure,) = _shift(panel, [swapped.single_exposure], first)
    moved, (between,) = _shift(moved, [middle], swapped.lag_outcome)
    names = [swapped.outcome, exposure, between, *spec.controls]
    present = [~np.isnan(term_values(moved, DesignTerm(name))) for name in names]
    if not np.all(present, axis=0).any():
        raise SpecError(
            f"No row holds {exposure}, {between} and {swapped.outcome}, so the other order "
            "cannot be fitted. Check that the columns overlap and the lags fit the panel."
        )
    moved = moved.where(np.all(present, axis=0))
    step = PanelSpec(
        outcome=between,
        exposures=(exposure,),
        controls=spec.controls,
        absorb=spec.absorb,
        cluster=spec.cluster,
        weights=spec.weights,
    )
    a = fit_panel(moved, step).tidy(conf_level).head(1).assign(term=f"a:{middle}")
    last = replace(step, outcome=swapped.outcome, exposures=(between, exposure))
    b = fit_panel(moved, last).tidy(conf_level).head(1).assign(term=f"b:{middle}")
    product = dict.fromkeys(TIDY, np.nan) | {
        "term": "indirect",
        "estimate": float(a["estimate"].iloc[0] * b["estimate"].iloc[0]),
        "conf_level": conf_level,
    }
    rows = pd.concat([a, b, pd.DataFrame([product])], ignore_index=True)
    return rows.assign(mediator=swapped.outcome)
