"""A batch asked for in parts, told before it runs, stopped in time, and met by full disks."""

from __future__ import annotations

import errno
import io
import json
import os
import sys
import threading
import time
from pathlib import Path

import pandas as pd
import pytest

from ex_cx.errors import RunError, SourceError, StudyError
from ex_cx.studies import gathering, layout, making, narration, preparing
from ex_cx.studies.kernels import execute_notebook
from ex_cx.studies.narration import Tally
from ex_cx.studies.preparing import prepare_study
from ex_cx.studies.runner import PlannedRun, Progress, RunOutcome, run_study
from ex_cx.studies.states import study_state
from ex_cx.studies.telling import planned_lines, status_lines

GRID = "grid: {lag: [0, 1]}\n"
FIRST, SECOND = "panel_regression--nps--lag-0", "panel_regression--nps--lag-1"


def files(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def statuses(outcome) -> dict[str, str]:
    return {run.run.name[-5:]: run.status for run in outcome.runs}


def test_only_makes_what_is_asked_for_and_the_index_covers_what_is_there(
    study_file, tmp_path, notebooks
):
    study, out = study_file(more=GRID), tmp_path / "runs"
    first = run_study(study, out=out, only="*lag-0")
    assert statuses(first) == {"lag-0": "ok", "lag-1": "not asked"}
    assert not (out / "small" / SECOND).exists()
    index = first.index.read_text()
    assert "Not asked for (--only); what lies here: missing." in index
    second = run_study(study, out=out, only="*lag-1")
    assert statuses(second) == {"lag-0": "not asked", "lag-1": "ok"}
    index = second.index.read_text()
    assert f"{FIRST}/report.html" in index
    assert "Not asked for (--only); what lies here: current." in index
    results = pd.read_parquet(out / "small" / "results.parquet")
    assert list(results["run"]) == [FIRST, SECOND]


def test_what_was_not_asked_for_and_is_stale_is_told_and_not_pooled(
    study_file, tmp_path, notebooks
):
    out = tmp_path / "runs"
    run_study(study_file(more=GRID), out=out)
    changed = study_file(more=GRID + "defaults: {conf_level: 0.9}\n")
    outcome = run_study(changed, out=out, only=SECOND)
    assert "what lies here: stale; parameter conf_level: 0.95, now 0.9." in (
        outcome.index.read_text()
    )
    results = pd.read_parquet(out / "small" / "results.parquet")
    assert list(results["run"]) == [SECOND]


def test_a_pattern_that_fits_no_run_is_an_error_and_nothing_is_written(study_file, tmp_path):
    with pytest.raises(StudyError, match=r"--only 'x\*' matches none of the 2 runs"):
        run_study(study_file(more=GRID), out=tmp_path / "runs", only="x*")
    assert not (tmp_path / "runs").exists()


def test_force_makes_again_what_is_current(study_file, tmp_path, notebooks):
    study = study_file(more=GRID)
    run_study(study, out=tmp_path)
    assert set(statuses(run_study(study, out=tmp_path)).values()) == {"unchanged"}
    assert set(statuses(run_study(study, out=tmp_path, force=True)).values()) == {"ok"}
    assert len(notebooks.asked) == 4


def test_fail_fast_starts_nothing_after_a_failure(study_file, tmp_path, notebooks):
    notebooks.answer = RunError("no")
    outcome = run_study(study_file(more=GRID), out=tmp_path, fail_fast=True)
    assert statuses(outcome) == {"lag-0": "failed", "lag-1": "not started"}
    assert outcome.exit_code == 1
    assert len(notebooks.asked) == 1


def test_a_dry_run_tells_why_and_writes_nothing(study_file, tmp_path, notebooks):
    study, out = study_file(more=GRID), tmp_path / "runs"
    lines = list(planned_lines(study, None, out))
    assert lines == [f"run   {FIRST}: new", f"run   {SECOND}: new", "2 of 2 runs would run."]
    assert not out.exists()
    run_study(study, out=out)
    study_file(more="grid: {lag: [0, 2]}\n")
    before = files(out)
    lines = list(planned_lines(study, None, out, force=True, only="*lag-2"))
    assert lines == [
        f"leave {FIRST}: not asked for (--only); current, but --force",
        "run   panel_regression--nps--lag-2: new",
        "1 of 2 runs would run.",
    ]
    assert files(out) == before


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (
            lambda study, put: put(more=GRID + "defaults: {vcov: robust}\n"),
            "parameter vcov: cluster, now robust",
        ),
        (
            lambda study, put: put(more=GRID, panel=pd.read_csv(study.with_name("panel.csv"))[:-1]),
            "input panel.csv: its content (96 rows, now 95)",
        ),
        (
            lambda study, put: put(
                ("panel: panel.csv", "panel: panel.csv\n  read: {decimal: '.'}"), more=GRID
            ),
            "data section, read; input panel.csv: how it is read",
        ),
    ],
    ids=["parameter", "input", "reading"],
)
def test_status_says_which_part_of_the_key_differs(study_file, tmp_path, notebooks, change, why):
    study = study_file(more=GRID)
    run_study(study, out=tmp_path / "runs")
    change(study, study_file)
    lines = list(status_lines(study, None, tmp_path / "runs"))
    assert lines[0] == f"stale    {FIRST}: {why}"
    assert lines[-1] == "2 stale."


