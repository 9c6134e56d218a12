"""The path diagram of a mediation: boxes, arrows, and an interval on every edge."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ex_cx.reporting.numbers import interval, label, number, split_unit
from ex_cx.reporting.plots import room, shorten
from ex_cx.reporting.tables import by_term
from ex_cx.reporting.theme import ACCENT, GREY, INK, LINE, SOFT, WASH, axes, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_paths"]

# Points on a canvas that is as wide as every other figure.
_WIDTH = 547.0
_BOX, _MIDDLE = 122.0, 150.0  # widths: of the boxes at the ends, of a mediator's box
_LOW, _HIGH = 52.0, 66.0  # their heights
_RISE, _STEP = 98.0, 80.0  # from the ends to the first mediator, from one mediator to the next
_THIN, _THICK = 1.2, 4.8  # lines of paths of no size, and of one standard deviation or more
_ENTER, _LEAVE = (_WIDTH - _MIDDLE) / 2, (_WIDTH + _MIDDLE) / 2


def plot_paths(
    tidy: pd.DataFrame,
    *,
    exposure: str,
    outcome: str,
    labels: Mapping[str, str] | None = None,
    spreads: Mapping[str, float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Exposure, mediators and outcome with every path's estimate and interval on its arrow.

    Parameters
    ----------
    tidy : a mediation's tidy frame: a:<m>, b:<m>, indirect:<m>, direct, indirect, total; of a chain
        also d:<m1>-><m2>, and then drawn from top left to bottom right.
    exposure, outcome : columns, named by `labels` for the reader.
    spreads : column -> its spread, by which arrows are as thick as they are large in standard
        deviations, up to one; without them all are alike.

    Notes
    -----
    An arrow is solid where its interval excludes zero, dashed where it does not. What runs through
    the mediators, the answer, is in the accent colour. The first mediator is drawn on top.
    """
    names = labels or {}
    rows = _with_widths(by_term(tidy), exposure, outcome, spreads or {})
    mediators = [term[2:] for term in tidy["term"] if str(term).startswith("a:")]
    with style():
        if any(term.startswith("d:") for term in rows):
            return _chain(ax, [exposure, *mediators, outcome], rows, names)
        return _side_by_side(ax, exposure, mediators, outcome, rows, names)


def _with_widths(
    rows: Mapping[str, pd.Series], exposure: str, outcome: str, spreads: Mapping[str, float]
) -> dict[str, pd.Series]:
    """The rows with the width of their arrows, for those that are drawn."""
    out = {}
    for term, row in rows.items():
        kind, _, name = term.partition(":")
        start, _, end = name.partition("->")
        pairs = {"a": (exposure, name), "b": (name, outcome), "d": (start, end)}
        one, other = pairs.get(kind, (exposure, outcome))
        width = 1.8
        if spreads.get(one, 0) > 0 and spreads.get(other, 0) > 0:
            size = abs(row["estimate"]) * spreads[one] / spreads[other]
            width = _THIN + (_THICK - _THIN) * min(float(size), 1.0)
        out[term] = pd.concat([row, pd.Series({"width": width})])
    return out


def _side_by_side(
    ax: Axes | None,
    exposure: str,
    mediators: list[str],
    outcome: str,
    rows: Mapping[str, pd.Series],
    names: Mapping[str, str],
) -> Axes:
    """Parallel mediators above the arrow from exposure to outcome."""
    top = _RISE + _STEP * (len(mediators) - 1) + _HIGH / 2
    ax = axes(ax, (_WIDTH + 8) / 72, (top + 88) / 72)
    ax.set_xlim(-2, _WIDTH + 2)
    ax.set_ylim(-82, top + 2)
    ax.set_axis_off()
    for at, name in enumerate(mediators):
        _mediator(ax, name, at, len(mediators), rows, names)
    _arrow(ax, [(_BOX, 0), (_WIDTH - _BOX, 0)], rows["direct"])
    _edge_text(ax, _WIDTH / 2, 0, "direct", rows["direct"])
    _box(ax, 0, 0, _BOX, _LOW, _named(label(exposure, names), 15))
    _box(ax, _WIDTH - _BOX, 0, _BOX, _LOW, _named(label(outcome, names), 15))
    _whole(ax, rows, len(mediators))
    return ax


_DOWN = 76.0  # from one box of a chain to the next
_APART = 8.0  # between arrows side by side
_PITCH = 113.0  # at least, from the left of one box of a chain to that of the next


