"""Would another story fit as well? Other orders of the same variables, and placebos from later."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from ex_cx.errors import SpecError
from ex_cx.estimation.design import term_columns
from ex_cx.linkage.panel import Panel
from ex_cx.models.mediation import MediationSpec, fit_mediation
from ex_cx.robustness.direction import swapped_spec, timed_term
from ex_cx.robustness.findings import spread_within
from ex_cx.robustness.mediation_rows import refuse_products

__all__ = ["compare_orders", "placebo_paths"]


def compare_orders(
    panel: Panel,
    spec: MediationSpec,
    *,
    n_boot: int = 1999,
    rng: np.random.Generator,
    conf_level: float = 0.95,
) -> pd.DataFrame:
    """The mediation as claimed, with mediator and outcome, and with exposure and mediator, swapped.

    Parameters
    ----------
    panel, spec : as for `fit_mediation`, one exposure; each mediator by itself. Lags stay with the
        steps: what comes second follows what comes first by the claimed mediator's lag.
    n_boot, rng : as for `fit_mediation`, for each order anew.

    Returns
    -------
    Columns mediator, order (claimed, reversed, exposure_swapped), path, then the tidy columns for
    a, b, direct and indirect, `standardised` (the estimate in standard deviations, within units
    where these are absorbed), n_obs, n_clusters.

    Raises
    ------
    SpecError, RankError, InferenceError : as `fit_mediation`.

    Notes
    -----
    Within one period the orders fit the data equally well: what their paths show is then no
    evidence for one of them. Rows may differ between orders with lags.
    Source: Thoemmes (2015), Basic and Applied Social Psychology 37(4), 226-234.
    """
    frames = []
    for mediator in spec.mediators:
        alone = _alone(spec, mediator)
        turned = swapped_spec(panel, alone, mediator)
        (outcome,) = turned.mediators
        orders = {
            "claimed": alone,
            "reversed": turned,
            "exposure_swapped": replace(
                turned,
                exposure=turned.outcome,
                mediators=(turned.single_exposure,),
                outcome=outcome,
            ),
        }
        for order, one in orders.items():
            found = _fitted(panel, one, n_boot, rng, conf_level)
            path = f"{one.single_exposure} -> {one.mediators[0]} -> {one.outcome}"
            found.insert(0, "mediator", mediator)
            found.insert(1, "order", order)
            found.insert(2, "path", path)
            frames.append(found)
    return pd.concat(frames, ignore_index=True)


def placebo_paths(
    panel: Panel,
    spec: MediationSpec,
    *,
    n_boot: int = 1999,
    rng: np.random.Generator,
    conf_level: float = 0.95,
) -> pd.DataFrame:
    """Paths through what comes too late: the mediator, and the exposure, of the period after.

    What is measured one period after the outcome can neither have carried nor caused it. With the
    mediator (exposure) of its own time held, a path through it shows confounding that moves in
    time, an outcome that acts back, or a record that lags.

    Parameters
    ----------
    panel, spec : as for `fit_mediation`, one exposure; each mediator by itself.
    n_boot, rng : as for `fit_mediation`, for each placebo anew.

    Returns
    -------
    Columns mediator, kind (claimed, placebo_mediator, placebo_exposure), path, then the tidy
    columns for a, b, direct and indirect, `standardised`, n_obs, n_clusters. Placebos lose the
    last period of each unit.

    Raises
    ------
    SpecError : as `fit_mediation`; terms that are products or powers.
    RankError, InferenceError : as `fit_mediation`.

    Examples
    --------
    >>> rng = np.random.default_rng(5)
    >>> rows = pd.DataFrame(rng.normal(size=(360, 3)), columns=["x", "m", "y"])
    >>> rows["unit"], rows["period"] = np.divmod(np.arange(360), 6)
    >>> panel = Panel.from_frame(rows, unit="unit", period="period")
    >>> spec = MediationSpec(outcome="y", exposure="x", mediators=("m",))
    >>> placebo_paths(panel, spec, n_boot=99, rng=rng)["path"].unique().tolist()
    ['x -> m -> y', 'x -> m_lead1 -> y', 'x_lead1 -> m -> y']
    """
    frames = []
    for mediator in spec.mediators:
        alone = _alone(spec, mediator)
        exposure = alone.single_exposure
        later_m, m_placebo = _later(panel, mediator, alone.lag_outcome)
        later_x, x_placebo = _later(panel, exposure, alone.exposure_lag)
        later_m, m_held = _held(later_m, mediator, alone.lag_outcome)
        later_x, x_held = _held(later_x, exposure, alone.exposure_lag)
        of_mediator = replace(alone, mediators=(m_placebo,), controls=_with(alone.controls, m_held))
        of_exposure = replace(alone, exposure=x_placebo, controls=_with(alone.controls, x_held))
        for kind, rows, one in (
            ("claimed", panel, alone),
            ("placebo_mediator", later_m, of_mediator),
            ("placebo_exposure", later_x, of_exposure),
        ):
            found = _fitted(rows, one, n_boot, rng, conf_level)
            names = [one.single_exposure, one.mediators[0], one.outcome]
            lags = [one.exposure_lag, one.lag_outcome, 0]
            found.insert(0, "mediator", mediator)
            found.insert(1, "kind", kind)
            found.insert(2, "path", " -> ".join(map(_at_its_time, names, lags)))
            frames.append(found)
    return pd.concat(frames, ignore_index=True)


def _alone(spec: MediationSpec, mediator: str) -> MediationSpec:
    """One mediator by itself, at its own distance from exposure and outcome."""
    refuse_products(spec)
    after = spec.lag_of(mediator)
    return replace(
        spec,
        exposure=spec.single_exposure,
        mediators=(mediator,),
        structure="parallel",
        lag_mediator=spec.exposure_lag - after,
        lag_serial=0,
        lag_outcome=after,
    )


def _later(panel: Panel, term: str, lag: int) -> tuple[Panel, str]:
    """The panel with a column that, taken `lag` periods earlier, is the term one period later."""
    if len(term_columns(panel, term)) > 1:
        raise SpecError(
            f"A placebo is the later value of one column; {term!r} is a product or a power. Add "
            "it to the panel as a column of its own."
        )
    base, _ = timed_term(panel, term)
    return panel.with_lag([base], -(1 + lag)), f"{base}_lead{1 + lag}"


def _held(panel: Panel, term: str, lag: int) -> tuple[Panel, str]:
    """The panel with the term's own value in a column of the outcome's period."""
    if lag == 0:
        return panel, term
    return panel.with_lag([term], lag), f"{term}_lag{lag}"


def _with(controls: tuple[str, ...], held: str) -> tuple[str, ...]:
    return controls if held in controls else (*controls, held)


def _at_its_time(name: str, lag: int) -> str:
    """`m_lead3` taken two periods earlier is `m_lead1` for the reader."""
    base, sign, number = name.rpartition("_lead")
    if sign and number.isdigit() and int(number) > lag:
        return f"{base}_lead{int(number) - lag}"
    return f"{name}_lag{lag}" if lag else name


def _fitted(
    panel: Panel, spec: MediationSpec, n_boot: int, rng: np.random.Generator, conf_level: float
) -> pd.DataFrame:
    """a, b, direct and indirect of one mediator, also in standard deviations."""
    result = fit_mediation(panel, spec, n_boot=n_boot, rng=rng)
    x, (m,), y = spec.single_exposure, spec.mediators, spec.outcome
    table = result.tidy(conf_level)
    table = table[table["term"].isin([f"a:{m}", f"b:{m}", "direct", "indirect"])].copy()
    column = "sd_within" if "unit" in spec.absorb else "sd"
    sd = spread_within(panel, [x, m, y])[column]
    factors = {f"a:{m}": sd[x] / sd[m], f"b:{m}": sd[m] / sd[y]}
    whole = sd[x] / sd[y]
    table["standardised"] = [
        estimate * factors.get(term, whole)
        for term, estimate in zip(table["term"], table["estimate"], strict=True)
    ]
    return table.assign(n_obs=result.n_obs, n_clusters=result.n_clusters)
