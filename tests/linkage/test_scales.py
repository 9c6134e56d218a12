"""Scale scores and agreement, by hand and against plain formulas."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from numpy.testing import assert_allclose
from statsmodels.formula.api import ols

from ex_cx.errors import SchemaError
from ex_cx.linkage.scales import alpha_cronbach, icc, rwg_j, score_scale


def test_reverse_keyed_items_are_turned_before_the_mean():
    answers = pd.DataFrame({"a": [5.0, 1.0], "b": [4.0, 2.0], "r": [1.0, 5.0]})
    score = score_scale(answers, items=["a", "b", "r"], reverse=["r"], low=1, high=5)
    assert_allclose(score, [(5 + 4 + 5) / 3, (1 + 2 + 1) / 3])


def test_two_thirds_answered_is_enough_less_is_not():
    answers = pd.DataFrame({"a": [4.0, 4.0], "b": [2.0, np.nan], "c": [np.nan, np.nan]})
    score = score_scale(answers, items=["a", "b", "c"], low=1, high=5)
    assert score.iloc[0] == 3  # 2 of 3 is two thirds exactly
    assert np.isnan(score.iloc[1])


def test_a_scale_without_items_is_refused():
    with pytest.raises(SchemaError, match=r"A scale needs at least one item\. List its columns"):
        score_scale(pd.DataFrame({"a": [1.0]}), items=[], low=1, high=5)


def test_alpha_by_hand():
    # items 1234 and 2244: variances 5/3 and 4/3; sums 3, 4, 7, 8: variance 17/3
    answers = pd.DataFrame({"a": [1, 2, 3, 4], "b": [2, 2, 4, 4]})
    assert alpha_cronbach(answers) == pytest.approx(2 * (1 - 3 / (17 / 3)))
    assert np.isnan(alpha_cronbach(answers[["a"]]))
    assert np.isnan(alpha_cronbach(pd.DataFrame({"a": [1, 1], "b": [2, 2]})))


def test_icc_matches_the_analysis_of_variance():
    rng = np.random.default_rng(5)
    groups = np.repeat(np.arange(12), rng.integers(3, 9, 12))
    values = rng.normal(size=len(groups)) + 0.7 * rng.normal(size=12)[groups]
    table = sm.stats.anova_lm(ols("y ~ C(g)", pd.DataFrame({"y": values, "g": groups})).fit())
    between, within = table["mean_sq"]
    sizes = np.bincount(groups)
    k0 = (len(values) - (sizes**2).sum() / len(values)) / 11
    found = icc(values, groups)
    assert found["icc1"] == pytest.approx((between - within) / (between + (k0 - 1) * within))
    assert found["icc2"] == pytest.approx((between - within) / between)
    assert found["k0"] == pytest.approx(k0)


def test_icc_of_one_group_is_missing():
    assert np.isnan(icc(np.array([1.0, 2.0]), np.array(["a", "a"]))["icc1"])


def test_rwg_is_one_in_full_agreement_and_zero_in_none():
    answers = pd.DataFrame({"a": [3, 3, 1, 5, 2], "b": [4, 4, 1, 5, 2]})
    groups = np.array(["same", "same", "split", "split", "alone"])
    found = rwg_j(answers, groups, low=1, high=5)
    assert found["same"] == 1
    assert found["split"] == 0  # variance 8 exceeds the uniform 2: held at 0
    assert np.isnan(found["alone"])
