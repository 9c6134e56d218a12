"""Precision weights: Paule-Mandel by hand and by metafor, weighted fits by linearmodels."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from linearmodels.panel import PanelOLS
from numpy.testing import assert_allclose

from ex_cx.errors import InferenceError, SpecError
from ex_cx.linkage.panel import Panel
from ex_cx.models.precision import compare_precision, precision_weights
from ex_cx.models.regress import PanelSpec, fit_panel
from ex_cx.results import TIDY

ORACLES = Path(__file__).parents[1] / "oracles"
R = json.loads((ORACLES / "rate_logit.json").read_text())
SPEC = PanelSpec(outcome="nps", exposures=("x",))


def _panel(rows: pd.DataFrame, unit: str = "unit", period: str = "period", **roles: str) -> Panel:
    return Panel.from_frame(rows, unit=unit, period=period, **roles)


def _rows(seed: int = 1, n_units: int = 40, n_periods: int = 10) -> pd.DataFrame:
    """Answers of 5 to 60 customers: promoters and detractors move with x; tau beyond sampling."""
    rng = np.random.default_rng(seed)
    unit, period = np.divmod(np.arange(n_units * n_periods), n_periods)
    rows = pd.DataFrame({"unit": unit, "period": period})
    rows["x"] = rng.normal(size=len(rows))
    rows["nps_n"] = rng.integers(5, 60, len(rows))
    shift = 0.03 * rng.normal(size=len(rows)) + 0.06 * rng.normal(size=n_units)[unit]
    promoter = np.clip(0.62 - 0.06 * rows["x"] + shift, 0.02, 0.95)
    detractor = np.clip((0.16 + 0.05 * rows["x"] - shift), 0.01, 0.98 - promoter)
    shares = np.column_stack([promoter, detractor, 1 - promoter - detractor])
    drawn = rng.multinomial(rows["nps_n"], shares)
    p, d = drawn[:, 0] / rows["nps_n"], drawn[:, 1] / rows["nps_n"]
    rows["nps_promoter_share"], rows["nps_detractor_share"] = p, d
    rows["nps"], rows["nps_se"] = (
        100 * (p - d),
        100 * np.sqrt((p + d - (p - d) ** 2) / rows["nps_n"]),
    )
    rows["true_nps"] = 100 * (promoter - detractor)
    return rows


def test_paule_mandel_by_hand():
    # two units of two periods, unit effects only, no slope to speak of: each unit's pair has the
    # difference d, residuals -d/2 and d/2. Errors equal: tau^2 + se^2 = sum of squares / 1
    rows = pd.DataFrame(
        {
            "unit": [1, 1, 2, 2],
            "period": [1, 2, 1, 2],
            "x": [0.0, 1.0, 1.0, 0.0],
            "nps": [10.0, 26.0, 20.0, 16.0],
            "nps_se": 3.0,
        }
    )
    # differences by x: 16 and 4; slope 10, residuals of the pairs +-3 and -+3: sum of squares 36
    found = precision_weights(_panel(rows), replace(SPEC, absorb=("unit",)), errors="own")
    assert_allclose(found.tau_squared, 36 / 1 - 9, rtol=1e-10)
    assert_allclose(found.panel.frame["nps_precision"], 1 / 36, rtol=1e-10)
    assert found.panel.weights == "nps_precision"


@pytest.mark.parametrize("case", ["paule_mandel", "paule_mandel_holed"])
def test_metafor_finds_the_same_variance_and_slopes(case):
    rows = pd.read_csv(ORACLES / "rate_fatalities.csv").assign(pct=lambda r: 100 * r["share"])
    rows["pct_se"] = 100 * np.sqrt(rows["share"] * (1 - rows["share"]) / rows["fatal"])
    if case.endswith("holed"):
        rows = rows[(np.arange(len(rows)) + 1) % 7 != 0]
    spec = PanelSpec(outcome="pct", exposures=("unemp", "income"))
    found = precision_weights(_panel(rows, "state", "year"), spec, errors="own")
    assert_allclose(found.tau_squared, R[case]["tau2"], rtol=1e-8)
    coef = fit_panel(found.panel, spec).coef
    assert_allclose(coef, [R[case]["coef"][name] for name in spec.exposures], rtol=1e-8)


def test_weighted_fit_is_that_of_linearmodels():
    rows = _rows()
    found = precision_weights(_panel(rows), SPEC, errors="own")
    ours = fit_panel(found.panel, SPEC)
    indexed = found.panel.frame.set_index(["unit", "period"])
    theirs = PanelOLS(
        indexed["nps"],
        indexed[["x"]],
        entity_effects=True,
        time_effects=True,
        weights=1 / (found.tau_squared + indexed["nps_se"] ** 2),
    ).fit()
    assert_allclose(ours.coef, theirs.params, rtol=1e-8)


def test_pooled_errors_are_the_pooled_variance_of_an_answer_over_the_answers():
    rows = _rows()
    rows.loc[:9, "nps_se"] = np.nan
    found = precision_weights(_panel(rows), SPEC)
    held = rows.iloc[10:]
    counts = held["nps_n"]
    answer = np.average(counts * held["nps_se"] ** 2, weights=counts)
    frame = found.panel.frame
    assert_allclose(1 / frame["nps_precision"] - found.tau_squared, answer / frame["nps_n"])
    assert found.n_obs == 400
    assert not found.lost


def test_variance_beyond_sampling_is_recovered():
    # truth by construction: variance of the true score net of x, unit and period effects, found
    # without sampling; over 40 panels, three Monte Carlo errors, and 10 % for the errors' divisor n
    gaps, truths = [], []
    for seed in range(40):
        rows = _rows(seed)
        panel = _panel(rows)
        exact = fit_panel(panel, replace(SPEC, outcome="true_nps", vcov="unadjusted"))
        spread = exact.vcov[0, 0] * _left(rows)
        gaps.append(precision_weights(panel, SPEC).tau_squared - spread)
        truths.append(spread)
    sampling = np.mean(_rows()["nps_se"] ** 2)
    assert abs(np.mean(gaps)) < 3 * np.std(gaps) / np.sqrt(40) + 0.1 * sampling
    assert np.mean(truths) > 20


def _left(rows: pd.DataFrame) -> float:
    """Sum of squares of x net of both effects, balanced."""
    wide = rows.pivot_table(index="unit", columns="period", values="x").to_numpy()
    rest = wide - wide.mean(0) - wide.mean(1, keepdims=True) + wide.mean()
    return float((rest**2).sum())


def _near_the_top(seed: int) -> pd.DataFrame:
    """8 to 20 answers, four in five promoters, each point of x 7 points of NPS."""
    rng = np.random.default_rng(seed)
    unit, period = np.divmod(np.arange(400), 10)
    rows = pd.DataFrame({"unit": unit, "period": period, "x": rng.uniform(-2, 2, 400)})
    rows["nps_n"] = rng.integers(8, 20, 400)
    promoter, detractor = 0.80 - 0.05 * rows["x"], 0.06 + 0.02 * rows["x"]
    drawn = rng.multinomial(
        rows["nps_n"], np.column_stack([promoter, detractor, 1 - promoter - detractor])
    )
    p, d = drawn[:, 0] / rows["nps_n"], drawn[:, 1] / rows["nps_n"]
    rows["nps"], rows["nps_se"] = (
        100 * (p - d),
        100 * np.sqrt((p + d - (p - d) ** 2) / rows["nps_n"]),
    )
    # a standard error of 0 (all answers alike) would weigh infinitely
    rows["nps_se"] = rows["nps_se"].clip(lower=100 / rows["nps_n"])
    return rows


def test_own_errors_pull_the_estimate_and_pooled_ones_do_not():
    # near the top of the scale answers vary less, so that lucky draws weigh most; truth -7 points;
    # over 60 panels, three Monte Carlo errors
    found: dict[str, list[float]] = {"none": [], "own errors": [], "pooled errors": []}
    for seed in range(60):
        table = compare_precision(_panel(_near_the_top(seed)), SPEC).set_index("weighting")
        for kind, values in found.items():
            values.append(table.loc[kind, "estimate"])
    off = {kind: abs(np.mean(values) + 7) for kind, values in found.items()}
    noise = {kind: 3 * np.std(values) / np.sqrt(60) for kind, values in found.items()}
    assert off["pooled errors"] < noise["pooled errors"]
    assert off["none"] < noise["none"]
    assert off["own errors"] > noise["own errors"]


def test_pooled_weights_are_worth_having():
    # answers from 5 to 60 a row: the spread of the estimate over the same 60 panels falls
    plain, weighted = [], []
    for seed in range(60):
        panel = _panel(_rows(seed))
        plain.append(fit_panel(panel, SPEC).coef[0])
        found = precision_weights(panel, SPEC)
        weighted.append(fit_panel(found.panel, SPEC).coef[0])
    assert np.std(weighted) < 0.95 * np.std(plain)


def test_comparison_holds_the_rows_and_says_what_it_weighs():
    rows = _rows()
    rows.loc[rows["nps_n"] < 10, "nps_se"] = np.nan
    panel = _panel(rows)
    table = compare_precision(panel, SPEC, conf_level=0.9)
    kinds = ["none, all rows", "none", "responses", "own errors", "pooled errors"]
    assert tuple(table.columns[:8]) == TIDY
    assert table["weighting"].tolist() == kinds
    withheld = int((rows["nps_n"] < 10).sum())
    assert table["n_obs"].tolist() == [400] + [400 - withheld] * 4
    seen = _panel(rows[rows["nps_n"] >= 10])
    assert_allclose(table["estimate"][1], fit_panel(seen, SPEC).coef[0], rtol=1e-10)
    by_count = fit_panel(seen, replace(SPEC, weights="nps_n"))
    assert_allclose(table["estimate"][2], by_count.coef[0], rtol=1e-10)
    assert_allclose(table["std_error"][2], np.sqrt(by_count.vcov[0, 0]), rtol=1e-9)
    own = precision_weights(panel, SPEC, errors="own")
    assert own.lost == {"no standard error (nps_se)": withheld}
    assert own.glance()["rows_lost"].item() == withheld
    assert_allclose(table["tau_squared"][3], own.tau_squared)


def test_sampling_alone_gives_zero_and_says_so():
    rows = _rows().assign(nps_se=500.0)
    found = precision_weights(_panel(rows), SPEC, errors="own")
    assert found.tau_squared == 0
    assert "sampling errors account for all" in found.warnings[0]
    assert_allclose(found.panel.frame["nps_precision"], 1 / 500**2)


def test_errors_that_go_along_with_the_score_are_told():
    panel = _panel(_near_the_top(1))
    own = precision_weights(panel, SPEC, errors="own")
    assert "go along with the outcome (correlation -0." in "; ".join(own.warnings)
    assert precision_weights(panel, SPEC).warnings == ()


def test_errors_of_zero_are_told_or_refused():
    rows = _rows().assign(nps_se=lambda r: r["nps_se"].clip(lower=1))
    rows.loc[4, "nps_se"] = 0.0
    found = precision_weights(_panel(rows), SPEC, errors="own")
    assert "1 rows have a standard error of 0" in found.warnings[0]
    assert np.isfinite(found.panel.frame["nps_precision"]).all()
    rows["nps_se"] = np.where(rows.index == 4, 0.0, 500.0)
    rows.loc[rows["unit"] == 0, "nps"] = 10.0
    with pytest.raises(InferenceError, match="1 rows have a standard error of 0 and no variance"):
        precision_weights(_panel(rows), SPEC, errors="own")


def test_what_is_refused_says_why():
    rows = _rows()
    panel = _panel(rows)
    cases = [
        (panel, replace(SPEC, estimator="pooled"), {}, "estimator='within', not 'pooled'"),
        (panel, replace(SPEC, weights="nps_n"), {}, r"weights already \('nps_n'\)"),
        (_panel(rows, weights="nps_n"), SPEC, {}, r"weights already \('nps_n'\)"),
        (panel, SPEC, {"errors": "pool"}, "Did you mean 'pooled'"),
        (panel, SPEC, {"std_error": "nps_sd"}, "no column 'nps_sd' of standard errors"),
        (panel, SPEC, {"errors": "pooled", "count": "n"}, "no column 'n' of counts"),
        (_panel(rows.assign(nps_se=-1.0)), SPEC, {}, "400 standard errors in 'nps_se' are neg"),
        (_panel(rows.assign(nps_se=rows["nps_se"].astype(str))), SPEC, {}, "must be numeric"),
        (_panel(rows.assign(nps_se=np.inf)), SPEC, {}, "400 of 400 values of 'nps_se' are inf"),
        (
            _panel(rows.assign(nps_n=-rows["nps_n"])),
            SPEC,
            {"errors": "pooled"},
            "400 counts of answers in 'nps_n' are negative",
        ),
        (_panel(rows.assign(nps_precision=1.0)), SPEC, {}, "a column 'nps_precision' already"),
        (
            _panel(rows.assign(nps_se=np.nan)),
            SPEC,
            {"errors": "pooled"},
            "No row has both 'nps_se' and 'nps_n'",
        ),
        (
            _panel(rows.assign(nps_se=np.nan)),
            SPEC,
            {},
            r"None of the 400 .*400 no standard error \(nps_se\)",
        ),
    ]
    for given, spec, options, words in cases:
        with pytest.raises(SpecError, match=words):
            precision_weights(given, spec, **{"errors": "own", **options})
    few = _panel(rows[(rows["unit"] < 2) & (rows["period"] < 2)])
    with pytest.raises(InferenceError, match="no degrees of freedom"):
        precision_weights(few, SPEC)
