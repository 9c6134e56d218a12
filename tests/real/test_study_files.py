"""The study files of public data are valid as they stand; no data are needed for that."""

from __future__ import annotations

import pytest

from ex_cx.studies.plan import plan_runs
from ex_cx.studies.study import load_study

STUDIES = [
    *("nyc_schools", "nhs_trusts", "bank_calls", "bank_employee_days"),
    *("nhs_burnout_waits", "nursing_homes"),
]


@pytest.mark.parametrize("study", STUDIES)
def test_study_file_is_valid_and_its_readme_names_its_files(study_file, study):
    path = study_file(study)
    loaded = load_study(path)
    assert loaded.study.study == study
    readme = path.with_name("README.md").read_text(encoding="utf-8")
    sources = loaded.study.data.sources.values()
    files = {source.path for source in sources}
    files |= {source.crosswalk.path for source in sources if source.crosswalk is not None}
    assert all(f"`{file}`" in readme for file in files)
    beside = {file.suffix for file in path.parent.iterdir()}
    assert beside == {".yaml", ".md"}  # the data come by --data-root


@pytest.mark.parametrize("study", STUDIES)
def test_every_run_is_told_what_the_study_cannot_show(study_file, study):
    loaded = load_study(study_file(study))
    runs = plan_runs(loaded, {key: ["X"] for key in loaded.study.segments})
    assert loaded.study.limits
    assert all(run.parameters.limits == loaded.study.limits for run in runs)


def test_a_run_may_weigh_its_rows_otherwise(study_file):
    runs = plan_runs(load_study(study_file("nhs_trusts")), {})
    weights = {run.name: run.parameters.weights for run in runs if run.notebook != "data_audit"}
    assert weights["mortality_weighted"] == "staff_responses"
    assert weights["panel_regression--cx_shmi"] == ""
