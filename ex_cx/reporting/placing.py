"""A figure as SVG, its axes where everything around them has room."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ex_cx.reporting.theme import PAPER

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.backend_bases import RendererBase
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import LayoutEngine

__all__ = ["svg_of"]

DPI = 160
"""Dots an inch of what is stored as dots, such as an image."""
UNDATED: Any = {"Date": None}
ROUNDS = 3
"""Times that axes are placed at most, as their ticks change with their size."""


def svg_of(figure: Figure) -> str:
    """The figure as matplotlib stores it; its letters are measured once for placing and drawing.

    A figure without a layout engine is cut to what is drawn.
    """
    from matplotlib.backends.backend_mixed import MixedModeRenderer
    from matplotlib.backends.backend_svg import FigureCanvasSVG, RendererSVG

    buffer, engine = io.StringIO(), figure.get_layout_engine()
    if engine is None:
        figure.savefig(buffer, format="svg", dpi=DPI, bbox_inches="tight", metadata=UNDATED)
        return buffer.getvalue()
    with _as_it_was(figure):
        FigureCanvasSVG(figure)
        dots = FigureCanvasSVG.fixed_dpi
        figure.set_dpi(dots)
        width, height = figure.get_size_inches()
        paper = RendererSVG(width * dots, height * dots, buffer, image_dpi=DPI, metadata=UNDATED)
        renderer: Any = MixedModeRenderer(figure, width, height, DPI, paper)
        _place(figure, engine, renderer)
        figure.set_layout_engine("none")
        figure.set_facecolor(PAPER)
        figure.draw(renderer)
        renderer.finalize()
    return buffer.getvalue()


@contextlib.contextmanager
def _as_it_was(figure: Figure) -> Iterator[None]:
    """Afterwards: its engine, canvas, dots an inch and colour are those of before."""
    engine, canvas, dpi = figure.get_layout_engine(), figure.canvas, figure.dpi
    colour = figure.get_facecolor()
    try:
        yield
    finally:
        figure.set_layout_engine(engine)
        figure.set_facecolor(colour)
        figure.set_dpi(dpi)
        figure.set_canvas(canvas)


def _place(figure: Figure, engine: LayoutEngine, renderer: RendererBase) -> None:
    """What the engine of constrained layouts does, which measures all letters twice.

    Where one set of axes is all there is, to measure them again is needed only if their new size
    has other ticks.
    """
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    alone = len(figure.axes) == 1 and not figure.legends and not figure.get_suptitle()
    if not alone or not isinstance(engine, ConstrainedLayoutEngine):
        engine.execute(figure)
        return
    pads = engine.get()
    (ax,) = figure.axes
    for _ in range(ROUNDS):
        before = _ticks(ax)
        _fit(ax, figure, renderer, pads["w_pad"], pads["h_pad"])
        if all(map(np.array_equal, before, _ticks(ax))):
            return


def _ticks(ax: Axes) -> tuple[np.ndarray, ...]:
    return tuple(axis.get_majorticklocs() for axis in (ax.xaxis, ax.yaxis))


def _fit(ax: Axes, figure: Figure, renderer: RendererBase, w_pad: float, h_pad: float) -> None:
    """Let the axes and all around them, measured as they are, fill the figure up to the pads."""
    around = ax.get_tightbbox(renderer, for_layout_only=True)
    if around is None:
        return
    width, height = figure.bbox.width, figure.bbox.height
    pad = np.array([w_pad, h_pad]) * figure.dpi
    least = (np.asarray(ax.bbox.min) - around.min + pad) / (width, height)
    most = 1 - (np.asarray(around.max) - ax.bbox.max + pad) / (width, height)
    if np.all(least < most):
        ax.set_position((*least, *(most - least)))
        ax.set_in_layout(True)  # where the figure is drawn again, its engine places it again
