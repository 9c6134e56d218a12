"""Mapping files: what each key does to values by hand, what is refused, and in which words."""

from __future__ import annotations

import datetime
from dataclasses import replace
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from ex_cx import SourceSpec, apply_mapping, measure_source, read_mapping, read_table
from ex_cx.errors import SchemaError, SourceError, StudyError
from ex_cx.linkage.exportmaps.column import ColumnMapping
from ex_cx.linkage.exportmaps.spec import FileForm, RowFilter, RowRules, TableMapping, TimeRules
from ex_cx.linkage.schema import MeasureSpec, ReadSpec
from ex_cx.studies.data import link_study
from ex_cx.studies.study import load_study


def one(values, times: TimeRules | None = None, **keys):
    """One column through a mapping: its values, and what was done to how many."""
    rule = ColumnMapping(column="x", **keys)
    mapping = TableMapping(columns={"y": rule}, times=times or TimeRules())
    cells = values if isinstance(values, pd.DataFrame) else pd.DataFrame({"x": values})
    table = apply_mapping(cells, mapping)
    done = dict(table.coercions[["coercion", "values"]].itertuples(index=False))
    return table.frame["y"], done


def text(*values):
    return pd.Series(list(values), dtype="str")


# ---------------------------------------------------------------- numbers, units, scales


@pytest.mark.parametrize(
    ("unit", "to", "written", "value"),
    [
        ("minutes", "seconds", "1.5", 90),
        ("hours", "minutes", "0.25", 15),
        ("seconds", "hours", "5400", 1.5),
        ("milliseconds", "seconds", "61500", 61.5),
        ("days", "hours", "2", 48),
        ("clock", "seconds", "1:02:30", 3750),
        ("clock", "minutes", "26:00:00", 1560),
        ("minutes_clock", "seconds", "62:30", 3750),
        ("percent", "share", "68 %", 0.68),
        ("share", "percent", "0.68", 68),
    ],
)
def test_units(unit, to, written, value):
    found, done = one(text(written, None), unit=unit, to=to)
    assert_allclose(found, [value, np.nan], rtol=1e-15)
    assert 1 in done.values()


def test_ces_1_and_ces_2_are_brought_to_one_scale():
    """Much effort is high in the first (1-5), easy is high in the second (1-7)."""
    first, _ = one(text("1", "3", "5"), scale="ces_v1", reverse=True, rescale=(0.0, 100.0))
    second, done = one(text("7", "4", "1"), scale="ces_2", rescale=(0.0, 100.0))
    assert first.tolist() == second.tolist() == [100, 50, 0]
    assert done == {"1 to 7 stretched to 0 to 100": 3}


def test_enps_and_reverse_keyed_items_stay_on_their_scales():
    assert one(text("\u221212", "40"), scale="enps")[0].tolist() == [-12, 40]
    found, done = one(text("1", "4", None), low=1.0, high=5.0, reverse=True)
    assert_allclose(found, [5, 2, np.nan])
    assert done == {"turned round on 1 to 5": 2}


def test_money_thousands_and_decimal_commas():
    found, done = one(text("$1,234.50", "$7.00"), unit="money", strip=("$",), thousands=",")
    assert found.tolist() == [1234.5, 7.0]
    assert done == {"'$' taken off": 2, "mark between thousands taken out": 1}
    cells = pd.DataFrame({"x": text("1.234,5", "7,25")})
    comma = TableMapping(
        columns={"y": ColumnMapping(column="x", thousands=".")}, file=FileForm(decimal=",")
    )
    assert apply_mapping(cells, comma).frame["y"].tolist() == [1234.5, 7.25]


def test_a_comma_that_does_not_part_thousands_is_not_taken_for_one():
    with pytest.raises(
        SchemaError, match=r"1 value of 2: not a number \(row 3; written like '9,9'\)"
    ):
        one(text("1,000", "1,5"), thousands=",")