def _chain(
    ax: Axes | None, nodes: list[str], rows: Mapping[str, pd.Series], names: Mapping[str, str]
) -> Axes:
    """A staircase: an arrow leaves its box to the right and comes down on the one it leads to.

    Arrows to farther boxes leave higher up, those from farther boxes arrive further right, so that
    two arrows meet at right angles or not at all. Each has its text in the corner below its bend.
    """
    last = len(nodes) - 1
    box = _BOX if last < 4 else 92.0
    width = max(_WIDTH, box + _PITCH * last)
    pitch = (width - box) / last
    ax = axes(ax, (width + 8) / 72, (_DOWN * last + _LOW + 8) / 72)
    ax.set_xlim(-2, width + 2)
    ax.set_ylim(-_DOWN * last - _LOW / 2 - 4, _LOW / 2 + 4)
    ax.set_axis_off()
    for i, start in enumerate(nodes):
        for j in range(i + 1, last + 1):
            name, row = _edge(start, nodes[j], i == 0, j == last, rows)
            y = -_DOWN * i + _LOW / 2 - 9 - _APART * (last - j)
            x = pitch * j + box - 8 - _APART * i
            _arrow(ax, [(pitch * i + box, y), (x, y), (x, -_DOWN * j + _LOW / 2)], row)
            left = pitch * i + box if j == i + 1 else pitch * (j - 1) + box - 8
            _corner_text(ax, x, y, x - left - 9, name, row)
        words = _named(label(start, names), 15 if last < 4 else 11)
        _box(ax, pitch * i, -_DOWN * i, box, _LOW, words)
    for term, name, ink, up in (
        ("indirect", "all indirect", ACCENT, 22),
        ("total", "total", INK, -14),
    ):
        place: dict[str, Any] = {"ha": "left", "va": "center", "parse_math": False}
        row, y = rows[term], -_DOWN * last + up
        ax.text(0, y, f"{name} = {_estimate(row)}", color=ink, weight="bold", size=10, **place)
        ax.text(0, y - 14, _span(row), color=SOFT, size=8.5, **place)
    return ax


def _edge(
    start: str, end: str, first: bool, final: bool, rows: Mapping[str, pd.Series]
) -> tuple[str, pd.Series]:
    """What the arrow between two boxes of a chain is called, and its row."""
    if first and final:
        return "direct", rows["direct"]
    kind = "a" if first else "b" if final else "d"
    whose = {"a": end, "b": start, "d": f"{start}->{end}"}[kind]
    return kind, rows[f"{kind}:{whose}"]


def _corner_text(ax: Axes, x: float, y: float, most: float, name: str, row: pd.Series) -> None:
    """`name = estimate` and its interval below a bend, in letters that fit into `most` points."""
    place: dict[str, Any] = {"ha": "right", "va": "top", "parse_math": False}
    under, beside = row["width"] / 2 + 3, row["width"] / 2 + 4
    lines = ((f"{name} = {_estimate(row)}", "bold", 9.5, INK), (_span(row), "normal", 8.5, SOFT))
    for at, (text, weight, size, ink) in enumerate(lines):
        fits = size * min(1.0, most / _width_of(text, weight, size))
        ax.text(x - beside, y - under - 13 * at, text, color=ink, weight=weight, size=fits, **place)


def _width_of(text: str, weight: str, size: float) -> float:
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    font = FontProperties(family="DejaVu Sans", weight=weight)
    return float(TextPath((0, 0), text, size=size, prop=font).get_extents().width)


def _mediator(
    ax: Axes, name: str, at: int, n: int, rows: Mapping[str, pd.Series], names: Mapping[str, str]
) -> None:
    """One mediator's box, the arrow into it and the arrow on to the outcome.

    The arrows leave and reach the ends side by side, the topmost outermost, so none cross.
    """
    a, b, through = (rows[f"{kind}:{name}"] for kind in ("a", "b", "indirect"))
    y = _RISE + _STEP * (n - 1 - at)
    spread = np.linspace(0.22, 0.72, n)[at] if n > 1 else 0.5
    up, down = _BOX * spread, _WIDTH - _BOX * spread
    _arrow(ax, [(up, _LOW / 2), (up, y), (_ENTER, y)], a)
    _arrow(ax, [(_LEAVE, y), (down, y), (down, _LOW / 2)], b)
    inner = _BOX * (0.72 if n > 1 else 0.5)
    _edge_text(ax, (inner + _ENTER) / 2 - 2, y, "a", a)
    _edge_text(ax, (_WIDTH - inner + _LEAVE) / 2 + 2, y, "b", b)
    shown = [
        (f"indirect {_estimate(through)}", "bold", 9.5, ACCENT),
        (_span(through), "normal", 8.5, SOFT),
    ]
    _box(ax, _ENTER, y, _MIDDLE, _HIGH, [*_named(label(name, names), 20, unit=False), *shown])


