"""Raw exports linked by mapping files alone, against panels that others made of the same files.

Every row that one has and the other has not, and every value that differs, is explained here and
counted from the raw files with plain pandas.
"""

from __future__ import annotations

import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from ex_cx.linkage.audit import LinkAudit
from tests.real.comparing import correlations

# As printed in the notes on the data, two decimals; the waits turned round: the notes have the
# share seen within four hours, the study the share that was not.
QUICK_LOOK = [
    ("nhs_burnout_waits", "ex_burned_out_pct", "cx_over_4h_pct", 0.08, 0.05),
    ("nhs_burnout_waits", "ex_enough_staff_pct", "cx_over_4h_pct", -0.17, -0.01),
    ("nhs_burnout_waits", "ex_frustration_pct", "cx_over_4h_pct", 0.20, 0.13),
    ("nhs_burnout_waits", "ex_autonomy_pct", "cx_over_4h_pct", -0.16, -0.13),
    ("nhs_burnout_waits", "bed_occupancy_pct", "cx_over_4h_pct", 0.29, 0.00),
    ("nursing_homes", "ex_turnover_pct", "cx_inspection_stars", -0.36, -0.06),
    ("nursing_homes", "ex_turnover_pct", "cx_fines", 0.25, 0.11),
    ("nursing_homes", "ex_turnover_pct", "cx_abuse_flag_pct", 0.18, 0.02),
    ("nursing_homes", "ex_turnover_pct", "cx_rehospitalised_pct", 0.13, 0.04),
]


@pytest.mark.parametrize(("study", "x", "y", "pooled", "within"), QUICK_LOOK)
def test_correlations_equal_those_published_with_the_data(linked, study, x, y, pooled, within):
    panel = linked(study).panel
    if study == "nhs_burnout_waits":  # theirs has trust-years with a survey only
        panel = panel.where(panel.frame["ex_burned_out_pct"].notna())
    found = correlations(panel, x, y)
    assert_allclose(found, [pooled, within], rtol=0, atol=0.005)


def rows_of(audit: LinkAudit, source: str) -> tuple[int, dict[str, int], int]:
    """Rows read, rows lost by reason, and rows kept, as the audit tells them; they must add up."""
    flow = audit.flow[(audit.flow["source"] == source) & (audit.flow["counting"] == "rows")]
    assert (flow["rows_in"] == flow["rows_kept"] + flow["rows_lost"]).all()
    lost = flow[flow["rows_lost"] > 0].set_index("reason")["rows_lost"].to_dict()
    read, kept = int(flow["rows_in"].iloc[0]), int(flow["rows_kept"].iloc[-1])
    assert read == kept + sum(lost.values())
    return read, lost, kept


def beside(panel: pd.DataFrame, ready: pd.DataFrame, keys: dict[str, str]) -> pd.DataFrame:
    """Both, row by row; `_merge` says which has it. Columns of the ready one keep their names."""
    ours = panel.assign(unit=panel["unit"].astype(str))
    theirs = ready.rename(columns=keys)
    theirs = theirs.assign(unit=theirs["unit"].astype(str))
    return ours.merge(theirs, on=["unit", "period"], how="outer", indicator=True)


