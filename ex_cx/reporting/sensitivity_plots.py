"""Figures of sensitivity to confounding, from the frames that its analyses give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ex_cx.reporting.numbers import label, number
from ex_cx.reporting.plots import shorten
from ex_cx.reporting.theme import ACCENT, GREY, INK, LINE, PAPER, SOFT, WIDE, axes, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_robustness", "plot_sensitivity"]


def plot_sensitivity(
    curve: pd.DataFrame,
    tidy: pd.DataFrame,
    *,
    term: str | None = None,
    ylabel: str = "",
    ax: Axes | None = None,
) -> Axes:
    """The indirect effect over the correlation of errors, its band, and where it is undone.

    Parameters
    ----------
    curve, tidy : of a `MediationSensitivity`, at one level.
    term : the path drawn; by default the first.
    ylabel : what the axis shows, with its unit; by default the path's name.
    """
    name = term or str(tidy["term"].iloc[0])
    line = curve[curve["term"] == name]
    row = tidy[tidy["term"] == name].iloc[0]
    rho = line["rho"].to_numpy(float)
    with style():
        ax = axes(ax, WIDE, 3.7)
        ax.axhline(0, color=INK, linewidth=1)
        low, high = line["conf_low"].to_numpy(float), line["conf_high"].to_numpy(float)
        ax.fill_between(rho, low, high, color=ACCENT, alpha=0.13, linewidth=0)
        ax.plot(rho, line["estimate"], color=ACCENT, linewidth=2)
        ax.plot([0], [row["estimate"]], "o", color=ACCENT, markersize=7)
        ax.margins(x=0.02, y=0.14)
        marks = {"interval": row["rho_interval"], "estimate": row["rho_zero"]}
        for what, at in marks.items():
            if np.isfinite(at) and rho.min() <= at <= rho.max():
                _crossing(ax, float(at), what)
        ax.grid()
        ax.tick_params(length=0)
        ax.set_xlabel("Correlation of the mediator's and the outcome's errors (0: no confounder)")
        ax.set_ylabel(shorten(ylabel or name, 46), parse_math=False)
        ax.set_title(
            shorten(_told(row), 96), loc="left", color=SOFT, fontsize=9.5, parse_math=False
        )
    return ax


def _crossing(ax: Axes, rho: float, what: str) -> None:
    estimate = what == "estimate"
    ax.plot(
        [rho],
        [0],
        "o",
        markersize=8,
        markeredgewidth=2,
        color=ACCENT if estimate else GREY,
        markerfacecolor=PAPER,
    )
    ax.annotate(
        f"{what} {number(rho)}",
        (rho, 0),
        xytext=(0, 11 if estimate else -11),
        textcoords="offset points",
        ha="center",
        va="bottom" if estimate else "top",
        color=ACCENT if estimate else SOFT,
        weight="bold" if estimate else "normal",
        size=9,
        parse_math=False,
    )


def _told(row: pd.Series) -> str:
    level = f"{100 * row['conf_level']:g} % interval"
    if row["rho_interval"] == 0:
        return f"The {level} holds zero without any confounder"
    ends = [f"the estimate is zero at {number(row['rho_zero'])}"]
    if np.isfinite(row["rho_interval"]):
        ends.append(f"the {level} reaches zero at {number(row['rho_interval'])}")
    text = ", ".join(ends)
    return text[0].upper() + text[1:]


def plot_robustness(
    tidy: pd.DataFrame,
    bounds: pd.DataFrame,
    *,
    strength: float = 1.0,
    labels: Mapping[str, str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Robustness values of coefficients as bars, observed controls as marks beside them.

    A confounder whose two shares both lie short of a bar's end does not bring the estimate (pale)
    or the end of its interval (full colour) to zero. A control is marked at the larger of its two.

    Parameters
    ----------
    tidy, bounds : of an `OmittedVariables`, at one level; bounds may be empty.
    strength : of the confounders marked, as a multiple of the control.
    labels : names of terms and controls for the reader.
    """
    names = labels or {}
    level = f"{100 * tidy['conf_level'].iloc[0]:g} %"
    with style():
        ax = axes(ax, WIDE, 1.3 + 0.62 * len(tidy))
        for at, (_, row) in enumerate(tidy.iterrows()):
            ends = [100 * row["robustness_value"], 100 * row["robustness_value_interval"]]
            ax.barh(-at, ends[0], height=0.5, color=LINE)
            ax.barh(-at, ends[1], height=0.5, color=ACCENT, alpha=0.85)
            _controls(ax, at, bounds[bounds["term"] == row["term"]], strength, names)
        ax.set_yticks(-np.arange(len(tidy)))
        ax.set_yticklabels(
            [shorten(label(term, names), 30) for term in tidy["term"]], parse_math=False
        )
        ax.set_ylim(-len(tidy) + 0.35, 0.75)
        ax.set_xlim(left=0)
        ax.grid(axis="x")
        ax.spines[["left", "bottom"]].set_visible(False)
        ax.tick_params(length=0)
        ax.set_xlabel("Share of what is left of both sides that a confounder must explain, %")
        ax.set_title(
            f"Pale: the estimate is gone. Blue: its {level} interval reaches zero. "
            f"Marks: {strength:g} times a control",
            loc="left",
            color=SOFT,
            fontsize=9,
        )
    return ax


def _controls(
    ax: Axes, at: int, bounds: pd.DataFrame, strength: float, names: Mapping[str, str]
) -> None:
    """Each control's mark; the strongest is named."""
    shown = bounds[(bounds["strength"] == strength) & bounds["r2_term"].notna()]
    if shown.empty:
        return
    sizes = 100 * shown[["r2_term", "r2_outcome"]].max(axis=1).to_numpy(float)
    ax.plot(
        sizes,
        np.full(len(sizes), -at),
        "D",
        color=INK,
        markersize=6,
        markeredgecolor=PAPER,
        linestyle="none",
    )
    strongest = int(sizes.argmax())
    ax.annotate(
        shorten(label(str(shown["benchmark"].iloc[strongest]), names), 20),
        (sizes[strongest], -at),
        xytext=(0, 13),
        textcoords="offset points",
        ha="left" if sizes[strongest] < 1 else "center",
        va="bottom",
        size=8.5,
        color=SOFT,
        parse_math=False,
    )
