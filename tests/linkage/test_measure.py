"""Rows of one source to unit-period values: what is kept, left out, suppressed, carried."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ex_cx.errors import LinkError, SchemaError
from ex_cx.linkage.measure import MeasuredSource, measure_source
from ex_cx.linkage.schema import MeasureSpec, ReadSpec, SourceSpec


def survey(**options: object) -> SourceSpec:
    measures = {
        "cx_nps": MeasureSpec(metric="nps", score="score"),
        "cx_effort": MeasureSpec(
            metric="effort", score="effort", low=1, high=5, direction="high_is_bad"
        ),
        "cx_fcr_pct": MeasureSpec(metric="fcr", score="resolved", positive=("yes",)),
    }
    return SourceSpec(
        path="s.csv",
        unit="team",
        period="date",
        respondents="customers",
        measures=measures,
        **options,
    )


def answers(*groups: tuple[str, str, int]) -> pd.DataFrame:
    """`n` answers of 9, effort 2, resolved for each team, date and n; and 12 of a team Z."""
    rows = [(team, date, 9.0, 2.0, "yes") for team, date, n in groups for _ in range(n)]
    columns = ["team", "date", "score", "effort", "resolved"]
    rows += [("Z", "2024-01-01", 0.0, 5.0, "no")] * 12
    return pd.DataFrame(rows, columns=columns)


def value(found: MeasuredSource, column: str) -> dict[tuple[str, str], float]:
    frame = found.frame
    keys = zip(frame["unit"], frame["period"].astype(str), strict=True)
    return dict(zip(keys, frame[column].tolist(), strict=True))


def test_measures_carry_their_n_and_error():
    found = measure_source(answers(("A", "2024-01-05", 10), ("A", "2024-02-05", 12)), survey(), "s")
    assert found.frame.columns.tolist() == [
        "unit",
        "period",
        "cx_nps",
        "cx_nps_n",
        "cx_nps_se",
        "cx_nps_promoter_share",
        "cx_nps_detractor_share",
        "cx_effort",
        "cx_effort_n",
        "cx_effort_se",
        "cx_fcr_pct",
        "cx_fcr_pct_n",
        "cx_fcr_pct_se",
    ]
    assert value(found, "cx_nps")["A", "2024-01"] == 100
    assert value(found, "cx_nps_n")["A", "2024-02"] == 12
    assert set(found.provenance.values()) == {"customers"}
    assert found.definitions["cx_effort"] == (
        "mean answer, 1 to 5; high means much effort; missing below 5 respondents"
    )


def test_fewer_than_five_respondents_are_never_shown_nor_what_gives_them_away():
    sizes = {"A": 20, "B": 4, "C": 11, "D": 20}
    frame = answers(*((team, "2024-01-05", n) for team, n in sizes.items()))
    found = measure_source(frame, survey(), "s")
    for column in ("cx_nps", "cx_effort", "cx_fcr_pct"):
        for ending in ("", "_n", "_se"):  # all teams less the others would be B: C goes, too
            shown = value(found, f"{column}{ending}")
            missing = {team for (team, _), each in shown.items() if np.isnan(each)}
            assert missing == {"B", "C"}, f"{column}{ending}"
    columns = ["unit_periods", "shown", "suppressed", "withheld_for_others"]
    assert found.suppressed[columns].to_numpy().tolist() == [[5, 3, 1, 1]] * 3


def test_a_distribution_of_fewer_than_ten_is_not_shown_nor_what_gives_it_away():
    frame = answers(("A", "2024-01-05", 9), ("B", "2024-01-05", 10), ("C", "2024-01-05", 11))
    found = measure_source(frame, survey(), "s")
    shares = ("cx_nps_promoter_share", "cx_nps_detractor_share")
    # n, mean and error of 5 answers from 1 to 5 leave one set of answers in 63 % of all cases
    for column in (*shares, "cx_nps_se", "cx_effort_se", "cx_fcr_pct_se", "cx_fcr_pct"):
        assert np.isnan(value(found, column)["A", "2024-01"])
        assert np.isnan(value(found, column)["B", "2024-01"])  # else A is all less the others
        assert not np.isnan(value(found, column)["C", "2024-01"])
    assert value(found, "cx_nps")["A", "2024-01"] == 100
    assert found.suppressed["shares_suppressed"].tolist() == [1, 0, 0]


def test_a_sum_of_answers_is_withheld_like_their_mean():
    both = dict(survey().measures) | {"points": MeasureSpec(metric="sum", score="score")}
    both |= {"rows": MeasureSpec(metric="count")}
    rows = answers(("A", "2024-01-05", 5), ("B", "2024-01-05", 4), ("C", "2024-01-05", 6))
    found = measure_source(rows, replace(survey(), measures=both), "s")
    assert value(found, "points")["C", "2024-01"] == 54
    for column in ("points", "points_n", "rows", "rows_n"):
        assert np.isnan(value(found, column)["B", "2024-01"])
        assert np.isnan(value(found, column)["A", "2024-01"])
    alone = {"points": MeasureSpec(metric="sum", score="score")}
    found = measure_source(rows, replace(survey(), measures=alone), "s")
    assert value(found, "points")["B", "2024-01"] == 36


def test_the_threshold_can_be_raised():
    found = measure_source(answers(("A", "2024-01-05", 12)), survey(min_n=15), "s")
    assert np.isnan(value(found, "cx_nps")["A", "2024-01"])


def test_every_row_is_counted_once():
    frame = answers(("A", "2024-01-05", 12), ("A", "2024-02-05", 12), ("A", "2024-03-05", 12))
    frame.loc[0, "team"] = None
    frame.loc[1, "date"] = None
    found = measure_source(frame, survey(), "s", first="2024-01", last="2024-02")
    flow = found.flow.frame()
    assert flow[["rows_in", "rows_kept", "rows_lost", "reason"]].to_numpy().tolist() == [
        [48, 48, 0, ""],
        [48, 47, 1, "no unit"],
        [47, 46, 1, "no period"],
        [46, 34, 12, "after the window"],
        [3, 3, 0, ""],
    ]
    rows = flow[flow["counting"] == "rows"]
    assert rows["rows_lost"].sum() + rows["rows_kept"].iloc[-1] == len(frame)
    assert found.frame["cx_nps_n"].sum() == rows["rows_kept"].iloc[-1]


def test_blank_answers_are_counted_by_measure():
    frame = answers(("A", "2024-01-05", 8))
    frame.loc[:2, "effort"] = np.nan
    found = measure_source(frame, survey(), "s")
    assert found.suppressed["blank_answers"].tolist() == [0, 3, 0]
    assert value(found, "cx_effort_n")["A", "2024-01"] == 5


def test_a_wave_is_carried_until_the_next_and_no_longer():
    frame = answers(("A", "2024-01-05", 6), ("A", "2024-03-05", 7))
    found = measure_source(frame, survey(carry=2), "s", first="2024-01", last="2024-04")
    assert {k: v for k, v in value(found, "cx_nps_n").items() if k[0] == "A"} == {
        ("A", "2024-01"): 6,
        ("A", "2024-02"): 6,
        ("A", "2024-03"): 7,
        ("A", "2024-04"): 7,
    }
    assert found.carried == 4  # two of A, and Z's January over February and March


def test_infinite_and_impossible_answers_stop_with_their_rows():
    frame = answers(("A", "2024-01-05", 6))
    frame.loc[0, "score"] = np.inf
    frame.loc[1, "effort"] = 7
    with pytest.raises(SchemaError) as caught:
        measure_source(frame, survey(), "customers")
    assert str(caught.value).splitlines() == [
        "'customers' has 2 problems in 18 rows.",
        "- 'score': 1 of 18 values are infinite (row 2). Correct or blank them.",
        (
            "- 'effort': 1 of 18 values are not 1 to 5 (row 3). Correct them, or "
            "state the"
            " range that is right."
        ),
    ]


def test_a_misspelt_answer_that_counts_as_yes_is_told():
    spec = SourceSpec(
        path="s.csv",
        unit="team",
        period="date",
        measures={"cx_fcr_pct": MeasureSpec(metric="fcr", score="resolved", positive=("Yes",))},
    )
    with pytest.raises(SchemaError) as caught:
        measure_source(answers(("A", "2024-01-05", 6)), spec, "s")
    assert str(caught.value) == (
        "`positive` lists 'Yes', which is none of the 2 values of 'resolved' (written like "
        "'a'). One of them is almost the same; look at the spelling. Correct the list."
    )


def test_a_kind_of_exit_that_nobody_had_is_fine_a_misspelt_one_is_not():
    def with_types(*types: str) -> SourceSpec:
        measure = MeasureSpec(
            metric="attrition", hire="hired", exit="left", exit_type="why", types=types
        )
        return SourceSpec(
            path="p.csv",
            unit="team",
            measures={"ex_attrition_pct": measure},
            first="2024-01",
            last="2024-02",
        )

    many = pd.concat([people()] * 5, ignore_index=True)
    found = measure_source(many, with_types("voluntary", "involuntary"), "hris")
    assert value(found, "ex_attrition_pct")["A", "2024-01"] == 40
    for types in (("voluntry",), ("voluntary", "transfr"), ("dismissal",)):
        with pytest.raises(SchemaError, match=rf"`types` lists '{types[-1]}', which is none of"):
            measure_source(people(), with_types(*types), "hris")


def test_nothing_inside_the_window():
    with pytest.raises(LinkError) as caught:
        measure_source(answers(("A", "2024-01-05", 6)), survey(), "s", first="2030-01")
    assert str(caught.value) == (
        "None of the 18 rows of 's' has a unit and a period inside the window (2030-01 to open). "
        "Check the columns, the window and the frequency."
    )


def test_a_mistyped_century_is_told():
    frame = answers(("A", "2024-01-05", 6))
    frame.loc[0, "date"] = "9024-01-05"
    spec = SourceSpec(
        path="s.csv",
        unit="team",
        period="date",
        frequency="day",
        measures={"n": MeasureSpec(metric="count")},
    )
    with pytest.raises(SchemaError, match=r"'s' runs over more than 100,000 periods of one day"):
        measure_source(frame, spec, "s")


# -- ready unit-period files --------------------------------------------------------------------


READY = SourceSpec(
    path="r.csv", unit="trust", period="year", frequency="year", columns={"ex_score": "score"}
)


def test_a_duplicate_unit_period_is_an_error():
    frame = pd.DataFrame({"trust": ["A", "B", "A"], "year": [2020, 2020, 2020], "score": [1, 2, 3]})
    with pytest.raises(LinkError) as caught:
        measure_source(frame, READY, "ready")
    assert str(caught.value) == (
        "1 of 3 rows of 'ready' repeat a unit and period already there (row 4; first: 'A, 2020'). "
        "Keep one row for each, or compute `measures` from the many."
    )


def test_text_in_a_numeric_column_is_an_error():
    frame = pd.DataFrame({"trust": ["A", "B"], "year": [2020, 2020], "score": ["3.5", "N<15"]})
    with pytest.raises(SchemaError) as caught:
        measure_source(frame, READY, "ready")
    assert str(caught.value).splitlines() == [
        "'ready' has 1 problem in 2 rows.",
        (
            "- 'score': 1 of 2 values are not numbers (row 3; written like 'a<99'). Correct them, "
            "or list the marker of missing values under `missing`."
        ),
    ]


def test_years_are_whole_numbers():
    frame = pd.DataFrame({"trust": ["A", "B"], "year": [2020, 2020.5], "score": [1, 2]})
    with pytest.raises(SchemaError) as caught:
        measure_source(frame, READY, "ready")
    assert str(caught.value) == (
        "'ready', column 'year': 1 value of 2 are not whole numbers (row 3). "
        "Correct them, or state another frequency."
    )


# -- people and accounts ------------------------------------------------------------------------


def people() -> pd.DataFrame:
    rows = [
        ("A", "2020-05-01", None, None, "North"),
        ("A", "2020-05-01", "2024-01-31", "voluntary", "North"),
        ("A", "2020-05-01", "2024-02-15", "transfer", "North"),
        ("A", "2024-02-01", None, None, "North"),
        ("A", "2019-01-01", "2023-12-31", "voluntary", "North"),
        ("A", "2024-06-01", None, None, "North"),
        ("A", None, None, None, "North"),
    ]
    return pd.DataFrame(rows, columns=["team", "hired", "left", "why", "region"])


def hris(**options: object) -> SourceSpec:
    measure = MeasureSpec(
        metric="attrition", hire="hired", exit="left", exit_type="why", types=("voluntary",)
    )
    return SourceSpec(
        path="p.csv",
        unit="team",
        measures={"ex_attrition_pct": measure},
        attributes={"region": "region"},
        **options,
    )


def test_attrition_from_hire_and_exit_dates():
    many = pd.concat([people()] * 5, ignore_index=True)
    found = measure_source(many, hris(first="2024-01", last="2024-02"), "hris")
    # five times: January 3 open, 2 close, one voluntary exit; February 2, 2, a transfer only
    assert value(found, "ex_attrition_pct") == {("A", "2024-01"): 40.0, ("A", "2024-02"): 0.0}
    assert value(found, "ex_attrition_pct_n") == {("A", "2024-01"): 12.5, ("A", "2024-02"): 10}
    flow = found.flow.frame()
    assert flow["reason"].tolist() == [
        "",
        "no start date",
        "ended before the window",
        "started after the window",
        "",
    ]
    assert flow["rows_lost"].sum() + 20 == len(many)
    assert found.attributes.to_dict("list") == {"unit": ["A"], "region": ["North"]}


def test_the_attrition_of_fewer_than_five_people_is_not_shown():
    found = measure_source(people(), hris(first="2024-01", last="2024-02"), "hris")
    assert found.frame.drop(columns=["unit", "period"]).isna().all(axis=None)
    assert found.suppressed["suppressed"].tolist() == [2]


def test_people_need_a_window():
    with pytest.raises(SchemaError) as caught:
        measure_source(people(), hris(), "hris")
    assert str(caught.value) == (
        "The source 'hris' counts people or accounts from their dates, so it needs the first and "
        "last period that the file covers in full. State `first` and `last`, there or "
        "under `link` for all sources, such as first: 2024-01."
    )
    with pytest.raises(SchemaError) as caught:
        measure_source(people(), hris(first="January", last="2024-02"), "hris")
    assert str(caught.value) == (
        "`first` of 'hris' is 'January', which is no month. Write it like '2024-03'."
    )
    with pytest.raises(SchemaError) as caught:
        measure_source(people(), hris(first="2024-03", last="2024-02"), "hris")
    assert str(caught.value) == (
        "The window of 'hris' ends before it starts. Correct first and last."
    )


def test_an_exit_before_the_hire_is_an_error():
    frame = people()
    frame.loc[1, "left"] = "2019-01-01"
    with pytest.raises(SchemaError) as caught:
        measure_source(frame, hris(first="2024-01", last="2024-02"), "hris")
    assert str(caught.value) == (
        "'hris': 1 row of 7 end before they start ('left' before 'hired'; row 3). Correct the "
        "dates."
    )


def test_an_attribute_with_two_values_is_an_error():
    frame = people()
    frame.loc[3, "region"] = "South"
    with pytest.raises(LinkError) as caught:
        measure_source(frame, hris(first="2024-01", last="2024-02"), "hris")
    assert str(caught.value) == (
        "1 unit of 1 in 'hris' has more than one value of 'region' ('A'). Correct the file, or "
        "take 'region' as a column per period."
    )


def test_a_missing_revenue_is_left_out_and_counted():
    accounts = pd.DataFrame(
        {
            "team": ["A"] * 15,
            "start": ["2023-01-01"] * 15,
            "end": ["2024-01-10", None, None] * 5,
            "revenue": [30, 70, None] * 5,
        }
    )
    spec = SourceSpec(
        path="a.csv",
        unit="team",
        measures={
            "cx_retention_pct": MeasureSpec(metric="retention", start="start", end="end"),
            "cx_revenue_kept_pct": MeasureSpec(
                metric="retention", start="start", end="end", weight="revenue"
            ),
        },
    )
    found = measure_source(accounts, spec, "crm", first="2024-01", last="2024-01")
    assert value(found, "cx_retention_pct")["A", "2024-01"] == pytest.approx(200 / 3)
    assert value(found, "cx_revenue_kept_pct")["A", "2024-01"] == pytest.approx(70)
    assert found.suppressed["blank_answers"].tolist() == [0, 5]


def test_one_column_cannot_be_text_and_number():
    spec = SourceSpec(
        path="s.csv",
        unit="team",
        period="date",
        measures={
            "a": MeasureSpec(metric="mean", score="score"),
            "b": MeasureSpec(metric="share", score="score", positive=("9",)),
        },
    )
    with pytest.raises(SchemaError) as caught:
        measure_source(answers(("A", "2024-01-05", 6)), spec, "s")
    assert str(caught.value) == (
        "'s' uses the column 'score' as number and as text. Name another column for one of the two."
    )


def test_two_pairs_of_dates_are_two_sources():
    spec = SourceSpec(
        path="p.csv",
        unit="team",
        first="2024-01",
        last="2024-02",
        measures={
            "a": MeasureSpec(metric="attrition", hire="hired", exit="left"),
            "b": MeasureSpec(metric="attrition", hire="hired", exit="paid_until"),
        },
    )
    with pytest.raises(SchemaError) as caught:
        measure_source(people().assign(paid_until=None), spec, "hris")
    assert str(caught.value) == (
        "The measures of 'hris' use 2 pairs of start and end dates. List the file as a source for "
        "each."
    )


def test_sums_and_ratios_of_operations_are_shown_however_few_rows():
    frame = pd.DataFrame(
        {"team": ["A", "A"], "date": ["2024-01-05"] * 2, "busy": [30, 50], "paid": [60, 100]}
    )
    sums = {"numerator": "busy", "denominator": "paid"}
    spec = SourceSpec(
        path="w.csv",
        unit="team",
        period="date",
        measures={
            "ex_occupancy_pct": MeasureSpec(metric="occupancy", **sums),
            "ex_aht_seconds": MeasureSpec(metric="aht", **sums),
            "ex_ratio": MeasureSpec(metric="ratio", per=1000, **sums),
            "busy_total": MeasureSpec(metric="sum", score="busy"),
            "rows_n": MeasureSpec(metric="count"),
        },
    )
    row = measure_source(frame, spec, "w").frame.iloc[0]
    assert (row["ex_occupancy_pct"], row["ex_aht_seconds"], row["ex_ratio"]) == (50, 0.5, 500)
    assert (row["busy_total"], row["rows_n"], row["ex_occupancy_pct_n"]) == (80, 2, 160)


def test_quarters_and_days_and_hours():
    frame = pd.DataFrame({"team": "A", "date": ["2024-05-05 10:30"] * 6, "x": [1.0] * 6})
    for frequency, expected in (
        ("quarter", "2024Q2"),
        ("month", "2024-05"),
        ("day", "2024-05-05"),
        ("hour", "2024-05-05 10:00"),
    ):
        spec = SourceSpec(
            path="s.csv",
            unit="team",
            period="date",
            frequency=frequency,
            measures={"n": MeasureSpec(metric="count")},
        )
        assert measure_source(frame, spec, "s").frame["period"].astype(str).tolist() == [expected]


def test_years_may_be_written_as_dates():
    frame = pd.DataFrame({"team": ["A"], "date": pd.to_datetime(["2024-05-05"]), "x": [1.0]})
    spec = SourceSpec(
        path="s.csv", unit="team", period="date", frequency="year", columns={"y": "x"}
    )
    spec = replace(spec, read=ReadSpec(dates=("date",)))
    assert measure_source(frame, spec, "s").frame["period"].tolist() == [2024]