def test_columns_are_combined_and_missing_where_one_is():
    cells = pd.DataFrame({"a": text("1", "2"), "b": text("3", None), "c": text("x", "y")})
    rules = {
        "sum": ColumnMapping(columns=("a", "b"), combine="sum"),
        "mean": ColumnMapping(columns=("a", "b"), combine="mean"),
        "first": ColumnMapping(columns=("b", "a"), combine="first"),
        "key": ColumnMapping(columns=("c", "a"), combine="join"),
        "there": ColumnMapping(column="b", filled=True),
    }
    frame = apply_mapping(cells, TableMapping(columns=rules)).frame
    assert_allclose(frame["sum"], [4, np.nan])
    assert_allclose(frame["mean"], [2, np.nan])
    assert frame["first"].tolist() == [3, 2]
    assert frame["key"].tolist() == ["x / 1", "y / 2"]
    assert frame["there"].tolist() == [1, 0]


def test_codes_keep_or_get_their_zeros_and_leading_equals_signs_stay():
    assert one(text("7", "018", "A1"), kind="text", pad=3)[0].tolist() == ["007", "018", "A1"]
    assert one(text('="007"', "=1+1"), kind="text", strip=('="', '"'))[0].tolist() == [
        "007",
        "=1+1",
    ]


def test_long_numbers_without_a_kind_stay_text():
    """As floats the two were one."""
    for values in (text("9007199254740993", "9007199254740992"), pd.Series([2**53 + 1, 2**53])):
        assert one(values)[0].tolist() == ["9007199254740993", "9007199254740992"]
    assert one(pd.Series([3, 4]))[0].tolist() == [3.0, 4.0]


def test_typed_columns_are_taken_as_they_are():
    cells = pd.DataFrame(
        {
            "n": [7.0, np.nan],
            "when": pd.to_datetime(["2024-07-01 09:00", None]),
            "long": pd.to_timedelta(["26:00:30", None]),
        }
    )
    rules = {
        "unit": ColumnMapping(column="n", kind="text", pad=3),
        "n": ColumnMapping(),
        "when": ColumnMapping(),
        "long": ColumnMapping(unit="clock", to="seconds"),
    }
    frame = apply_mapping(cells, TableMapping(columns=rules)).frame
    assert frame["unit"].tolist()[0] == "007"
    assert frame["n"].tolist()[0] == 7
    assert frame["when"].tolist()[0] == pd.Timestamp("2024-07-01 09:00")
    assert frame["long"].tolist()[0] == 93630


# ---------------------------------------------------------------- choices


AGREE = {"Disagree": 1, "Neither": 2, "Agree": 3, "No answer": None}


def test_choice_texts_and_codes_in_one_column():
    found, done = one(text(" agree", "DISAGREE", "2", "No  answer", None), choices=AGREE)
    assert_allclose(found, [3, 1, 2, np.nan, np.nan])
    assert done == {
        "choice text to its code": 2,
        "choice that means no answer": 1,
        "code as it is": 1,
    }


def test_unknown_choices_are_named_counted_and_told_with_their_rows():
    with pytest.raises(SchemaError) as caught:
        one(text("Agree", "Agreed", "Agreed", "4"), choices=AGREE)
    assert str(caught.value) == (
        "'the export' does not fit its mapping in 1 way. Correct the file or the mapping; "
        "`invalid: missing` makes such values missing and counts them.\n"
        "- 'y': 3 values of 4: not among the choices (rows 3, 4, 5; written like 'a', '9')."
    )
    found, done = one(text("Agree", "Agreed", "Agreed", "4"), choices=AGREE, invalid="missing")
    assert_allclose(found, [3, np.nan, np.nan, np.nan])
    assert done["not among the choices, made missing"] == 3


def test_a_cell_that_holds_a_comment_is_cut_short_in_messages():
    with pytest.raises(SchemaError) as caught:
        one(text("My manager " * 20), choices=AGREE)
    assert "(row 2; written like 'a a a a a a a a a a a a ...')" in str(caught.value)
    assert len(str(caught.value)) < 300


def test_numbers_that_are_recoded_are_never_taken_for_codes():
    """1 is 5 here, so that a bare 3, which no choice names, may mean 3 or what 3 would become."""
    with pytest.raises(SchemaError, match="not among the choices"):
        one(text("1", "3"), choices={"1": 5, "5": 1, "2": 3})


