"""A study run from end to end: what lies there, what is skipped, what survives a failure."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from ex_cx import PanelSpec, fit_panel
from ex_cx.errors import RunError, StudyError
from ex_cx.linkage.sources import shared_path
from ex_cx.results import TIDY
from ex_cx.studies import kernels, making
from ex_cx.studies.data import open_data
from ex_cx.studies.parameters import PanelRegressionParameters
from ex_cx.studies.runner import run_study

PARTS = {
    "figures",
    "manifest.json",
    "notebook.ipynb",
    "report.html",
    "result.json",
    "run.log",
    "tables",
}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_study_writes_whole_run_folders(study_file, tmp_path, notebooks):
    told = []
    study = study_file(more="segments: [region]\n")
    outcome = run_study(study, out=tmp_path / "runs", notify=told.append)
    folder = tmp_path / "runs" / "small"
    runs = {f"panel_regression--nps{end}" for end in ("", "--region-north", "--region-south")}
    shared = {"index.html", "results.parquet", "results.xlsx", "panel.parquet", "panel.json"}
    shared.add("index.json")
    assert outcome.exit_code == 0
    assert outcome.index == folder / "index.html"
    assert names(folder) == runs | shared
    assert all(names(folder / run) == PARTS for run in runs)
    assert [(p.position, p.total, p.outcome is None) for p in told] == [
        *((1, 3, True), (1, 3, False), (2, 3, True)),
        *((2, 3, False), (3, 3, True), (3, 3, False)),
    ]
    results = pd.read_parquet(folder / "results.parquet")
    assert list(results.columns[:7]) == [
        *("study", "run", "segment", "notebook", "model", "outcome", "exposure"),
    ]
    assert list(results["segment"]) == ["", "region=North", "region=South"]


def test_manifest_says_what_decided_the_result(study_file, tmp_path, notebooks):
    study = study_file(more="defaults: {conf_level: 0.9}\n")
    run_study(study, out=tmp_path / "runs")
    folder = tmp_path / "runs" / "small" / "panel_regression--nps"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["status"] == "ok"
    assert manifest["parameters"]["given"]["conf_level"] == 0.9
    assert manifest["parameters"]["defaulted"]["vcov"] == "cluster"
    assert not {"run_dir", "panel_path"} & set(manifest["parameters"]["given"])
    (read,) = manifest["inputs"].items()
    assert read[0] == "panel.csv"
    assert len(read[1]["sha256"]) == len(manifest["code_sha256"]) == len(manifest["key"]) == 64
    assert {"python", "numpy", "pandas"} <= set(manifest["versions"])
    assert manifest["git_revision"] is None
    page = (folder / "report.html").read_text()
    assert manifest["key"] in page
    assert str(tmp_path) not in page + (folder / "notebook.ipynb").read_text()


def test_what_is_unchanged_is_skipped_and_what_changed_is_not(study_file, tmp_path, notebooks):
    study = study_file(more="grid: {lag: [0, 1]}\n")
    out = tmp_path / "runs"

    def statuses() -> list[str]:
        return [run.status for run in run_study(study, out=out).runs]

    assert statuses() == ["ok", "ok"]
    assert statuses() == ["unchanged", "unchanged"]
    study_file(more="grid: {lag: [0, 2]}\n")
    assert statuses() == ["unchanged", "ok"]
    study_file(more="grid: {lag: [0, 2]}\ndefaults: {conf_level: 0.9}\n")
    assert statuses() == ["ok", "ok"]
    (out / "small" / "panel_regression--nps--lag-0" / "report.html").unlink()
    assert statuses() == ["ok", "unchanged"]
    panel = study.with_name("panel.csv")
    panel.write_text(panel.read_text().replace("2024-01", "2023-12"))
    assert statuses() == ["ok", "ok"]


def test_several_at_a_time_give_the_same_outcome(study_file, tmp_path, notebooks):
    told = []
    study = study_file(more="grid: {lag: [0, 1, 2, 3]}\n")
    outcome = run_study(study, out=tmp_path / "runs", jobs=3, notify=told.append)
    assert [run.run.name[-5:] for run in outcome.runs] == ["lag-0", "lag-1", "lag-2", "lag-3"]
    assert {run.status for run in outcome.runs} == {"ok"}
    assert len(told) == 8
    again = run_study(study, out=tmp_path / "runs")
    assert {run.status for run in again.runs} == {"unchanged"}


def test_a_failed_run_stops_no_other_and_keeps_the_last_good_report(
    study_file, tmp_path, notebooks
):
    study, out = study_file(more="grid: {lag: [0, 1]}\n"), tmp_path / "runs"
    run_study(study, out=out)
    first = out / "small" / "panel_regression--nps--lag-0"
    good = (first / "report.html").read_bytes()

    notebooks.answer = RunError("RankError: 'x' is <constant>.")
    study_file(more="grid: {lag: [0, 1]}\ndefaults: {vcov: robust}\n")
    outcome = run_study(study, out=out)

    assert outcome.exit_code == 1
    assert [run.status for run in outcome.runs] == ["failed", "failed"]
    assert (first / "report.html").read_bytes() == good
    failed = first.with_name(first.name + ".failed")
    assert names(failed) == {"notebook.ipynb", "manifest.json", "run.log"}
    assert json.loads((failed / "manifest.json").read_text())["status"] == "failed"
    assert (failed / "run.log").read_text().endswith("RankError: 'x' is <constant>.\n")
    index = outcome.index.read_text()
    assert "RankError: &#39;x&#39; is &lt;constant&gt;." in index
    assert f"{first.name}/report.html" in index
    assert len(pd.read_parquet(out / "small" / "results.parquet")) == 0

    notebooks.answer = "It does."
    assert run_study(study, out=out).exit_code == 0
    assert not failed.exists()


def test_a_notebook_without_a_report_is_a_failure(study_file, tmp_path, notebooks, monkeypatch):
    monkeypatch.setattr(making, "execute_notebook", lambda *given: None)
    outcome = run_study(study_file(), out=tmp_path)
    (run,) = outcome.runs
    assert run.reason == (
        "The notebook panel_regression ended without a report: it wrote no result.json."
    )
    assert names(tmp_path / "small") == {
        *(
            "index.html",
            "index.json",
            "results.parquet",
            "results.xlsx",
            "panel.parquet",
            "panel.json",
        ),
        "panel_regression--nps.failed",
    }


def test_an_interrupt_leaves_nothing_half_written(study_file, tmp_path, notebooks):
    study = study_file()
    run_study(study, out=tmp_path)
    before = (tmp_path / "small" / "panel_regression--nps" / "report.html").read_bytes()

    def interrupt(source, target, parameters, *stop_and_nursery):
        (Path(parameters["run_dir"]) / "half.txt").write_text("half")
        raise KeyboardInterrupt

    notebooks.__class__.__call__ = lambda self, *a: interrupt(*a)
    study_file(more="defaults: {conf_level: 0.9}\n")
    with pytest.raises(KeyboardInterrupt):
        run_study(study, out=tmp_path)
    folder = tmp_path / "small"
    assert not [name for name in names(folder) if name.startswith(".")]
    assert (folder / "panel_regression--nps" / "report.html").read_bytes() == before


def test_a_column_that_the_data_lack_is_a_bad_study(study_file, tmp_path):
    with pytest.raises(StudyError) as caught:
        run_study(study_file(("[nps]", "[npss]")), out=tmp_path / "runs")
    assert str(caught.value) == (
        "study.yaml, line 10: roles.outcomes item 1: there is no column 'npss' in the data. Did "
        "you mean 'nps'?"
    )
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", ["../../x", "<script>alert(1)</script>", "=cmd()"])
def test_hostile_segment_names_are_harmless(study_file, tmp_path, panel_frame, notebooks, name):
    panel = panel_frame.assign(region=panel_frame["region"].replace("North", name))
    outcome = run_study(study_file(panel=panel, more="segments: [region]\n"), out=tmp_path / "runs")
    assert outcome.exit_code == 0
    assert notebooks.asked[1]["segment"] == f"region={name}"
    assert names(tmp_path) == {"runs", "study"}
    assert names(tmp_path / "runs") == {"small"}
    assert "<script>alert" not in outcome.index.read_text()


def real_tidy(folder: Path) -> pd.DataFrame:
    """The tidy rows that a run's notebook stored."""
    stored = json.loads((folder / "result.json").read_text())["results"]
    return pd.DataFrame(stored)[list(TIDY)]


