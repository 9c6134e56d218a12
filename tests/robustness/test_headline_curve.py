"""The headline's curve is that of `fit_curve`, and where there is none the reason is in words."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ex_cx.errors import SpecError
from ex_cx.linkage.panel import Panel
from ex_cx.models.curve import CurveResult, fit_curve
from ex_cx.models.regress import PanelSpec
from ex_cx.robustness.shape import headline_curve

SPEC = PanelSpec(outcome="y", exposures=("x", "z"))


def panel_of(x: np.ndarray) -> Panel:
    rng = np.random.default_rng(4)
    rows = pd.DataFrame({"unit": np.arange(240) // 12, "period": np.arange(240) % 12, "x": x})
    rows["z"], rows["y"] = rng.normal(size=(2, 240))
    return Panel.from_frame(rows, unit="unit", period="period")


def test_it_is_the_curve_of_the_first_exposure_with_four_knots():
    panel = panel_of(np.random.default_rng(1).normal(size=240))
    found = headline_curve(panel, SPEC)
    assert isinstance(found, CurveResult)
    pd.testing.assert_frame_equal(found.tidy(), fit_curve(panel, SPEC, "x", knots=4).tidy())


def test_three_knots_are_tried_where_four_coincide():
    x = np.random.default_rng(1).normal(size=240)
    x[:80] = np.quantile(x, 0.35)
    found = headline_curve(panel_of(np.sort(x)[np.random.default_rng(2).permutation(240)]), SPEC)
    assert isinstance(found, CurveResult)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (SPEC, "'x' takes only 4 values"),
        (PanelSpec(outcome="y", exposures=("z", "z^2")), "also enters as"),
        (PanelSpec(outcome="y", exposures=("z:x", "x")), "z:x"),
    ],
)
def test_why_there_is_none_is_told(spec, said):
    found = headline_curve(panel_of(np.arange(240) % 4 * 1.0 + np.arange(240) // 120 * 0.0), spec)
    assert isinstance(found, str)
    assert said in found


def test_a_spec_that_cannot_be_fitted_is_refused_not_told():
    with pytest.raises(SpecError, match="nothing"):
        headline_curve(panel_of(np.arange(240.0)), PanelSpec(outcome="nothing", exposures=("x",)))