def test_a_scale_with_words_at_its_ends():
    ends = {"0 - Not at all": 0, "10 - Very": 10}
    assert one(text("0 - not at all", "7", "10 - Very"), scale="nps", choices=ends)[0].tolist() == [
        0,
        7,
        10,
    ]
    with pytest.raises(SchemaError, match=r"not among the choices \(row 2; written like '99'"):
        one(text("11"), scale="nps", choices=ends)


def test_choices_may_name_units():
    found, _ = one(text("Leeds ", "007"), choices={"Leeds": "007"})
    assert found.tolist() == ["007", "007"]


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"choices": {"Yes": 1, " YES": 0}}, "the same but for capitals and spaces"),
        ({"choices": {"a": 1, "b": "x"}}, "all numbers or all text; here are both"),
        ({"choices": {"a": None}}, "makes every answer missing"),
        ({"choices": {"a": "x"}, "low": 1.0}, "gives text, for which there is no 'low'"),
        ({"scale": "nps", "low": 1.0}, "has its own ends"),
        ({"reverse": True}, "`reverse` needs the ends of the scale"),
        ({"low": 5.0, "high": 1.0}, r"`low` \(5\) must be below `high` \(1\)"),
        ({"unit": "percent", "to": "seconds"}, "cannot be made from `unit: percent`"),
        ({"unit": "clock"}, "`unit: clock` needs `to`"),
        ({"column": "a", "columns": ("b",), "combine": "sum"}, "state one of them"),
        ({"columns": ("a", "b")}, "`columns` needs `combine`"),
        ({"format": "%Y", "unit": "seconds"}, "'format' is for a time and 'unit' for a number"),
        ({"shift_start": "s"}, "need `clock`"),
        ({"clock": "c", "day_starts": "4:00"}, "`day_starts` is '4:00'; write it like '06:00'"),
        ({"format": "%Y-%m-%dT%H:%M%z"}, "times with an offset need none"),
        ({"filled": True, "unit": "seconds"}, "`filled` tells whether there is a value"),
        ({"pad": -1}, "`pad` is -1"),
    ],
)
def test_a_column_that_makes_no_sense_is_refused(keys, words):
    with pytest.raises(SchemaError, match=words):
        ColumnMapping(**keys)


# ---------------------------------------------------------------- times

YORK = TimeRules(zone="America/New_York", to="UTC")


@pytest.mark.parametrize("zone", ["America/New_York", "Europe/Dublin", "Australia/Lord_Howe"])
@pytest.mark.parametrize("which", ["first", "second"])
def test_local_clocks_are_those_of_the_standard_library(zone, which):
    """Every half hour of two years, beside `zoneinfo` with fold 0 and 1; Dublin's summer time is
    its standard time, Lord Howe's clock moves by half an hour.
    """
    local = pd.Series(pd.date_range("2023-01-01", "2024-12-31", freq="30min"))
    rules = TimeRules(zone=zone, to="UTC", repeated=which, skipped="forward")
    found, done = one(local, rules, kind="time")
    fold = 0 if which == "first" else 1
    truth = [_utc(stamp, zone, fold) for stamp in local]
    assert found.tolist() == truth
    assert done[f"repeated hour, taken as the {which}"] > 0
    assert done["skipped hour, moved forward"] > 0


