"""Compressed moments equal least squares on dummies, whatever clusters are drawn or left out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from ex_cx.errors import InferenceError
from ex_cx.estimation import gaps, overlap
from ex_cx.estimation import moments as module
from ex_cx.estimation.inference import solve_equation
from ex_cx.estimation.moments import ClusterMoments, MomentRows

EFFECTS = [("unit", "period"), ("unit",), ("period",), ()]


def _rows(absorb, *, n_units=9, n_periods=5, share=0.7, weighted=False, per=2, seed=0):
    """Rows of units seen in at least two periods, `per` units to a cluster; and their labels."""
    rng = np.random.default_rng(seed)
    seen = rng.uniform(size=(n_units, n_periods)) < share
    seen[seen.sum(axis=1) < 2, :2] = True
    unit, period = np.nonzero(seen)
    period = np.unique(period, return_inverse=True)[1]
    n = len(unit)
    effect = rng.normal(size=n_units)[unit] * 3 + rng.normal(size=n_periods)[period]
    x, z = effect + rng.normal(size=n), effect / 2 + rng.normal(size=n)
    y = x - z + effect + rng.normal(size=n)
    cluster = unit // per
    unit_starts = np.flatnonzero(np.diff(unit, prepend=-1))
    cluster_starts = np.flatnonzero(np.diff(cluster, prepend=-1))
    same = None if "unit" in absorb else np.zeros(n, dtype=np.int64)
    rows = MomentRows(
        columns=(y, x, z),
        unit_starts=unit_starts if "unit" in absorb else cluster_starts,
        cluster_starts=cluster_starts,
        periods=period if "period" in absorb else same,
        weights=rng.uniform(0.2, 3, size=n) if weighted else None,
        absorbs_unit="unit" in absorb,
    )
    return rows, unit, period, cluster


def _dummies(labels) -> np.ndarray:
    return (labels[:, None] == np.unique(labels)).astype(float)


def _design(absorb, unit, period) -> np.ndarray:
    parts = [_dummies(unit)] * ("unit" in absorb) + [_dummies(period)] * ("period" in absorb)
    return np.hstack(parts) if parts else np.ones((len(unit), 1))


def _swept(rows: MomentRows, absorb, unit, period) -> np.ndarray:
    """The columns as residuals of weighted least squares on dummies, shape (k, n)."""
    root = np.ones(rows.n_obs) if rows.weights is None else np.sqrt(rows.weights)
    design = _design(absorb, unit, period)
    columns = np.column_stack(rows.columns)
    fit = np.linalg.lstsq(design * root[:, None], columns * root[:, None], rcond=1e-12)[0]
    return (columns - design @ fit).T


def _cross(rows: MomentRows, absorb, unit, period) -> np.ndarray:
    swept = _swept(rows, absorb, unit, period)
    weights = np.ones(rows.n_obs) if rows.weights is None else rows.weights
    return (swept * weights) @ swept.T


def _drawn(rows, absorb, unit, period, cluster, counts):
    """Cross-products of the drawn clusters' rows, each repeat under new labels."""
    picks = [
        (np.flatnonzero(cluster == g), c) for g in range(len(counts)) for c in range(int(counts[g]))
    ]
    at = np.concatenate([rows_of for rows_of, _ in picks])
    copy = np.concatenate([np.full(len(rows_of), c) for rows_of, c in picks])
    again = replace(
        rows,
        columns=tuple(column[at] for column in rows.columns),
        weights=None if rows.weights is None else rows.weights[at],
        periods=None if rows.periods is None else rows.periods[at],
    )
    return _cross(again, absorb, unit[at] + 1000 * copy, period[at])


@pytest.mark.parametrize(("spread", "near"), [(10.0, True), (1e6, False)])
@pytest.mark.parametrize("weighted", [False, True])
def test_scores_hold_their_digits_however_far_units_lie_apart(monkeypatch, spread, near, weighted):
    rows, unit, *_ = _rows(("unit", "period"), weighted=weighted, n_units=40)
    level = np.random.default_rng(1).normal(size=(40, 3))[unit] * spread
    far = replace(rows, columns=tuple(c + v for c, v in zip(rows.columns, level.T, strict=True)))
    monkeypatch.setattr(module, "_KEEP_ROWS", 0)
    monkeypatch.setattr(module, "_BLOCK_ROWS", 16)
    moments = ClusterMoments(far)
    assert moments._near is near
    contrast = np.array([1.0, -0.7, 0.4])
    expected, rss = ClusterMoments(rows).scores(contrast)
    # the columns themselves, as added up in floating point, differ by this much
    lost = 50 * np.finfo(float).eps * spread
    scores, found = moments.scores(contrast)
    assert_allclose(scores, expected, atol=max(lost, 1e-12))
    assert_allclose(found, rss, rtol=max(lost, 1e-12))


