"""How long people and accounts stay, by hand and against statsmodels' survival function."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from statsmodels.duration.survfunc import SurvfuncRight

from ex_cx.errors import SchemaError
from ex_cx.linkage.metrics import Estimate, attrition_rate
from ex_cx.linkage.staying import (
    attrition_by_type,
    cohort_retention,
    employee_retention,
    engagement_score,
    median_tenure,
)

YEAR = {"first": "2024-01-01", "last": "2024-12-31"}


def _people(n=600, seed=4):
    """Hires over six years, exits at random; the file covers the last two."""
    rng = np.random.default_rng(seed)
    hired = pd.Timestamp("2019-01-01") + pd.to_timedelta(rng.integers(0, 2190, n), "D")
    stay = np.ceil(rng.exponential(700, n)).astype(int)
    left = pd.Series(hired + pd.to_timedelta(stay - 1, "D"))
    return pd.Series(hired), left.where(left <= "2024-12-31"), stay


WINDOW = {"first": "2023-01-01", "last": "2024-12-31"}


def test_survival_with_delayed_entry_is_that_of_statsmodels():
    hired, left, _ = _people()
    seen = ~(left < WINDOW["first"])
    entry = (pd.Timestamp(WINDOW["first"]) - hired).dt.days.clip(lower=0)[seen]
    end = left.fillna(pd.Timestamp(WINDOW["last"]))
    out = ((end - hired).dt.days + 1)[seen]
    oracle = SurvfuncRight(out, left.notna()[seen].astype(int), entry=entry)
    for after in (180, 365, 900):
        found = employee_retention(hired, left, **WINDOW, after=after)
        at = np.searchsorted(oracle.surv_times, after, side="right") - 1
        assert found.estimate == pytest.approx(100 * oracle.surv_prob[at], rel=1e-12)
        assert found.std_error == pytest.approx(100 * oracle.surv_prob_se[at], rel=1e-12)
        assert found.n == seen.sum()
    assert median_tenure(hired, left, **WINDOW).estimate == oracle.quantile(0.5)


def test_those_gone_before_the_file_begins_would_bias_a_naive_share():
    hired, left, stay = _people(6000, seed=9)
    truth = 100 * np.exp(-365 / 700)
    found = employee_retention(hired, left, **WINDOW, after=365)
    assert abs(found.estimate - truth) < 4 * found.std_error
    # of the people in the file, those that were hired before it all stayed until then
    in_file = ~(left < WINDOW["first"])
    naive = 100 * (stay[in_file] > 365).mean()
    assert naive - truth > 8 * found.std_error
    half = median_tenure(hired, left, **WINDOW).estimate
    assert half == pytest.approx(700 * np.log(2), rel=0.15)


def test_survival_by_hand():
    # 10 hired on 1 January: 1 leaves after 10 days, 5 are hired in the middle of the year
    hired = pd.Series(pd.to_datetime(["2024-01-01"] * 10 + ["2024-07-01"] * 5))
    left = pd.Series(pd.to_datetime(["2024-01-10"] + [None] * 9 + ["2024-07-30"] + [None] * 4))
    # day 10: 15 at risk, 1 leaves; day 30: 14 at risk, 1 leaves
    found = employee_retention(hired, left, **YEAR, after=60)
    stay = (14 / 15) * (13 / 14)
    greenwood = stay * np.sqrt(1 / (15 * 14) + 1 / (14 * 13))
    assert found == Estimate(pytest.approx(100 * stay), pytest.approx(100 * greenwood), 15)


def test_what_nobody_has_been_watched_for_is_missing():
    hired = pd.Series(pd.to_datetime(["2024-06-01"] * 10))
    left = pd.Series(pd.to_datetime([None] * 10))
    assert employee_retention(hired, left, **YEAR, after=100).estimate == 100
    assert np.isnan(employee_retention(hired, left, **YEAR, after=300).estimate)
    assert np.isnan(median_tenure(hired, left, **YEAR).estimate)
    few = employee_retention(hired[:4], left[:4], **YEAR, after=100)
    assert np.isnan(few.estimate)
    assert np.isnan(few.std_error)


def test_exits_of_another_kind_are_censored():
    hired = pd.Series(pd.to_datetime(["2024-01-01"] * 20))
    left = pd.Series(pd.to_datetime(["2024-02-01"] * 4 + ["2024-03-01"] * 4 + [None] * 12))
    kinds = ["transfer"] * 4 + ["voluntary"] * 4 + [None] * 12
    found = employee_retention(
        hired, left, **YEAR, after=200, kinds=kinds, counted_kinds=["voluntary"]
    )
    assert found.estimate == pytest.approx(100 * 12 / 16)
    assert employee_retention(hired, left, **YEAR, after=200).estimate == pytest.approx(60)


def test_a_cohort_and_its_revenue():
    started = pd.Series(pd.to_datetime(["2023-01-01"] * 4 + ["2024-01-01"]))
    ended = pd.Series(pd.to_datetime(["2023-12-31", "2024-02-01", None, None, None]))
    window = {"on": "2024-01-01", "days": 90, "last": "2024-12-31"}
    # the first had ended, the last starts on the day: 3 in the cohort, 2 kept
    found = cohort_retention(started, ended, **window)
    assert found == Estimate(pytest.approx(200 / 3), pytest.approx(100 * np.sqrt(2 / 9 / 3)), 3)
    revenue = [9.0, 50.0, 30.0, 20.0, 7.0]
    gross = cohort_retention(started, ended, revenue=revenue, **window)
    assert (gross.estimate, gross.n) == (pytest.approx(50), 100)
    later = [0.0, 0.0, 60.0, 20.0, 7.0]
    net = cohort_retention(started, ended, revenue=revenue, revenue_later=later, **window)
    assert net.estimate == pytest.approx(80)


def test_a_window_past_the_end_of_the_data_is_missing_not_full():
    started = pd.Series(pd.to_datetime(["2023-01-01"] * 4))
    ended = pd.Series(pd.to_datetime([None] * 4))
    window = {"on": "2024-01-01", "days": 90}
    # 90 days from 1 January end with 30 March
    assert cohort_retention(started, ended, last="2024-03-30", **window).estimate == 100
    assert np.isnan(cohort_retention(started, ended, last="2024-03-29", **window).estimate)


def test_kinds_of_exit_add_up():
    exits = {"voluntary": [2, 1], "involuntary": [1, 0], "transfer": [0, 3]}
    parts = attrition_by_type(exits, [50, 40], convention="annualised")
    whole = attrition_rate([3, 4], [50, 40], convention="annualised")
    assert sum(rate.estimate for rate in parts.values()) == pytest.approx(whole.estimate)
    assert parts["transfer"].estimate == pytest.approx(1200 * 3 / 90)


def test_engagement_is_the_mean_of_scores():
    answers = pd.DataFrame({"a": [5.0, 3, 1, np.nan], "b": [4.0, 3, np.nan, np.nan]})
    found = engagement_score(answers, items=["a", "b"], low=1, high=5, min_share=0.5)
    scores = [4.5, 3, 1]
    error = pytest.approx(np.std(scores, ddof=1) / np.sqrt(3))
    assert found == Estimate(pytest.approx(np.mean(scores)), error, 3)
    assert engagement_score(answers, items=["a", "b"], low=1, high=5).n == 2
    assert np.isnan(engagement_score(answers[3:], items=["a", "b"], low=1, high=5).estimate)


HIRED = pd.Series(pd.to_datetime(["2024-01-01"] * 6))
LEFT = pd.Series(pd.to_datetime(["2024-02-01"] * 6))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: employee_retention(LEFT, HIRED, **YEAR), r"6 people of 6 left before being hired"),
        (lambda: employee_retention(HIRED, LEFT[:2], **YEAR), r"6 hires and 2 exits"),
        (lambda: employee_retention(["soon"] * 6, LEFT, **YEAR), r"`hired` holds values that are"),
        (lambda: employee_retention(HIRED, LEFT, **YEAR, min_n=3), r"min_n=3 is below 5"),
        (
            lambda: employee_retention(HIRED, LEFT, **YEAR, counted_kinds=["quit"]),
            r"need a kind for each of 6 people: none",
        ),
        (
            lambda: employee_retention(
                HIRED, LEFT, **YEAR, kinds=["voluntary"] * 6, counted_kinds=["voluntry"]
            ),
            r"No exit is of the kind 'voluntry'\. One of them is almost the same",
        ),
        (
            lambda: cohort_retention(
                HIRED, LEFT, on="2024-01-05", days=5, last="2024-12-31", revenue_later=[1.0] * 6
            ),
            r"Net revenue retention needs `revenue`",
        ),
        (
            lambda: cohort_retention(
                HIRED, LEFT, on="2024-01-05", days=5, last="2024-12-31", revenue=[1.0]
            ),
            r"differ in number",
        ),
    ],
)
def test_what_cannot_be_is_refused(call, message):
    with pytest.raises(SchemaError, match=message):
        call()