def _utc(stamp: pd.Timestamp, zone: str, fold: int) -> pd.Timestamp:
    aware = stamp.to_pydatetime().replace(tzinfo=ZoneInfo(zone), fold=fold)
    back = aware.astimezone(datetime.UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    if back != stamp.to_pydatetime():  # never shown: as a clock that was not put forward
        aware = aware.replace(fold=0)
    return pd.Timestamp(aware.astimezone(datetime.UTC).replace(tzinfo=None))


def test_the_repeated_and_the_skipped_hour_are_refused_until_a_rule_is_stated():
    with pytest.raises(SchemaError) as caught:
        one(text("2024-11-03 01:30", "2024-11-03 02:00"), YORK, kind="time")
    assert (
        "'y': 1 time that the clock of America/New_York shows twice (row 2). "
        "State `times: repeated` as `first`, `second`, `in_order` or `lose`."
    ) in str(caught.value)
    with pytest.raises(SchemaError, match=r"never shows \(row 2\)"):
        one(text("2024-03-10 02:30"), YORK, kind="time")


def test_rows_in_those_hours_are_lost_and_counted_where_a_rule_says_so():
    rules = TimeRules(zone="America/New_York", to="UTC", repeated="lose", skipped="lose")
    cells = pd.DataFrame({"x": text("2024-11-03 01:30", "2024-03-10 02:30", "2024-06-01 00:00")})
    mapping = TableMapping(columns={"y": ColumnMapping(column="x", kind="time")}, times=rules)
    table = apply_mapping(cells, mapping)
    assert table.frame["y"].tolist() == [pd.Timestamp("2024-06-01 04:00")]
    assert table.lost == (
        ("'y' in the hour that the clock repeats", 1),
        ("'y' in the hour that the clock skips", 1),
    )


def test_rows_in_order_tell_the_two_hours_apart_in_each_series():
    rules = replace(YORK, repeated="in_order", per=("team",))
    times = ["00:30", "01:00", "01:30", "01:00", "01:30", "02:00"]
    stamps = [f"2024-11-03 {time}" for time in times for _ in "AB"]
    cells = pd.DataFrame({"x": stamps, "team": list("AB") * 6}, dtype="str")
    found, done = one(cells, rules, kind="time")
    hours = [4.5, 5, 5.5, 6, 6.5, 7]
    since = (found - pd.Timestamp("2024-11-03")) / pd.Timedelta(hours=1)
    assert since.tolist() == [hour for hour in hours for _ in "AB"]
    assert done["repeated hour, told apart by their order"] == 8


@pytest.mark.parametrize(
    ("times", "words"),
    [
        (["01:00", "01:30"], r"come once \(rows 2, 3\), so that their order does not tell"),
        (["01:00", "01:00", "01:00"], r"there more than twice \(row 4\)"),
    ],
)
def test_an_order_that_does_not_tell_is_refused(times, words):
    rules = replace(YORK, repeated="in_order", per=("team",))
    stamps = [f"2024-11-03 {time}" for time in times]
    cells = pd.DataFrame({"x": stamps, "team": ["A"] * len(times)}, dtype="str")
    with pytest.raises(SchemaError, match=words):
        one(cells, rules, kind="time")


def test_a_shift_over_midnight():
    cells = pd.DataFrame(
        {
            "x": ["11022024"] * 4,
            "clock": ["2330", "0015", "24:30", "1:05 AM"],
            "start": ["22:00"] * 4,
        },
        dtype="str",
    )
    later, done = one(cells, format="%m%d%Y", clock="clock", shift_start="start")
    hours = (later - pd.Timestamp("2024-11-02")) / pd.Timedelta(hours=1)
    assert_allclose(hours, [23.5, 24.25, 24.5, 25 + 5 / 60])
    assert done["after midnight in a shift, on the day after"] == 2
    assert done["clock past 24:00, on the day after"] == 1
    fixed, _ = one(cells, format="%m%d%Y", clock="clock", next_day_before="06:00")
    assert fixed.tolist() == later.tolist()
    plain, _ = one(cells, format="%m%d%Y", clock="clock")
    assert plain.iloc[1] == pd.Timestamp("2024-11-02 00:15")
    working, _ = one(text("2024-11-03 01:00", "2024-11-03 05:00"), day_starts="04:00")
    assert working.dt.day.tolist() == [2, 3]


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("date", "2024-11-02"),
        ("hour", 23),
        ("half_hour", 47),
        ("weekday", "Saturday"),
        ("month", "2024-11"),
        ("year", 2024),
    ],
)
def test_parts_of_a_time(part, value):
    found, _ = one(text("2024-11-02 23:30", None), part=part)
    assert found.iloc[0] == value
    assert pd.isna(found.iloc[1])