@pytest.fixture(scope="module")
def nhs(linked, data_root) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The trust-years of both panels, and the raw months until 2024 with their year."""
    root = data_root("nhs_burnout_waits")
    panel = linked("nhs_burnout_waits").panel.frame
    ready = pd.read_csv(root / "trust_year_panel.csv")
    both = beside(panel, ready, {"trust_code": "unit", "survey_year": "period"})
    months = pd.read_csv(root / "raw" / "ae_waits_by_trust_month.csv")
    months["year"] = months["month"].str.slice(0, 4).astype(int)
    return both, months[months["year"] <= 2024]


def test_nhs_trust_years_are_those_of_the_ready_panel_and_three_without_a_survey(nhs, data_root):
    both, months = nhs
    assert (both["_merge"] != "right_only").all()
    alone = both[both["_merge"] == "left_only"]
    assert alone["ex_burned_out_pct"].isna().all()
    survey = pd.read_csv(
        data_root("nhs_burnout_waits") / "raw" / "staff_survey_by_organisation_year.csv"
    )
    acute = survey.loc[survey["benchmarking_group"].str.startswith("Acute and Acute"), "ods_code"]
    reported = months[(months["total_attendances"] > 0) & months["attendances_over_4hours"].notna()]
    waits = set(zip(reported["trust_code"], reported["year"], strict=True))
    surveyed = set(zip(survey["ods_code"], survey["survey_year"], strict=True))
    expected = {key for key in waits - surveyed if key[0] in set(acute)}
    assert set(zip(alone["unit"], alone["period"], strict=True)) == expected
    assert (len(both), len(alone)) == (464, 3)


def test_nhs_headline_columns_equal_the_ready_panel(nhs):
    both = nhs[0][nhs[0]["_merge"] == "both"]
    assert_array_equal(both["ex_burned_out_pct"], both["burned_out_pct"])
    assert_array_equal(both["ex_enough_staff_pct"], both["enough_staff_pct"])
    assert_array_equal(both["staff_answers"], both["burnout_question_answers"])
    assert_array_equal(both["cx_over_4h_pct_n"], both["ae_attendances"])
    within = 100 - both["cx_over_4h_pct"]  # three decimals are printed
    assert_allclose(within, both["ae_seen_within_4h_pct"], rtol=0, atol=5e-4 + 1e-9)
    assert both["bed_occupancy_pct_x"].isna().equals(both["bed_occupancy_pct_y"].isna())
    assert_allclose(both["bed_occupancy_pct_x"], both["bed_occupancy_pct_y"], rtol=0, atol=5.1e-3)


def test_nhs_admissions_differ_only_where_a_month_had_no_report_of_waits(nhs):
    """The ready panel leaves such a month out of the admissions, too; here it is their own sum."""
    both, months = nhs
    both = both[both["_merge"] == "both"]
    ours, theirs = (
        both[c] for c in ("cx_admission_over_4h_pct", "emergency_admissions_waiting_over_4h_pct")
    )
    differs = (ours - theirs).abs() > 5e-4 + 1e-9
    silent = months["attendances_over_4hours"].isna() | (months["total_attendances"] == 0)
    silent &= months["total_emergency_admissions"] > 0
    years = months[silent].groupby(["trust_code", "year"]).size()
    had = [key in years.index for key in zip(both["unit"], both["period"], strict=True)]
    assert_array_equal(differs, had)
    assert differs.sum() == 14


def test_nhs_audit_tells_every_month_that_is_not_used(nhs, linked):
    audit = linked("nhs_burnout_waits").audit
    read, lost, kept = rows_of(audit, "waits")
    assert (read, lost) == (7_895, {"after the window": 1_051})
    assert kept == len(nhs[1])
    lines = audit.suppressed.set_index("measure")["blank_answers"]
    assert lines["cx_over_4h_pct"] == nhs[1]["attendances_over_4hours"].isna().sum()
    read, lost, _ = rows_of(audit, "staff")
    assert (read, lost) == (1_075, {})
    left = audit.flow[audit.flow["step"] == "where"].set_index("reason")["rows_lost"]
    assert left.sum() + len(linked("nhs_burnout_waits").panel) == audit.unmatched["absent"].iloc[
        0
    ] + int(audit.unmatched["unit_periods"].iloc[0])


def test_nursing_homes_equal_the_ready_panel_to_the_digit(linked, data_root):
    ready = pd.read_csv(data_root("nursing_homes") / "chain_month_panel.csv")
    ready["release_month"] = pd.PeriodIndex(ready["release_month"], freq="M")
    keys = {"chain_id": "unit", "release_month": "period"}
    both = beside(linked("nursing_homes").panel.frame, ready, keys)
    assert (both["_merge"] == "both").all()
    assert len(both) == 3_740
    for ours, theirs in {
        "homes": "facilities",
        "ex_turnover_pct": "nursing_staff_turnover_pct",
        "ex_nurse_hours": "nurse_hours_per_resident_day",
        "cx_inspection_stars": "inspection_star_rating",
        "cx_fines": "fines_per_facility",
        "cx_abuse_flag_pct": "facilities_with_abuse_flag_pct",
        "cx_rehospitalised_pct": "short_stay_rehospitalised_pct",
    }.items():
        assert_array_equal(both[ours], both[theirs])


def test_nursing_homes_names_that_change_find_their_number(linked):
    """A name of two numbers, and a number of two names, each in its own releases."""
    audit = linked("nursing_homes").audit
    read, lost, kept = rows_of(audit, "residents")
    assert (read, lost, kept) == (3_740, {}, 3_740)
    record = audit.crosswalk
    assert record["rows"].sum() == 3_740
    assert set(record["outcome"]) == {"mapped"}
    numbers = record.groupby("unit")["target"].agg(list)
    assert numbers[numbers.map(len) > 1].to_dict() == {"ECUMEN": ["696", "866"]}
    names = record.groupby("target")["unit"].agg(list)
    assert names[names.map(len) > 1].to_dict() == {
        "505": ["THE BLOSSOMS NURSING AND REHAB CENTER", "THE BLOSSOMS REHAB & NURSING CENTER"]
    }
    assert (linked("nursing_homes").panel.frame["linked"]).all()


@pytest.fixture(scope="module")
def calls(data_root) -> pd.DataFrame:
    """The single calls, with their hour and moment."""
    rows = pd.read_csv(data_root("bank_calls") / "calls.csv")
    at = pd.to_datetime(rows["date"] + " " + rows["arrival_time"])
    return rows.assign(at=at, hour=at.dt.hour)


def test_bank_hours_from_single_calls_equal_the_ready_panel(linked, data_root, calls):
    panel = linked("bank_calls").panel.frame
    ready = pd.read_csv(data_root("bank_calls") / "hour_panel.csv")
    both = beside(panel, ready, {"date": "unit", "hour": "period"})
    used = both["_merge"] == "both"
    assert (both["_merge"] != "left_only").all()
    few = (both["calls_offered_y"] < 10) | ~(both["employees_on_duty_y"] >= 2)
    assert_array_equal(~used, few)
    both = both[used]
    assert_array_equal(both["calls_offered_x"], both["calls_offered_y"])
    assert_array_equal(both["employees_on_duty_x"], both["employees_on_duty_y"])
    # four decimals of a share and one of seconds are printed
    assert_allclose(both["cx_abandonment_pct"], 100 * both["abandonment_rate"], atol=5e-3 + 1e-9)
    assert_allclose(both["cx_queue_seconds"], both["mean_queue_seconds"], atol=0.05 + 1e-9)
    assert_allclose(both["ex_occupancy_pct"], 100 * both["staff_occupancy"], rtol=1e-12)
    audit = linked("bank_calls").audit
    assert rows_of(audit, "calls") == (len(calls), {}, len(calls))
    where = audit.flow[audit.flow["step"] == "where"].set_index("reason")["rows_lost"]
    hours = calls.groupby(["date", "hour"]).size()
    assert where["'calls_offered' below 10"] == (hours < 10).sum()
    assert where.sum() + len(panel) == len(hours)


@pytest.fixture(scope="module")
def employee_days(linked, data_root) -> pd.DataFrame:
    """The employee-days of both panels."""
    panel = linked("bank_employee_days").panel.frame
    panel = panel.assign(period=panel["period"].astype(str))
    ready = pd.read_csv(data_root("bank_employee_days") / "employee_day_panel.csv")
    return beside(panel, ready, {"employee_code": "unit", "date": "period"})


def test_bank_employee_days_are_those_of_the_ready_panel_and_nine_short_ones(employee_days, calls):
    """It leaves out days of less than half an hour of presence: from the first served call to the
    end of the last, without gaps of more than three hours."""
    assert (employee_days["_merge"] != "right_only").all()
    alone = employee_days[employee_days["_merge"] == "left_only"]
    served = calls[calls["service_seconds"] > 0]
    begin = served["at"] + pd.to_timedelta(served["menu_seconds"] + served["queue_seconds"], "s")
    end = begin + pd.to_timedelta(served["service_seconds"], "s")
    rows = served.assign(begin=begin, end=end).sort_values(["employee_code", "date", "begin"])
    day = ["employee_code", "date"]
    gap = rows["begin"] - rows.groupby(day)["end"].shift() > pd.Timedelta(hours=3)
    parts = rows.assign(part=gap.cumsum()).groupby([*day, "part"])
    present = (parts["end"].max() - parts["begin"].min()).groupby(level=[0, 1]).sum()
    short = present[present < pd.Timedelta(minutes=30)].index
    assert set(zip(alone["unit"], alone["period"], strict=True)) == set(short)
    assert (len(employee_days), len(alone)) == (385, 9)


def test_bank_employee_days_from_single_calls_equal_the_ready_panel(employee_days):
    both = employee_days[employee_days["_merge"] == "both"]
    assert_array_equal(both["ex_calls_handled"], both["calls_handled"])
    # one decimal of seconds is printed
    seconds = {"ex_service_seconds": "mean_service_seconds"}
    seconds["cx_queue_seconds"] = "mean_queue_seconds_of_callers"
    for ours, theirs in seconds.items():
        assert_allclose(both[ours], both[theirs], rtol=0, atol=0.05 + 1e-9)


def resolved_by_hand(contacts: pd.DataFrame, counted: pd.Series, days: int = 7) -> pd.DataFrame:
    """Share of `counted` contacts without a next one of the customer, and how many they are."""
    known = contacts[contacts["customer_code"].notna()].sort_values(["customer_code", "at"])
    following = known.groupby("customer_code")["at"].shift(-1) - known["at"]
    known = known.assign(settled=~(following <= pd.Timedelta(days=days)))
    known = known[counted.reindex(known.index)]
    return known.groupby(["employee_code", "date"])["settled"].agg(["mean", "size"])


def test_bank_settled_calls_differ_by_calls_that_nobody_answered(employee_days, calls):
    """Ours follow a customer through served calls, theirs through all: a call that was given up
    has no employee, so that no row of ours is its."""
    both = employee_days[employee_days["_merge"] == "both"].set_index(["unit", "period"])
    served = calls[calls["service_seconds"] > 0]
    last = served.loc[served["customer_code"].notna() & served["employee_code"].notna(), "at"].max()
    followed = served["at"] <= last - pd.Timedelta(days=7)
    ours = resolved_by_hand(served[served["employee_code"].notna()], followed)
    theirs = resolved_by_hand(
        calls, (calls["service_seconds"] > 0) & (calls["date"] < "1999-02-22")
    )
    for by_hand, column, size in (
        (ours, 100 - both["cx_resolved_pct"], both["cx_resolved_pct_n"]),
        (theirs, 100 * both["repeat_call_7d_share"], both["identified_callers"]),
    ):
        hand = by_hand.reindex(both.index)
        told = size.notna()  # where a share is withheld, how many are behind it may be, too
        assert column.isna()[~told].all()
        assert_array_equal(hand["size"].fillna(0)[told], size[told])
        known = column.notna()
        assert_allclose(100 * (1 - hand["mean"])[known], column[known], rtol=0, atol=5.1e-3)
    assert (both.loc[both["cx_resolved_pct"].notna(), "cx_resolved_pct_n"] >= 5).all()
    shown = both["cx_resolved_pct"].notna() & (both["identified_callers"] > 0)
    more = 100 * both["repeat_call_7d_share"] - (100 - both["cx_resolved_pct"])
    same_calls = shown & (both["identified_callers"] == both["cx_resolved_pct_n"])
    assert (more[same_calls] > -0.01).all()  # following more calls never settles more
    assert 0 < more[same_calls].mean() < 3


def test_bank_audit_tells_every_call_that_is_not_used(linked, calls):
    read, lost, kept = rows_of(linked("bank_employee_days").audit, "calls")
    idle = calls["service_seconds"] == 0
    unnamed = ~idle & calls["employee_code"].isna()
    assert read == len(calls)
    assert list(lost.values()) == [idle.sum(), unnamed.sum()]
    assert "service_seconds" in next(iter(lost))
    assert list(lost)[1] == "no unit"
    assert kept == linked("bank_employee_days").panel.frame["ex_calls_handled"].sum()