def test_moments_by_hand():
    # unit means of y 1 and 2, of x 2 and 4: y -1 1 -1 1, x -2 2 -1 1
    rows = MomentRows(
        columns=(np.array([0.0, 2, 1, 3]), np.array([0.0, 4, 3, 5])),
        unit_starts=np.array([0, 2]),
        cluster_starts=np.array([0, 2]),
        periods=None,
        weights=None,
        absorbs_unit=True,
    )
    moments = ClusterMoments(rows)
    assert moments.total.tolist() == [[4, 6], [6, 10]]
    # about the means 1.5 and 3 before: 2.25 + .25 + .25 + 2.25 and 9 + 1 + 0 + 4
    assert moments.before.tolist() == [5, 14]
    assert moments.leave_one_out().tolist() == [[[2, 2], [2, 2]], [[2, 4], [4, 8]]]
    assert moments.cross_products(np.array([[2, 0]])).tolist() == [[[4, 8], [8, 16]]]
    # with periods too both units move alike but for x: +-2 and +-1 leave +-.5 each
    both = ClusterMoments(replace(rows, periods=np.array([0, 1, 0, 1])))
    assert_allclose(both.total, [[0, 0], [0, 1]], atol=1e-14)
    assert both.period_rank == 1
    assert_allclose(both.left, [0, 0.1], atol=1e-14)


@pytest.mark.parametrize("absorb", EFFECTS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("share", [1.0, 0.7])
def test_totals_scores_and_rows_are_those_of_dummies(absorb, weighted, share):
    rows, unit, period, cluster = _rows(absorb, weighted=weighted, share=share)
    moments = ClusterMoments(rows)
    swept = _swept(rows, absorb, unit, period)
    weights = np.ones(rows.n_obs) if rows.weights is None else rows.weights
    assert_allclose(moments.total, (swept * weights) @ swept.T, rtol=1e-11, atol=1e-12)
    assert_allclose(np.concatenate(list(moments.demeaned()), axis=1), swept, atol=1e-12)
    contrast = np.array([1.0, -0.5, 2.0])
    residual = contrast @ swept
    scores, rss = moments.scores(contrast)
    for g, score in enumerate(scores):
        mine = cluster == g
        assert_allclose(score, (swept * weights * residual)[:, mine].sum(axis=1), atol=1e-11)
    assert_allclose(rss, (weights * residual**2).sum(), rtol=1e-12)
    effects = np.linalg.matrix_rank(_design(absorb, unit, period))
    assert moments.period_rank == effects - len(np.unique(unit)) * ("unit" in absorb)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 100_000),
    absorb=st.sampled_from(EFFECTS),
    weighted=st.booleans(),
    share=st.sampled_from([1.0, 0.95, 0.8, 0.5]),
    per=st.sampled_from([1, 2, 3]),
)
def test_draws_and_omissions_equal_dummies_on_the_rows(seed, absorb, weighted, share, per):
    rows, *labels = _rows(absorb, weighted=weighted, share=share, per=per, seed=seed)
    moments = ClusterMoments(rows)
    g = moments.n_clusters
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(g, np.ones(g) / g, size=3)
    scale = moments.total.diagonal().max()
    for swept, count in zip(moments.cross_products(counts), counts, strict=True):
        assert_allclose(swept, _drawn(rows, absorb, *labels, count), atol=1e-11 * scale)
    without = np.ones((g, g)) - np.eye(g)
    for swept, count in zip(moments.leave_one_out()[:3], without, strict=False):
        assert_allclose(swept, _drawn(rows, absorb, *labels, count), atol=1e-11 * scale)


