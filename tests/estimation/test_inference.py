"""Small functions with answers that fit in the reader's head."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from ex_cx.errors import InferenceError, RankError
from ex_cx.estimation.inference import (
    bootstrap_counts,
    bootstrap_p_values,
    check_rank,
    cluster_factor,
    expanded_level,
    expanded_p_values,
    jackknife_vcov,
    percentile_interval,
    sandwich,
    solve_equation,
    sweep_columns,
    t_interval,
    t_p_values,
)


def _cross(seed=0, draws=5, k=5):
    rows = np.random.default_rng(seed).normal(size=(draws, 40, k))
    return np.swapaxes(rows, 1, 2) @ rows


def test_sweeping_gives_every_regression_at_once():
    cross = _cross()
    swept = sweep_columns(cross, [3, 1])
    for one, s in zip(cross, swept, strict=True):
        for i in (0, 2, 4):
            expected = np.linalg.solve(one[np.ix_([1, 3], [1, 3])], one[[1, 3], i])
            assert_allclose(s[i, [1, 3]], expected, rtol=1e-10)
        # what is left of the others, and minus the inverse of the swept block
        others = np.ix_([0, 2, 4], [0, 2, 4])
        projected = one[[0, 2, 4]][:, [1, 3]] @ np.linalg.solve(
            one[np.ix_([1, 3], [1, 3])], one[[1, 3]][:, [0, 2, 4]]
        )
        assert_allclose(s[others], one[others] - projected, rtol=1e-9, atol=1e-10)
        assert_allclose(s[np.ix_([1, 3], [1, 3])], -np.linalg.inv(one[np.ix_([1, 3], [1, 3])]))


def test_sweeping_in_two_steps_is_sweeping_at_once():
    cross = _cross()
    twice = sweep_columns(sweep_columns(cross, [1]), [2, 4])
    assert_allclose(twice, sweep_columns(cross, [1, 2, 4]), rtol=1e-9, atol=1e-11)


def test_sweeping_leaves_the_input_alone():
    cross = _cross()
    before = cross.copy()
    sweep_columns(cross, [0, 1])
    solve_equation(cross, 0, [1])
    assert np.array_equal(cross, before)


def test_dependent_draws_are_missing_and_the_others_are_not():
    cross = _cross(draws=3)
    twin = np.array([[1.0, 0, 0], [0, 1, 1], [0, 0, 0]])[[0, 1, 1]]  # column 2 equals column 1
    cross = np.stack([cross[0][:3, :3], twin @ np.eye(3) @ twin.T, cross[2][:3, :3]])
    found = solve_equation(cross, 0, [1, 2])
    assert np.isfinite(found[[0, 2]]).all()
    assert np.isnan(found[1]).all()


def test_draws_that_hold_only_rounding_of_a_regressor_are_missing():
    cross = np.array([[[1.0, 1e-17], [1e-17, 1e-17]], [[1.0, 1.0], [1.0, 2.0]]])
    assert np.isfinite(solve_equation(cross, 0, [1])).all()  # alone, it looks like any number
    found = solve_equation(cross, 0, [1], before=np.array([1.0, 2.0]))
    assert np.isnan(found[0]).all()
    assert_allclose(found[1], [0.5])


def test_no_regressor_of_a_batch():
    assert solve_equation(_cross(), 0, []).shape == (5, 0)


def test_cluster_factor_by_hand():
    assert_allclose(cluster_factor(10, 101, 3, 8), 10 / 9 * 100 / 90)
    with pytest.raises(InferenceError) as error:
        cluster_factor(1, 101, 3, 8)
    assert str(error.value) == (
        "Clustered errors need at least 2 clusters; the rows used have 1. Add clusters, or choose "
        "vcov='robust' and say why rows are independent."
    )
    with pytest.raises(InferenceError) as error:
        cluster_factor(5, 11, 3, 8)
    assert str(error.value) == (
        "11 rows cannot carry 3 coefficients and 8 absorbed effects. Add rows, or estimate less."
    )


def test_sandwich_by_hand():
    bread, scores = np.diag([0.5, 2.0]), np.array([[2.0, 1.0], [-2.0, 1.0]])
    # halves: (1, 2) and (-1, 2)
    assert sandwich(bread, scores).tolist() == [[2, 0], [0, 8]]


def test_jackknife_by_hand():
    left_out = np.array([[0.0, 1.0], [2.0, 1.0], [4.0, 4.0]])
    # about (2, 2): (-2, -1), (0, -1), (2, 2)
    expected = np.array([[8, 6], [6, 6]]) * 2 / 3
    assert_allclose(jackknife_vcov(left_out, np.array([2.0, 2.0])), expected)
    left_out[1] = np.nan
    with pytest.raises(InferenceError) as error:
        jackknife_vcov(left_out, np.array([2.0, 2.0]))
    assert str(error.value) == (
        "Without 1 of 3 clusters, left out one at a time, a coefficient is not identified: the "
        "estimate rests on them alone. Drop that term, or use vcov='cluster'."
    )


@pytest.mark.parametrize("df", [1, 7, 300])
def test_students_t(df):

    t = np.array([-40.0, -1.3, 0.0, 2.5])
    assert_allclose(t_p_values(t, df), 2 * stats.t.sf(np.abs(t), df), rtol=1e-10)
    low, high = t_interval(t, np.full(4, 2.0), df, 0.99)
    assert_allclose(high - t, 2 * stats.t.ppf(0.995, df), rtol=1e-10)
    assert_allclose(t - low, high - t, rtol=1e-12)


def test_percentiles_by_hand():
    draws = np.column_stack([np.arange(101.0), np.r_[np.nan, np.arange(100.0)]])
    low, high = percentile_interval(draws, 0.9)
    assert_allclose(low, [5, 0.05 * 99])
    assert_allclose(high, [95, 0.95 * 99])
    with pytest.raises(InferenceError) as error:
        percentile_interval(draws, 90)
    assert str(error.value) == (
        "conf_level=90 is not between 0 and 1. Write 0.95 for 95 % intervals."
    )


def test_bootstrap_p_values_by_hand():
    draws = np.array([[1.0, -3, 5, 0], [2, -2, -1, 0], [3, -1, 7, 0], [4, -4, 9, 0]])
    # no draw at or beyond zero: 2 (1 + 0) / 5; one: 2 (1 + 1) / 5; all on both sides: at most 1
    assert_allclose(bootstrap_p_values(draws), [0.4, 0.4, 0.8, 1.0])
    # a draw that failed is no draw
    draws[0, 0] = np.nan
    assert_allclose(bootstrap_p_values(draws)[0], 2 * 1 / 4)


def test_expanded_p_values_by_hand():
    # 3 clusters, factor 1: 2 degrees of freedom, where P(T > t) = (1 - t / sqrt(2 + t^2)) / 2.
    # A counted p of 2 Phi(-1) is the tail beyond 1 on both sides: 1 - 1 / sqrt(3)
    counted = 2 * stats.norm.sf(1)
    assert_allclose(expanded_p_values(np.array([counted]), 3, 1.0), 1 - 1 / np.sqrt(3))
    # the factor 4 halves the distance: 1 - (1/2) / sqrt(2 + 1/4)
    assert_allclose(expanded_p_values(np.array([counted]), 3, 4.0), 1 - 0.5 / 1.5)
    # many clusters: as counted; never smaller than counted; a missing one stays missing
    p = np.array([0.0004, 0.05, 0.7, 1.0, np.nan])
    assert_allclose(expanded_p_values(p, 10**9, 1.0), p, rtol=1e-6)
    assert (expanded_p_values(p[:-1], 12, 1.1) >= p[:-1]).all()


@pytest.mark.parametrize("level", [0.5, 0.9, 0.99])
def test_expanded_p_value_is_the_inverse_of_the_expanded_level(level):
    tails = np.array([1 - expanded_level(level, 9, 1.2)])
    assert_allclose(expanded_p_values(tails, 9, 1.2), 1 - level, rtol=1e-9)


@pytest.mark.parametrize("n_clusters", [2, 37, 40_000])
def test_draws_do_not_depend_on_how_many_follow(n_clusters):
    few = bootstrap_counts(n_clusters, 3, np.random.default_rng(1))
    many = bootstrap_counts(n_clusters, 8, np.random.default_rng(1))
    rng = np.random.default_rng(1)
    parts = [bootstrap_counts(n_clusters, n, rng) for n in (1, 2, 5)]
    assert np.array_equal(many[:3], few)
    assert np.array_equal(np.concatenate(parts), many)
    assert (many.sum(axis=1) == n_clusters).all()
    plain = np.random.default_rng(1).integers(0, n_clusters, size=n_clusters)
    assert np.array_equal(many[0], np.bincount(plain, minlength=n_clusters))


def test_rank_messages_name_what_is_wrong():
    cross, names = np.array([[2.0, 2.0], [2.0, 2.0]]), ["x", "z"]
    with pytest.raises(RankError) as error:
        check_rank(cross, np.array([2.0, 2.0]), names, ())
    assert str(error.value) == (
        "'z' is a combination of 'x' once the effects are absorbed, so its coefficient is not "
        "identified. Drop one of them from the spec."
    )
    with pytest.raises(RankError) as error:
        check_rank(cross, np.array([2.0, 0.0]), names, ())
    assert str(error.value) == (
        "'z' is constant on the rows used, so its coefficient is not identified. Drop it from the "
        "spec, or check the filter."
    )
    with pytest.raises(RankError) as error:
        check_rank(cross, np.array([2.0, 1e12]), names, ("unit",))
    assert str(error.value) == (
        "'z' is a combination of the absorbed effects (unit), so its coefficient is not "
        "identified. Drop it from the spec, or absorb fewer effects."
    )