def test_status_tells_code_versions_failures_and_what_is_gone(
    study_file, tmp_path, notebooks, monkeypatch
):
    study, out = study_file(more=GRID), tmp_path / "runs"
    run_study(study, out=out)
    (out / "small" / SECOND / "report.html").unlink()
    monkeypatch.setattr("ex_cx.studies.records.package_sha256", lambda: "0" * 64)
    monkeypatch.setattr("ex_cx.studies.records.code_cells_sha256", lambda path: "1" * 64)
    monkeypatch.setattr("ex_cx.studies.records.versions", lambda: {"python": "9"})
    first, second, *_ = status_lines(study, None, out)
    assert "code of the notebook; code of ex_cx; version of python: " in first
    assert second.startswith(f"stale    {SECOND}: report.html is missing; code of")
    monkeypatch.undo()
    notebooks.answer = RunError("no <rows>")
    study_file(more="grid: {lag: [0, 3]}\n")
    monkeypatch.setattr(making, "execute_notebook", notebooks)
    run_study(study, out=out)
    found = json.loads("".join(status_lines(study, None, out, as_json=True)))
    assert [(r["run"], r["status"], r["reason"]) for r in found["runs"]] == [
        (FIRST, "current", ""),
        ("panel_regression--nps--lag-3", "failed", "no <rows>"),
    ]
    assert found["not in the study"] == [SECOND]


def test_two_hundred_unchanged_runs_are_recognised_at_once(study_file, tmp_path, notebooks):
    grid = ", ".join(f"0.{level}" for level in range(700, 900))
    study = study_file(more=f"grid: {{conf_level: [{grid}]}}\n")
    run_study(study, out=tmp_path / "one", only="*0-701*")
    (done,) = (tmp_path / "one" / "small").glob("panel_regression*")
    prepared = prepare_study(study)
    for run, manifest in prepared.runs:
        folder = tmp_path / "all" / "small" / run.name
        folder.mkdir(parents=True)
        for part in ("report.html", "result.json", "notebook.ipynb"):
            (folder / part).write_bytes((done / part).read_bytes())
        (folder / "manifest.json").write_text(json.dumps({**manifest, "status": "ok"}))
    started = time.process_time()
    states = study_state(prepare_study(study), tmp_path / "all")
    seconds = time.process_time() - started
    assert {state.condition for state in states} == {"current"}
    assert len(states) == 200
    assert seconds < 3


def test_a_file_that_changes_while_it_is_read_stops_the_study(study_file, tmp_path, monkeypatch):
    study = study_file()
    real = preparing.link_study

    def link_and_append(loaded, root, *rest):
        linked = real(loaded, root, *rest)
        with (root / "panel.csv").open("a") as file:
            file.write("T99,2024-01,North,1,2,3,4\n")
        return linked

    monkeypatch.setattr(preparing, "link_study", link_and_append)
    with pytest.raises(SourceError) as caught:
        run_study(study, out=tmp_path / "runs")
    assert str(caught.value) == (
        "1 of 1 data files changed while they were read ('panel.csv'). Wait until nothing writes "
        "to them, then run again."
    )
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("part", ["manifest.json", "report.html", "index.html"])
def test_a_full_disk_is_told_and_the_last_good_report_stays(
    study_file, tmp_path, notebooks, monkeypatch, part
):
    out = tmp_path / "runs"
    run_study(study_file(), out=out)
    report = out / "small" / "panel_regression--nps" / "report.html"
    before = report.read_bytes()
    real = layout.write_text

    def full(path: Path, text: str) -> None:
        if path.name == part:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(path, text)

    monkeypatch.setattr(making, "write_text", full)
    monkeypatch.setattr(gathering, "write_text", full)
    monkeypatch.setattr(layout, "write_text", full)
    changed = study_file(more="defaults: {conf_level: 0.9}\n")
    if part == "report.html":  # there is room for the log of the failure
        (run,) = run_study(changed, out=out).runs
        assert run.reason == "OSError: [Errno 28] No space left on device"
    else:
        with pytest.raises(RunError, match=r"cannot be stored .* No space left on device"):
            run_study(changed, out=out)
    assert (report.read_bytes() == before) == (part != "index.html")
    assert not [p.name for p in (out / "small").iterdir() if p.name.startswith(".")]
    monkeypatch.undo()
    assert layout.read_json(report.with_name("manifest.json"))["status"] == "ok"


