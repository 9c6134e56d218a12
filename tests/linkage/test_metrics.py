"""Every measure on a case done by hand, with each convention in use."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ex_cx.errors import SchemaError
from ex_cx.linkage import metrics
from ex_cx.linkage.metrics import Estimate


def test_adjusted_wald_keeps_an_error_where_all_are_of_one_mind():
    plain, adjusted = (metrics.net_promoter_score([10] * 7, adjusted=a) for a in (False, True))
    assert plain == Estimate(100, 0, 7)
    # (7 + .75) / 10 - .75 / 10 = 0.70; variance (0.85 - 0.49) / 10
    assert adjusted.estimate == pytest.approx(70)
    assert adjusted.std_error == pytest.approx(100 * np.sqrt(0.036))
    assert np.isnan(metrics.net_promoter_score([np.nan]).estimate)


def test_satisfaction_in_its_two_conventions():
    scores = [5, 5, 4, 3, np.nan]
    top = metrics.customer_satisfaction(scores, low=1, high=5)
    assert top == Estimate(75, pytest.approx(100 * np.sqrt(0.75 * 0.25 / 4)), 4)
    mean = metrics.customer_satisfaction(scores, low=1, high=5, convention="mean")
    assert mean == Estimate(4.25, pytest.approx(np.std([5, 5, 4, 3], ddof=1) / 2), 4)


def test_effort_has_a_version_with_a_scale():
    assert metrics.customer_effort([1, 5, 3], version="ces1").estimate == 3
    with pytest.raises(SchemaError, match=r"1 answer of 2 is outside the scale 1 to 5"):
        metrics.customer_effort([7, 5], version="ces1")
    assert metrics.customer_effort([7, 5], version="ces2").estimate == 6


def test_repeat_contacts_at_the_end_of_the_data_are_unknown():
    times = pd.Series(pd.to_datetime(["2024-01-01", "2024-01-03", "2024-01-30", "2024-01-31"]))
    resolved = metrics.first_contact_resolution(pd.Series(list("abcd")), times)
    assert (resolved.estimate, resolved.n) == (100, 2)  # c and d: nobody knows yet
    assert metrics.repeat_contact(pd.Series(list("abcd")), times).estimate == 0


def test_attrition_in_its_three_conventions():
    # 3 of 100: the reading of METHODS.md, 3 % a month is 36 % or 30.6 % a year
    simple, annual, compound = (
        metrics.attrition_rate(3, 100, convention=c) for c in ("simple", "annualised", "compound")
    )
    assert simple == Estimate(3, pytest.approx(100 * np.sqrt(0.03 * 0.97 / 100)), 100)
    assert annual.estimate == pytest.approx(36)
    assert annual.std_error == pytest.approx(12 * simple.std_error)
    assert compound.estimate == pytest.approx(100 * (1 - 0.97**12))
    # delta method against a small step
    step = 1e-6
    up = metrics.attrition_rate(3 + step, 100, convention="compound").estimate
    slope = (up - compound.estimate) / (100 * step / 100)
    assert compound.std_error == pytest.approx(slope * simple.std_error, rel=1e-4)


def test_twelve_months_are_exits_over_mean_headcount():
    exits, heads = [1, 2] * 6, [40, 60] * 6
    found = metrics.attrition_rate(exits, heads, convention="annualised")
    assert found.estimate == pytest.approx(100 * 18 / 50)
    assert found.n == 50


def test_retention_of_accounts_and_of_revenue():
    assert metrics.retention_rate(200, 210, 30).estimate == 90
    assert metrics.retention_rate([100, 100], [90, 95], basis="gross_revenue").estimate == 92.5
    assert metrics.retention_rate(100.0, 120.0, basis="net_revenue").estimate == 120
    with pytest.raises(SchemaError, match=r"1 row of 1 keep more than they had at the start"):
        metrics.retention_rate(100, 120)


def test_handling_and_staffing_times():
    handled = metrics.average_handle_time([600.0, 0], [60.0, 0], [240.0, 0], [3, 0])
    assert handled.estimate == 300
    assert metrics.occupancy([45, 30], [15, 30]).estimate == pytest.approx(100 * 75 / 120)
    assert metrics.utilisation(45, 90).estimate == 50
    assert metrics.adherence(54, 60).estimate == 90
    assert metrics.conformance(66, 60).estimate == pytest.approx(110)
    assert metrics.shrinkage(30, 100).estimate == 30
    assert metrics.required_staff(70, 30) == pytest.approx(100)  # not 70 x 1.3 = 91


def test_the_error_of_a_ratio_is_that_of_resampled_rows():
    rng = np.random.default_rng(3)
    below = rng.integers(20, 80, size=400).astype(float)
    above = rng.binomial(below.astype(int), 0.3).astype(float)
    found = metrics.service_level(above, answered=below, convention="answered")
    draws = rng.integers(0, 400, size=(2000, 400))
    ratios = 100 * above[draws].sum(axis=1) / below[draws].sum(axis=1)
    # 2,000 draws: the sd of an sd is 1.6 %
    assert found.std_error == pytest.approx(ratios.std(), rel=0.06)


def test_the_four_service_levels_differ():
    counts = {"answered": 90, "abandoned": 10, "abandoned_in_time": 4}
    found = {
        c: metrics.service_level(72, convention=c, **counts).estimate
        for c in ("offered", "answered", "net_of_short", "with_abandoned")
    }
    assert found == {
        "offered": 72,
        "answered": 80,
        "net_of_short": pytest.approx(75),
        "with_abandoned": pytest.approx(76),
    }


def test_a_service_level_does_not_take_a_count_for_zero():
    with pytest.raises(SchemaError, match=r"'net_of_short' needs abandoned, abandoned_in_time too"):
        metrics.service_level(72, answered=90, convention="net_of_short")


def test_abandonment_less_short_abandons():
    assert metrics.abandonment_rate([6, 4], [60, 40]).estimate == 10
    assert metrics.abandonment_rate(10, 100, short=4).estimate == pytest.approx(100 * 6 / 96)


def test_rates_are_sums_over_sums():
    # mean of rates 50 %, sum over sum 10 %
    assert metrics.utilisation([9, 0.9], [10, 89]).estimate == pytest.approx(10)


def test_rows_that_lack_a_side_are_in_neither_sum():
    found = metrics.utilisation([9, np.nan, 5], [10, 10, np.nan])
    assert (found.estimate, found.n) == (90, 10)
    assert np.isnan(metrics.utilisation([np.nan], [1.0]).estimate)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.utilisation([-1.0], [1.0]), r"1 value of 1 of handle is negative"),
        (lambda: metrics.utilisation([1.0, 2.0], [4.0]), r"handle has 2 rows and paid 1"),
        (lambda: metrics.shrinkage(3, 2), r"unavailable exceeds paid, of which it is a part, in 1"),
        (lambda: metrics.abandonment_rate(1, 9, short=2), r"short exceeds abandoned"),
        (lambda: metrics.required_staff(5, 100), r"Shrinkage is 100 %; it must be from 0 to below"),
        (lambda: metrics.attrition_rate(1, 2, convention="compund"), r"Did you mean 'compound'"),
        (lambda: metrics.service_level(9, answered=8, convention="answered"), r"in_time exceeds"),
    ],
)
def test_what_cannot_be_is_refused(call, message):
    with pytest.raises(SchemaError, match=message):
        call()