def test_jupyterlab_papermill_and_the_runner_give_the_same_numbers(tmp_path):
    """By the runner; by plain papermill; cell by cell from notebooks/, as JupyterLab would."""
    import nbformat
    import papermill
    from nbclient import NotebookClient

    study = shared_path("data", "contact_centre", "study.yaml")
    text = study.read_text().replace("notebooks: [data_audit, panel_regression, mediation]", "")
    text = text[: text.index("segments:")] + (
        "notebooks: [panel_regression]\n"
        "runs: [{notebook: mediation, name: mediation, "
        "parameters: {exposure: ex_occupancy_pct, n_boot: 199}}]\n"
    )
    (tmp_path / "study.yaml").write_text(text)
    outcome = run_study(tmp_path / "study.yaml", data_root=study.parent, out=tmp_path / "runs")
    assert outcome.exit_code == 0, [run.reason for run in outcome.runs]
    by_runner = {run.run.notebook: real_tidy(run.folder) for run in outcome.runs}

    for name, expected in by_runner.items():
        notebook = shared_path("notebooks", f"{name}.ipynb")
        changes = {"n_boot": 199} if name == "mediation" else {}
        plain = tmp_path / f"{name}_papermill"
        papermill.execute_notebook(
            str(notebook),
            str(tmp_path / "out.ipynb"),
            parameters={"run_dir": str(plain), **changes},
            kernel_name="python3",
            progress_bar=False,
        )
        assert_frame_close(real_tidy(plain), expected)

        book = nbformat.read(notebook, as_version=4)
        parameters = next(c for c in book.cells if "parameters" in c.metadata.get("tags", []))
        lab = tmp_path / f"{name}_lab"
        parameters.source += f"\nrun_dir = {str(lab)!r}\n"
        parameters.source += "".join(f"{key} = {value!r}\n" for key, value in changes.items())
        NotebookClient(
            book, kernel_name="python3", resources={"metadata": {"path": str(notebook.parent)}}
        ).execute()
        assert_frame_close(real_tidy(lab), expected)

    panel = open_data(PanelRegressionParameters()).panel
    spec = PanelSpec(outcome="cx_nps", exposures=("ex_occupancy_pct", "ex_engagement"))
    within = by_runner["panel_regression"].tail(2)
    assert_allclose(within["estimate"], fit_panel(panel, spec).tidy()["estimate"], rtol=1e-12)


