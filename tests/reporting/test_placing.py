"""A figure as SVG: placed as constrained layouts place it, drawn as matplotlib stores it."""

import io
import re

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from ex_cx.reporting.placing import svg_of
from ex_cx.reporting.theme import PAPER

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
    svg_of(ours)
    # the last tick's letters hang out less where axes are wider: the engine's second pass
    np.testing.assert_allclose(placed(ours), placed(theirs), atol=0.005)
    assert placed(ours) != placed(drawn(labels, n_axes))


@pytest.mark.parametrize("colour", [PAPER, "#ff0000"])
@pytest.mark.parametrize("n_axes", [1, 2])
@mpl.rc_context({"svg.hashsalt": "same", "svg.fonttype": "none", "savefig.facecolor": PAPER})
def test_what_is_drawn_is_what_matplotlib_stores_of_axes_at_that_place(n_axes, colour):
    ours, theirs = drawn(WIDE, n_axes), drawn(WIDE, n_axes)
    for figure in (ours, theirs):
        figure.set_facecolor(colour)
        dots = figure.axes[0].imshow([[0, 1], [1, 0]], extent=(0, 17, 0, 1), aspect="auto")
        dots.set_rasterized(True)
    found = svg_of(ours)
    for own, other in zip(ours.axes, theirs.axes, strict=True):
        other.set_position(own.get_position(original=True))
    theirs.set_layout_engine("none")
    stored = io.StringIO()
    theirs.savefig(stored, format="svg", dpi=160, metadata={"Date": None})
    assert found == stored.getvalue()
    assert f"fill: {PAPER}" in found
    assert "data:image/png" in found


def test_ticks_that_change_with_the_size_leave_nothing_outside():
    figure = Figure(figsize=(2.2, 2), layout="constrained")
    ax = figure.add_subplot()
    ax.plot([0, 1234567], [0, 0.000123])
    ax.set_ylabel("a share")
    svg_of(figure)
    FigureCanvasSVG(figure)
    figure.set_dpi(72)
    around = ax.get_tightbbox()
    assert around.min.min() >= 0
    assert (figure.bbox.max - around.max).min() >= 0


def test_what_is_around_is_as_it_was_afterwards():
    figure = drawn(["0", "1"])
    figure.set_facecolor("#ff0000")
    engine, canvas, colour = figure.get_layout_engine(), figure.canvas, figure.get_facecolor()
    figure.set_dpi(100)
    svg_of(figure)
    assert (figure.get_layout_engine(), figure.canvas, figure.dpi) == (engine, canvas, 100)
    assert figure.get_facecolor() == colour
    assert figure.axes[0].get_in_layout()


def test_axes_without_room_are_left_where_they_are():
    figure = drawn(["an endless label " * 9, "1"])
    before = placed(figure)
    svg_of(figure)
    assert placed(figure) == before


def test_a_figure_without_an_engine_is_cut_to_what_is_drawn():
    figure = Figure(figsize=(6, 3))
    figure.add_subplot(position=(0.4, 0.4, 0.1, 0.1)).plot([0, 1])
    width = float(re.search(r'width="([0-9.]+)pt"', svg_of(figure))[1])
    assert 43 < width < 150  # a tenth of six inches is 43 points
