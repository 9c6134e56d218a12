"""The studies of public data, linked once for all tests of this folder."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from ex_cx.linkage.link import Linked
from ex_cx.studies.data import link_study
from ex_cx.studies.study import load_study

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDERS = {
    "nyc_schools": "nyc_school_survey_2013_2017",
    "nhs_trusts": "nhs_hospital_trusts_2012_2019",
    "bank_calls": "bank_call_centre_1999_02",
    "bank_employee_days": "bank_call_centre_1999_02",
    "nhs_burnout_waits": "nhs_trusts_staff_and_ae_2021_2024",
    "nursing_homes": "us_nursing_home_chains_2025_2026",
}
BESIDE = {"bank_employee_days": "bank_calls/employee_days.yaml"}
"""Study files that are not the `study.yaml` of a folder of their name."""


@pytest.fixture(scope="session")
def data_root(shared_data: Path) -> Callable[[str], Path]:
    """Study -> folder of its files."""
    return lambda study: shared_data / FOLDERS[study]


@pytest.fixture(scope="session")
def study_file() -> Callable[[str], Path]:
    """Study -> its study file."""
    return lambda study: REPOSITORY / "data" / BESIDE.get(study, f"{study}/study.yaml")


@pytest.fixture(scope="session")
def linked(data_root, study_file) -> Callable[[str], Linked]:
    """Study -> its panel and audit, built from the raw files as its study file says."""

    @cache
    def link(study: str) -> Linked:
        return link_study(load_study(study_file(study)), data_root(study))

    return link
