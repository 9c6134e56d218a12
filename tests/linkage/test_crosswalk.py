"""Units that merge, split, are renamed or close: every row mapped, or counted by reason."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ex_cx.errors import LinkError, SchemaError
from ex_cx.linkage.alignspec import CombineSpec, CrosswalkSpec
from ex_cx.linkage.crosswalk import Crosswalk, read_crosswalk
from ex_cx.linkage.link import link_study_data
from ex_cx.linkage.measure import MeasuredSource, measure_source
from ex_cx.linkage.schema import MeasureSpec, SourceSpec

SPEC = CrosswalkSpec(path="units.csv")


def crosswalk(*lines: tuple[object, ...], **options: object) -> Crosswalk:
    columns = ["source_unit", "target_unit", "valid_from", "valid_to", "share"]
    frame = pd.DataFrame(lines, columns=columns[: len(lines[0])])
    return Crosswalk.from_frame(frame, replace(SPEC, **options))


def events(**options: object) -> SourceSpec:
    return SourceSpec(
        path="e.csv",
        unit="team",
        period="day",
        crosswalk=SPEC,
        measures={
            "calls": MeasureSpec(metric="count"),
            "cost": MeasureSpec(metric="sum", score="amount"),
            "rate": MeasureSpec(metric="ratio", numerator="amount", denominator="base"),
        },
        **options,
    )


def frame(*rows: tuple[object, ...]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["team", "day", "amount", "base"])


def cells(found: MeasuredSource, column: str) -> dict[tuple[str, str], float]:
    shown = found.frame
    keys = zip(shown["unit"], shown["period"].astype(str), strict=True)
    return dict(zip(keys, shown[column], strict=True))


def rows_balance(found: MeasuredSource) -> None:
    flow = found.flow.frame().query("counting == 'rows'")
    assert (flow["rows_in"] == flow["rows_kept"] + flow["rows_lost"]).all()
    assert flow["rows_in"].iloc[1:].tolist() == flow["rows_kept"].iloc[:-1].tolist()


def test_merged_units_are_measured_from_their_rows_not_from_their_averages():
    rows = frame(("A", "2024-01-05", 1, 10), ("B", "2024-01-06", 9, 30), ("A", "2024-02-01", 2, 4))
    walk = crosswalk(("A", "X", "2023-01-01"), ("B", "X", "2023-01-01"))
    found = measure_source(rows, events(), "till", crosswalk=walk)
    assert cells(found, "rate") == {("X", "2024-01"): 10 / 40, ("X", "2024-02"): 2 / 4}
    assert cells(found, "calls") == {("X", "2024-01"): 2, ("X", "2024-02"): 1}


def test_a_change_holds_from_its_day_and_a_month_ends_with_its_last_day():
    walk = crosswalk(("A", "A", "2023-01", "2024-02"), ("A", "X", "2024-03", ""))
    rows = frame(("A", "2024-02-29 23:59", 1, 1), ("A", "2024-03-01", 1, 1))
    found = measure_source(rows, events(), "till", crosswalk=walk)
    assert set(cells(found, "calls")) == {("A", "2024-02"), ("X", "2024-03")}


def test_rows_without_a_target_are_counted_by_reason_and_listed():
    rows = frame(
        ("A", "2024-01-05", 1, 1), ("A", "2025-01-05", 1, 1), ("Q", "2024-01-05", 1, 1),
        (None, "2024-01-05", 1, 1),
    )  # fmt: skip
    walk = crosswalk(("A", "X", "2023-01", "2024-12"), ("Z", "X", "2023-01", ""))
    found = measure_source(rows, events(), "till", crosswalk=walk)
    rows_balance(found)
    flow = found.flow.frame().set_index("reason")["rows_lost"]
    assert flow.drop("").to_dict() == {
        "no unit": 1,
        "not in the crosswalk": 1,
        "outside the dates of the crosswalk": 1,
    }
    assert found.crosswalk[["unit", "rows", "outcome"]].to_numpy().tolist() == [
        ["A", 1, "lost: outside the dates of the crosswalk"],
        ["A", 1, "mapped"],
        ["Q", 1, "lost: not in the crosswalk"],
        ["Z", 0, "in the crosswalk only"],
    ]


def test_units_that_are_not_listed_can_be_kept():
    walk = crosswalk(("A", "X", "2023-01"), unlisted="keep")
    rows = frame(("A", "2024-01-05", 1, 1), ("X", "2024-01-06", 1, 1), ("Q", "2024-01-05", 1, 1))
    found = measure_source(rows, events(), "till", crosswalk=walk)
    assert cells(found, "calls") == {("Q", "2024-01"): 1, ("X", "2024-01"): 2}
    assert len(found.flow.frame().query("reason != ''")) == 0


def test_parts_of_a_split_unit_sum_to_the_whole():
    walk = crosswalk(
        ("A", "A1", "2023-01", "", 0.6), ("A", "A2", "2023-01", "", 0.4),
        ("B", "A2", "2023-01", "", ""),
    )  # fmt: skip
    rows = frame(("A", "2024-01-05", 10, 20), ("B", "2024-01-05", 5, 5))
    found = measure_source(rows, events(), "till", crosswalk=walk)
    assert cells(found, "cost") == {("A1", "2024-01"): 6, ("A2", "2024-01"): 9}
    assert cells(found, "calls") == {("A1", "2024-01"): 0.6, ("A2", "2024-01"): 1.4}
    assert cells(found, "rate")["A2", "2024-01"] == pytest.approx(9 / 13)
    assert found.flow.frame().query("counting == 'parts of rows'")["rows_in"].tolist() == [3]


def test_answers_cannot_be_split():
    walk = crosswalk(("A", "A1", "2023-01", "", 0.6), ("A", "A2", "2023-01", "", 0.4))
    spec = replace(events(), measures={"nps": MeasureSpec(metric="nps", score="amount")})
    with pytest.raises(LinkError, match="Map the parts to the whole instead"):
        measure_source(frame(("A", "2024-01-05", 9, 1)), spec, "s", crosswalk=walk)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([("A", "X", "2023-01", "", ""), ("A", "Y", "2024-01", "", "")], "2 targets at one time"),
        ([("A", "X", "2023-01", "", ""), ("A", "X", "2024-01", "", "")], "the same target at one"),
        ([("A", "X", "2023-01", "", 0.6), ("A", "Y", "2023-01", "", 0.6)], "sum to 1.2, not 1"),
        ([("A", "X", "2023-01", "", 0.6)], "add the other parts"),
    ],
)
def test_lines_that_contradict_each_other_are_refused(lines, message):
    with pytest.raises(LinkError, match=message):
        crosswalk(*lines)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (("A", "X", "", "", ""), "have no 'valid_from'.*row 2.*a person decides"),
        (("", "X", "2024-01", "", ""), "have no 'source_unit'"),
        (("A", "", "2024-01", "", ""), "have no 'target_unit'"),
        (("A", "X", "2024-03", "2024-02", ""), "end before they start"),
        (("A", "X", "2024-03", "", 1.2), "not above 0 to 1"),
        (("A", "X", "2024-03", "", -1), "not above 0 to 1"),
        (("A", "X", "soon", "", ""), "not dates of the form"),
    ],
)
def test_lines_that_say_nothing_are_refused(line, message):
    with pytest.raises(SchemaError, match=message):
        crosswalk(line)


def test_a_missing_column_is_named():
    with pytest.raises(SchemaError, match=r"lacks 1 column \('target_unit'\)"):
        Crosswalk.from_frame(pd.DataFrame({"source_unit": ["A"], "valid_from": ["2024"]}), SPEC)


def ready(**options: object) -> SourceSpec:
    return SourceSpec(
        path="r.csv",
        unit="team",
        period="day",
        crosswalk=SPEC,
        columns={"score": "amount", "cost": "base"},
        **options,
    )


RULES = {
    "score": CombineSpec(rule="weighted_mean", by="base"),
    "cost": CombineSpec(rule="sum"),
}
MERGE = (("A", "X", "2023-01"), ("B", "X", "2023-01"))


def test_ready_columns_of_merged_units_need_a_rule():
    rows = frame(("A", "2024-01", 1, 10), ("B", "2024-01", 9, 30))
    with pytest.raises(LinkError, match="State one under `combine`, such as score: "):
        measure_source(rows, ready(), "s", crosswalk=crosswalk(*MERGE))
    found = measure_source(rows, ready(combine=RULES), "s", crosswalk=crosswalk(*MERGE))
    assert cells(found, "score") == {("X", "2024-01"): (1 * 10 + 9 * 30) / 40}
    assert cells(found, "cost") == {("X", "2024-01"): 40}
    assert found.definitions["score"] == (
        "column 'amount', mean weighted by 'base' by unit and month"
    )


def test_a_value_that_lacks_a_part_is_left_out_and_counted():
    rows = frame(("A", "2024-01", 1, 10), ("B", "2024-01", None, 30))
    found = measure_source(rows, ready(combine=RULES), "s", crosswalk=crosswalk(*MERGE))
    assert np.isnan(cells(found, "score")["X", "2024-01"])
    assert found.combined["incomplete"].tolist() == [1, 0]
    half = {**RULES, "score": replace(RULES["score"], min_share=0.5)}
    found = measure_source(rows, ready(combine=half), "s", crosswalk=crosswalk(*MERGE))
    assert cells(found, "score")["X", "2024-01"] == 1


def test_a_repeat_in_the_file_itself_is_no_merger():
    rows = frame(("A", "2024-01", 1, 10), ("A", "2024-01", 9, 30))
    with pytest.raises(LinkError, match="1 of 2 rows of 's' repeat a unit and period"):
        measure_source(rows, ready(combine=RULES), "s", crosswalk=crosswalk(*MERGE))


def test_a_change_inside_a_month_is_refused_for_monthly_rows():
    walk = crosswalk(("A", "X", "2024-01-01", "2024-02-10"), ("A", "Y", "2024-02-11", ""))
    with pytest.raises(LinkError, match=r"inside a month on 1 day \('2024-02-11'\)"):
        measure_source(frame(("A", "2024-01", 1, 10)), ready(), "s", crosswalk=walk)


def test_people_move_with_a_unit_that_has_one_target():
    spec = SourceSpec(
        path="h.csv", unit="team", crosswalk=SPEC, first="2024-01", last="2024-03",
        measures={"exits": MeasureSpec(metric="attrition", hire="hire", exit="exit")},
    )  # fmt: skip
    people = pd.DataFrame(
        {"team": [*"AAAABBBB"], "hire": "2010-01-01", "exit": [None] * 7 + ["2024-02-10"]}
    )
    found = measure_source(people, spec, "hr", crosswalk=crosswalk(*MERGE))
    assert cells(found, "exits")["X", "2024-02"] == pytest.approx(100 * 1 / 7.5)
    several = crosswalk(("A", "X", "2023", "2023"), ("A", "Y", "2024", ""), ("B", "X", "2023", ""))
    with pytest.raises(LinkError, match=r"1 unit .* \('A'\) has more than one target"):
        measure_source(people, spec, "hr", crosswalk=several)


def test_suppression_looks_at_the_merged_unit():
    spec = replace(events(), measures={"mood": MeasureSpec(metric="mean", score="amount")})
    rows = frame(*[(team, "2024-01-05", 4, 1) for team in "AAABBB"])
    found = measure_source(rows, spec, "s", crosswalk=crosswalk(*MERGE))
    assert cells(found, "mood") == {("X", "2024-01"): 4}
    renamed = crosswalk(("A", "X", "2023-01"), ("B", "Y", "2023-01"))
    assert measure_source(rows, spec, "s", crosswalk=renamed).frame["mood"].isna().all()


def test_a_file_is_read_as_text_and_its_bytes_are_on_record(tmp_path: Path):
    (tmp_path / "units.csv").write_text(
        "source_unit,target_unit,valid_from,valid_to\n007,7,2024-01,\n1e5,8,2024,2024\n"
        .replace("1e5,8,2024,2024", "1e5,8,2024-02,2024-03")
    )  # fmt: skip
    walk = read_crosswalk(SPEC, tmp_path)
    assert walk.lines[["unit", "target"]].to_numpy().tolist() == [["007", "7"], ["1e5", "8"]]
    (tmp_path / "e.csv").write_text("team,day,amount,base\n007,2024-01-05,1,1\n")
    linked = link_study_data({"till": events()}, root=tmp_path)
    assert linked.panel.frame["unit"].tolist() == ["7"]
    assert linked.audit.reads["source"].tolist() == ["till", "till, crosswalk"]
    assert linked.audit.crosswalk["outcome"].tolist() == ["mapped", "in the crosswalk only"]


def test_a_crosswalk_that_is_named_must_be_given():
    with pytest.raises(LinkError, match="State both"):
        measure_source(frame(("A", "2024-01-05", 1, 1)), events(), "s")


def test_periods_that_are_numbers_have_crosswalks_of_numbers():
    spec = SourceSpec(
        path="w.csv", unit="team", period="wave", frequency="integer", crosswalk=SPEC,
        columns={"score": "amount"},
    )  # fmt: skip
    table = pd.DataFrame({"team": ["A"] * 3, "wave": [1, 2, 3], "amount": [1.0, 2, 3]})
    lines = pd.DataFrame(
        {"source_unit": ["A", "A"], "target_unit": ["X", "Y"], "valid_from": [1, 3],
         "valid_to": ["2", ""]}
    )  # fmt: skip
    walk = Crosswalk.from_frame(lines, SPEC, dated=False)
    found = measure_source(table, spec, "s", crosswalk=walk)
    assert found.frame[["unit", "period"]].to_numpy().tolist() == [["X", 1], ["X", 2], ["Y", 3]]


def test_a_crosswalk_of_other_units_leaves_nothing_and_says_so():
    walk = crosswalk(("a", "X", "2023-01"))
    with pytest.raises(LinkError, match="the crosswalk has none of its 1 unit"):
        measure_source(frame(("A", "2024-01-05", 1, 1)), events(), "s", crosswalk=walk)


LABELS = ["A", "B", "C", "=1+1", "<b>", "é"]


@st.composite
def row_sets(draw):
    row = st.tuples(
        st.sampled_from([*LABELS, None]),
        st.integers(0, 700),
        st.one_of(st.none(), st.integers(-50, 50)),
        st.integers(1, 9),
    )
    return [("A", 400, 1, 1), *draw(st.lists(row, max_size=40))]


def dated(rows: list[tuple]) -> pd.DataFrame:
    day = pd.Timestamp("2023-01-01")
    return frame(
        *[(u, (day + pd.Timedelta(days=d)).strftime("%Y-%m-%d"), a, b) for u, d, a, b in rows]
    )


WALK = (
    ("A", "X", "2023-06", "2024-03"), ("A", "Y", "2024-04", ""), ("B", "X", "2023-01", ""),
    ("C", "C", "2023-01", "2023-12"), ("=1+1", "Y", "2023-01", ""),
)  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(rows=row_sets(), seed=st.integers(0, 99), cut=st.integers(0, 41), keep=st.booleans())
def test_order_files_and_names_change_nothing_and_no_row_is_uncounted(rows, seed, cut, keep):
    options = {"unlisted": "keep" if keep else "lose"}
    table = dated(rows)
    found = measure_source(table, events(), "s", crosswalk=crosswalk(*WALK, **options))
    rows_balance(found)
    flow = found.flow.frame()
    kept = int(found.frame["calls"].sum())
    assert kept + flow["rows_lost"].sum() == len(table)
    assert found.crosswalk["rows"].sum() == len(table) - table["team"].map(_blank).sum()
    again = pd.concat([table[cut:], table[:cut]]).sample(frac=1, random_state=seed)
    other = measure_source(again, events(), "s", crosswalk=crosswalk(*WALK, **options))
    pd.testing.assert_frame_equal(other.frame, found.frame, rtol=1e-12)
    names = {label: f"unit {at}" for at, label in enumerate([*LABELS, "X", "Y"])}
    moved = [(names[s], names[t], *dates) for s, t, *dates in WALK]
    relabelled = measure_source(
        table.assign(team=table["team"].where(table["team"].map(_blank), table["team"].map(names))),
        events(),
        "s",
        crosswalk=crosswalk(*moved, **options),
    )
    assert {(names[u], p): v for (u, p), v in cells(found, "calls").items()} == cells(
        relabelled, "calls"
    )


def _blank(label: object) -> bool:
    return label is None or (isinstance(label, float)) or str(label).strip() == ""


def test_a_register_that_lists_every_unit_in_each_release_is_a_crosswalk():
    """One column is both ends: a name holds for its month, and may be another unit's later."""
    lines = pd.DataFrame(
        {
            "name": ["Oak", "Elm", "Oak Care", "Oak"],
            "number": ["1", "2", "1", "3"],
            "month": ["2024-01", "2024-01", "2024-02", "2024-04"],
        }
    )
    spec = CrosswalkSpec(
        path="register.csv", unit="name", target="number", valid_from="month", valid_to="month"
    )
    crosswalk = Crosswalk.from_frame(lines, spec)
    names = pd.Series(["Oak", "Oak Care", "Oak", "Oak", "Elm"])
    days = ["2024-01-31", "2024-02-29", "2024-03-31", "2024-04-30", "2024-02-01"]
    found = crosswalk.map_rows(names, np.array(days, "datetime64[D]").astype(int))
    assert found.target.tolist() == ["1", "1", "3"]
    assert found.reason.tolist() == [0, 0, 2, 0, 2]  # no release in March, Elm not in February's


def test_units_listed_one_after_the_other_are_the_same_beside_a_split_one():
    """Only units with two lines at one time are looked at one by one; the result is one table."""
    rng = np.random.default_rng(4)
    rows = [
        (f"U{u}", f"T{rng.integers(5)}", 12 * y, 12 * y + 11, 1.0) for u in range(9) for y in (3, 1)
    ]
    split = [("S", "T0", 12, 30, 0.25), ("S", "T1", 12, 30, 0.75), ("S", "T2", 31, 40, 1.0)]
    names = ["source_unit", "target_unit", "valid_from", "valid_to", "share"]
    spec = CrosswalkSpec(path="units.csv")
    both = Crosswalk.from_frame(pd.DataFrame(rows + split, columns=names), spec, dated=False)
    for part in (rows, split):
        alone = Crosswalk.from_frame(pd.DataFrame(part, columns=names), spec, dated=False)
        unit = pd.Series([row[0] for row in part] * 2)
        when = np.array([row[2] for row in part] + [row[3] for row in part])
        one, other = alone.map_rows(unit, when), both.map_rows(unit, when)
        assert one.target.tolist() == other.target.tolist()
        assert one.share.tolist() == other.share.tolist()
        assert (one.reason == 0).all()
