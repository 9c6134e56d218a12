"""E-values: how strong, as risk ratios, an unmeasured confounder must be to explain an effect."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ex_cx.errors import SpecError
from ex_cx.linkage.panel import Panel
from ex_cx.models.mediation import MediationResult
from ex_cx.robustness.mediation_rows import MediationRows, mediation_rows

__all__ = ["e_value", "mediational_e_values"]

PER_SD = 0.91
"""Logarithm of the risk ratio for a difference of one standard deviation."""
LARGEST_D = 100.0
"""Standard deviations of the outcome beyond which no ratio is computed."""


def e_value(risk_ratio: float) -> float:
    """The E-value of a risk ratio: RR + sqrt(RR (RR - 1)), of 1 / RR where RR is below 1.

    A confounder with this risk ratio for both the exposure and the outcome could explain the
    association; a weaker one could not.

    Source: VanderWeele and Ding (2017), Annals of Internal Medicine 167(4), 268-274.

    >>> round(e_value(3.9), 2), e_value(1.0)
    (7.26, 1.0)
    """
    if isinstance(risk_ratio, str) or not 0 < risk_ratio < np.inf:
        raise SpecError(f"risk_ratio={risk_ratio!r} is not a positive number.")
    ratio = max(risk_ratio, 1 / risk_ratio)
    return float(ratio + np.sqrt(ratio * (ratio - 1)))


def mediational_e_values(
    panel: Panel,
    result: MediationResult,
    *,
    change: float | None = None,
    conf_level: float = 0.95,
) -> pd.DataFrame:
    """E-values of direct, indirect and total effects.

    Parameters
    ----------
    panel : the rows that `result` was fitted to; `result` : with one exposure, no moderator.
    change : of the exposure, in its units, whose effect is judged; by default one standard
        deviation of it, net of the absorbed effects.
    conf_level : of the intervals.

    Returns
    -------
    Columns term, change, standardised (effect of the change over the outcome's standard deviation
    given exposure, controls and effects), risk_ratio, ratio_low, ratio_high, e_value,
    e_value_interval (1 where the interval holds no effect), conf_level.

    Raises
    ------
    SpecError : several exposures, a moderator, an interaction, no change, or a panel other than the
        result's.

    Notes
    -----
    The ratio is exp(0.91 d), which takes the outcome as a normal one that is cut near its middle.
    Of direct and indirect effects the E-value is the mediational one: a confounder of mediator and
    outcome, not moved by the exposure, with this ratio for the outcome and, given the mediator, for
    the exposure. Of the total effect it is the usual one. It grows with the change.
    Source: Smith and VanderWeele (2019), Epidemiology 30(6), 835-837; VanderWeele and Ding (2017),
    Annals of Internal Medicine 167(4), 268-274, table 2, for 0.91.

    Examples
    --------
    >>> from ex_cx import MediationSpec, fit_mediation
    >>> rng = np.random.default_rng(7)
    >>> x = rng.normal(size=400)
    >>> m = 0.5 * x + rng.normal(size=400)
    >>> units, periods = np.divmod(np.arange(400), 8)
    >>> rows = pd.DataFrame({"unit": units, "period": periods,
    ...                      "x": x, "m": m, "y": 0.4 * m + rng.normal(size=400)})
    >>> panel = Panel.from_frame(rows, unit="unit", period="period")
    >>> spec = MediationSpec(outcome="y", exposure="x", mediators=("m",))
    >>> result = fit_mediation(panel, spec, n_boot=999, rng=rng)
    >>> mediational_e_values(panel, result)["term"].tolist()
    ['direct', 'indirect:m', 'indirect', 'total']
    """
    rows = mediation_rows(panel, result.spec)
    _check_same_rows(rows, result)
    whole = rows.model.equations[-1]
    sd_outcome = np.sqrt(rows.equation(whole).rss / rows.dof(whole))
    if change is None:
        left = rows.dof(whole) + len(whole.regressors)
        change = float(np.sqrt(rows.moments.total[1, 1] / left))
    _check_change(change)
    table = result.tidy(conf_level)
    kept = table["term"].isin(["direct", "indirect", "total"])
    table = table[kept | table["term"].str.startswith("indirect:")]
    effects = table[["estimate", "conf_low", "conf_high"]].to_numpy(dtype=float)
    sizes = np.sort(effects[:, 1:] * change / sd_outcome, axis=1)
    d = effects[:, 0] * change / sd_outcome
    _check_sizes(sizes, change)
    ratios = np.exp(PER_SD * np.column_stack([d, sizes]))
    return pd.DataFrame(
        {
            "term": table["term"].to_numpy(),
            "change": change,
            "standardised": d,
            "risk_ratio": ratios[:, 0],
            "ratio_low": ratios[:, 1],
            "ratio_high": ratios[:, 2],
            "e_value": [e_value(ratio) for ratio in ratios[:, 0]],
            "e_value_interval": [_nearer(low, high) for low, high in ratios[:, 1:]],
            "conf_level": conf_level,
        }
    )


def _check_same_rows(rows: MediationRows, result: MediationResult) -> None:
    counts = rows.design.counts()
    other = [name for name, value in counts.items() if value != getattr(result, name)]
    if other:
        told = "; ".join(
            f"{name} is {counts[name]}, there {getattr(result, name)}" for name in other
        )
        raise SpecError(
            f"The panel is not the one that the result was fitted to: {told}. Give both the same."
        )


def _check_change(change: float) -> None:
    number = isinstance(change, int | float | np.number) and np.isfinite(change)
    if not number or change == 0:
        raise SpecError(
            f"change={change!r} of the exposure is none. Give its size in its own units."
        )


def _check_sizes(sizes: np.ndarray, change: float) -> None:
    largest = np.abs(sizes).max()
    if largest > LARGEST_D:
        raise SpecError(
            f"A change of {change:g} moves the outcome by up to {largest:.3g} standard deviations, "
            "where a risk ratio means nothing. Give a change that occurs."
        )


def _nearer(low: float, high: float) -> float:
    """E-value of the interval's end nearer to no effect; 1 where it holds no effect."""
    if low > 1:
        return e_value(low)
    return e_value(high) if high < 1 else 1.0
