"""Every measure on a case that fits in the reader's head, then against plain pandas."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from ex_cx.errors import SchemaError
from ex_cx.linkage.grouped import (
    contact_resolution,
    group_mean,
    group_nps,
    group_ratio,
    group_share,
    group_sum,
    nps_from_counts,
)

ONE = np.zeros(10, dtype=np.int64)


def test_nps_of_ten_answers():
    # 5 promoters (9, 9, 10, 10, 10), 3 passives (7, 8, 8), 2 detractors (6, 0)
    answers = np.array([9, 9, 10, 10, 10, 7, 8, 8, 6, 0.0])
    row = group_nps(answers, ONE, 1).iloc[0]
    assert row["value"] == pytest.approx(30)  # 50 % - 20 %
    # sqrt((0.5 + 0.2 - 0.3^2) / 10) = sqrt(0.061)
    assert row["se"] == pytest.approx(100 * np.sqrt(0.061))
    assert (row["promoter_share"], row["detractor_share"], row["n"]) == (0.5, 0.2, 10)


def test_nps_error_is_that_of_scores_of_plus_and_minus_100():
    rng = np.random.default_rng(20240501)
    answers = rng.integers(0, 11, 200).astype(float)
    scores = np.select([answers >= 9, answers <= 6], [100.0, -100.0], 0.0)
    value, error = nps_from_counts(
        np.array([(answers >= 9).sum()]), np.array([(answers <= 6).sum()]), np.array([200])
    )
    assert_allclose(value, scores.mean(), rtol=1e-12)
    assert_allclose(error, scores.std(ddof=0) / np.sqrt(200), rtol=1e-12)


@pytest.mark.parametrize("extreme", [0.0, 10.0])
def test_nps_of_one_mind_has_no_spread(extreme: float):
    row = group_nps(np.full(10, extreme), ONE, 1).iloc[0]
    assert (row["value"], row["se"]) == (20 * extreme - 100, 0)


def test_nps_refuses_answers_that_are_none():
    with pytest.raises(SchemaError) as caught:
        group_nps(np.array([9, 11, 7.5]), np.zeros(3, int), 1)
    assert str(caught.value) == (
        "2 answers of 3 to the recommendation question are not whole numbers from 0 to 10. Correct "
        "them, or take their mean."
    )


def test_a_group_without_answers_is_missing_with_n_zero():
    groups = np.array([0, 0, 2])
    answers = np.array([9.0, 3.0, np.nan])
    for found in (
        group_nps(answers, groups, 3),
        group_mean(answers, groups, 3),
        group_share(np.array([1.0, 0.0, np.nan]), groups, 3),
        group_sum(answers, groups, 3),
    ):
        assert found["n"].tolist() == [2, 0, 0]
        assert found["value"].isna().tolist() == [False, True, True]


def test_mean_and_share_by_hand():
    found = group_mean(np.array([1, 2, 3, 5.0]), np.array([0, 0, 0, 1]), 2)
    assert found["value"].tolist() == [2, 5]
    assert found["se"].iloc[0] == pytest.approx(1 / np.sqrt(3))  # s = 1
    assert np.isnan(found["se"].iloc[1])  # one answer says nothing of its spread
    share = group_share(np.array([1, 1, 0, 0.0]), np.zeros(4, int), 1).iloc[0]
    assert share.tolist() == [50, 4, 25]  # 100 sqrt(0.25 / 4)


def test_a_ratio_is_a_ratio_of_sums_not_a_mean_of_ratios():
    # occupancy 10/100 and 90/100 of unequal shifts: 100/1100, not the mean 50 %
    found = group_ratio(np.array([10.0, 90]), np.array([1000.0, 100]), np.zeros(2, int), 1, per=100)
    assert_allclose(found["value"], 100 * 100 / 1100)
    assert found["n"].tolist() == [1100]


def test_a_ratio_leaves_out_rows_that_lack_a_side_and_zero_denominators():
    found = group_ratio(
        np.array([10.0, np.nan, 5.0, 3.0]),
        np.array([20.0, 20.0, np.nan, 0.0]),
        np.array([0, 0, 0, 1]),
        2,
    )
    assert found["value"].tolist()[0] == 0.5
    assert np.isnan(found["value"].iloc[1])


def test_groups_match_pandas_on_random_rows_in_any_order():
    rng = np.random.default_rng(7)
    groups = rng.integers(-1, 20, 3_000)
    values = np.where(rng.random(3_000) < 0.1, np.nan, rng.integers(0, 11, 3_000))
    frame = pd.DataFrame({"g": groups, "v": values}).query("g >= 0")
    oracle = frame.groupby("g")["v"].agg(["mean", "count", "sem"])
    for order in (np.arange(3_000), rng.permutation(3_000)):
        found = group_mean(values[order], groups[order], 20)
        assert_allclose(found[["value", "n", "se"]], oracle, rtol=1e-12)


def test_resolution_looks_seven_days_ahead_within_the_customer():
    times = pd.to_datetime(
        ["2024-01-01", "2024-01-08", "2024-01-16", "2024-01-01", "2024-01-31", "2024-01-02"]
    )
    customers = pd.Series(["a", "a", "a", "b", "c", None])
    found = contact_resolution(customers, pd.Series(times))
    # a: 7 days later again (not resolved), then 8 days later (resolved), then never; c: the last
    # day, nobody can know; no customer, nobody can know
    assert_array_equal(found, [0, 1, 1, 1, np.nan, np.nan])


def test_resolution_in_the_last_window_is_missing_also_where_a_repeat_is_seen():
    times = pd.Series(pd.to_datetime(["2024-01-20", "2024-01-25", "2024-01-30", "2024-01-31"]))
    found = contact_resolution(pd.Series(["a", "a", "a", "b"]), times)
    assert_array_equal(found, [0, np.nan, np.nan, np.nan])


def test_resolution_of_a_shorter_file_is_no_worse_in_its_last_days():
    """Known repeats alone would make the last window's share zero, whatever the file's end."""
    rng = np.random.default_rng(8)
    times = pd.Series(pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.uniform(0, 60, 4000), "D"))
    customers = pd.Series(rng.integers(0, 400, 4000).astype(str))
    long = contact_resolution(customers, times)
    early = times < times.min() + pd.Timedelta(days=40)
    short = np.full(4000, np.nan)
    short[early] = contact_resolution(customers[early], times[early])
    known = times <= times[early].max() - pd.Timedelta(days=7)
    assert_array_equal(~np.isnan(short), known)
    assert_array_equal(short[known], long[known])


def test_resolution_does_not_depend_on_row_order():
    rng = np.random.default_rng(3)
    times = pd.Series(pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 80, 500), "D"))
    times += pd.to_timedelta(np.arange(500), "s")  # no ties
    customers = pd.Series(rng.integers(0, 60, 500).astype(str))
    order = rng.permutation(500)
    found = contact_resolution(customers, times)
    again = contact_resolution(customers[order], times[order])
    assert_array_equal(found[order], again)


def test_contacts_at_one_time_do_not_depend_on_row_order():
    rng = np.random.default_rng(11)
    times = pd.Series(pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 40, 400), "D"))
    customers = pd.Series(rng.integers(0, 20, 400).astype(str))
    units = pd.Series(rng.integers(0, 5, 400).astype(str))

    def by_unit(order: np.ndarray) -> pd.Series:
        part = [column[order].reset_index(drop=True) for column in (customers, times, units)]
        found = contact_resolution(part[0], part[1], units=part[2])
        return pd.Series(found).groupby(part[2]).agg(["sum", "count"])

    first = by_unit(np.arange(400))
    for _ in range(5):
        pd.testing.assert_frame_equal(by_unit(rng.permutation(400)), first)


def test_of_two_contacts_on_one_day_the_last_unit_has_the_last():
    times = pd.Series(pd.to_datetime(["2024-01-01", "2024-01-01", "2024-01-31"]))
    customers, units = pd.Series(["a", "a", "b"]), pd.Series(["Y", "X", "X"])
    assert_array_equal(contact_resolution(customers, times, units=units), [1, 0, np.nan])


def test_a_sum_that_no_number_holds_is_refused():
    large, one = np.full(2, 1.5e308), np.zeros(2, dtype=int)
    words = r"^1 sum of 1 is beyond the largest number there is"
    with pytest.raises(SchemaError, match=words):
        group_sum(large, one, 1)
    with pytest.raises(SchemaError, match=words):
        group_ratio(large[:1], np.ones(1), one[:1], 1, per=100)
