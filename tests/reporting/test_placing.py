"""Axes are placed as matplotlib's constrained layout places them, in fewer passes."""

import numpy as np
import pytest
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from ex_cx.reporting.placing import laid_out

WIDE = ["a long label of a category", "another one, longer still than the first"]


def drawn(labels: list[str], n_axes: int = 1) -> Figure:
    figure = Figure(figsize=(6, 3), layout="constrained")
    for ax in np.atleast_1d(figure.subplots(n_axes)):
        ax.plot([0, 17], [0, 1])
        ax.set_yticks([0, 1], labels)
        ax.set_title("What it shows")
        ax.set_xlabel("points")
    FigureCanvasSVG(figure)
    figure.set_dpi(72)
    return figure


def placed(figure: Figure) -> list[tuple[float, ...]]:
    return [ax.get_position(original=True).bounds for ax in figure.axes]


@pytest.mark.parametrize("labels", [["0", "1"], WIDE])
@pytest.mark.parametrize("n_axes", [1, 2])
def test_axes_lie_where_the_engine_of_constrained_layouts_puts_them(labels, n_axes):
    ours, theirs = drawn(labels, n_axes), drawn(labels, n_axes)
    theirs.get_layout_engine().execute(theirs)
    with laid_out(ours):
        # the last tick's letters hang out less where axes are wider: the engine's second pass
        np.testing.assert_allclose(placed(ours), placed(theirs), atol=0.005)
    assert placed(ours) != placed(drawn(labels, n_axes))


def test_ticks_that_change_with_the_size_leave_nothing_outside():
    figure = Figure(figsize=(2.2, 2), layout="constrained")
    ax = figure.add_subplot()
    ax.plot([0, 1234567], [0, 0.000123])
    ax.set_ylabel("a share")
    with laid_out(figure):
        around = ax.get_tightbbox()
        assert around.min.min() >= 0
        assert (figure.bbox.max - around.max).min() >= 0


def test_what_is_around_is_as_it_was_afterwards():
    figure = drawn(["0", "1"])
    engine, canvas = figure.get_layout_engine(), figure.canvas
    figure.set_dpi(100)
    with laid_out(figure):
        assert figure.get_layout_engine() is None
    assert (figure.get_layout_engine(), figure.canvas, figure.dpi) == (engine, canvas, 100)
    assert figure.axes[0].get_in_layout()


def test_axes_without_room_are_left_where_they_are():
    figure = drawn(["an endless label " * 9, "1"])
    before = placed(figure)
    with laid_out(figure):
        assert placed(figure) == before
