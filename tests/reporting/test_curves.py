"""Figures of curves and lags show the numbers they are given, in the room they have."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from numpy.testing import assert_allclose

from ex_cx.linkage.panel import Panel
from ex_cx.models.curve import fit_curve
from ex_cx.models.lags import fit_lags
from ex_cx.models.regress import PanelSpec
from ex_cx.reporting.curves import draw_curve, draw_lags, plot_curve, plot_lags
from ex_cx.reporting.numbers import number
from ex_cx.reporting.theme import ACCENT, GREY, INK
from tests.reporting.drawing import inside

pytestmark = pytest.mark.filterwarnings("ignore:Glyph .* missing from:UserWarning")
SPEC = PanelSpec(outcome="y", exposures=("x",))
LABELS = {"x": "Occupancy (%)", "y": "NPS (points)"}


@pytest.fixture(scope="module")
def panel() -> Panel:
    rng = np.random.default_rng(2)
    rows = pd.DataFrame({"unit": np.arange(480) // 12, "period": np.arange(480) % 12})
    rows["x"] = rng.uniform(60, 100, size=480)
    rows["y"] = 30 - np.maximum(rows["x"] - 85, 0) + rng.normal(size=480)
    return Panel.from_frame(rows, unit="unit", period="period")


@pytest.fixture(scope="module")
def curve(panel):
    return fit_curve(panel, SPEC, "x")


@pytest.fixture(scope="module")
def lags(panel):
    return fit_lags(panel, SPEC, "x", lags=range(-1, 3))


def edges(collection) -> np.ndarray:
    return np.concatenate([path.vertices for path in collection.get_paths()])


def test_curve_bands_reference_and_rows_are_drawn_where_they_are(curve):
    frame = curve.curve()
    ax = plot_curve(frame, reference=curve.reference, xlabel="x", ylabel="y")
    drawn = next(line for line in ax.lines if len(line.get_xdata()) == len(frame))
    assert to_hex(drawn.get_color()) == ACCENT
    assert_allclose(drawn.get_ydata(), frame["difference"])
    point = next(line for line in ax.lines if line.get_marker() == "o")
    assert (list(point.get_xdata()), list(point.get_ydata())) == ([curve.reference], [0])
    assert to_hex(point.get_color()) == INK
    band, interval, rows = ax.collections
    for area, low, high in ((band, "band_low", "band_high"), (interval, "conf_low", "conf_high")):
        assert_allclose(edges(area)[:, 1].min(), frame[low].min())
        assert_allclose(edges(area)[:, 1].max(), frame[high].max())
    assert to_hex(rows.get_facecolor()[0]) == GREY
    assert edges(rows)[:, 1].max() < frame["band_low"].min()  # the strip lies below the curve
    inside(ax)


def test_lags_and_their_sums_are_drawn_where_they_are(lags):
    each, sums = lags.by_lag(), lags.cumulative()
    ax = plot_lags(each, sums, xlabel="periods", ylabel="y")
    grey = next(line for line in ax.lines if line.get_label() == "each lag")
    blue = next(line for line in ax.lines if line.get_label() == "running sum")
    assert_allclose(grey.get_xydata(), each[["lag", "estimate"]])
    assert_allclose(blue.get_xydata(), sums[["lag", "estimate"]])
    bars, area = ax.collections
    assert_allclose(
        [segment[:, 1] for segment in bars.get_segments()], each[["conf_low", "conf_high"]]
    )
    assert_allclose(edges(area)[:, 1].max(), sums["conf_high"].max())
    inside(ax)


def test_caption_and_alt_text_say_units_rows_levels_and_numbers(curve, lags):
    figure = draw_curve(curve, conf_level=0.9, labels=LABELS)
    for words in ("NPS: difference from where Occupancy is", "n = 480 rows", "40 clusters", "90 %"):
        assert words in figure.caption
    assert "95 %" not in figure.caption + figure.alt
    last = curve.curve(conf_level=0.9).iloc[-1]
    assert number(last["difference"], last["std_error"]) in figure.alt
    assert "NPS, difference (points)" in figure.svg
    figure = draw_lags(lags, conf_level=0.9, labels=LABELS)
    n = lags.fit.n_obs
    for words in ("NPS (points) per 1 more Occupancy (%)", f"n = {n} rows", "90 %", "no lead: p"):
        assert words in figure.caption
    last = lags.cumulative(conf_level=0.9).iloc[-1]
    assert f"to lag 2: {number(last['estimate'], last['std_error'])}" in figure.alt
    assert "no lead" not in draw_lags(replace(lags, lead_test=None), labels=LABELS).caption


def test_plots_draw_on_the_axes_they_are_given_and_take_any_label(curve, lags, hostile):
    for draw in (
        lambda ax: plot_curve(curve.curve(), reference=80, xlabel=hostile, ylabel=hostile, ax=ax),
        lambda ax: plot_lags(
            lags.by_lag(), lags.cumulative(), xlabel=hostile, ylabel=hostile, ax=ax
        ),
    ):
        ax = Figure(figsize=(7.6, 3.9), layout="constrained").add_subplot()
        assert draw(ax) is ax
        inside(ax)
    names = {"x": hostile, "y": hostile}
    for figure in (draw_curve(curve, labels=names), draw_lags(lags, labels=names)):
        assert "<script>" not in figure.svg