@pytest.mark.parametrize("absorb", EFFECTS)
@pytest.mark.parametrize("weighted", [False, True])
def test_blocks_and_chunks_of_any_size(monkeypatch, absorb, weighted):
    rows, *_ = _rows(absorb, weighted=weighted)
    counts = np.random.default_rng(1).multinomial(5, np.ones(5) / 5, size=7)
    contrast = np.array([1.0, -0.5, 2.0])
    whole = ClusterMoments(rows)
    expected = [whole.total, *whole.scores(contrast), whole.before]
    expected += [whole.cross_products(counts), whole.leave_one_out()]
    monkeypatch.setattr(module, "_KEEP_ROWS", 0)
    monkeypatch.setattr(module, "_CHUNK_BYTES", 1)
    for size in (1, 4, 9, 1000):
        monkeypatch.setattr(module, "_BLOCK_ROWS", size)
        parts = ClusterMoments(rows)
        found = [parts.total, *parts.scores(contrast), parts.before]
        found += [parts.cross_products(counts), parts.leave_one_out()]
        for mine, theirs in zip(found, expected, strict=True):
            assert_allclose(mine, theirs, rtol=1e-11, atol=1e-11)


def test_sparse_and_dense_overlaps_are_the_same(monkeypatch):
    for weighted in (False, True):
        rows, *_ = _rows(("unit", "period"), weighted=weighted, n_units=40, n_periods=12, share=0.3)
        found = []
        for below in (0.0, 2.0):
            monkeypatch.setattr(overlap, "_SPARSE_BELOW", below)
            found.append(ClusterMoments(rows))
        dense, sparse = found
        assert_allclose(sparse.total, dense.total, rtol=1e-12)
        assert sparse.period_rank == dense.period_rank == 11


@pytest.mark.parametrize("per", [1, 3])
def test_few_gaps_are_the_same_as_all_that_is_seen(monkeypatch, per):
    absorb = ("unit", "period")
    rows, *labels = _rows(absorb, n_units=150, n_periods=14, share=0.93, per=per, seed=3)
    moments = ClusterMoments(rows)
    assert moments._overlap._gaps is not None
    monkeypatch.setattr(gaps, "MOST_PAIRS", 0.0)
    whole = ClusterMoments(rows)
    assert whole._overlap._gaps is None
    counts = np.random.default_rng(5).multinomial(
        whole.n_clusters, np.ones(whole.n_clusters) / whole.n_clusters, size=300
    )
    scale = whole.total.diagonal().max()
    swept = moments.cross_products(counts)
    assert_allclose(swept, whole.cross_products(counts), atol=1e-12 * scale)
    assert_allclose(moments.leave_one_out(), whole.leave_one_out(), atol=1e-12 * scale)
    assert_allclose(swept[0], _drawn(rows, absorb, *labels, counts[0]), atol=1e-11 * scale)


def test_draws_that_miss_a_period_are_solved_otherwise():
    # period 0 is seen by 5 of 40 units: as a whole the gaps are few, some draws hold none of them
    absorb = ("unit", "period")
    rows, unit, period, cluster = _rows(absorb, n_units=40, n_periods=14, share=1.0, per=1)
    kept = (period > 0) | (unit < 5)
    few = replace(
        rows,
        columns=tuple(column[kept] for column in rows.columns),
        unit_starts=np.flatnonzero(np.diff(unit[kept], prepend=-1)),
        cluster_starts=np.flatnonzero(np.diff(cluster[kept], prepend=-1)),
        periods=period[kept],
    )
    moments = ClusterMoments(few)
    assert moments._overlap._gaps is not None
    counts = np.zeros((2, 40))
    counts[0, 5:] = counts[1, :35] = 1.0
    scale = moments.total.diagonal().max()
    labels = unit[kept], period[kept], cluster[kept]
    for swept, count in zip(moments.cross_products(counts), counts, strict=True):
        assert_allclose(swept, _drawn(few, absorb, *labels, count), atol=1e-11 * scale)


