"""Figures of sensitivity show the numbers they are given, in the room they have."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from numpy.testing import assert_allclose

from ex_cx.linkage.panel import Panel
from ex_cx.models.mediation import MediationSpec
from ex_cx.reporting.sensitivity_plots import plot_robustness, plot_sensitivity
from ex_cx.reporting.theme import ACCENT, INK
from ex_cx.robustness.confounding import mediation_sensitivity
from ex_cx.robustness.omitted import mediation_omitted_bounds
from tests.reporting.drawing import inside


@pytest.fixture(scope="module")
def panel() -> Panel:
    rng = np.random.default_rng(3)
    rows = pd.DataFrame(rng.normal(size=(240, 3)), columns=["x", "z", "v"])
    rows["m"] = 0.6 * rows["x"] + 0.4 * rows["z"] + rng.normal(size=240)
    rows["y"] = 0.7 * rows["m"] + 0.3 * rows["z"] + rng.normal(size=240)
    rows["unit"], rows["period"] = np.divmod(np.arange(240), 6)
    return Panel.from_frame(rows, unit="unit", period="period")


SPEC = MediationSpec(outcome="y", exposure="x", mediators=("m",), controls=("z", "v"))


@pytest.fixture(scope="module")
def sensitivity(panel):
    return mediation_sensitivity(panel, SPEC, n_boot=199, rng=np.random.default_rng(0))


def texts(ax) -> str:
    written = [text.get_text() for text in ax.texts]
    return " | ".join([*written, ax.get_title(loc="left"), ax.get_ylabel(), ax.get_xlabel()])


def test_curve_band_and_crossings_are_drawn_where_they_are(sensitivity):
    curve, tidy = sensitivity.curve(), sensitivity.tidy()
    ax = plot_sensitivity(curve, tidy, ylabel="Effect on y, points")
    lines = [line for line in ax.lines if to_hex(line.get_color()) == ACCENT]
    drawn = next(line for line in lines if len(line.get_xdata()) == len(curve))
    assert_allclose(drawn.get_ydata(), curve["estimate"])
    row = tidy.iloc[0]
    points = {round(float(line.get_xdata()[0]), 6) for line in ax.lines if line.get_marker() == "o"}
    assert points == {0.0, round(row["rho_zero"], 6), round(row["rho_interval"], 6)}
    (band,) = ax.collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert_allclose([heights.min(), heights.max()], [curve.conf_low.min(), curve.conf_high.max()])
    assert f"estimate {row['rho_zero']:.3g} " in texts(ax)
    inside(ax)


def test_an_effect_that_is_not_clear_is_said(sensitivity):
    unclear = sensitivity.tidy().assign(rho_interval=0.0)
    ax = plot_sensitivity(sensitivity.curve(), unclear)
    assert "holds zero without any confounder" in texts(ax)


def test_a_crossing_beyond_the_curve_is_told_but_not_drawn(sensitivity):
    curve = sensitivity.curve()
    near = curve[curve["rho"].abs() < 0.05]
    ax = plot_sensitivity(near, sensitivity.tidy().assign(rho_interval=np.nan))
    assert [line.get_xdata()[0] for line in ax.lines if line.get_marker() == "o"] == [0]
    assert "reaches zero" not in texts(ax)


def test_one_path_of_several_is_chosen_and_labels_are_shortened(sensitivity):
    curve, tidy = sensitivity.curve(), sensitivity.tidy()
    other = tidy.assign(term="indirect:k", estimate=9.0)
    ax = plot_sensitivity(
        pd.concat([curve, curve.assign(term="indirect:k")]),
        pd.concat([tidy, other]),
        term="indirect:k",
        ylabel="$a_1$ " * 40,
    )
    assert [9.0] in [list(line.get_ydata()) for line in ax.lines]
    inside(ax)


def test_bars_are_the_robustness_values_and_marks_the_controls(panel):
    result = mediation_omitted_bounds(panel, SPEC)
    tidy, bounds = result.tidy(), result.bounds()
    ax = plot_robustness(tidy, bounds, labels={"z": "Workload"})
    widths = [patch.get_width() for patch in ax.patches]
    expected = tidy[["robustness_value", "robustness_value_interval"]].to_numpy().ravel()
    assert_allclose(widths, 100 * expected)
    marks = [line for line in ax.lines if to_hex(line.get_color()) == INK]
    first = bounds[(bounds["term"] == "a:m") & (bounds["strength"] == 1)]
    assert_allclose(marks[0].get_xdata(), 100 * first[["r2_term", "r2_outcome"]].max(axis=1))
    assert "Workload" in texts(ax)
    inside(ax)


def test_bars_without_controls(panel):
    bare = MediationSpec(outcome="y", exposure="x", mediators=("m",))
    result = mediation_omitted_bounds(panel, bare)
    ax = plot_robustness(result.tidy(), result.bounds())
    assert len(ax.patches) == 8
    assert not ax.lines
    inside(ax)


def test_a_given_axes_is_used_and_returned(sensitivity, panel):
    from matplotlib.figure import Figure

    result = mediation_omitted_bounds(panel, SPEC)
    upper, lower = Figure(layout="constrained").subplots(2)
    assert plot_sensitivity(sensitivity.curve(), sensitivity.tidy(), ax=upper) is upper
    assert plot_robustness(result.tidy(), result.bounds(), ax=lower) is lower