def test_offsets_are_heeded_or_refused_never_dropped():
    stamps = text("2024-07-01T09:00:00.250Z", "2024-07-01T09:00+02:00")
    found, _ = one(stamps, TimeRules(zone="written", to="Europe/London"), kind="time")
    assert found.dt.hour.tolist() == [10, 8]
    with pytest.raises(SchemaError, match="2 values of 2: with an offset from UTC; state `times`"):
        one(stamps, kind="time")
    with pytest.raises(SchemaError, match=r"without an offset such as \+01:00"):
        one(
            text("2024-07-01T09:00Z", "2024-07-01T09:00"),
            TimeRules(zone="written", to="UTC"),
            kind="time",
        )
    with pytest.raises(SchemaError, match="times without an offset"):
        one(text("2024-07-01T09:00"), TimeRules(zone="written", to="UTC"), kind="time")


def test_mere_dates_are_the_same_in_every_zone():
    rules = TimeRules(zone="Europe/London", to="America/New_York")
    assert one(text("2024-07-01"), rules, kind="time")[0].dt.day.tolist() == [1]
    assert one(text("07012024"), rules, format="%m%d%Y")[0].dt.day.tolist() == [1]
    with pytest.raises(
        SchemaError, match=r"without a time of day \(row 3; written like '9999-99-99'\)"
    ):
        one(text("2024-07-01 09:00", "2024-07-02"), rules, kind="time")
    local, _ = one(text("2024-07-01 00:00"), rules, kind="time", local=True)
    assert local.dt.day.tolist() == [1]


def test_dates_that_are_none_or_could_be_two():
    with pytest.raises(
        SchemaError, match=r"1 value of 3: not a time .*\(row 4; written like 'a'\)"
    ):
        one(text("2024-07-01", "2024-07-02", "soon"), kind="time")
    found, done = one(text("2024-07-01", "2024-07-01", "soon"), kind="time", invalid="missing")
    assert found.isna().tolist() == [False, False, True]
    assert "not a time of the form 2024-03-31, made missing" in done
    with pytest.raises(SchemaError, match=r"State format: '%d/%m/%Y' or '%m/%d/%Y'"):
        one(text("03/04/2024"), kind="time")
    cells = pd.DataFrame({"x": ["2024-07-01"], "c": ["9:75"]}, dtype="str")
    with pytest.raises(SchemaError, match="not a time of day such as 09:30"):
        one(cells, clock="c")


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"zone": "UTC"}, "states 'zone' alone; state `to`, too"),
        ({"zone": "Europe/Lundon", "to": "UTC"}, "Did you mean 'Europe/London'?"),
        ({"zone": "../../etc/passwd", "to": "UTC"}, "no time zone '../../etc/passwd'"),
        ({"zone": "", "to": "written"}, "alone"),
        ({"zone": "UTC", "to": "UTC", "per": ("a",)}, "go together"),
    ],
)
def test_clocks_that_do_not_exist(keys, words):
    with pytest.raises(SchemaError, match=words.replace("?", r"\?")):
        TimeRules(**keys)


# ---------------------------------------------------------------- rows


def test_rows_are_left_out_by_rules_and_counted():
    cells = pd.DataFrame(
        {"id": ["1", "1", "2", "3", None, None], "s": ["ok", "OK ", "no", None, "ok", "ok"]},
        dtype="str",
    )
    rules = RowRules(keep=(RowFilter(column="s", any_of=("Ok",)),), unique=("id",), repeated="last")
    mapping = TableMapping(columns={"id": ColumnMapping(kind="text")}, rows=rules)
    table = apply_mapping(cells, mapping)
    assert table.lost == (("'s' is not 'Ok'", 2), ("'id' is there already", 1))
    assert len(table.frame) == 3  # rows without an id are no repeats of each other
    strict = replace(mapping, rows=replace(rules, repeated="refuse"))
    with pytest.raises(
        SchemaError, match=r"1 row of 4 repeat the 'id' of an earlier row \(row 3\)"
    ):
        apply_mapping(cells, strict)
    nothing = replace(mapping, rows=RowRules(keep=(RowFilter(column="s", any_of=("yes",)),)))
    with pytest.raises(SchemaError, match="leaves no row of 'the export': 6 rows: 's' is not"):
        apply_mapping(cells, nothing)


