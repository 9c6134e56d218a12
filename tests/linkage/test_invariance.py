"""Is a scale the same in every wave: against R's lavaan and psych, and on waves made to differ."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from ex_cx.errors import SchemaError
from ex_cx.linkage.invariance import congruence, wave_invariance
from ex_cx.linkage.onefactor import _discrepancy, _Parameters, fit_groups, moments_of
from ex_cx.linkage.scales import _one_factor, cronbach_alpha, item_total

ORACLE = json.loads(
    (Path(__file__).parents[1] / "oracles" / "invariance.json").read_text(encoding="utf-8")
)
ANSWERS, ITEMS = pd.DataFrame(ORACLE["answers"]), ORACLE["items"]


def _moments(oracle, column):
    codes = pd.Categorical(ANSWERS[column], categories=oracle["groups"]).codes.astype(int)
    return moments_of(ANSWERS[ITEMS].to_numpy(float), codes, len(oracle["groups"]))


@pytest.mark.parametrize(("case", "column"), [("two", "school"), ("four", "group")])
def test_models_are_those_of_lavaan(case, column):
    oracle = ORACLE[case]
    found = fit_groups(_moments(oracle, column))
    assert [fit.model for fit in found] == oracle["fit"]["_row"]
    assert [fit.df for fit in found] == oracle["fit"]["df"]
    # lavaan stops at a relative change of 1e-10
    assert_allclose([fit.chi2 for fit in found], oracle["fit"]["chisq"], rtol=1e-8)
    assert_allclose([fit.cfi for fit in found], oracle["fit"]["cfi"], rtol=1e-8)
    assert_allclose([fit.rmsea for fit in found], oracle["fit"]["rmsea"], rtol=1e-8)
    assert_allclose(found[2].factor_mean, oracle["latent_means"], atol=1e-4)
    assert_allclose(found[2].factor_variance, oracle["latent_variances"], rtol=1e-4)
    own = found[0]
    standardised = own.loadings / np.sqrt(own.loadings**2 + own.unique)
    assert_allclose(standardised, list(oracle["loadings"].values()), atol=1e-5)


def test_steps_and_congruence_are_those_of_lavaan_and_psych():
    oracle = ORACLE["two"]
    order = {name: at for at, name in enumerate(oracle["groups"])}
    found = wave_invariance(ANSWERS.assign(w=ANSWERS["school"].map(order)), ITEMS, "w")
    assert_allclose(found.models["chi2_step"][1:], oracle["difference"], rtol=1e-7)
    assert_allclose(found.models["p_step"][1:], oracle["p"], rtol=1e-7)
    loadings = map(np.array, oracle["loadings"].values())
    assert congruence(*loadings) == pytest.approx(oracle["congruence"], abs=1e-11)
    # lavaan's loadings are known to some 1e-6
    assert_allclose(found.waves["congruence"], [1, oracle["congruence"]], atol=1e-6)


def test_each_wave_alone_is_the_scale_of_that_wave():
    found = wave_invariance(ANSWERS, ITEMS, "school")
    for wave, part in ANSWERS.groupby("school"):
        row = found.waves.set_index("wave").loc[wave]
        assert row["n"] == len(part)
        assert row["alpha"] == pytest.approx(cronbach_alpha(part[ITEMS]), rel=1e-12)
        assert row["mean"] == pytest.approx(part[ITEMS].mean(axis=1).mean())
        items = found.items[found.items["wave"] == wave]
        table = item_total(part[ITEMS])
        assert_allclose(items["item_total"], table["item_total"], rtol=1e-12)
        assert_allclose(items["mean"], table["mean"], rtol=1e-12)
        loadings, _ = _one_factor(np.corrcoef(part[ITEMS].to_numpy(), rowvar=False))
        assert_allclose(items["loading"], loadings, atol=1e-5)


def test_the_slope_is_that_of_small_steps():
    rng = np.random.default_rng(4)
    moments = _moments(ORACLE["four"], "group")
    groups, k = moments.mean.shape
    at = _Parameters(
        rng.uniform(0.4, 1, (groups, k)),
        rng.uniform(0.4, 1, (groups, k)),
        moments.mean + rng.normal(size=(groups, k)) / 5,
        rng.uniform(0.5, 2, groups),
        rng.normal(size=groups) / 5,
    )
    _, slope = _discrepancy(at, moments)
    for name in ("loadings", "unique", "intercepts", "factor_variance", "factor_mean"):
        for index in np.ndindex(getattr(at, name).shape):
            ends = []
            for step in (1e-6, -1e-6):
                parts = {n: getattr(at, n).copy() for n in _Parameters.__slots__}
                parts[name][index] += step
                ends.append(_discrepancy(_Parameters(**parts), moments)[0])
            assert getattr(slope, name)[index] == pytest.approx(
                (ends[0] - ends[1]) / 2e-6, abs=1e-7
            )


def _waves(seed, *, loading=1.0, shift=0.0, mean=0.0, n=4000):
    """Two waves of a scale of five items; in the second one, item a differs."""
    rng = np.random.default_rng(seed)
    parts = []
    for wave in (1, 2):
        mood = rng.normal(size=(n, 1)) + (mean if wave == 2 else 0)
        slopes = np.ones(5)
        slopes[0] = loading if wave == 2 else 1.0
        values = mood * slopes + rng.normal(size=(n, 5))
        values[:, 0] += shift if wave == 2 else 0
        parts.append(pd.DataFrame(values, columns=list("abcde")).assign(wave=wave))
    return pd.concat(parts, ignore_index=True)


@pytest.mark.parametrize(
    ("change", "level"),
    [
        ({}, "scalar"),
        ({"mean": 0.7}, "scalar"),  # the mood of everybody changes: that is what a wave is for
        ({"shift": 0.9}, "metric"),
        ({"loading": 0.2}, "configural"),
    ],
)
def test_what_was_changed_is_found(change, level):
    found = wave_invariance(_waves(5, **change), list("abcde"), "wave")
    assert found.level == level
    assert found.verdict == ("clear" if level == "scalar" else "caution")
    if level == "scalar":
        # both steps are true, so their p is uniform: below 1e-6 once in a million seeds
        assert found.models["p_step"].min() > 1e-6
        assert "means of waves may be compared" in found.reading


def test_items_without_a_common_factor_are_told():
    rng = np.random.default_rng(1)
    two = rng.normal(size=(3000, 2))
    values = np.repeat(two, 3, axis=1) + rng.normal(size=(3000, 6)) / 2
    answers = pd.DataFrame(values, columns=list("abcdef")).assign(wave=np.arange(3000) % 3)
    found = wave_invariance(answers, list("abcdef"), "wave")
    assert found.level == "none"
    assert found.models["cfi"][0] < 0.9
    assert "one factor does not describe the items" in found.reading


def test_rows_labels_and_units_do_not_matter():
    answers = _waves(7, shift=0.3, n=300)
    plain = wave_invariance(answers, list("abcde"), "wave")
    mixed = answers.sample(frac=1, random_state=2)
    mixed = mixed.assign(**{name: 10 + 3 * mixed[name] for name in "abcde"})
    other = wave_invariance(mixed, list("abcde"), "wave")
    assert_allclose(other.models["chi2"], plain.models["chi2"], rtol=1e-7)
    assert_allclose(other.waves["congruence"], plain.waves["congruence"], rtol=1e-5)
    assert_allclose(other.items["loading"], plain.items["loading"], atol=1e-5)


def test_small_waves_and_incomplete_respondents_are_counted():
    answers = pd.concat([_waves(3, n=60), _waves(4, n=20).assign(wave=3)[:20]], ignore_index=True)
    answers.loc[:4, "a"] = np.nan
    found = wave_invariance(answers, list("abcde"), "wave")
    assert found.waves["n"].tolist() == [55, 60]
    assert found.left_out == 1
    assert "Left out for too few respondents: 1 wave." in found.reading
    assert "3" not in found.waves["wave"].tolist()


def test_two_items_and_items_that_stand_still_have_no_models():
    answers = _waves(3, n=60)
    pair = wave_invariance(answers, ["a", "b"], "wave")
    assert pair.level == "untested"
    assert len(pair.models) == 0
    assert pair.waves["congruence"].isna().all()
    assert pair.items["item_total"].notna().all()
    still = wave_invariance(answers.assign(a=3.0), list("abcde"), "wave")
    assert still.level == "untested"
    assert still.items.loc[still.items["item"] == "a", "item_total"].isna().all()


def test_two_items_that_are_one_leave_the_models_nested():
    rng = np.random.default_rng(9)
    values = rng.normal(size=(600, 1)) + rng.normal(size=(600, 5))
    values[:, 0] = values[:, 1] + rng.normal(size=600) / 1000
    found = fit_groups(moments_of(values, np.arange(600) % 6, 6))
    assert found[0].chi2 <= found[1].chi2 <= found[2].chi2
    assert found[0].at_bound > 0


def test_a_search_that_does_not_settle_is_no_finding(monkeypatch):
    answers = _waves(3, n=60)
    monkeypatch.setattr("ex_cx.linkage.onefactor._FLAT", 0.0)
    found = wave_invariance(answers, list("abcde"), "wave")
    assert found.level == "untested"
    assert not found.models["settled"].any()
    assert found.verdict == "caution"


def test_three_items_leave_the_first_model_nothing_to_test():
    found = wave_invariance(_waves(6, n=500), list("abc"), "wave")
    assert found.models["df"].tolist() == [0, 2, 4]
    assert found.models["chi2"][0] == pytest.approx(0, abs=1e-6)
    assert (found.models["cfi"][0], found.models["rmsea"][0]) == (1, 0)


def test_congruence_by_hand():
    # 0.6 x 0.8 twice = 0.96, over 1 x 1; of opposite loadings -1
    assert congruence(np.array([0.6, 0.8]), np.array([0.8, 0.6])) == pytest.approx(0.96)
    assert congruence(np.array([0.6, 0.8]), np.array([-0.3, -0.4])) == pytest.approx(-1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda a: wave_invariance(a, list("ab"), "wav"), r"no column 'wav'\. Did you mean 'wave'"),
        (lambda a: wave_invariance(a, ["a"], "wave"), r"at least 2 different ones are needed"),
        (lambda a: wave_invariance(a, list("ab"), "wave", min_n=9), r"min_n=9 is below 10"),
        (
            lambda a: wave_invariance(a, list("ab"), "wave", min_n=31),
            r"0 waves of 2 in 'wave' have",
        ),
        (
            lambda a: wave_invariance(a.assign(a="agree"), list("ab"), "wave"),
            r"60 answers of 60 to 'a' are no finite numbers",
        ),
        (
            lambda a: wave_invariance(a.assign(b=np.inf), list("ab"), "wave"),
            r"60 answers of 60 to 'b' are no finite numbers",
        ),
        (
            lambda a: wave_invariance(a.assign(wave=None), list("ab"), "wave"),
            r"60 rows of 60 have no 'wave'",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(call, message):
    with pytest.raises(SchemaError, match=message):
        call(_waves(3, n=30))
