"""Two more real files link by declarative specs alone: NHS trusts and the bank's call centre."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.testing import assert_allclose

from ex_cx.linkage.link import link_study_data
from ex_cx.linkage.linkspec import DeriveSpec, LinkSpec, WhereSpec
from ex_cx.linkage.schema import MeasureSpec, SourceSpec


def test_nhs_trusts_equal_the_published_panel(shared_data: Path):
    folder = shared_data / "nhs_hospital_trusts_2012_2019"
    staff = SourceSpec(
        path="raw/staff_survey_by_trust_year.csv",
        unit="trust_code",
        period="survey_year",
        frequency="year",
        respondents="staff",
        columns={"ex_engagement": "staff_engagement_score", "cx_care": "recommend_care_score"},
        ranges={"ex_engagement": (1, 5), "cx_care": (1, 5)},
    )
    deaths = SourceSpec(
        path="raw/mortality_indicator_by_provider_year.csv",
        unit="provider_code",
        period="reporting_year",
        frequency="year",
        columns={"cx_shmi": "shmi"},
    )
    linked = link_study_data({"staff": staff, "deaths": deaths}, root=folder)
    published = pd.read_csv(folder / "trust_year_panel.csv", dtype={"trust_code": "str"})
    both = linked.panel.frame.merge(
        published,
        left_on=["unit", "period"],
        right_on=["trust_code", "survey_year"],
        how="outer",
        validate="one_to_one",
    )
    assert len(both) == len(published) == len(linked.panel)
    assert_allclose(both["ex_engagement"], both["staff_engagement_score"], rtol=0, atol=0)
    assert_allclose(both["cx_shmi"], both["shmi"], rtol=0, atol=0)
    # engagement and recommend-care come from the same respondents, and the panel knows it
    provenance = linked.panel.provenance
    assert provenance["ex_engagement"] == provenance["cx_care"] == "staff"
    assert provenance["cx_shmi"] == "deaths"


def hours(respondents: str, **columns: str) -> SourceSpec:
    return SourceSpec(
        path="hour_panel.csv",
        unit="date",
        period="hour",
        frequency="integer",
        respondents=respondents,
        columns=columns,
    )


def test_bank_hours_are_a_panel_of_days_by_hour(shared_data: Path):
    sources = {
        "staffing": hours("staff", occupancy="staff_occupancy", people="employees_on_duty"),
        "calls": hours("callers", abandonment="abandonment_rate", offered="calls_offered"),
    }
    link = LinkSpec(
        derive=(
            DeriveSpec(name="ex_occupancy_pct", multiply="occupancy", by=100),
            DeriveSpec(name="cx_abandonment_pct", multiply="abandonment", by=100),
        ),
        where=(WhereSpec(column="offered", at_least=10), WhereSpec(column="people", at_least=2)),
    )
    folder = shared_data / "bank_call_centre_1999_02"
    linked = link_study_data(sources, link, folder)
    raw = pd.read_csv(folder / "hour_panel.csv")
    busy = raw[(raw["calls_offered"] >= 10) & (raw["employees_on_duty"] >= 2)]
    frame = linked.panel.frame
    assert len(frame) == len(busy)
    assert frame["unit"].iloc[0] == "1999-02-01"  # a day, as text: the unit of this panel
    both = frame[["ex_occupancy_pct", "cx_abandonment_pct"]].dropna()
    assert len(frame) - len(both) == raw.loc[busy.index, "staff_occupancy"].isna().sum()
    # the README of the data: 0.64 pooled
    assert_allclose(np.corrcoef(both, rowvar=False)[0, 1], 0.64, atol=0.005)
    lost = linked.audit.flow.query("step == 'where'")
    assert lost["rows_lost"].sum() == len(raw) - len(busy)
    assert set(lost["reason"]) <= {"'offered' below 10", "'people' missing", "'people' below 2"}


def test_bank_calls_give_the_hourly_abandonment(shared_data: Path):
    folder = shared_data / "bank_call_centre_1999_02"
    calls = SourceSpec(
        path="calls.csv",
        unit="service_type",
        period="date",
        frequency="day",
        measures={
            "cx_abandoned_pct": MeasureSpec(
                metric="share", score="outcome", positive=("abandoned_in_queue",)
            ),
            "calls": MeasureSpec(metric="count"),
            "cx_fcr_pct": MeasureSpec(metric="fcr", customer="customer_code"),
        },
    )
    panel = link_study_data({"calls": calls}, root=folder).panel.frame
    raw = pd.read_csv(folder / "calls.csv")
    regular = raw[(raw["service_type"] == "regular") & (raw["date"] == "1999-02-08")]
    row = panel[(panel["unit"] == "regular") & (panel["period"].astype(str) == "1999-02-08")].iloc[
        0
    ]
    assert row["calls"] == len(regular)
    assert_allclose(
        row["cx_abandoned_pct"], 100 * (regular["outcome"] == "abandoned_in_queue").mean()
    )
    # the last week cannot be known: nobody's next seven days are in the data
    late = panel[panel["period"].astype(str) > "1999-02-21"]
    assert not (late["cx_fcr_pct"] > 0).any()
