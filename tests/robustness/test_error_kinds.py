"""Errors side by side: each kind is what its own verb reports, and what is missing is told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from ex_cx.errors import InferenceError
from ex_cx.linkage.panel import Panel
from ex_cx.models.regress import PanelSpec, fit_panel
from ex_cx.models.wild import wild_cluster_test
from ex_cx.results import TIDY
from ex_cx.robustness import error_kinds
from ex_cx.robustness.error_kinds import compare_errors

SPEC = PanelSpec(outcome="y", exposures=("x", "z"), controls=("c",), lag=1)


def draw(n_units: int = 14, n_periods: int = 8) -> Panel:
    rng = np.random.default_rng(8)
    n = n_units * n_periods
    rows = pd.DataFrame(rng.normal(size=(n, 4)), columns=["x", "z", "c", "e"])
    rows["unit"], rows["period"] = np.arange(n) // n_periods, np.arange(n) % n_periods
    rows["y"] = rows["x"] + rows["e"]
    return Panel.from_frame(rows.assign(w=1.0 + np.arange(n) % 3), unit="unit", period="period")


def tidy_of(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[list(TIDY)].reset_index(drop=True)


@pytest.mark.parametrize("vcov", ["cluster", "jackknife", "driscoll_kraay", "bias_reduced"])
def test_each_kind_is_what_its_own_verb_reports(vcov):
    panel, spec = draw(), replace(SPEC, vcov=vcov)
    rows = compare_errors(panel, spec, n_boot=199, conf_level=0.9, rng=np.random.default_rng(5))
    kinds = list(dict.fromkeys([vcov, "cluster", "jackknife", "wild"]))
    assert rows["errors"].tolist() == kinds * 2
    assert rows["term"].tolist() == ["x_lag1"] * len(kinds) + ["z_lag1"] * len(kinds)
    for kind in kinds[:-1]:
        expected = fit_panel(panel, replace(spec, vcov=kind)).tidy(0.9).head(2)
        assert_frame_equal(tidy_of(rows[rows["errors"] == kind]), tidy_of(expected))
    rng = np.random.default_rng(5)
    tests = [
        wild_cluster_test(panel, spec, term, n_boot=199, rng=rng).tidy(0.9)
        for term in ("x_lag1", "z_lag1")
    ]
    assert_frame_equal(tidy_of(rows[rows["errors"] == "wild"]), tidy_of(pd.concat(tests)))
    assert set(rows["n_clusters"]) == {14}
    assert set(rows["note"]) == {""}


def test_the_same_seed_gives_the_same_rows():
    one, two = (compare_errors(draw(), SPEC, rng=np.random.default_rng(1)) for _ in range(2))
    assert_frame_equal(one, two)


def test_errors_that_the_package_to_match_lacks_are_taken_by_the_house_convention():
    panel = draw()
    rows = compare_errors(panel, replace(SPEC, match="linearmodels"), rng=np.random.default_rng(1))
    asked = rows[rows["errors"] == "cluster"]
    assert_frame_equal(
        tidy_of(asked), tidy_of(fit_panel(panel, replace(SPEC, match="linearmodels")).tidy()[:2])
    )
    assert rows["estimate"].notna().all()


def test_what_the_rows_do_not_admit_has_no_numbers_and_a_reason():
    panel = draw(n_units=2, n_periods=12)
    spec = replace(SPEC, exposures=("x",), controls=(), lag=0)
    frame = panel.frame.assign(x=np.where(panel.unit_codes == 0, panel.frame["x"], 0.0))
    lone = Panel.from_frame(frame, unit="unit", period="period")
    rows = compare_errors(lone, replace(spec, absorb=("unit",), vcov="robust"),
                          rng=np.random.default_rng(1)).set_index("errors")  # fmt: skip
    assert np.isfinite(rows.loc["robust", "std_error"])
    assert np.isnan(rows.loc["jackknife", "std_error"])
    assert rows.loc["jackknife", "note"]


def test_very_many_clusters_need_no_wild_bootstrap(monkeypatch):
    monkeypatch.setattr(error_kinds, "MANY_CLUSTERS", 10)
    rows = compare_errors(draw(), SPEC, rng=np.random.default_rng(1)).set_index("errors")
    assert set(rows.loc["wild", "note"]) == {"Not drawn for more than 10 clusters"}
    assert rows.loc["wild", "estimate"].isna().all()


def test_too_few_draws_are_refused():
    with pytest.raises(InferenceError, match="n_boot=50"):
        compare_errors(draw(), SPEC, n_boot=50, rng=np.random.default_rng(1))
