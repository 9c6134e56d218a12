"""Where the axes of a figure lie, so that everything around them has room."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import LayoutEngine

__all__ = ["laid_out"]

NO_LAYOUT: Any = {"figure.autolayout": False, "figure.constrained_layout.use": False}
ROUNDS = 3
"""Times that axes are placed at most, as their ticks change with their size."""


@contextlib.contextmanager
def laid_out(figure: Figure) -> Iterator[None]:
    """Within: everything has its place, so that saving need not draw once more to find it."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    engine = figure.get_layout_engine()
    if engine is None:
        yield
        return
    canvas, dpi = figure.canvas, figure.dpi
    try:
        FigureCanvasSVG(figure)  # letters are measured as they will be drawn
        figure.set_dpi(FigureCanvasSVG.fixed_dpi)
        _place(figure, engine)
        with mpl.rc_context(NO_LAYOUT):  # None is no engine, where these do not say otherwise
            figure.set_layout_engine(None)
            yield
    finally:
        figure.set_layout_engine(engine)
        figure.set_dpi(dpi)
        figure.set_canvas(canvas)


def _place(figure: Figure, engine: LayoutEngine) -> None:
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
        _fit(ax, figure, pads["w_pad"], pads["h_pad"])
        if all(map(np.array_equal, before, _ticks(ax))):
            return


def _ticks(ax: Axes) -> tuple[np.ndarray, ...]:
    return tuple(axis.get_majorticklocs() for axis in (ax.xaxis, ax.yaxis))


def _fit(ax: Axes, figure: Figure, w_pad: float, h_pad: float) -> None:
    """Let the axes and all around them, measured as they are, fill the figure up to the pads."""
    around = ax.get_tightbbox(for_layout_only=True)
    if around is None:
        return
    width, height = figure.bbox.width, figure.bbox.height
    pad = np.array([w_pad, h_pad]) * figure.dpi
    least = (np.asarray(ax.bbox.min) - around.min + pad) / (width, height)
    most = 1 - (np.asarray(around.max) - ax.bbox.max + pad) / (width, height)
    if np.all(least < most):
        ax.set_position((*least, *(most - least)))
        ax.set_in_layout(True)  # where the figure is drawn again, its engine places it again
