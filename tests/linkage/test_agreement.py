"""Agreement, reliability and shrinkage, by hand and against R's multilevel."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from numpy.testing import assert_allclose
from statsmodels.formula.api import ols

from ex_cx.errors import SchemaError
from ex_cx.linkage.agreement import (
    aggregation_report,
    icc,
    respondents_needed,
    unit_means,
    within_group_agreement,
)
from ex_cx.linkage.scales import score_scale

ORACLE = json.loads(
    (Path(__file__).parents[1] / "oracles" / "scales.json").read_text(encoding="utf-8")
)
LEADERS, ITEMS = pd.DataFrame(ORACLE["lq2002"]), ORACLE["items"]


def test_icc_matches_the_analysis_of_variance():
    rng = np.random.default_rng(5)
    groups = np.repeat(np.arange(12), rng.integers(3, 9, 12))
    values = rng.normal(size=len(groups)) + 0.7 * rng.normal(size=12)[groups]
    frame = pd.DataFrame({"y": values, "g": groups})
    table = sm.stats.anova_lm(ols("y ~ C(g)", frame).fit())
    between, within = table["mean_sq"]
    sizes = np.bincount(groups)
    k0 = (len(values) - (sizes**2).sum() / len(values)) / 11
    found = icc(frame, "y", "g").iloc[0]
    assert found["icc1"] == pytest.approx((between - within) / (between + (k0 - 1) * within))
    assert found["icc2"] == pytest.approx((between - within) / between)
    assert found["k"] == pytest.approx(k0)
    assert found["f_statistic"] == pytest.approx(table["F"].iloc[0])
    assert found["p_value"] == pytest.approx(table["PR(>F)"].iloc[0])


def test_icc_is_that_of_multilevel():
    scored = LEADERS.assign(lead=LEADERS[ITEMS].mean(axis=1))
    found = icc(scored, "lead", "COMPID", group_size="mean").iloc[0]
    # R writes the mean of all units into k
    assert found["icc1"] == pytest.approx(ORACLE["icc1_mean"], rel=1e-10)
    assert found["icc2"] == pytest.approx(ORACLE["icc2_mean"], rel=1e-10)
    assert found["f_statistic"] == pytest.approx(ORACLE["f"], rel=1e-10)
    assert found["p_value"] == pytest.approx(ORACLE["p"], rel=1e-8)


def test_icc_of_bh1996_from_its_groups():
    # two answers at mean +- sd sqrt(n - 1) / sqrt(2), the others at the mean: the group's moments
    parts = []
    for at, group in enumerate(ORACLE["groups"]):
        values = np.full(group["n"], group["mean"])
        step = np.sqrt(group["variance"] * (group["n"] - 1) / 2)
        values[0] += step
        values[1] -= step
        parts.append(pd.DataFrame({"unit": at, "x": values}))
    found = icc(pd.concat(parts), "x", "unit", group_size="mean").iloc[0]
    oracle = ORACLE["bh1996"]
    assert (found["n"], found["n_units"]) == (oracle["n"], oracle["units"])
    assert found["icc1"] == pytest.approx(oracle["icc1_mean"], rel=1e-10)
    assert found["icc2"] == pytest.approx(oracle["icc2_mean"], rel=1e-10)


def test_agreement_is_that_of_multilevel():
    found = within_group_agreement(LEADERS, ITEMS, "COMPID", 5).set_index("unit")
    for null, oracle in (("uniform", "rwg_uniform"), ("slight_skew", "rwg_skewed")):
        found = within_group_agreement(LEADERS, ITEMS, "COMPID", 5, null).set_index("unit")
        for row in ORACLE[oracle]:
            assert found.loc[int(row["grpid"]), "r_wg"] == pytest.approx(row["rwg.j"], rel=1e-10)
            assert found.loc[int(row["grpid"]), "n"] == row["gsize"]
    single = within_group_agreement(LEADERS, ITEMS[:1], "COMPID", 5).set_index("unit")
    for row in ORACLE["rwg_single"]:
        assert single.loc[int(row["grpid"]), "r_wg"] == pytest.approx(row["rwg"], rel=1e-10)


def test_agreement_is_one_where_all_agree_and_zero_where_none_do():
    answers = pd.DataFrame(
        {
            "a": [3] * 5 + [1, 5, 1, 5, 3] + [2, 2, 2],
            "b": [4] * 5 + [1, 5, 1, 5, 3] + [2, 2, None],
            "team": ["same"] * 5 + ["split"] * 5 + ["few"] * 3,
        }
    )
    found = within_group_agreement(answers, ["a", "b"], "team", 5).set_index("unit")
    assert found.loc["same", "r_wg"] == 1
    assert found.loc["split", "r_wg"] == 0  # variance 4 exceeds the uniform 2: held at 0
    assert np.isnan(found.loc["few", "r_wg"])
    assert found["n"].dropna().to_dict() == {"same": 5, "split": 5}
    assert np.isnan(found.loc["few", "n"])


def test_a_single_unit_has_no_icc():
    frame = pd.DataFrame({"x": [1.0, 2.0], "g": ["a", "a"]})
    assert icc(frame, "x", "g")[["icc1", "icc2", "f_statistic"]].isna().all(axis=None)


def test_unit_means_by_hand():
    # means 1, 4; MSB = 5 (2.5 - 1)^2 + ... = 22.5; within: 4 squares of 1 over 8: 0.5; k0 5
    x = [0.0, 1, 1, 1, 2, 3, 4, 4, 4, 5]
    frame = pd.DataFrame({"unit": list("aaaaabbbbb"), "x": x})
    found = unit_means(frame, "x", "unit")
    spread, noise = (22.5 - 0.5) / 5, 0.5 / 5
    share = spread / (spread + noise)
    assert_allclose(found["mean"], [1, 4])
    assert_allclose(found["std_error"], np.sqrt(noise))
    assert_allclose(found["reliability"], share)
    assert_allclose(found["shrunken"], [2.5 - 1.5 * share, 2.5 + 1.5 * share])


def test_shrunken_means_are_the_predictions_of_a_mixed_model():
    # of units alike in size, restricted likelihood and analysis of variance agree
    rng = np.random.default_rng(6)
    unit = np.repeat(np.arange(30), 12)
    x = 3 + 0.5 * rng.normal(size=30)[unit] + rng.normal(size=360)
    frame = pd.DataFrame({"x": x, "unit": unit})
    found = unit_means(frame, "x", "unit")
    oracle = sm.MixedLM(frame["x"], np.ones((360, 1)), groups=frame["unit"]).fit(
        reml=True, method="bfgs", gtol=1e-9
    )
    between, within = oracle.cov_re.iloc[0, 0], oracle.scale
    assert_allclose(found["reliability"], between / (between + within / 12), rtol=1e-8)
    assert_allclose(found["std_error"], np.sqrt(within / 12), rtol=1e-8)
    effects = [oracle.random_effects[at].iloc[0] for at in range(30)]
    assert_allclose(found["shrunken"], oracle.fe_params.iloc[0] + effects, rtol=1e-8)


def test_shrinkage_comes_nearer_to_the_truth_than_means_do():
    rng = np.random.default_rng(8)
    truth = rng.normal(size=400) * 0.3
    unit = np.repeat(np.arange(400), rng.integers(5, 15, size=400))
    frame = pd.DataFrame({"unit": unit, "x": truth[unit] + rng.normal(size=len(unit))})
    found = unit_means(frame, "x", "unit")
    plain, shrunken = (((found[c] - truth) ** 2).mean() for c in ("mean", "shrunken"))
    # risks w/n and t(1 - reliability): about 0.11 and 0.05
    assert shrunken < 0.6 * plain
    # the mean reliability is that of the truth: var / (var + 1/n)
    known = (0.09 / (0.09 + 1 / found["n"])).mean()
    assert found["reliability"].mean() == pytest.approx(known, abs=0.08)


def test_small_units_count_but_are_not_shown():
    frame = pd.DataFrame({"unit": list("aaaaabb"), "x": [1.0, 2, 3, 4, 5, 9, 10]})
    found = unit_means(frame, "x", "unit").set_index("unit")
    assert found.loc["b"].isna().all()
    with pytest.raises(SchemaError, match=r"min_n=3 is below 5, the least that is shown"):
        unit_means(frame, "x", "unit", min_n=3)


def test_respondents_needed_are_those_of_the_literature():
    assert [respondents_needed(s) for s in (0.05, 0.10, 0.15, 0.20)] == [45, 21, 14, 10]
    with pytest.raises(SchemaError, match=r"ICC\(1\) 0 and reliability 0\.7 must lie between"):
        respondents_needed(0.0)


def test_the_report_takes_the_score_of_the_measure_and_says_what_alpha_needs():
    answers = LEADERS.copy()
    answers.loc[::3, ITEMS[0]] = np.nan
    found = aggregation_report(answers, ITEMS, "COMPID", 5, min_share=0.5).set_index("index")
    score = score_scale(answers, items=ITEMS, low=1, high=5, min_share=0.5)
    whole = icc(answers.assign(s=score), "s", "COMPID").iloc[0]
    assert found.loc["ICC(1)", "value"] == pytest.approx(whole["icc1"])
    assert whole["n"] == len(answers)
    pair = aggregation_report(LEADERS, ITEMS[:2], "COMPID", 5, noun="firm").set_index("index")
    alpha = pair.loc["alpha", "value"]
    # Spearman-Brown: k items like these have alpha k a / (1 + (k - 1) a), a = alpha / (2 - alpha)
    a = alpha / (2 - alpha)
    needed = next(k for k in range(1, 99) if k * a / (1 + (k - 1) * a) >= 0.7)
    assert f"0.70 needs {max(needed, 2)} items like these; there are 2" in pair["reading"].tolist()
    assert "6 firms reach 0.70" in pair.loc["median r_wg(j), uniform null", "reading"]
    odd = aggregation_report(
        LEADERS.assign(neg=-2 * LEADERS[ITEMS[0]]), [ITEMS[0], "neg"], "COMPID", 5
    )
    assert "look for one that was not turned" in odd["reading"].iloc[0]


def test_the_report_says_what_units_would_need():
    report = aggregation_report(LEADERS, ITEMS, "COMPID", 5).set_index("index")
    assert report.loc["alpha", "met"]
    assert report.loc["ICC(2), reliability of unit means", "value"] == pytest.approx(
        icc(LEADERS.assign(s=LEADERS[ITEMS].mean(axis=1)), "s", "COMPID")["icc2"][0]
    )
    reading = report.loc["ICC(2), reliability of unit means", "reading"]
    assert reading.startswith("0.70 needs ")
    assert "6 of 6 units reach 0.70" in report["reading"].tolist()
    # options for which no skewed null is tabled have no such row
    assert not any("skewed" in i for i in aggregation_report(LEADERS, ITEMS, "COMPID", 4)["index"])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f: icc(f, "y", "unit"), r"no column 'y'"),
        (lambda f: icc(f, "x", "unit", group_size="k1"), r"group_size='k1' is not one of mean, k0"),
        (lambda f: within_group_agreement(f, ["x"], "unit", 1), r"at least 2 answer options"),
        (lambda f: within_group_agreement(f, ["x"], "unit", 4, "slight_skew"), r"for 5 to 11"),
        (lambda f: within_group_agreement(f, [], "unit", 5), r"at least one item"),
        (lambda f: within_group_agreement(f, ["x"], "unit", 5, "skew"), r"null='skew' is not one"),
    ],
)
def test_what_cannot_be_computed_is_refused(call, message):
    with pytest.raises(SchemaError, match=message):
        call(pd.DataFrame({"x": [1.0, 2], "unit": ["a", "b"]}))
