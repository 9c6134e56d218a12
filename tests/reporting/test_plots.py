"""Figures show the numbers they are given, in the room they have, whatever the labels."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path
from numpy.testing import assert_allclose

from ex_cx.errors import RunError
from ex_cx.reporting.paths import plot_paths
from ex_cx.reporting.plots import (
    plot_coverage,
    plot_forest,
    plot_trajectories,
    plot_within_scatter,
    shorten,
)
from ex_cx.reporting.report import draw_figure
from ex_cx.reporting.theme import ACCENT, GREY, themed
from tests.reporting.drawing import inside

# Letters that the font measured with lacks come from the reader's browser.
pytestmark = pytest.mark.filterwarnings("ignore:Glyph .* missing from:UserWarning")

SVG = "{http://www.w3.org/2000/svg}"
BINS = pd.DataFrame({"exposure": [1.0, 2.0, 4.0], "outcome": [9.0, 7.0, 3.5], "n": [50, 50, 52]})


@pytest.fixture
def three_ways(tidy_rows):
    return tidy_rows(
        ("x", "pooled", -0.177, -0.294, -0.061),
        ("x", "between", -0.363, -0.596, -0.129),
        ("x", "within", -0.014, -0.104, 0.075),
    )


def texts(svg: str) -> list[str]:
    return ["".join(node.itertext()) for node in ET.fromstring(svg).iter(f"{SVG}text")]


def all_plots(three_ways, mediation_rows, text: str):
    """Each figure with `text` wherever a label comes from data."""
    yield plot_forest(three_ways.assign(term=text), xlabel=text)
    yield plot_forest(three_ways.assign(estimator=[text, "b", "c"]), accent=text)
    yield plot_within_scatter(BINS, xlabel=text, ylabel=text, estimate=three_ways.iloc[2])
    yield plot_paths(mediation_rows(text, "m"), exposure=text, outcome="y", labels={"y": text})
    cells = pd.DataFrame({"unit": [text], "period": [2020], "observed": [False]})
    yield plot_coverage(cells)
    rows = pd.DataFrame({"u": [text, text], "p": [1, 2], text: [0.5, 1.5]})
    yield plot_trajectories(rows, unit="u", period="p", value=text)


def test_every_plot_draws_on_the_axes_it_is_given(three_ways, mediation_rows):
    rows = pd.DataFrame({"u": ["A", "A"], "p": [1, 2], "v": [0.5, 1.5]})
    cells = pd.DataFrame({"unit": ["A"], "period": [1], "observed": [True]})
    for draw in (
        lambda ax: plot_forest(three_ways, ax=ax),
        lambda ax: plot_within_scatter(BINS, xlabel="x", ylabel="y", ax=ax),
        lambda ax: plot_paths(mediation_rows("m"), exposure="x", outcome="y", ax=ax),
        lambda ax: plot_coverage(cells, ax=ax),
        lambda ax: plot_trajectories(rows, unit="u", period="p", value="v", ax=ax),
    ):
        ax = Figure().add_subplot()
        assert draw(ax) is ax


def test_forest_shows_each_interval_and_colours_only_the_answer(three_ways):
    ax = plot_forest(three_ways)
    bars = [line for line in ax.lines if line.get_linewidth() == 3]
    assert_allclose(
        [line.get_xdata() for line in bars], three_ways[["conf_low", "conf_high"]].to_numpy()
    )
    assert [to_hex(line.get_color()) for line in bars] == [GREY, GREY, ACCENT]
    words = [text.get_text() for text in ax.texts]
    assert "−0.104 to 0.075" in words
    assert {"Pooled", "Between units", "Within units"} <= set(words)


def test_forest_says_what_has_no_interval(tidy_rows):
    ax = plot_forest(tidy_rows(("x", "within", np.nan, np.nan, np.nan)))
    assert "no interval" in [text.get_text() for text in ax.texts]


def test_the_slope_runs_through_the_mean_of_the_rows(three_ways):
    row = three_ways.iloc[2]
    ax = plot_within_scatter(BINS, xlabel="x", ylabel="y", estimate=row)
    x, y = ax.lines[0].get_data()
    mean = np.average(BINS[["exposure", "outcome"]], axis=0, weights=BINS["n"])
    assert_allclose(np.interp(mean[0], x, y), mean[1])
    assert_allclose((y[-1] - y[0]) / (x[-1] - x[0]), row["estimate"])
    assert "slope −0.014 (95 % interval −0.104 to 0.075)" in [t.get_text() for t in ax.texts]
    assert_allclose(ax.collections[-1].get_offsets(), BINS[["exposure", "outcome"]])


@pytest.mark.parametrize("n_units", [3, 100])
def test_coverage_marks_exactly_what_is_missing(n_units):
    grid = pd.MultiIndex.from_product([range(n_units), range(2000, 2006)], names=["unit", "period"])
    cells = grid.to_frame(index=False)
    cells["observed"] = (cells["unit"] + cells["period"]) % 4 > 0
    ax = plot_coverage(cells)
    outline = ax.patches[1].get_path()
    area = sum(np.ptp(box[:, 0]) * np.ptp(box[:, 1]) for box in outline.vertices.reshape(-1, 5, 2))
    assert area == (~cells["observed"]).sum()


def test_coverage_of_a_complete_panel_marks_nothing():
    cells = pd.DataFrame({"unit": ["A", "B"], "period": [1, 1], "observed": [True, True]})
    assert len(plot_coverage(cells).patches) == 1


def test_many_units_are_sorted_and_not_named():
    grid = pd.MultiIndex.from_product([range(61), range(3)], names=["unit", "period"])
    cells = grid.to_frame(index=False).assign(observed=True)
    ax = plot_coverage(cells)
    assert list(ax.get_yticks()) == []
    assert ax.get_ylabel() == "61 units, sorted by the periods they have"


def test_a_line_breaks_at_a_gap_and_a_lone_point_is_a_dot():
    rows = pd.DataFrame(
        {
            "u": list("AAAAABBB"),
            "p": [1, 2, 4, 5, 8, 1, 2, 3],
            "v": [1.0, 2.0, 4.0, 5.0, 8.0, 3.0, 3.0, 3.0],
        }
    )
    ax = plot_trajectories(rows, unit="u", period="p", value="v")
    lines = [line.tolist() for line in ax.collections[0].get_segments()]
    assert lines[:2] == [[[1, 1], [2, 2]], [[4, 4], [5, 5], [8, 8]]]  # no unit has 6 or 7
    assert lines[2] == [[1, 3], [2, 3], [3, 3]]
    assert_allclose(ax.lines[-1].get_data(), [[1, 2, 3, 4, 5, 8], [2, 2.5, 3, 4, 5, 8]])


def test_a_point_between_two_gaps_is_a_dot():
    rows = pd.DataFrame({"u": list("AABBB"), "p": [1, 3, 1, 2, 3], "v": [7.0, 8.0, 1, 1, 1]})
    dots = plot_trajectories(rows, unit="u", period="p", value="v").lines[0]
    assert_allclose(np.transpose(dots.get_data()), [[1, 7], [3, 8]])


def test_periods_lie_at_their_place_in_the_calendar():
    months = pd.PeriodIndex(["2024-01", "2024-02", "2024-06"], freq="M")
    rows = pd.DataFrame({"u": ["A"] * 3, "p": months, "v": [1.0, 2.0, 3.0]})
    x = plot_trajectories(rows, unit="u", period="p", value="v").lines[-1].get_xdata()
    assert_allclose(np.diff(x), [1, 4])


def test_of_many_units_some_are_drawn_and_the_mean_is_of_all():
    rows = pd.DataFrame({"u": np.repeat(np.arange(500), 2), "p": [1, 2] * 500})
    rows["v"] = rows["u"].astype(float)
    ax = plot_trajectories(rows, unit="u", period="p", value="v")
    assert len(ax.collections[0].get_segments()) == 60
    assert_allclose(ax.lines[-1].get_ydata(), 249.5)
    assert "60 of 500 units" in ax.get_xlabel()
    assert len(draw_figure(ax, "t", caption="", alt="").svg) < 40_000


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_path_labels_touch_neither_each_other_nor_an_arrow(mediation_rows, n):
    long = {f"m{i}": "Resolved at the very first contact of the month (%)" for i in range(n)}
    ax = plot_paths(mediation_rows(*long), exposure="x", outcome="y", labels=long)
    inside(ax)
    boxes = [t.get_window_extent() for t in ax.texts]
    for i, one in enumerate(boxes):
        assert not any(one.overlaps(other) for other in boxes[:i]), ax.texts[i].get_text()
    arrows = [p for p in ax.patches if isinstance(p, FancyArrowPatch)]
    assert len(arrows) == 2 * n + 1
    ends = [p for p in ax.patches if isinstance(p, FancyBboxPatch)]
    assert len(ends) == n + 2
    for arrow in arrows:
        shaft = arrow.get_path().to_polygons(closed_only=False)[0]
        line = Path(ax.transData.transform(shaft))
        assert not any(line.intersects_bbox(box, filled=False) for box in boxes)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_a_chain_is_a_staircase_whose_labels_touch_no_arrow(tidy_rows, n):
    long = {f"m{i}": "Resolved at the very first contact of the month (%)" for i in range(n)}
    wide = (-0.0179, -0.0279, -0.0021)
    links = [f"d:m{i}->m{j}" for j in range(n) for i in range(j)]
    steps = [f"{kind}:{m}" for kind in "ab" for m in long]
    terms = [*steps, *links, "direct", "indirect", "total"]
    tidy = tidy_rows(*((term, "", *wide) for term in terms))
    ax = plot_paths(tidy, exposure="x", outcome="y", labels=long)
    inside(ax)
    boxes = [t.get_window_extent() for t in ax.texts]
    for i, one in enumerate(boxes):
        assert not any(one.overlaps(other) for other in boxes[:i]), ax.texts[i].get_text()
    arrows = [p for p in ax.patches if isinstance(p, FancyArrowPatch)]
    assert len(arrows) == 2 * n + n * (n - 1) // 2 + 1
    for arrow in arrows:
        shaft = arrow.get_path().to_polygons(closed_only=False)[0]
        line = Path(ax.transData.transform(shaft))
        assert not any(line.intersects_bbox(box, filled=False) for box in boxes)


def test_arrows_are_as_thick_as_paths_are_large_in_standard_deviations(mediation_rows):
    spreads = {"x": 60.0, "m": 1.0, "y": 6.0}  # a: 0.456, b: 0.15, direct: 0.12 of one
    ax = plot_paths(mediation_rows("m"), exposure="x", outcome="y", spreads=spreads)
    widths = [p.get_linewidth() for p in ax.patches if isinstance(p, FancyArrowPatch)]
    assert_allclose(widths, [1.2 + 3.6 * size for size in (0.0076 * 60, 0.9 / 6, 0.012 * 10)])
    huge = plot_paths(mediation_rows("m"), exposure="x", outcome="y", spreads=spreads | {"x": 1e6})
    assert max(p.get_linewidth() for p in huge.patches if isinstance(p, FancyArrowPatch)) == 4.8


def test_path_texts_stay_in_their_boxes(mediation_rows, hostile):
    names = {"m": hostile, "x": hostile, "y": "従業員エンゲージメントの高さと顧客の満足"}
    ax = plot_paths(mediation_rows("m"), exposure="x", outcome="y", labels=names)
    inside(ax)
    boxes = [p.get_window_extent() for p in ax.patches if isinstance(p, FancyBboxPatch)]
    for text in (t for t in ax.texts if t.get_zorder() == 6):
        where = text.get_window_extent()
        assert any(b.x0 <= where.x0 and where.x1 <= b.x1 for b in boxes), text.get_text()


def test_path_arrows_are_dashed_where_the_interval_holds_zero(mediation_rows):
    ax = plot_paths(mediation_rows("m"), exposure="x", outcome="y")
    arrows = [p for p in ax.patches if isinstance(p, FancyArrowPatch)]
    assert [p.get_linestyle() == "solid" for p in arrows] == [True, True, False]  # a, b, direct


def test_each_edge_has_its_number_and_interval(mediation_rows):
    words = [t.get_text() for t in plot_paths(mediation_rows("m"), exposure="x", outcome="y").texts]
    for shown in ("a = −0.0076", "b = 0.90", "direct = −0.012", "indirect = −0.0144"):
        assert shown in words
    assert "−0.0095 to −0.0058" in words


def test_hostile_labels_stay_text_and_in_the_figure(three_ways, mediation_rows, hostile):
    for position, ax in enumerate(all_plots(three_ways, mediation_rows, hostile)):
        inside(ax)
        figure = draw_figure(ax, f"f{position}", caption="", alt="")
        tree = ET.fromstring(figure.svg)  # not even a NUL breaks the file
        assert not list(tree.iter(f"{SVG}script"))
        assert any(text.startswith("<script>") for text in texts(figure.svg))


def test_dollar_signs_are_money_not_mathematics(three_ways, mediation_rows):
    for position, ax in enumerate(all_plots(three_ways, mediation_rows, "$5 and $6_a")):
        svg = draw_figure(ax, f"f{position}", caption="", alt="").svg
        assert any("$5 and" in text for text in texts(svg))


def test_the_same_plot_has_the_same_bytes_and_no_date(three_ways):
    first, second = (
        draw_figure(plot_forest(three_ways), "f", caption="c", alt="a").svg for _ in range(2)
    )
    assert first == second
    assert "<dc:date>" not in first
    assert "http://matplotlib" not in first


def test_ids_of_two_figures_differ(three_ways):
    svgs = [
        draw_figure(plot_forest(three_ways), name, caption="", alt="").svg for name in ("f", "g")
    ]
    first, second = (set(re.findall(r' id="([^"]*)"', svg)) for svg in svgs)
    assert first
    assert not first & second
    for svg, ids in zip(svgs, (first, second), strict=True):
        assert set(re.findall(r"(?:url\(#|href=\"#)([^)\"]+)", svg)) <= ids


def test_every_colour_of_a_figure_follows_the_page(three_ways, mediation_rows):
    for position, ax in enumerate(all_plots(three_ways, mediation_rows, "x")):
        svg = draw_figure(ax, f"f{position}", caption="", alt="").svg
        left = re.sub(r"var\(--\w+, #\w{6}\)", "", themed(svg))
        assert not re.findall(r'style="[^"]*#[0-9a-f]{6}', left)


def test_a_label_that_looks_like_a_colour_stays(three_ways):
    svg = draw_figure(plot_forest(three_ways, xlabel="#0b5cad"), "f", caption="", alt="").svg
    assert "#0b5cad" in texts(themed(svg))


def test_axes_without_a_figure_are_refused():
    ax = Figure().add_subplot()
    ax.remove()
    with pytest.raises(
        RunError, match=r"^The axes of figure 'f' belong to no figure, so nothing is drawn\.$"
    ):
        draw_figure(ax, "f", caption="", alt="")


def test_shorten_leaves_out_what_cannot_be_seen():
    assert shorten("a\x00b\u202ec\n d") == "abc d"
    assert shorten("x" * 50, 10) == "x" * 9 + "…"
    assert len(shorten("従" * 50, 10)) == 5


def test_a_column_without_any_value_is_an_empty_drawing():
    rows = pd.DataFrame({"u": ["a", "b"], "p": [1, 1], "v": [np.nan, np.nan]})
    ax = plot_trajectories(rows, unit="u", period="p", value="v")
    assert not ax.collections[0].get_paths()
