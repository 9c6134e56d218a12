"""What is withheld protects respondents: asking for more of them never shows more."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from ex_cx.linkage.measure import measure_source
from ex_cx.linkage.schema import MeasureSpec, SourceSpec
from ex_cx.linkage.weighing import coarse
from ex_cx.linkage.weightspec import WeightingSpec
from tests.linkage.companies import quick

MEASURES = {
    "nps": MeasureSpec(metric="nps", score="score"),
    "mean": MeasureSpec(metric="mean", score="score"),
    "effort": MeasureSpec(metric="effort", score="score", low=0, high=10, direction="high_is_bad"),
    "scale": MeasureSpec(metric="scale_mean", items=("score", "other"), low=0, high=10),
    "share": MeasureSpec(metric="share", score="told", positive=("yes",)),
    "fcr": MeasureSpec(metric="fcr", score="told", positive=("yes",)),
    "total": MeasureSpec(metric="sum", score="score"),
}
SHARES = ("_se", "_promoter_share", "_detractor_share")


def spec(min_n: int, min_n_shares: int) -> SourceSpec:
    return SourceSpec(
        path="s.csv",
        unit="team",
        period="month",
        measures=MEASURES,
        min_n=min_n,
        min_n_shares=min_n_shares,
    )


@st.composite
def surveys(draw: st.DrawFn) -> pd.DataFrame:
    """Answers of four teams in three months, 0 to 14 each; some are blank."""
    seed = draw(st.integers(0, 2**32 - 1))
    sizes = draw(st.lists(st.integers(0, 14), min_size=12, max_size=12).filter(any))
    rng = np.random.default_rng(seed)
    cells = [(team, f"2024-0{month}") for team in "ABCD" for month in (1, 2, 3)]
    keys = [cell for cell, size in zip(cells, sizes, strict=True) for _ in range(size)]
    frame = pd.DataFrame(keys, columns=["team", "month"])
    answers = rng.integers(0, 11, size=(2, len(frame))).astype(float)
    answers[:, rng.random(len(frame)) < 0.1] = np.nan
    told = np.where(rng.random(len(frame)) < 0.5, "yes", "no").astype(object)
    told[rng.random(len(frame)) < 0.1] = None
    told[0] = "yes"
    return frame.assign(score=answers[0], other=answers[1], told=told)


THRESHOLDS = st.tuples(st.integers(5, 15), st.integers(10, 20))


@quick(25)
@given(rows=surveys(), one=THRESHOLDS, two=THRESHOLDS)
def test_a_higher_threshold_never_shows_more(rows, one, two):
    low = (min(one[0], two[0]), min(one[1], two[1]))
    high = (max(one[0], two[0]), max(one[1], two[1]))
    loose = measure_source(rows, spec(*low), "s").frame
    strict = measure_source(rows, spec(*high), "s").frame
    assert loose[["unit", "period"]].equals(strict[["unit", "period"]])
    for name in loose.columns[2:]:
        shown = strict[name].notna().to_numpy()
        assert not (shown & loose[name].isna().to_numpy()).any(), name
        assert_array_equal(strict.loc[shown, name], loose.loc[shown, name])


def behind(rows: pd.DataFrame, name: str) -> pd.Series:
    """How many answered, by unit and period, counted with plain pandas."""
    measure = MEASURES[name]
    if measure.items:
        given = rows[list(measure.items)].notna().mean(axis=1) >= measure.min_share - 1e-9
    else:
        given = rows[measure.score].notna()
    return given.groupby([rows["team"], rows["month"]]).sum()


@quick(25)
@given(rows=surveys(), thresholds=THRESHOLDS)
def test_nothing_is_shown_of_fewer_than_asked(rows, thresholds):
    found = measure_source(rows, spec(*thresholds), "s")
    keys = pd.MultiIndex.from_arrays([found.frame["unit"], found.frame["period"].astype(str)])
    counts = found.suppressed.set_index("measure")
    for name in MEASURES:
        n = behind(rows, name).reindex(keys).to_numpy()
        shown = found.frame[name].notna().to_numpy()
        assert (n[shown] >= thresholds[0]).all(), name
        for end in SHARES:
            if f"{name}{end}" in found.frame:
                detail = found.frame[f"{name}{end}"].notna().to_numpy()
                assert (n[detail] >= max(thresholds)).all(), name
        told = found.frame[f"{name}_n"]
        assert (told[told.notna()] == n[told.notna()]).all()
        assert counts.loc[name, "shown"] == shown.sum()
        assert counts.loc[name, "suppressed"] >= ((n > 0) & (n < thresholds[0])).sum()
        assert counts.loc[name, "unit_periods"] == len(found.frame)


@quick(8)
@given(seed=st.integers(0, 2**32 - 1), thresholds=THRESHOLDS)
def test_where_all_are_enough_nothing_is_withheld(seed, thresholds):
    """Else withholding everything would pass."""
    cells = [(team, f"2024-0{month}") for team in "ABCD" for month in (1, 2, 3)] * 20
    rng = np.random.default_rng(seed)
    answers = rng.integers(0, 11, size=(2, len(cells))).astype(float)
    told = np.where(rng.random(len(cells)) < 0.5, "yes", "no")
    told[0] = "yes"
    rows = pd.DataFrame(cells, columns=["team", "month"])
    rows = rows.assign(score=answers[0], other=answers[1], told=told)
    found = measure_source(rows, spec(*thresholds), "s")
    assert found.frame.notna().all(axis=None)
    assert (found.suppressed["suppressed"] == 0).all()


@quick(15)
@given(rows=surveys(), seed=st.integers(0, 2**31 - 1))
def test_neither_row_order_nor_labels_change_what_is_withheld(rows, seed):
    names = {"A": "007", "B": "NA", "C": "zeta", "D": "é"}  # in order, which decides between equals
    other = rows.assign(team=rows["team"].map(names)).sample(frac=1, random_state=seed)
    one = measure_source(rows, spec(5, 10), "s").frame
    two = measure_source(other, spec(5, 10), "s").frame
    two = two.assign(unit=two["unit"].map({new: old for old, new in names.items()}))
    two = two.sort_values(["unit", "period"], ignore_index=True)
    assert one["unit"].tolist() == two["unit"].tolist()
    for name in one.columns[2:]:
        assert_allclose(one[name], two[name], rtol=1e-12, atol=1e-12)


# -- weighted respondents -------------------------------------------------------------------------


def weighted(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The rows with a shift; how many work at night differs by team."""
    rng = np.random.default_rng(seed)
    often = rows["team"].map({"A": 0.1, "B": 0.3, "C": 0.5, "D": 0.7})
    return rows.assign(shift=np.where(rng.random(len(rows)) < often, "night", "day"))


