"""Figures of shape: an exposure's curve with its bands, and what follows it period by period."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ex_cx.models.curve import CurveResult
from ex_cx.models.lags import LagResult
from ex_cx.reporting.numbers import capital, count, equals, interval, label, number, split_unit
from ex_cx.reporting.plots import axis_label, finish_axes
from ex_cx.reporting.report import Figure, draw_figure
from ex_cx.reporting.theme import ACCENT, GREY, INK, SOFT, WIDE, axes, style
from ex_cx.reporting.wording import unit_words

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_curve", "draw_lags", "plot_curve", "plot_lags"]

_STRIP = 0.16
"""Height of the strip that shows where the rows are, as a share of the figure's."""


def plot_curve(
    curve: pd.DataFrame,
    *,
    reference: float,
    xlabel: str,
    ylabel: str,
    ax: Axes | None = None,
) -> Axes:
    """Difference in the outcome along an exposure, with both bands and where the rows are.

    Parameters
    ----------
    curve : exposure (ascending), difference, conf_low, conf_high, band_low, band_high, n_near,
        conf_level; as from `CurveResult.curve`.
    reference : value of the exposure at which the difference is zero; marked.
    xlabel, ylabel : what the axes show, with units.
    """
    x = curve["exposure"].to_numpy(float)
    with style():
        ax = axes(ax, WIDE, 3.9)
        ax.axhline(0, color=INK, linewidth=1)
        for low, high, alpha in (("band_low", "band_high", 0.10), ("conf_low", "conf_high", 0.18)):
            ax.fill_between(x, curve[low], curve[high], color=ACCENT, alpha=alpha, linewidth=0)
        ax.plot(x, curve["difference"], color=ACCENT, linewidth=2.2)
        ax.plot([reference], [0], "o", color=INK, markersize=6, zorder=4)
        _strip(ax, x, curve["n_near"].to_numpy(float))
        return finish_axes(ax, xlabel, ylabel)


def _strip(ax: Axes, x: np.ndarray, near: np.ndarray) -> None:
    """How many rows lie near each value, as a grey area below the curve."""
    low, high = ax.get_ylim()
    base = low - _STRIP * (high - low)
    top = base + 0.8 * _STRIP * (high - low) * near / max(near.max(), 1.0)
    ax.fill_between(x, base, top, color=GREY, alpha=0.45, linewidth=0)
    ax.set_ylim(base, high)
    ticks = [tick for tick in ax.get_yticks() if low <= tick <= high]
    ax.set_yticks(ticks)
    ax.text(
        0.01, 0.02, "rows", transform=ax.transAxes, color=SOFT, size=8.5, parse_math=False
    )  # fmt: skip


def draw_curve(
    result: CurveResult, *, conf_level: float = 0.95, labels: Mapping[str, str] | None = None
) -> Figure:
    """The curve of an exposure as a figure with its caption and alt text."""
    names, fit = labels or {}, result.fit
    curve = result.curve(conf_level=conf_level)
    outcome, term = fit.spec.outcome, result.terms[0]
    words, unit = split_unit(label(term, names))
    at = f"{number(result.reference)}{unit_words(unit).replace(' percentage points', ' %')}"
    ax = plot_curve(
        curve,
        reference=result.reference,
        xlabel=label(term, names),
        ylabel=axis_label(outcome, names, ", difference"),
    )
    level = f"{100 * conf_level:g} %"
    caption = (
        f"{capital(split_unit(label(outcome, names))[0])}: difference from where {words} is {at} "
        f"(dot), by a restricted cubic spline with {len(result.knots)} knots, all else as in the "
        f"regression; n = {count(fit.n_obs)} rows, {count(fit.n_clusters)} clusters. "
        f"Inner: {level} interval at each value; outer: {level} band for the whole curve; grey: "
        "where the rows are, from the 1st to the 99th percentile. "
        f"Straight line: p {equals(result.linearity.p_value)}; "
        f"no association: p {equals(result.association.p_value)}."
    )
    ends = curve.iloc[[0, len(curve) // 2, -1]]
    said = "; ".join(
        f"at {number(row['exposure'])}: {number(row['difference'], row['std_error'])} "
        f"({level} interval {interval(row['conf_low'], row['conf_high'])})"
        for _, row in ends.iterrows()
    )
    alt = (
        f"Curve of {label(outcome, names)} along {label(term, names)}, as difference from {at}: "
        f"{said}."
    )
    return draw_figure(ax, "curve", caption=caption, alt=alt)


def plot_lags(
    by_lag: pd.DataFrame,
    cumulative: pd.DataFrame,
    *,
    xlabel: str,
    ylabel: str,
    ax: Axes | None = None,
) -> Axes:
    """What goes with one unit more at each lag, and the running sum, with their intervals.

    Parameters
    ----------
    by_lag : lag (negative: lead), estimate, conf_low, conf_high; as from `LagResult.by_lag`.
    cumulative : the same columns, as from `LagResult.cumulative`.
    xlabel, ylabel : what the axes show, with units.
    """
    with style():
        ax = axes(ax, WIDE, 3.7)
        ax.axhline(0, color=INK, linewidth=1)
        ax.vlines(by_lag["lag"], by_lag["conf_low"], by_lag["conf_high"], color=GREY, linewidth=3)
        ax.plot(by_lag["lag"], by_lag["estimate"], "o", color=GREY, markersize=6, label="each lag")
        ax.fill_between(
            cumulative["lag"], cumulative["conf_low"], cumulative["conf_high"],
            color=ACCENT, alpha=0.15, linewidth=0,
        )  # fmt: skip
        ax.plot(
            cumulative["lag"], cumulative["estimate"], "o-",
            color=ACCENT, linewidth=2.2, markersize=4, label="running sum",
        )  # fmt: skip
        lags = by_lag["lag"].tolist()
        ax.set_xticks(lags[:: -(-len(lags) // 12)])
        ax.legend(frameon=False, loc="best", labelcolor=SOFT)
        return finish_axes(ax, xlabel, ylabel)


def draw_lags(
    result: LagResult, *, conf_level: float = 0.95, labels: Mapping[str, str] | None = None
) -> Figure:
    """The lags of an exposure and their running sum as a figure with its caption and alt text."""
    names, fit = labels or {}, result.fit
    each, sums = result.by_lag(conf_level=conf_level), result.cumulative(conf_level=conf_level)
    outcome, level = label(fit.spec.outcome, names), f"{100 * conf_level:g} %"
    words, unit = split_unit(label(result.exposure, names))
    more = f"1 more {words}{f' ({unit})' if unit else ''}"
    leads = "; negative: after the outcome, a placebo" if result.lead_test is not None else ""
    ax = plot_lags(
        each, sums, xlabel=f"Periods from {words} to the outcome{leads}", ylabel=capital(outcome)
    )
    caption = (
        f"{capital(outcome)} per {more}, by how many periods it came before: grey, each lag given "
        f"the others; blue, their running sum from lag 0 on, for a change that lasts. {level} "
        f"intervals, of the sums from the joint covariance; n = {count(fit.n_obs)} rows, "
        f"{count(fit.n_clusters)} clusters. No lag: p {equals(result.lag_test.p_value)}"
        + (f"; no lead: p {equals(result.lead_test.p_value)}." if result.lead_test else ".")
    )
    said = "; ".join(
        f"to lag {row['lag']:.0f}: {number(row['estimate'], row['std_error'])} "
        f"({level} interval {interval(row['conf_low'], row['conf_high'])})"
        for _, row in sums.iterrows()
    )
    return draw_figure(
        ax, "lags", caption=caption, alt=f"Running sums of {outcome} per {more}: {said}."
    )