def test_a_file_of_another_export_is_told_by_its_columns(tmp_path):
    (tmp_path / "t.csv").write_text("Stor,b\n1,2\n")
    mapping = TableMapping(columns={"a": ColumnMapping(column="Store"), "b": ColumnMapping()})
    with pytest.raises(
        SchemaError, match=r"lacks 1 column that the mapping names \('Store'\). Did"
    ):
        read_table(tmp_path / "t.csv", mapping=mapping)


def test_rows_are_numbered_as_in_the_file(tmp_path):
    (tmp_path / "t.csv").write_text("a title\nunit,x\ntext of question,more\nA,1\nB,two\n")
    mapping = TableMapping(
        columns={"x": ColumnMapping(kind="number")},
        file=FileForm(above_header=1, below_header=1, delimiter=","),
    )
    with pytest.raises(SchemaError, match="row 5; written like 'a'"):
        read_table(tmp_path / "t.csv", mapping=mapping)
    with pytest.raises(SourceError, match="has no 9 lines above a header"):
        read_table(tmp_path / "t.csv", mapping=replace(mapping, file=FileForm(above_header=9)))


def test_the_flow_begins_with_the_rows_of_the_file(tmp_path):
    rows = "".join(
        f"A,2024-01-{day:02d},{day},{'test' if day < 4 else ''}\n" for day in range(1, 13)
    )
    (tmp_path / "t.csv").write_text("unit,day,n,kind\n" + rows)
    mapping = TableMapping(
        columns={
            "unit": ColumnMapping(),
            "day": ColumnMapping(kind="time"),
            "n": ColumnMapping(),
        },
        rows=RowRules(keep=(RowFilter(column="kind", none_of=("test",)),)),
    )
    spec = SourceSpec(
        path="t.csv",
        unit="unit",
        period="day",
        measures={"n": MeasureSpec(metric="sum", score="n")},
        mapping=mapping,
    )
    table = read_table(tmp_path / "t.csv", mapping=mapping)
    flow = measure_source(table, spec, "till").flow.frame()
    assert flow["rows_in"].tolist()[:2] == [12, 12]
    assert flow["rows_lost"].tolist()[:2] == [0, 3]
    assert flow["reason"].tolist()[1] == "'kind' is 'test'"


def test_scales_of_measures_agree_with_those_of_columns():
    table = TableMapping(columns={"ease": ColumnMapping(scale="ces_2")})

    def spec(**keys):
        measure = MeasureSpec(metric="effort", score="ease", **{"low": 1, "high": 7, **keys})
        return SourceSpec(
            path="t.csv", unit="u", period="p", measures={"e": measure}, mapping=table
        )

    assert spec(direction="low_is_bad").mapping is table
    with pytest.raises(SchemaError, match=r"column is ces_2, where low_is_bad\. Correct one"):
        spec(direction="high_is_bad")
    with pytest.raises(
        SchemaError, match="states high 5, but the mapping brings its column to 1 to"
    ):
        spec(direction="low_is_bad", high=5)
    times = TableMapping(columns={**table.columns, "p": ColumnMapping()})
    with pytest.raises(SchemaError, match="takes 'p' for a date, which its mapping does not say"):
        replace(spec(direction="low_is_bad"), mapping=times)
    with pytest.raises(SchemaError, match="has a mapping, whose `columns` say"):
        replace(spec(direction="low_is_bad"), read=ReadSpec(dates=("p",)))


# ---------------------------------------------------------------- the file