def test_a_chain_of_units_each_seen_twice():
    # unit i in periods i and i + 1, 60 periods: as thinly connected as a panel can be
    n = 60
    unit = np.repeat(np.arange(2 * n), 2)
    period = np.ravel([[i % n, i % n + 1] for i in range(2 * n)])
    rng = np.random.default_rng(0)
    rows = MomentRows(
        columns=tuple(rng.normal(size=(3, 4 * n))),
        unit_starts=np.arange(0, 4 * n, 2),
        cluster_starts=np.arange(0, 4 * n, 2),
        periods=period,
        weights=None,
        absorbs_unit=True,
    )
    moments = ClusterMoments(rows)
    expected = _cross(rows, ("unit", "period"), unit, period)
    assert_allclose(moments.total, expected, rtol=1e-10, atol=1e-11)
    assert moments.period_rank == n
    assert_allclose(
        moments.leave_one_out()[5],
        _drawn(rows, ("unit", "period"), unit, period, unit, np.arange(2 * n) != 5),
        atol=1e-10,
    )


@pytest.mark.parametrize("tiny", [1e-6, 1e-12, 1e-15])
def test_a_period_of_tiny_weight_is_still_a_period(tiny):
    rows, unit, period, _ = _rows(("unit", "period"), weighted=True, n_units=12, share=1.0)
    light = replace(rows, weights=rows.weights * np.where(period == 2, tiny, 1.0))
    moments = ClusterMoments(light)
    assert moments.period_rank == 4
    seen = period != 2
    heavy = _cross(
        replace(
            light,
            columns=tuple(c[seen] for c in light.columns),
            weights=light.weights[seen],
            periods=period[seen],
        ),
        ("unit", "period"),
        unit[seen],
        period[seen],
    )
    if tiny <= 1e-12:
        assert_allclose(moments.total, heavy, rtol=1e-10)


def test_large_offsets_and_scales():
    rows, *_ = _rows(("unit", "period"), weighted=True)
    plain = ClusterMoments(rows)
    factor = np.array([1e-12, 1e9, 1.0])
    moved = tuple(c * f + 1e6 * f for c, f in zip(rows.columns, factor, strict=True))
    other = ClusterMoments(replace(rows, columns=moved))
    assert_allclose(other.total, plain.total * np.outer(factor, factor), rtol=1e-7)


def test_variation_of_rounding_size_counts_as_constant():
    rows, unit, *_ = _rows(("unit",))
    for constant in (0.1, 1 / 3, 1e9 + 0.1):
        flat = np.full(rows.n_obs, constant)
        still = ClusterMoments(replace(rows, columns=(*rows.columns[:2], flat)))
        assert still.before[2] == 0
        moving = flat * (1 + 1e-12 * (unit % 2))
        assert ClusterMoments(replace(rows, columns=(*rows.columns[:2], moving))).before[2] > 0


def test_a_regressor_of_one_cluster_is_lost_without_it():
    # rounding of the constant elsewhere must not pass for variation
    for seed in range(20):
        for absorb in EFFECTS:
            rows, _, _, cluster = _rows(absorb, weighted=True, seed=seed, share=0.9)
            alone = np.where(cluster == 1, rows.columns[1], 5300.1)
            moments = ClusterMoments(replace(rows, columns=(rows.columns[0], alone)))
            left_out = solve_equation(moments.leave_one_out(), 0, [1], moments.before)
            assert np.isnan(left_out[1]).all()
            assert np.isfinite(np.delete(left_out, 1, axis=0)).all()
            g = moments.n_clusters
            counts = np.random.default_rng(seed).multinomial(g, np.ones(g) / g, size=20)
            drawn = solve_equation(moments.cross_products(counts), 0, [1], moments.before)
            assert (np.isfinite(drawn[:, 0]) == (counts[:, 1] > 0)).all()


def test_leaving_out_the_only_cluster():
    rows, *_ = _rows(("unit",), per=100)
    with pytest.raises(InferenceError) as error:
        ClusterMoments(rows).leave_one_out()
    assert str(error.value) == "Leaving clusters out needs at least 2 clusters; there is 1."


def test_draws_without_any_unit_seen_twice():
    rows = MomentRows(
        columns=(np.arange(5.0), np.arange(5.0) ** 2),
        unit_starts=np.array([0, 1, 2]),
        cluster_starts=np.array([0, 1, 2]),
        periods=np.array([0, 1, 0, 1, 2]),
        weights=None,
        absorbs_unit=True,
    )
    with pytest.raises(InferenceError) as error:
        ClusterMoments(rows).cross_products(np.array([[1, 2, 0], [1, 1, 1]]))
    assert str(error.value) == (
        "1 of 2 draws of clusters hold no unit seen in two periods, so nothing varies within units "
        "there. Use more clusters, or a longer panel."
    )
