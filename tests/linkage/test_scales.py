"""Scale scores, consistency and halves, by hand and against R's psych and factanal."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from ex_cx.errors import SchemaError
from ex_cx.linkage.scales import (
    _one_factor,
    cronbach_alpha,
    halves_of,
    item_total,
    omega_total,
    score_scale,
    split_half,
)

ORACLE = json.loads(
    (Path(__file__).parents[1] / "oracles" / "scales.json").read_text(encoding="utf-8")
)
ATTITUDE = pd.DataFrame(ORACLE["attitude"])


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
    assert cronbach_alpha(answers) == pytest.approx(2 * (1 - 3 / (17 / 3)))
    assert np.isnan(cronbach_alpha(answers[["a"]]))
    assert np.isnan(cronbach_alpha(pd.DataFrame({"a": [1, 1], "b": [2, 2]})))


def test_alpha_and_item_table_are_those_of_psych():
    assert cronbach_alpha(ATTITUDE) == pytest.approx(ORACLE["alpha"], rel=1e-12)
    table = item_total(ATTITUDE)
    assert_allclose(table["item_total"], ORACLE["item_total"], rtol=1e-12)
    assert_allclose(table["alpha_without"], ORACLE["alpha_without"], rtol=1e-12)
    assert table["item"].tolist() == list(ATTITUDE.columns)


def test_omega_is_that_of_a_maximum_likelihood_factor():
    loadings, unique = _one_factor(np.corrcoef(ATTITUDE.to_numpy(), rowvar=False))
    assert_allclose(loadings, ORACLE["loadings"], atol=1e-7)
    assert_allclose(unique, ORACLE["uniquenesses"], atol=1e-7)
    assert omega_total(ATTITUDE) == pytest.approx(ORACLE["omega_factanal"], rel=1e-8)
    # psych divides by the observed variance of the sum, METHODS by the model's own
    assert 1 - unique.sum() / ORACLE["total"] == pytest.approx(ORACLE["omega_psych"], abs=1e-6)


def test_omega_equals_alpha_where_all_items_load_alike():
    rng = np.random.default_rng(3)
    draws, _ = np.linalg.qr(rng.normal(size=(300, 5)) - 0.0)
    draws -= draws.mean(axis=0)
    draws, _ = np.linalg.qr(draws)  # exactly uncorrelated, centred, of one length
    items = pd.DataFrame(draws[:, :1] * 2 + draws[:, 1:])
    assert omega_total(items) == pytest.approx(cronbach_alpha(items), rel=1e-6)


def test_omega_is_missing_where_one_factor_is_not_identified():
    assert np.isnan(omega_total(ATTITUDE.iloc[:, :2]))
    assert np.isnan(omega_total(ATTITUDE.iloc[:5]))
    assert np.isnan(omega_total(ATTITUDE.assign(rating=1.0)))


def _responses(sizes, seed=0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    unit = np.repeat(np.arange(len(sizes)), sizes)
    return pd.DataFrame({"unit": unit, "period": 1, "x": rng.normal(size=len(unit))})


def test_halves_hold_every_respondent_once_and_differ_by_one_at_most():
    answers = _responses([10, 11, 25, 9])
    found = split_half(answers, score="x", rng=np.random.default_rng(2))
    assert found["x_n"].tolist() == [10, 11, 25, 9]
    mean = answers.groupby("unit")["x"].mean()
    # of an even group the halves average to the mean
    assert (found["x_half1"] + found["x_half2"])[0] / 2 == pytest.approx(mean[0])
    assert found.loc[3, ["x_half1", "x_half2"]].isna().all()  # 9 leave a half of 4
    half = halves_of(np.repeat([0, 1], [7, 4]), np.random.default_rng(1))
    assert sorted(np.bincount(half[:7])) == [3, 4]
    assert np.bincount(half[7:]).tolist() == [2, 2]


def test_who_is_in_which_half_is_chance_and_the_seed_decides():
    groups = np.zeros(4001, dtype=int)
    counts = np.zeros(4001)
    larger = 0
    for seed in range(200):
        half = halves_of(groups, np.random.default_rng(seed))
        counts += half
        larger += int(half.sum() == 2001)
    # each row's count is binomial(200, 1/2): mean 100, sd 7.07; the larger half likewise
    assert counts.min() > 60
    assert counts.max() < 140
    assert 60 < larger < 140
    again = halves_of(groups, np.random.default_rng(7))
    assert np.array_equal(again, halves_of(groups, np.random.default_rng(7)))


def test_missing_answers_are_in_no_half():
    answers = _responses([12])
    answers.loc[:1, "x"] = np.nan
    found = split_half(answers, score="x", rng=np.random.default_rng(2))
    assert found["x_n"].tolist() == [10]
    assert (found["x_half1"] + found["x_half2"])[0] / 2 == pytest.approx(answers["x"].mean())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": "y"}, r"The responses have no column 'y'\. They have: 'unit', 'period', 'x'\."),
        ({"by": ("units",)}, r"no column 'units'\. Did you mean 'unit'\?"),
        ({"min_n": 4}, r"min_n=4 is below 5, the least that is shown\. Raise it\."),
    ],
)
def test_what_cannot_be_split_is_refused(change, message):
    given = {"score": "x"} | change
    with pytest.raises(SchemaError, match=message):
        split_half(_responses([12]), **given, rng=np.random.default_rng(2))


def test_a_response_of_nobody_is_refused():
    answers = _responses([12]).astype({"unit": "object"})
    answers.loc[3, "unit"] = None
    with pytest.raises(SchemaError, match=r"1 response of 12 lack one of unit, period"):
        split_half(answers, score="x", rng=np.random.default_rng(2))