def _whole(ax: Axes, rows: Mapping[str, pd.Series], n_mediators: int) -> None:
    """The sums below the diagram: all that runs through mediators, and the total."""
    indirect = "all indirect" if n_mediators > 1 else "indirect"
    for x, term, name, ink in ((0.3, "indirect", indirect, ACCENT), (0.7, "total", "total", INK)):
        row = rows[term]
        place: dict[str, Any] = {"ha": "center", "va": "center", "parse_math": False}
        text = f"{name} = {_estimate(row)}"
        ax.text(_WIDTH * x, -56, text, color=ink, weight="bold", size=10, **place)
        ax.text(_WIDTH * x, -71, _span(row), color=SOFT, size=8.5, **place)


def _arrow(ax: Axes, corners: list[tuple[float, float]], row: pd.Series) -> None:
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path

    clear, width = bool(row["conf_low"] > 0 or row["conf_high"] < 0), row["width"]
    ax.add_patch(
        FancyArrowPatch(
            path=Path(*_rounded(np.array(corners))),
            arrowstyle=f"-|>,head_length={4 + 0.6 * width},head_width={2 + 0.5 * width}",
            linewidth=width,
            capstyle="butt",
            joinstyle="miter",
            linestyle="solid" if clear else (0, (4, 3)),
            facecolor=GREY,
            edgecolor=GREY,
            zorder=1,
        )
    )


def _rounded(corners: np.ndarray, radius: float = 9.0) -> tuple[np.ndarray, list[int]]:
    """Vertices and codes of a line whose bends are rounded."""
    from matplotlib.path import Path

    points, codes = [corners[0]], [int(Path.MOVETO)]
    for before, here, after in zip(corners[:-2], corners[1:-1], corners[2:], strict=True):
        come = (here - before) / np.linalg.norm(here - before)
        go = (after - here) / np.linalg.norm(after - here)
        points += [here - radius * come, here, here + radius * go]
        codes += [int(Path.LINETO), int(Path.CURVE3), int(Path.CURVE3)]
    return np.array([*points, corners[-1]]), [*codes, int(Path.LINETO)]


def _named(text: str, most: int, *, unit: bool = True) -> list[tuple[str, str, float, str]]:
    """A box's name in at most two bold lines, and the unit that it is measured in."""
    words, measured = split_unit(text)
    lines = textwrap.wrap(shorten(words, 6 * most), room(words, most)) or [""]
    if len(lines) > 2:
        lines = [lines[0], lines[1][: room(words, most) - 1].rstrip("….") + "…"]
    shown = [(line, "bold", 9.5, INK) for line in lines]
    return [*shown, (shorten(measured, 22), "normal", 8.5, SOFT)] if unit and measured else shown


def _box(
    ax: Axes,
    x: float,
    y: float,
    width: float,
    height: float,
    lines: list[tuple[str, str, float, str]],
) -> None:
    """A box with its lines of text, each with weight, size and colour."""
    from matplotlib.patches import FancyBboxPatch

    ax.add_patch(
        FancyBboxPatch(
            (x, y - height / 2),
            width,
            height,
            boxstyle="round,pad=0,rounding_size=6",
            facecolor=WASH,
            edgecolor=LINE,
            linewidth=1.2,
            zorder=5,
        )
    )
    place: dict[str, Any] = {"ha": "center", "va": "center", "zorder": 6, "parse_math": False}
    spots = 14.5 * (np.arange(len(lines))[::-1] - (len(lines) - 1) / 2)
    for spot, (line, weight, size, ink) in zip(spots, lines, strict=True):
        ax.text(x + width / 2, y + spot, line, weight=weight, size=size, color=ink, **place)


def _estimate(row: pd.Series) -> str:
    half = (row["conf_high"] - row["conf_low"]) / 2
    return number(row["estimate"], half if np.isfinite(half) else None)


def _span(row: pd.Series) -> str:
    return interval(row["conf_low"], row["conf_high"])


def _edge_text(ax: Axes, x: float, y: float, name: str, row: pd.Series) -> None:
    """`name = estimate` above an arrow, its interval below."""
    place: dict[str, Any] = {"ha": "center", "parse_math": False}
    text = f"{name} = {_estimate(row)}"
    ax.text(x, y + 5, text, color=INK, weight="bold", size=10, va="bottom", **place)
    ax.text(x, y - 6, _span(row), color=SOFT, size=8.5, va="top", **place)
