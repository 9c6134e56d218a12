"""The figure of a conditional indirect effect shows the numbers of its frame."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from ex_cx.errors import SpecError
from ex_cx.linkage.panel import Panel
from ex_cx.models.mediation import MediationSpec, fit_mediation
from ex_cx.reporting.mediation_plots import draw_conditional_indirect, plot_conditional_indirect


@pytest.fixture(scope="module")
def panel() -> Panel:
    rng = np.random.default_rng(1)
    unit, period = np.divmod(np.arange(240), 6)
    rows = pd.DataFrame({"unit": unit, "period": period, "kind": unit % 2})
    rows["x"], rows["w"] = rng.normal(size=240), rng.normal(size=240)
    rows["m"] = (0.5 + 0.3 * rows["w"]) * rows["x"] + rng.normal(size=240)
    rows["y"] = 0.6 * rows["m"] + rng.normal(size=240)
    return Panel.from_frame(rows, unit="unit", period="period")


def _result(panel, moderator):
    spec = MediationSpec(
        outcome="y", exposure="x", mediators=("m",), moderator=moderator, moderated=("a",)
    )
    return fit_mediation(panel, spec, n_boot=199, rng=np.random.default_rng(0))


def test_many_values_are_a_line_with_its_bands(panel):
    frame = _result(panel, "w").conditional(np.linspace(-1, 1, 9))
    ax = plot_conditional_indirect(frame, xlabel="w", ylabel="y")
    rows = frame[frame["term"] == "indirect"]
    line = ax.lines[1]
    assert_allclose(line.get_xdata(), rows["moderator"])
    assert_allclose(line.get_ydata(), rows["estimate"])
    band, inner = (c.get_paths()[0].vertices[:, 1] for c in ax.collections)
    assert_allclose([band.min(), band.max()], [rows["band_low"].min(), rows["band_high"].max()])
    assert_allclose([inner.min(), inner.max()], [rows["conf_low"].min(), rows["conf_high"].max()])


def test_two_values_are_points_with_intervals(panel):
    frame = _result(panel, "kind").conditional()
    ax = plot_conditional_indirect(frame, xlabel="kind", ylabel="y")
    rows = frame[frame["term"] == "indirect"]
    assert_allclose(ax.lines[1].get_ydata(), rows["estimate"])
    inner = np.array([segment[:, 1] for segment in ax.collections[1].get_segments()])
    assert_allclose(inner, rows[["conf_low", "conf_high"]])
    assert ax.get_xticks().tolist() == [0, 1]


def test_caption_and_alt_text_say_what_is_drawn(panel):
    result = _result(panel, "w")
    figure = draw_conditional_indirect(
        result, conf_level=0.9, labels={"y": "overall rating (points)", "w": "team size (people)"}
    )
    for words in ("240 rows", "40 clusters", "90 % interval", "10th to its 90th", "199 draws"):
        assert words in figure.caption, words
    assert figure.alt.startswith(
        "Indirect effect of x on overall rating (points) along team size (people): at "
    )
    middle = result.conditional(conf_level=0.9).query("term == 'indirect'")["moderator"].iloc[2]
    assert f"at {middle:.2g}"[:5] in figure.alt
    few = draw_conditional_indirect(_result(panel, "kind"))
    assert "along kind at each of its values" in few.caption


def test_a_mediation_without_moderator_has_no_such_figure(panel):
    spec = MediationSpec(outcome="y", exposure="x", mediators=("m",))
    result = fit_mediation(panel, spec, n_boot=99, rng=np.random.default_rng(0))
    with pytest.raises(SpecError, match="This mediation has no moderator"):
        draw_conditional_indirect(result)
