"""Figures of mediation: the indirect effect along a moderator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ex_cx.models.mediation_result import MediationResult
from ex_cx.reporting.numbers import capital, count, interval, label, number
from ex_cx.reporting.plots import axis_label, finish_axes
from ex_cx.reporting.report import Figure, draw_figure
from ex_cx.reporting.theme import ACCENT, INK, WIDE, axes, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_conditional_indirect", "plot_conditional_indirect"]

_GRID = 31
_FEW_VALUES = 5


def plot_conditional_indirect(
    conditional: pd.DataFrame,
    *,
    term: str = "indirect",
    xlabel: str,
    ylabel: str,
    ax: Axes | None = None,
) -> Axes:
    """An effect along a moderator, with its intervals and its band.

    Parameters
    ----------
    conditional : term, estimate, conf_low, conf_high, moderator, band_low, band_high, as from
        `MediationResult.conditional`. Up to five values of the moderator are points with their
        intervals, more of them a line.
    term : which of its terms to draw.
    xlabel, ylabel : what the axes show, with units.
    """
    rows = conditional[conditional["term"] == term].sort_values("moderator")
    x, estimate = rows["moderator"].to_numpy(float), rows["estimate"].to_numpy(float)
    with style():
        ax = axes(ax, WIDE, 3.6)
        ax.axhline(0, color=INK, linewidth=1)
        if len(x) <= _FEW_VALUES:
            for low, high, width, alpha in (
                ("band_low", "band_high", 7, 0.16),
                ("conf_low", "conf_high", 2.2, 1.0),
            ):
                ax.vlines(x, rows[low], rows[high], color=ACCENT, linewidth=width, alpha=alpha)
            ax.plot(x, estimate, "o", color=ACCENT, markersize=7, zorder=3)
            ax.set_xticks(x)
            ax.margins(x=0.15)
        else:
            for low, high, alpha in (
                ("band_low", "band_high", 0.10),
                ("conf_low", "conf_high", 0.18),
            ):
                ax.fill_between(x, rows[low], rows[high], color=ACCENT, alpha=alpha, linewidth=0)
            ax.plot(x, estimate, color=ACCENT, linewidth=2.2)
        return finish_axes(ax, xlabel, ylabel)


def draw_conditional_indirect(
    result: MediationResult, *, conf_level: float = 0.95, labels: Mapping[str, str] | None = None
) -> Figure:
    """The indirect effect, all paths together, along the moderator: figure, caption, alt text.

    Drawn from the lowest to the highest of the values that `result.conditional` shows by itself.

    Raises
    ------
    SpecError : a mediation without moderator.
    """
    names, spec = labels or {}, result.spec
    shown = result.conditional(conf_level=conf_level)
    ends = shown["moderator"].min(), shown["moderator"].max()
    few = result.levels is not None and result.levels.every_value
    at = np.unique(shown["moderator"]) if few else np.linspace(*ends, _GRID)
    moderator = label(str(spec.moderator), names)
    deviation = ", deviation from the unit's own mean" if spec.products == "within" else ""
    outcome, exposure = label(spec.outcome, names), label(spec.single_exposure, names)
    ax = plot_conditional_indirect(
        result.conditional(at, conf_level=conf_level),
        xlabel=f"{moderator}{deviation}",
        ylabel=axis_label(spec.outcome, names, ", indirect"),
    )
    level = f"{100 * conf_level:g} %"
    through = ", ".join(label(m, names) for m in spec.mediators)
    span = "at each of its values" if few else "from its 10th to its 90th percentile"
    caption = (
        f"{capital(outcome)} per 1 more {exposure}, through {through}, along {moderator}"
        f"{deviation} {span}; n = {count(result.n_obs)} rows, {count(result.n_clusters)} clusters. "
        f"Inner: {level} interval at each value; outer: {level} band for all values at once; from "
        f"{count(len(result.draws))} draws."
    )
    rows = shown[shown["term"] == "indirect"]
    said = "; ".join(
        f"at {number(row['moderator'])}: {number(row['estimate'], row['std_error'])} "
        f"({interval(row['conf_low'], row['conf_high'])})"
        for _, row in rows.iterrows()
    )
    alt = f"Indirect effect of {exposure} on {outcome} along {moderator}{deviation}: {said}."
    return draw_figure(ax, "conditional_indirect", caption=caption, alt=alt)
