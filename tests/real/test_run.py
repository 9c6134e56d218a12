"""`ex-cx run` on real files, end to end: the reports hold the numbers that the models give."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from numpy.testing import assert_allclose

from ex_cx.models.regress import PanelSpec, fit_panel

SPEC = PanelSpec(outcome="cx_parent_satisfaction_score", exposures=("ex_teacher_climate_z",))


@pytest.fixture(scope="module")
def folder(tmp_path_factory, study_file, data_root) -> Path:
    """The New York study, run as a user runs it; one report for each of five boroughs is left out
    to save time (runs of segments are tested with the studies)."""
    out = tmp_path_factory.mktemp("runs")
    lines = study_file("nyc_schools").read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith("segments:")]
    assert len(kept) == len(lines) - 1
    (out / "study.yaml").write_text("".join(kept), encoding="utf-8")
    program = Path(sys.executable).with_name("ex-cx")
    arguments = ("run", "study.yaml", "--data-root", data_root("nyc_schools"), "--out", "runs")
    done = subprocess.run(
        [str(part) for part in (program, *arguments)],
        cwd=out,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "runs/nyc_schools/index.html"
    return out / "runs" / "nyc_schools"


def test_report_of_the_schools_has_the_estimate_of_the_model(folder, linked):
    ours = fit_panel(linked("nyc_schools").panel, SPEC).tidy().iloc[0]
    written = json.loads((folder / f"panel_regression--{SPEC.outcome}" / "result.json").read_text())
    (row,) = [r for r in written["results"] if r["estimator"] == "within"]
    for name in ("estimate", "std_error", "p_value", "conf_low", "conf_high"):
        assert_allclose(row[name], ours[name], rtol=1e-12)
    assert written["counts"]["rows in"] == 5_133
    assert written["counts"]["rows used"] == 5_039
    page = (folder / f"panel_regression--{SPEC.outcome}" / "report.html").read_text()
    assert written["answer"].split(" (")[0] in page
    assert "In 2017 half of the teacher measure is an inspection of the school." in page


def test_results_of_all_runs_are_pooled(folder, linked):
    rows = pd.read_parquet(folder / "results.parquet")
    within = rows[rows["estimator"] == "within"].set_index("exposure")["estimate"]
    assert set(within.index) == {"ex_teacher_climate_z", "ex_teachers_only_climate_z"}
    for exposure, estimate in within.items():
        ours = fit_panel(linked("nyc_schools").panel, replace(SPEC, exposures=(exposure,)))
        assert_allclose(estimate, ours.coef[0], rtol=1e-12)


def test_manifest_names_the_files_and_what_they_held(folder):
    manifest = json.loads((folder / "teachers_only" / "manifest.json").read_text())
    assert manifest["status"] == "ok"
    rows = {name: record["rows"] for name, record in manifest["inputs"].items()}
    assert rows == {
        "employee_side_teacher_survey.csv": 8_126,
        "customer_side_parent_student_survey.csv": 7_826,
    }
    assert manifest["parameters"]["given"]["exposures"] == ["ex_teachers_only_climate_z"]