@pytest.fixture
def mapped(tmp_path):
    """Writes a mapping file and reads it."""

    def read(content: str):
        (tmp_path / "m.yaml").write_text(content)
        return read_mapping(tmp_path / "m.yaml")

    return read


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "m.yaml is empty. A mapping file begins with `mapping: <name>`."),
        ("mapping: m\n", "m.yaml: columns: is required."),
        ("mapping: m\ncolums: {a: b}\ncolumns: {a: b}\n", "Did you mean 'columns'?"),
        (
            "mapping: m\ncolumns:\n  a: {colum: b}\n",
            "m.yaml, line 3: columns.a.colum: there is no such key. Did you mean 'column'?",
        ),
        ("mapping: m\ncolumns:\n  a: b\n  a: c\n", "the key 'a' is already given on line 3"),
        (
            "mapping: m\ncolumns:\n  a: {scale: ces_3}\n",
            "m.yaml, line 3: columns.a.scale: must be",
        ),
        ("mapping: m\ncolumns: {a: {unit: secs, to: hours}}\n", "Did you mean"),
        ("mapping: m\ncolumns: {a: !!python/name:os.system b}\n", "is not allowed. Mapping files"),
        ("mapping: m\ncolumns: {a: &x {}, b: *x}\n", "Mapping files hold no aliases"),
        ("mapping: 'a/b'\ncolumns: {a: b}\n", "is a short name of letters"),
        ("mapping: m\ncolumns: {a: {choices: {x: true}}}\n", "columns.a.choices.x"),
        (
            "mapping: m\ncolumns: {team: b}\nsource: {unit: tema}\n",
            "m.yaml, line 3: source.unit: there is no column 'tema' in `columns`. Did you mean 'te",
        ),
        ("mapping: m\ncolumns: {}\n", "`columns` is empty"),
        ("mapping: m\nfile: {above_header: -1}\ncolumns: {a: b}\n", "`above_header` is -1"),
        ("mapping: m\ncolumns: {a: b}\n" + "# x" * 400_000, "is larger than 1,048,576 bytes"),
    ],
)
def test_a_bad_mapping_file_is_told_with_its_line(mapped, content, words):
    with pytest.raises(SchemaError) as caught:
        mapped(content)
    assert words in str(caught.value)


def test_ready_mappings_are_named_and_no_path_is_taken_for_one():
    with pytest.raises(SourceError, match="Did you mean 'crm_accounts'"):
        read_mapping("crm_acounts")
    with pytest.raises(SourceError, match=r"There is no ready mapping '\.\./contact_centre/study'"):
        read_mapping("../contact_centre/study")
    with pytest.raises(SourceError, match="There is no mapping file"):
        read_mapping("none.yaml")


STUDY = """study: s
data:
  sources:
    till: {path: till.csv, mapping: MAPPING}
  link: {first: 2024-01, last: 2024-02}
roles: {exposures: [n], outcomes: [visits]}
notebooks: [data_audit]
"""
TILL = """mapping: till
file: {delimiter: ";"}
columns:
  store: {column: Shop, kind: text, pad: 3}
  day: {column: Day, format: "%d.%m.%Y"}
  visits: Visits
source:
  unit: store
  period: day
  measures:
    visits: {metric: sum, score: visits}
    n: {metric: count}
"""


@pytest.fixture
def study(tmp_path):
    """Writes a study with its mapping in one folder, its data in another, and loads it."""
    (tmp_path / "study").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "study" / "till.yaml").write_text(TILL)
    (tmp_path / "data" / "till.csv").write_text(
        "Shop;Day;Visits\n" + "".join(f"7;{d}.0{m}.2024;{d}\n" for m in (1, 2) for d in range(1, 9))
    )

    def load(mapping: str):
        path = tmp_path / "study" / "study.yaml"
        path.write_text(STUDY.replace("MAPPING", mapping))
        return load_study(path), tmp_path / "data"

    return load


def test_a_study_takes_from_its_mapping_what_it_does_not_state(study):
    loaded, root = study("till.yaml")
    frame = link_study(loaded, root).panel.frame
    assert frame["unit"].tolist() == ["007", "007"]
    assert frame["visits"].tolist() == [36, 36]
    source = loaded.study.data.sources["till"]
    assert (source.unit, source.period) == ("store", "day")


