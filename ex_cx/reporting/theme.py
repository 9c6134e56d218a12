"""One look for all figures: calm type, one accent for the answer, grey for the rest."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "ACCENT",
    "GREY",
    "INK",
    "LINE",
    "PAPER",
    "SOFT",
    "WASH",
    "WIDE",
    "axes",
    "style",
    "themed",
]

INK, SOFT, LINE, PAPER, WASH = "#1b1f24", "#59636e", "#dfe3e8", "#ffffff", "#f5f7f9"
ACCENT, GREY = "#0b5cad", "#7a8490"
WIDE = 7.6
"""Width of every figure in inches, so that letters have one size throughout a page."""

_VARIABLES = {
    INK: "--ink",
    SOFT: "--soft",
    LINE: "--line",
    PAPER: "--paper",
    WASH: "--wash",
    ACCENT: "--main",
    GREY: "--muted",
}


@contextmanager
def style() -> Iterator[None]:
    """The settings under which every figure is drawn and saved."""
    import matplotlib as mpl

    settings: Any = {
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"],
        "font.size": 10,
        "text.color": INK,
        "axes.labelcolor": SOFT,
        "axes.edgecolor": LINE,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.labelsize": 9.5,
        "axes.axisbelow": True,
        "xtick.color": SOFT,
        "ytick.color": SOFT,
        "xtick.labelsize": 9,
        "ytick.labelsize": 9,
        "grid.color": LINE,
        "grid.linewidth": 0.8,
        "svg.fonttype": "none",
        "figure.facecolor": PAPER,
        "axes.facecolor": "none",
        "savefig.facecolor": PAPER,
    }
    with mpl.rc_context(settings):
        yield


def axes(ax: Axes | None, width: float, height: float) -> Axes:
    """The axes given, or those of a new figure of this size in inches."""
    if ax is not None:
        return ax
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained").add_subplot()


def themed(svg: str) -> str:
    """An SVG whose colours follow the page: each colour of the theme becomes its CSS variable.

    >>> themed('<path style="fill: #0b5cad"/><text>#0b5cad</text>')
    '<path style="fill: var(--main, #0b5cad)"/><text>#0b5cad</text>'
    """

    def colour(match: re.Match[str]) -> str:
        variable = _VARIABLES.get(match[0].lower())
        return f"var({variable}, {match[0]})" if variable else match[0]

    def styled(match: re.Match[str]) -> str:
        return re.sub(r"#[0-9a-fA-F]{6}\b", colour, match[0])

    return re.sub(r'(?<= )style="[^"]*"', styled, svg)
