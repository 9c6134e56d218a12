"""The three studies of public data, linked once for all tests of this folder."""

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
}


@pytest.fixture(scope="session")
def data_root(shared_data: Path) -> Callable[[str], Path]:
    """Study -> folder of its files."""
    return lambda study: shared_data / FOLDERS[study]


@pytest.fixture(scope="session")
def study_file() -> Callable[[str], Path]:
    """Study -> its study file."""
    return lambda study: REPOSITORY / "data" / study / "study.yaml"


@pytest.fixture(scope="session")
def linked(data_root, study_file) -> Callable[[str], Linked]:
    """Study -> its panel and audit, built from the raw files as its study file says."""

    @cache
    def link(study: str) -> Linked:
        return link_study(load_study(study_file(study)), data_root(study))

    return link
