"""An attack on one study that shows the same answers more than once.

The reader knows every cell of the panel. What nobody may know: a number, sum or ratio of fewer
than five answers, of yes and no of fewer than ten, and what two measures of nearly the same people
differ by.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ex_cx.errors import LinkError
from ex_cx.linkage.confidentiality import protect
from ex_cx.linkage.link import Linked, link_study_data
from ex_cx.linkage.linkspec import LinkSpec
from ex_cx.linkage.readspec import ReadSpec
from ex_cx.linkage.schema import MeasureSpec, SourceSpec
from ex_cx.linkage.weightspec import WeightingSpec

MOOD = MeasureSpec(metric="mean", score="a", low=1, high=5)
PLANTED = 4.321
"""What the only person answered who left an item out."""


def scale(min_share: float) -> MeasureSpec:
    return MeasureSpec(metric="scale_mean", items=("a", "b"), low=1, high=5, min_share=min_share)


def answers(blank: int = 1) -> pd.DataFrame:
    """Twelve people in each of six teams and two months; `blank` of one team leave out `b`."""
    rng = np.random.default_rng(3)
    rows = pd.DataFrame(
        [(f"t{t}", f"s{t // 3}", f"2024-{m:02d}") for t in range(6) for m in (1, 2)] * 12,
        columns=["team", "site", "month"],
    )
    rows[["a", "b"]] = rng.integers(1, 6, (len(rows), 2)).astype(float)
    rows = rows.assign(
        one=1, resolved=rng.integers(0, 2, len(rows)), shift=np.repeat(["day", "night"], 72)
    )
    at = rows.index[(rows["team"] == "t4") & (rows["month"] == "2024-02")]
    rows.loc[at[:blank], ["a", "b"]] = [PLANTED, np.nan]
    return rows


def source(**measures: MeasureSpec) -> SourceSpec:
    return SourceSpec(path="pulse.csv", unit="team", period="month", measures=measures)


def linked(folder: Path, rows: pd.DataFrame, **sources: SourceSpec) -> Linked:
    rows.to_csv(folder / "pulse.csv", index=False)
    return link_study_data(sources, LinkSpec(), folder)


def told(frame: pd.DataFrame, one: str, two: str, least: int = 5) -> pd.DataFrame:
    """Cells of which both are shown, and few people are in one and not in the other."""
    apart = (frame[f"{one}_n"] - frame[f"{two}_n"]).abs()
    return frame[apart.between(1, least - 1)]


@pytest.fixture
def unguarded(monkeypatch):
    monkeypatch.setattr(protect, "apart", lambda source, *_: (source.frame, {}, frozenset()))


PAIRS = {
    "shares of items": {"pulse": source(ex_all=scale(1), ex_some=scale(0.5))},
    "two sources": {"pulse": source(ex_all=scale(1)), "again": source(ex_some=scale(0.5))},
    "a scale and its items": {
        "pulse": source(ex_some=scale(0.5), ex_a=MOOD, ex_all=MeasureSpec(metric="mean", score="b"))
    },
}


@pytest.mark.parametrize("pair", PAIRS)
def test_two_measures_of_the_same_answers_do_not_tell_who_is_in_one_only(tmp_path, pair):
    found = linked(tmp_path, answers(), **PAIRS[pair])
    frame = found.panel.frame
    assert told(frame, "ex_some", "ex_all").empty
    assert len(frame) == 12
    assert found.audit.suppressed["withheld_for_others"].sum() == (12 - frame["ex_all"].count()) + (
        12 - frame["ex_some"].count()
    )
    assert frame[["ex_all", "ex_some"]].count().min() >= 8
    hidden = {(measure, period) for _, measure, period in found.hidden_totals}
    assert {("ex_all", "2024-02"), ("ex_some", "2024-02")} & hidden


@pytest.mark.parametrize("pair", ["shares of items", "two sources"])
def test_the_attack_finds_the_answer_where_measures_are_not_compared(tmp_path, unguarded, pair):
    frame = linked(tmp_path, answers(), **PAIRS[pair]).panel.frame
    (cell,) = told(frame, "ex_some", "ex_all").itertuples()
    answer = cell.ex_some * cell.ex_some_n - cell.ex_all * cell.ex_all_n
    assert answer == pytest.approx(PLANTED)


def test_five_who_left_an_item_out_are_enough_and_none_is_no_reason(tmp_path):
    for blank in (0, 5):
        frame = linked(tmp_path, answers(blank), **PAIRS["shares of items"]).panel.frame
        assert frame[["ex_all", "ex_some", "ex_some_n"]].notna().all(axis=None)


def test_a_subscale_and_its_scale_of_other_items_are_both_shown(tmp_path):
    frame = linked(tmp_path, answers(), pulse=source(ex_a=MOOD, ex_some=scale(1))).panel.frame
    assert frame.notna().all(axis=None)


BARE = {
    "count": MeasureSpec(metric="count"),
    "sum": MeasureSpec(metric="sum", score="a"),
    "ratio": MeasureSpec(metric="ratio", numerator="a", denominator="one"),
}


@pytest.mark.parametrize("metric", BARE)
def test_answers_are_not_shown_without_their_protection_by_a_second_source(tmp_path, metric):
    with pytest.raises(LinkError, match=r"'cx_bare' of 'again' would show .* also of few people"):
        linked(tmp_path, answers(), pulse=source(ex_a=MOOD), again=source(cx_bare=BARE[metric]))
    linked(tmp_path, answers(), again=source(cx_bare=BARE[metric]))


def test_nor_by_a_ratio_beside_them(tmp_path):
    with pytest.raises(LinkError, match="'cx_bare' of 'pulse' would show"):
        linked(tmp_path, answers(), pulse=source(ex_a=MOOD, cx_bare=BARE["ratio"]))


def test_the_same_answers_of_two_kinds_of_units_or_weights_are_refused(tmp_path):
    margins = WeightingSpec(margins={"shift": {"day": 6, "night": 6}})
    for key, other in {
        "weighting": replace(source(ex_b=MOOD), weighting=margins),
        "unit": replace(source(ex_b=MOOD), unit="site"),
    }.items():
        with pytest.raises(LinkError, match=f"same answers .*column 'a'.* different '{key}'"):
            linked(tmp_path, answers(), pulse=source(ex_a=MOOD), again=other)


def test_a_mean_of_yes_and_no_needs_as_many_as_a_share(tmp_path):
    """The mean of noughts and ones of seven is the share of ones."""
    rows = answers(0)
    few = rows["team"].isin(["t0", "t1"]) & (rows["month"] == "2024-01")
    rows = rows.drop(rows.index[few & (rows.groupby(["team", "month"]).cumcount() >= 7)])
    yes = MeasureSpec(metric="mean", score="resolved", low=0, high=1)
    frame = linked(tmp_path, rows, pulse=source(ex_yes=yes, ex_a=MOOD)).panel.frame
    few = frame["ex_a_n"] < 10
    assert few.sum() == 2
    assert frame.loc[few, "ex_yes"].isna().all()
    assert frame["ex_a"].notna().all()


def test_sheets_of_one_workbook_are_two_files(tmp_path):
    with pd.ExcelWriter(tmp_path / "book.xlsx") as book:
        for sheet in ("one", "two"):
            answers(0).to_excel(book, sheet_name=sheet, index=False)
    pulse, calls = (
        replace(spec, path="book.xlsx", read=ReadSpec(sheet=sheet))
        for sheet, spec in {
            "one": source(ex_a=MOOD),
            "two": source(cx_n=BARE["count"]),
        }.items()
    )
    found = link_study_data({"pulse": pulse, "calls": calls}, LinkSpec(), tmp_path)
    assert found.panel.frame["cx_n"].notna().all()
    with pytest.raises(LinkError, match="'cx_n' of 'calls' would show"):
        link_study_data(
            {"pulse": pulse, "calls": replace(calls, read=pulse.read)}, LinkSpec(), tmp_path
        )
