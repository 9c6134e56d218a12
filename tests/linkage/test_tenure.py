"""Attrition and retention by hand, and against counting day by day."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from ex_cx.linkage.tenure import NEVER, attrition, retention


def rates(found: pd.DataFrame) -> dict[tuple[int, int], tuple[float, ...]]:
    return {
        (int(row.unit), int(row.period)): tuple(row)[3:] for row in found.itertuples(index=True)
    }


def test_attrition_is_exits_over_the_mean_of_open_and_close():
    # ten people before the window; in period 0 two leave and one is hired: open 10, close 9
    units = np.zeros(11, dtype=np.int64)
    start = np.array([-5] * 10 + [0])
    end = np.array([0, 0] + [NEVER] * 9)
    found = attrition(units, start, end, n_units=1, n_periods=2)
    assert rates(found) == {
        (0, 0): (pytest.approx(100 * 2 / 9.5), 9.5, 2.0),
        (0, 1): (0.0, 9.0, 0.0),
    }


def test_transfers_leave_the_headcount_but_are_no_exits():
    units = np.zeros(4, dtype=np.int64)
    start, end = np.array([-1] * 4), np.array([0, 0, NEVER, NEVER])
    counted = np.array([True, False, False, False])
    found = attrition(units, start, end, n_units=1, n_periods=2, counted=counted)
    assert rates(found) == {
        (0, 0): (pytest.approx(100 * 1 / 3), 3.0, 1.0),
        (0, 1): (0.0, 2.0, 0.0),
    }


def test_a_unit_that_closes_stays_in_until_it_closes_and_one_that_opens_begins_then():
    # unit 0 closes in period 1, unit 1 opens in period 1
    units = np.array([0, 0, 1, 1])
    start, end = np.array([-1, -1, 1, 1]), np.array([1, 1, NEVER, NEVER])
    found = attrition(units, start, end, n_units=2, n_periods=3)
    assert list(rates(found)) == [(0, 0), (0, 1), (1, 1), (1, 2)]
    assert rates(found)[0, 1] == (200.0, 1.0, 2.0)  # both left; on average one was there


def test_hired_and_gone_within_one_period_and_nobody_else_has_no_rate():
    found = attrition(np.array([0]), np.array([0]), np.array([0]), n_units=1, n_periods=2)
    assert len(found) == 1
    assert np.isnan(found["value"].iloc[0])
    assert found["exits"].iloc[0] == 1


def test_an_exit_after_the_window_has_not_happened():
    args = (np.zeros(2, dtype=np.int64), np.array([-1, -1]))
    late = attrition(*args, np.array([5, NEVER]), n_units=1, n_periods=3)
    never = attrition(*args, np.array([NEVER, NEVER]), n_units=1, n_periods=3)
    pd.testing.assert_frame_equal(late, never)


def test_attrition_matches_counting_people_one_by_one():
    rng = np.random.default_rng(11)
    n, periods, teams = 400, 8, 5
    units = rng.integers(0, teams, n)
    start = rng.integers(-6, periods, n)
    end = np.where(rng.random(n) < 0.5, NEVER, start + rng.integers(0, 9, n))
    found = attrition(units, start, end, n_units=teams, n_periods=periods)
    for row in found.itertuples():
        mine = units == row.unit
        opened = (mine & (start < row.period) & (end >= row.period)).sum()
        closed = (mine & (start <= row.period) & (end > row.period)).sum()
        exits = (mine & (end == row.period)).sum()
        assert row.exits == exits
        assert row.n == (opened + closed) / 2
        if row.n:
            assert row.value == pytest.approx(100 * exits / row.n)


def test_retention_is_that_of_the_cohort_at_the_start():
    # 4 accounts at the start of period 0, one churns in it; one new account churns in period 0, too
    units = np.zeros(5, dtype=np.int64)
    start = np.array([-1, -1, -1, -1, 0])
    end = np.array([0, NEVER, NEVER, NEVER, 0])
    found = retention(units, start, end, n_units=1, n_periods=2)
    assert rates(found) == {(0, 0): (75.0, 4.0), (0, 1): (100.0, 3.0)}


def test_retention_by_revenue():
    found = retention(
        np.zeros(2, dtype=np.int64),
        np.array([-1, -1]),
        np.array([0, NEVER]),
        n_units=1,
        n_periods=1,
        weights=np.array([30.0, 70.0]),
    )
    assert rates(found) == {(0, 0): (70.0, 100.0)}


def test_retention_over_a_longer_window_is_right_censored():
    units = np.zeros(4, dtype=np.int64)
    start, end = np.array([-1] * 4), np.array([0, 1, 2, NEVER])
    found = retention(units, start, end, n_units=1, n_periods=4, window=2)
    # of 4, two are gone by the end of period 1; of 3, two by the end of 2; of 2, one; then unknown
    assert_allclose(found["value"], [50, 100 / 3, 50, np.nan])
    assert found["n"].tolist() == [4, 3, 2, 1]


def test_accounts_still_open_are_kept_not_lost():
    found = retention(
        np.array([0, 0]), np.array([-1, -1]), np.array([NEVER, 99]), n_units=1, n_periods=3
    )
    assert found["value"].tolist() == [100, 100, 100]