@pytest.mark.skipif(sys.platform != "linux", reason="needs a folder nobody can write")
def test_a_folder_that_nobody_can_write_is_told(study_file, notebooks):
    with pytest.raises(RunError, match=r"The reports cannot be stored in /proc/"):
        run_study(study_file(), out="/proc/ex_cx")


def test_a_notebook_that_hangs_is_ended_in_time(tmp_path):
    import nbformat

    book = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell("import time; time.sleep(600)")],
        metadata={"kernelspec": {"name": "python3", "display_name": "x", "language": "python"}},
    )
    nbformat.write(book, tmp_path / "in.ipynb")
    started = time.monotonic()
    with pytest.raises(RunError, match=r"took longer than 3 seconds \(--timeout\) and was ended"):
        execute_notebook(tmp_path / "in.ipynb", tmp_path / "out.ipynb", {}, timeout=3)
    assert time.monotonic() - started < 60


def test_a_timeout_fails_its_run_with_the_reason(study_file, tmp_path):
    (run,) = run_study(study_file(), out=tmp_path, timeout=0.3).runs
    assert run.status == "failed"
    assert run.reason.startswith("The notebook took longer than 0.3 seconds (--timeout)")
    assert (run.folder / "manifest.json").is_file()


def test_the_line_of_a_batch_counts_and_says_what_is_left():
    tally = Tally()
    tally.started -= 1000  # linking the sources is no part of what a run takes
    planned = PlannedRun(name="a", notebook="data_audit", segment="", given={}, parameters=None)
    begun = Progress(position=1, total=4, run="a")
    for status in ("ok", "failed"):
        tally.add(begun)
        tally.started -= 5
        ended = RunOutcome(run=planned, status=status, seconds=5.0, folder=Path())
        tally.add(Progress(position=1, total=4, run="a", outcome=ended))
    tally.add(begun)
    assert tally.line() == "1 of 4 done, 1 running, 1 failed, about 0:10 left"
    tally.last, tally.started = tally.last - 3, tally.started - 3  # three seconds later
    assert tally.line() == "1 of 4 done, 1 running, 1 failed, about 0:07 left"
    tally.last, tally.started = tally.last - 9, tally.started - 9
    assert tally.line() == "1 of 4 done, 1 running, 1 failed, longer than the runs before"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_time_left_ticks_on_a_terminal_between_two_runs(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(narration, "SECOND", 0.02)
    planned = PlannedRun(name="a", notebook="data_audit", segment="", given={}, parameters=None)
    ended = RunOutcome(run=planned, status="ok", seconds=5.0, folder=Path())
    told = Terminal()
    with narration.narration(told) as notify:
        notify(Progress(position=1, total=4, run="a"))
        time.sleep(1.0)
        notify(Progress(position=1, total=4, run="a", outcome=ended))
        limit = time.monotonic() + 20
        while "about 0:01 left" not in told.getvalue() and time.monotonic() < limit:
            time.sleep(0.05)
    assert "about 0:03 left" in told.getvalue()
    assert "about 0:02 left" in told.getvalue()
    assert "about 0:01 left" in told.getvalue()
    assert not [thread for thread in threading.enumerate() if thread.name == "ticking"]


def test_nothing_ticks_where_no_terminal_is(monkeypatch):
    monkeypatch.setattr(narration, "SECOND", 0.01)
    told = io.StringIO()
    with narration.narration(told) as notify:
        notify(Progress(position=1, total=4, run="a"))
        time.sleep(0.1)
        assert not [thread for thread in threading.enumerate() if thread.name == "ticking"]
    assert told.getvalue() == ""