def test_forked_and_fresh_kernels_and_any_number_of_jobs_give_the_same_bytes(tmp_path, monkeypatch):
    study = shared_path("data", "contact_centre", "study.yaml")
    text = study.read_text()
    text = text[: text.index("notebooks:")] + (
        "notebooks: [data_audit, panel_regression]\n"
        "runs: [{notebook: mediation, name: mediation, "
        "parameters: {exposure: ex_occupancy_pct, n_boot: 199}}]\n"
    )
    (tmp_path / "study.yaml").write_text(text)
    found = []
    for out, worth, jobs in (("forked", 1, 1), ("fresh", 99, 3)):
        monkeypatch.setattr(kernels, "WORTH_IT", worth)
        outcome = run_study(
            tmp_path / "study.yaml", data_root=study.parent, out=tmp_path / out, jobs=jobs
        )
        assert outcome.exit_code == 0, [run.reason for run in outcome.runs]
        folder = outcome.index.parent
        parts = [p for p in folder.rglob("*") if p.suffix in (".csv", ".svg")]
        parts += list(folder.glob("*/result.json"))
        found.append({path.relative_to(folder): path.read_bytes() for path in parts})
    assert len(found[0]) > 20
    assert found[0] == found[1]


def assert_frame_close(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    assert list(found["term"]) == list(expected["term"])
    numbers = [name for name in TIDY if name != "term"]
    assert_allclose(
        found[numbers].astype(float), expected[numbers].astype(float), rtol=1e-12, equal_nan=True
    )


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        (
            ("outcom", "cx_nps"),
            "- outcom: there is no such parameter. Did you mean 'outcome'?",
        ),
        (
            ("outcome", "007"),
            (
                "- outcome: must be text; found the number 7. Put it in quotes (with papermill: "
                "-r, not -p)."
            ),
        ),
    ],
)
def test_plain_papermill_stops_before_any_data_is_read(tmp_path, argument, message):
    done = subprocess.run(
        [
            *(sys.executable, "-m", "papermill", "--no-progress-bar", "-k", "python3"),
            *(str(shared_path("notebooks", "panel_regression.ipynb")), str(tmp_path / "o.ipynb")),
            *("-p", *argument, "-p", "panel_path", "there_is_no_such_file.csv"),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode != 0
    assert (
        f"ParameterError: 1 parameter of the panel_regression notebook cannot be used:\n{message}"
        in done.stderr
    )


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda f: f.assign(engagement=3.0), "RankError: 'engagement' "),
        (lambda f: f.assign(engagement=2 * f["occupancy"]), "RankError: "),
        (
            lambda f: f[f["team"] == "T00"],
            "SpecError: None of the 8 rows of the panel can be used (8 only row of its period).",
        ),
        (
            lambda f: f[f["month"] == "2024-01"],
            "SpecError: None of the 12 rows of the panel can be used (12 only row of its unit).",
        ),
    ],
    ids=["constant exposure", "collinear exposures", "one unit", "one period"],
)
def test_data_that_cannot_answer_fail_with_the_reason(
    study_file, tmp_path, panel_frame, spoil, reason
):
    study = study_file(panel=spoil(panel_frame))
    outcome = run_study(study, out=tmp_path / "runs")
    (run,) = outcome.runs
    assert outcome.exit_code == 1
    assert run.reason.startswith(reason), run.reason
    assert not [n for n in names(tmp_path / "runs" / "small") if n.startswith(".")]


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("jobs", [1, 2])
def test_ctrl_c_ends_with_130_and_nothing_half_written(study_file, tmp_path, jobs):
    code = "from ex_cx.studies.cli import main; main()"
    study, out = study_file(more="grid: {lag: [0, 1, 2]}\n"), tmp_path / "runs"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "run", str(study), "--out", str(out), "--jobs", str(jobs)],
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not list(out.glob("small/.building-*/notebook.ipynb")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said == "Interrupted; what is in place is whole. Run again to go on.\n"
    assert names(out / "small") <= {"panel.parquet", "panel.json"}


def test_numbers_in_results_are_finite_or_missing(study_file, tmp_path, notebooks):
    outcome = run_study(study_file(), out=tmp_path)
    results = pd.read_parquet(outcome.index.with_name("results.parquet"))
    assert np.isfinite(results["estimate"]).all()
    assert results["estimate"].dtype == float
