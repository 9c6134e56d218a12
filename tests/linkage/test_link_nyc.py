"""The NYC panel, built from its two raw sides by a declarative spec, equals the published one."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from numpy.testing import assert_allclose

from ex_cx.linkage.link import Linked, link_study_data
from ex_cx.linkage.linkspec import DeriveSpec, LinkSpec, WhereSpec
from ex_cx.linkage.schema import SourceSpec

TEACHERS_2013 = ("academic", "communication", "engagement", "safety")
TEACHERS_2016 = ("collaborative_pct", "satisfaction_pct")
PARENTS = ("parent_contact", "parent_education", "parent_teachers")

SOURCES = {
    "teachers": SourceSpec(
        path="raw/employee_side_teacher_survey.csv",
        unit="dbn",
        period="survey_year",
        frequency="year",
        respondents="teachers",
        columns={
            "academic": "teacher_academic_expectations_score",
            "communication": "teacher_communication_score",
            "engagement": "teacher_engagement_score",
            "safety": "teacher_safety_respect_score",
            "collaborative_pct": "collaborative_teachers_pct_positive",
            "satisfaction_pct": "teacher_satisfaction_pct",
            "collaborative": "collaborative_teachers_score",
        },
        ranges={"academic": (0, 10), "collaborative_pct": (0, 100)},
    ),
    "parents": SourceSpec(
        path="raw/customer_side_parent_student_survey.csv",
        unit="dbn",
        period="survey_year",
        frequency="year",
        respondents="parents",
        columns={
            "parent_contact": "parent_satisfied_contact_response_score",
            "parent_education": "parent_satisfied_education_score",
            "parent_teachers": "parent_satisfied_teachers_score",
        },
    ),
}


def standardised(*columns: str) -> DeriveSpec:
    return DeriveSpec(standardise=columns, within="period", rows="linked")


LINK = LinkSpec(
    derive=(
        standardised(*TEACHERS_2013, *TEACHERS_2016, "collaborative"),
        DeriveSpec(name="climate_2013", mean_of=tuple(f"{c}_z" for c in TEACHERS_2013)),
        DeriveSpec(name="climate_2016", mean_of=tuple(f"{c}_z" for c in TEACHERS_2016)),
        standardised("climate_2013", "climate_2016"),
        DeriveSpec(
            name="ex_climate",
            first_present=("climate_2013_z", "climate_2016_z", "collaborative_z"),
        ),
        DeriveSpec(name="cx_satisfaction", mean_of=PARENTS),
        DeriveSpec(name="borough", text_part="unit", start=2, stop=3),
    ),
    where=(WhereSpec(column="ex_climate", not_missing=True),),
)


@pytest.fixture(scope="module")
def linked(shared_data: Path) -> Linked:
    return link_study_data(SOURCES, LINK, shared_data / "nyc_school_survey_2013_2017")


def test_headline_columns_equal_the_published_panel(linked: Linked, shared_data: Path):
    folder = shared_data / "nyc_school_survey_2013_2017"
    published = pd.read_csv(folder / "school_year_panel.csv", dtype={"dbn": "str"})
    both = linked.panel.frame.merge(
        published,
        left_on=["unit", "period"],
        right_on=["dbn", "survey_year"],
        how="outer",
        validate="one_to_one",
    )
    assert len(both) == len(published) == len(linked.panel) == 5_133
    # published to four decimals: half of the last one
    assert_allclose(both["ex_climate"], both["teacher_climate_z"], atol=5.001e-5, rtol=0)
    assert_allclose(
        both["cx_satisfaction"], both["parent_satisfaction_score"], atol=5.001e-5, rtol=0
    )
    letter = {"Manhattan": "M", "Bronx": "X", "Brooklyn": "K", "Queens": "Q", "Staten Island": "R"}
    assert both["borough_x"].tolist() == both["borough_y"].map(letter).tolist()


def test_every_school_year_is_counted(linked: Linked):
    flow = linked.audit.flow
    assert flow.groupby("source", sort=False)["rows_in"].first().to_dict() == {
        "teachers": 8_126,
        "parents": 7_826,
        "linked panel": 8_127,
    }
    sides = linked.audit.unmatched.set_index("source")
    assert sides["linked"].tolist() == [7_825, 7_825]
    assert sides["not_linked"].tolist() == [301, 1]
    assert sides["absent"].tolist() == [1, 301]
    last = flow.iloc[-1]
    assert (last["rows_kept"], last["reason"]) == (5_133, "'ex_climate' missing")
    assert (flow["rows_in"] == flow["rows_kept"] + flow["rows_lost"]).all()


def test_provenance_follows_the_derived_columns(linked: Linked):
    provenance = linked.panel.provenance
    assert provenance["ex_climate"] == "teachers"
    assert provenance["cx_satisfaction"] == "parents"