def test_a_study_that_names_measures_gets_no_others(study):
    loaded, _ = study(
        "till.yaml, measures: {visits: {metric: sum, score: visits}, n: {metric: count}}"
    )
    assert list(loaded.study.data.sources["till"].measures) == ["visits", "n"]
    with pytest.raises(StudyError, match=r"line 6: .*there is no column 'n'"):
        study("till.yaml, measures: {visits: {metric: sum, score: visits}}")


def test_a_mapping_is_part_of_the_data_section_on_record(study):
    """A changed mapping makes a run stale, and `rerun` needs no mapping file."""
    from ex_cx.linkage.validation import check
    from ex_cx.studies.study import DataSection

    loaded, _ = study("till.yaml")
    stored = loaded.study.data.model_dump(mode="json")
    assert stored["sources"]["till"]["mapping"]["columns"]["store"]["pad"] == 3
    again, complaints = check(DataSection, stored)
    assert complaints == []
    assert again == loaded.study.data


def test_a_mapping_written_out_in_the_study(study):
    inline = (
        "{file: {delimiter: ;}, columns: {store: Shop, day: {column: Day, format: '%d.%m.%Y'}, "
        "visits: Visits}}, unit: store, period: day, measures: {visits: {metric: sum, score: "
        "visits}, n: {metric: count}}"
    )
    loaded, root = study(inline)
    assert link_study(loaded, root).panel.frame["visits"].tolist() == [36, 36]
    with pytest.raises(StudyError, match=r"mapping.columns.store.colum: there is no such key"):
        study(inline.replace("store: Shop", "store: {colum: Shop}"))


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ("../data/till.yaml", "leads out of 'study', the folder of the study file"),
        ("/etc/till.yaml", "leads out of 'study'"),
        ("til.yaml", "There is no mapping file"),
        ("tills", "There is no ready mapping 'tills'"),
        ('"a\\0b.yaml"', "cannot be the path of a file"),
        ("7", "must be"),
    ],
)
def test_a_study_whose_mapping_is_nowhere_or_outside(study, mapping, words):
    with pytest.raises(StudyError) as caught:
        study(mapping)
    assert "study.yaml, line 4: data.sources.till.mapping: " in str(caught.value)
    assert words in str(caught.value)


def test_a_fault_in_a_mapping_is_told_with_its_own_line(study, tmp_path):
    (tmp_path / "study" / "till.yaml").write_text(TILL.replace("pad: 3", "pda: 3"))
    with pytest.raises(StudyError, match=r"till.yaml, line 4: columns.store.pda: there is no such"):
        study("till.yaml")


def test_what_is_wrong_with_the_clean_table_is_told_by_the_rows_of_the_file(tmp_path):
    """Rows are left out on the way, so that the third of the clean table is row 7 of the file."""
    lines = ["a title", "unit,day,x,keep", "A,2024-01-02,1,yes", "A,2024-01-03,2,no"]
    lines += ["B,2024-01-04,2.5,yes", "B,2024-01-05,3,no", "C,2024-02-30,44,yes"]
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    mapping = TableMapping(
        columns={"unit": ColumnMapping(), "day": ColumnMapping(kind="text"), "x": ColumnMapping()},
        file=FileForm(above_header=1, delimiter=","),
        rows=RowRules(keep=(RowFilter(column="keep", any_of=("yes",)),)),
    )
    table = read_table(tmp_path / "t.csv", mapping=mapping)
    assert table.rows.tolist() == [3, 5, 7]
    mean = MeasureSpec(metric="mean", score="x", low=1, high=5)
    spec = SourceSpec(path="t.csv", unit="unit", period="day", measures={"m": mean})
    with pytest.raises(SchemaError) as caught:
        measure_source(table, spec, "s")
    told = str(caught.value)
    assert "not dates of the form 2024-03-31 (row 7; written like '9999-99-99')" in told
    assert "'x': 1 of 3 values are not 1 to 5 (row 7)" in told
    years = replace(table, frame=table.frame.assign(day=[2024.0, 2024.5, 2025.0]))
    spec = replace(spec, frequency="year", measures={"m": replace(mean, low=None, high=None)})
    with pytest.raises(SchemaError, match=r"1 value of 3 are not whole numbers \(row 5\)"):
        measure_source(years, spec, "s")
