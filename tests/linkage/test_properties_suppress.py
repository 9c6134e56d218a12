"""What is withheld protects respondents: asking for more of them never shows more."""

from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from ex_cx.linkage.measure import measure_source
from ex_cx.linkage.schema import MeasureSpec, SourceSpec
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