def weighted_spec(min_n: int, min_n_shares: int, **weighting: object) -> SourceSpec:
    plan = WeightingSpec(
        margins={"shift": {"day": 1, "night": 2}}, within="file", too_few="lose", **weighting
    )
    means = {name: measure for name, measure in MEASURES.items() if measure.metric != "sum"}
    return replace(spec(min_n, min_n_shares), measures=means, weighting=plan)


@quick(25)
@given(rows=surveys(), thresholds=THRESHOLDS, seed=st.integers(0, 999))
def test_weighted_nothing_is_shown_that_is_withheld_unweighted(rows, thresholds, seed):
    rows = weighted(rows, seed)
    night = (rows["shift"] == "night")[rows[["score", "other", "told"]].notna().any(axis=1)]
    assume(min(night.sum(), (~night).sum()) >= thresholds[0])
    asked = weighted_spec(*thresholds)
    found = measure_source(rows, asked, "s")
    plain = measure_source(rows, replace(asked, weighting=None), "s")
    keys = pd.MultiIndex.from_arrays([found.frame["unit"], found.frame["period"].astype(str)])
    for name in found.frame.columns[2:]:
        shown = found.frame[name].notna()
        assert not (shown & plain.frame[name].isna()).any(), name
        if name in asked.measures:
            n = behind(rows, name).reindex(keys).to_numpy()
            assert (n[shown] >= thresholds[0]).all()
    assert (found.weighed.margins["respondents"] >= thresholds[0]).all()


def scores_alike(shown: float, weights: tuple[float, float], n_day: int) -> set[int]:
    """What the one person of the night may have said, for who knows all weights and what is shown.

    The others are `n_day` people who said 0 to 10.
    """
    others, own = np.meshgrid(np.arange(10 * n_day + 1), np.arange(11), indexing="ij")
    total = weights[0] * n_day + weights[1]
    mean = (weights[0] * others + weights[1] * own) / total
    told = coarse(mean, np.zeros(mean.shape), np.full(mean.shape, n_day + 1.0), 1.0)[0]
    return set(own[np.isclose(told, shown, atol=1e-9)].tolist())


def exactly_alike(shown: float, weights: tuple[float, float], n_day: int) -> set[int]:
    """The same if the value were shown to the last digit."""
    others, own = np.meshgrid(np.arange(10 * n_day + 1), np.arange(11), indexing="ij")
    mean = (weights[0] * others + weights[1] * own) / (weights[0] * n_day + weights[1])
    return set(own[np.isclose(mean, shown, atol=1e-9, rtol=0)].tolist())


@quick(20)
@given(seed=st.integers(0, 2**32 - 1), n_day=st.integers(9, 14), many=st.integers(23, 61))
def test_the_answer_of_the_one_person_of_a_kind_does_not_follow_from_a_weighted_mean(
    seed, n_day, many
):
    rng = np.random.default_rng(seed)
    first = ["day"] * n_day + ["night"]
    rows = pd.DataFrame({"team": "A", "month": "2024-01", "shift": first})
    other = rows.iloc[:1].loc[np.zeros(many, dtype=int)].assign(team="B")
    other["shift"] = np.where(np.arange(many) % 3 == 0, "night", "day")
    rows = pd.concat([rows, other], ignore_index=True)
    score = rng.integers(2, 9, len(rows)).astype(float)
    plan = WeightingSpec(margins={"shift": {"day": 1, "night": 0.7183}})
    asked = replace(spec(5, 10), measures={"mean": MEASURES["mean"]}, weighting=plan)
    found = measure_source(rows.assign(score=score), asked, "s")
    weights = (found.weighed.weights[0], found.weighed.weights[n_day])
    team = slice(0, n_day + 1)
    exact = float(np.average(score[team], weights=found.weighed.weights[team]))
    assert len(exactly_alike(exact, weights, n_day)) == 1  # to the last digit it follows
    possible = scores_alike(found.frame["mean"][0], weights, n_day)
    assert {int(score[n_day])} < possible
    assert len(possible) == 11
