"""What can go wrong around a batch: nothing lost, nothing half-written, no process left."""

from __future__ import annotations

import contextlib
import html
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from ex_cx.errors import RunError, StudyError
from ex_cx.studies import executors, making, preparing
from ex_cx.studies.claims import is_held, parse_shard
from ex_cx.studies.gathering import gather_study
from ex_cx.studies.layout import read_json, working_in
from ex_cx.studies.preparing import prepare_study
from ex_cx.studies.runner import run_study
from ex_cx.studies.telling import planned_lines, status_lines
from ex_cx.studies.verifying import verify_run

LEVELS = "grid: {conf_level: [0.9, 0.95, 0.99]}\n"
HERE = "from ex_cx.studies.cli import main; main()"
RUN = "panel_regression--nps"
LOCKS = pytest.mark.skipif(sys.platform == "win32", reason="no such locks there")


def hidden(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob(".*"))


def statuses(outcome) -> list[str]:
    return [run.status for run in outcome.runs]


# --- shards


@LOCKS
def test_shards_share_the_runs_and_the_last_one_completes_the_index(
    study_file, tmp_path, notebooks
):
    study, out = study_file(more=LEVELS), tmp_path / "runs"
    first = run_study(study, out=out, shard="1/2")
    assert statuses(first) == ["ok", "not asked", "ok"]
    assert first.runs[1].reason == "another shard's (--shard 1/2)"
    assert "Not made yet; what lies here: missing." in first.index.read_text()
    second = run_study(study, out=out, shard="2/2")
    assert statuses(second) == ["not asked", "ok", "not asked"]
    folder = second.index.parent
    assert "Not made yet" not in second.index.read_text()
    assert len(pd.read_parquet(folder / "results.parquet")) == 3
    assert hidden(folder) == []

    whole = run_study(study, out=tmp_path / "whole")
    for name in ("results.parquet", "index.html"):
        assert (folder / name).read_bytes() == whole.index.with_name(name).read_bytes()
    assert statuses(run_study(study, out=out)) == ["unchanged"] * 3


@LOCKS
def test_the_last_shards_index_tells_what_failed_in_the_others(study_file, tmp_path, notebooks):
    study = study_file(more=LEVELS)
    notebooks.answer = RunError("no <rows>")
    assert run_study(study, out=tmp_path, shard="1/2").exit_code == 1
    notebooks.answer = "It does."
    second = run_study(study, out=tmp_path, shard="2/2")
    assert second.exit_code == 0
    page = second.index.read_text()
    assert page.count("no &lt;rows&gt;") == 1  # the reason of both that failed
    failed = [str(made.run.name) for made in (second.runs[0], second.runs[2])]
    assert all(f"<li>{name}</li>" in page for name in failed)
    assert list(pd.read_parquet(second.index.with_name("results.parquet"))["run"]) == [
        f"{RUN}--conf_level-0-95-{part}" for part in [second.runs[1].run.name.rpartition("-")[2]]
    ]


def test_more_shards_than_runs_leave_some_with_nothing_to_do(study_file, tmp_path, notebooks):
    outcome = run_study(study_file(), out=tmp_path, shard="2/2")
    assert statuses(outcome) == ["not asked"]
    assert outcome.exit_code == 0
    assert notebooks.asked == []


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2", "1/2/3"])
def test_a_shard_that_is_none_is_refused(study_file, tmp_path, text):
    with pytest.raises(StudyError, match=r"is no part of a study\. Give i/n, the i-th of n parts"):
        run_study(study_file(), out=tmp_path / "runs", shard=text)
    assert not (tmp_path / "runs").exists()


def test_a_dry_run_tells_what_is_another_shards(study_file, tmp_path):
    lines = list(planned_lines(study_file(more=LEVELS), None, tmp_path, shard="2/2"))
    assert [line.split()[0] for line in lines] == ["leave", "run", "leave", "1"]
    assert lines[0].endswith("another shard's (--shard 2/2); new")


@LOCKS
def test_who_keeps_whom_out_of_a_folder(tmp_path):
    def refused(shard: str) -> str:
        with pytest.raises(RunError) as caught, working_in(tmp_path, parse_shard(shard)):
            pass
        return str(caught.value)

    with working_in(tmp_path):
        assert "is at work on the whole study" in refused("1/2")
        assert "Another ex-cx is at work in" in refused("")
    with working_in(tmp_path, parse_shard("1/2")) as claim:
        assert claim.lock is not None
        assert is_held(claim.lock)
        with working_in(tmp_path, parse_shard("2/2")):
            assert "Another ex-cx is at work on shard 1/2" in refused("1/2")
            assert "Another ex-cx is at work in" in refused("")
            assert refused("1/3").startswith(f"Shards of 2 are at work in {tmp_path}; those of 3")
        with pytest.raises(RunError), working_in(tmp_path):
            pass
    assert not is_held(tmp_path / ".running")
    assert hidden(tmp_path) == []


@LOCKS
def test_a_shard_sweeps_what_is_its_own_only(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for name in ("mine", "yours"):
        (tmp_path / f".building-{ended.pid}-{name}").mkdir()
        (tmp_path / f".previous-{name}").mkdir()
    far = tmp_path / ".building-1@00000000-yours"  # another machine's
    far.mkdir()
    with working_in(tmp_path, parse_shard("1/2"), ["mine"]):
        assert not (tmp_path / f".building-{ended.pid}-mine").exists()
        assert {".previous-yours", far.name} < set(hidden(tmp_path))
    with working_in(tmp_path):
        assert hidden(tmp_path) == [".running"]
    assert {path.name for path in tmp_path.iterdir()} == {"mine", "yours"}


@LOCKS
def test_the_lock_of_a_shard_that_was_killed_is_swept(tmp_path):
    (tmp_path / ".running-1-of-2").touch()
    with working_in(tmp_path, parse_shard("2/2")):
        assert {".running", ".running-1-of-2", ".running-2-of-2"} == set(hidden(tmp_path))
    with working_in(tmp_path):
        assert hidden(tmp_path) == [".running"]
    assert hidden(tmp_path) == []


@LOCKS
def test_gathering_runs_nothing_and_sees_everything(study_file, tmp_path, notebooks):
    study, out = study_file(more=LEVELS), tmp_path / "runs"
    with pytest.raises(RunError, match="There is nothing to gather: no run of the study was made"):
        gather_study(prepare_study(study), out)
    index = run_study(study, out=out).index
    before = index.read_bytes()
    index.unlink()
    index.with_name("results.xlsx").unlink()
    lines = list(status_lines(study, None, out, gather=True))
    assert lines[-2] == "3 current."
    assert lines[-1].endswith("small/index.html")
    assert index.read_bytes() == before
    assert index.with_name("results.xlsx").is_file()
    assert len(notebooks.asked) == 3
    told = json.loads("".join(status_lines(study, None, out, gather=True, as_json=True)))
    assert told["index"] == str(index)


@LOCKS
def test_two_shards_at_the_same_time_as_programs(study_file, tmp_path):
    study = study_file(more="grid: {conf_level: [0.9, 0.95]}\n")
    command = [sys.executable, "-c", HERE, "run", str(study), "--out", str(tmp_path / "runs")]
    started = [
        subprocess.Popen([*command, "--shard", f"{i}/2"], stdout=subprocess.PIPE, text=True)
        for i in (1, 2)
    ]
    said = [process.communicate(timeout=300)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0], said
    folder = tmp_path / "runs" / "small"
    assert sorted(pd.read_parquet(folder / "results.parquet")["conf_level"].unique()) == [0.9, 0.95]
    assert hidden(folder) == []
    assert list(status_lines(study, None, tmp_path / "runs"))[-1] == "2 current."


# --- data that change, disks that are full, folders that cannot be written


def when_run(notebooks, monkeypatch, act) -> None:
    """Let `act` happen while a notebook is executed."""

    def execute(source, target, parameters, *rest):
        act()
        return notebooks(source, target, parameters, *rest)

    monkeypatch.setattr(making, "execute_notebook", execute)


def test_a_data_file_that_changes_while_a_run_goes_on_fails_it(
    study_file, tmp_path, notebooks, monkeypatch
):
    study, out = study_file(), tmp_path / "runs"
    report = run_study(study, out=out).runs[0].folder / "report.html"
    good = report.read_bytes()
    study_file(more="defaults: {conf_level: 0.9}\n")

    def append() -> None:
        with study.with_name("panel.csv").open("a") as file:
            file.write("T99,2024-01,North,1,2,3,4\n")

    when_run(notebooks, monkeypatch, append)
    (run,) = run_study(study, out=out).runs
    assert run.status == "failed"
    assert run.reason == (
        "1 of 2 data files changed while the study ran ('panel.csv'), so that nothing of this run "
        "was published. Run again when nothing writes to them."
    )
    assert report.read_bytes() == good
    assert not (run.folder / "report.html").exists()
    assert "results" not in read_json(run.folder / "manifest.json")
    assert hidden(out / "small") == []
    when_run(notebooks, monkeypatch, lambda: None)
    assert statuses(run_study(study, out=out)) == ["ok"]


def test_a_file_that_is_written_again_with_the_same_bytes_has_not_changed(
    study_file, tmp_path, notebooks, monkeypatch
):
    panel = study_file().with_name("panel.csv")
    when_run(notebooks, monkeypatch, lambda: panel.write_bytes(panel.read_bytes()))
    assert statuses(run_study(study_file(), out=tmp_path / "runs")) == ["ok"]


@pytest.mark.parametrize("change", ["replaced", "removed"])
def test_a_stored_panel_that_is_replaced_fails_the_run(
    study_file, tmp_path, notebooks, monkeypatch, change
):
    stored = tmp_path / "small" / "panel.parquet"
    acts = {"replaced": lambda: stored.write_bytes(b"other"), "removed": stored.unlink}
    when_run(notebooks, monkeypatch, acts[change])
    (run,) = run_study(study_file(), out=tmp_path).runs
    assert run.reason.startswith("1 of 2 data files changed while the study ran ('panel.parquet')")


def test_code_that_changes_while_a_run_goes_on_makes_it_stale(
    study_file, tmp_path, notebooks, monkeypatch
):
    monkeypatch.setattr(making, "installed_sha256", lambda: "0" * 64)
    (run,) = run_study(study_file(), out=tmp_path).runs
    assert run.status == "ok"
    lines = list(status_lines(study_file(), None, tmp_path))
    assert lines[0] == f"stale    {RUN}: the code of ex_cx changed while it was made"
    told, good = verify_run(run.folder)
    assert not good
    assert told[0].startswith("manifest.json: the code of ex_cx changed while the run was made")
    monkeypatch.undo()
    monkeypatch.setattr(making, "execute_notebook", notebooks)
    monkeypatch.setattr(executors, "nursery_for", lambda n_runs: contextlib.nullcontext())
    assert statuses(run_study(study_file(), out=tmp_path)) == ["ok"]
    assert verify_run(run.folder)[1]


@pytest.fixture
def small_disk(tmp_path):
    """A function that makes a file system of so many kB, or changes it; needs root."""
    place = tmp_path / "disk"
    place.mkdir()
    if sys.platform != "linux" or os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a small file system")

    def mount(options: str) -> bool:
        what = "remount," if os.path.ismount(place) else ""
        command = ["mount", "-t", "tmpfs", "-o", what + options, "tmpfs", str(place)]
        return subprocess.run(command, check=False, capture_output=True).returncode == 0

    if not mount("size=64k"):
        pytest.skip("no file system can be mounted here")
    yield place, mount
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.parametrize("room", [4, 16, 28, 40, 64, 96, 128])
def test_a_disk_that_is_full_at_any_moment_leaves_whole_runs(
    study_file, small_disk, notebooks, room
):
    disk, mount = small_disk
    assert mount(f"size={room}k")
    study, folder = study_file(more=LEVELS), disk / "small"
    try:
        outcome = run_study(study, out=disk)
        full = any("No space left" in run.reason for run in outcome.runs) or outcome.exit_code == 0
    except RunError as error:
        full = "The reports cannot be stored in" in str(error) and "No space left" in str(error)
    assert full
    for left in folder.glob("[!.]*/"):
        if left.suffix != ".failed":
            assert verify_run(left)[1]
        assert read_json(left / "manifest.json") is not None
    assert hidden(folder) == []
    whole = {left.name for left in folder.glob(f"{RUN}*/report.html")}
    assert mount("size=8m")
    asked = len(notebooks.asked)
    again = run_study(study, out=disk)
    assert again.exit_code == 0
    assert len(notebooks.asked) - asked == statuses(again).count("ok") <= 3 - len(whole)


def test_a_folder_that_is_read_only_is_told_and_still_can_be_looked_at(
    study_file, small_disk, notebooks
):
    disk, mount = small_disk
    assert mount("size=8m")
    study = study_file(more=LEVELS)
    run_study(study, out=disk, only="*0-95*")
    before = {path: path.read_bytes() for path in disk.rglob("*") if path.is_file()}
    assert mount("ro")
    with pytest.raises(RunError, match=r"cannot be stored in .*: Read-only file system"):
        run_study(study, out=disk)
    assert {path: path.read_bytes() for path in disk.rglob("*") if path.is_file()} == before
    assert list(status_lines(study, None, disk))[-1] == "2 missing, 1 current."
    assert mount("rw")
    assert sorted(statuses(run_study(study, out=disk))) == ["ok", "ok", "unchanged"]
    assert hidden(disk / "small") == []


# --- processes that are killed, and two at a time


def program(study: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HERE, "run", str(study), "--out", str(out), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(found, seconds: float = 120.0):
    """What `found` gives once it is not empty."""
    deadline = time.monotonic() + seconds
    while not (value := found()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return value


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_after_a_killed_runner_only_what_is_missing_is_made(study_file, tmp_path):
    study, out = study_file(more=LEVELS), tmp_path / "runs"
    runner = program(study, out)
    assert wait_for(lambda: list(out.glob("small/panel_regression*/report.html")))
    runner.kill()
    runner.communicate()
    made = {page.parent.name: page.stat().st_ino for page in out.glob("small/*/report.html")}
    assert all(verify_run(out / "small" / name)[1] for name in made)
    assert 1 <= len(made) < 3
    outcome = run_study(study, out=out)
    assert statuses(outcome).count("unchanged") == len(made)
    assert statuses(outcome).count("ok") == 3 - len(made)
    assert {name: (out / "small" / name / "report.html").stat().st_ino for name in made} == made
    assert hidden(out / "small") == []


@LOCKS
def test_of_two_runners_of_one_study_one_is_told_to_wait(study_file, tmp_path):
    study, out = study_file(), tmp_path / "runs"
    first = program(study, out)
    assert wait_for(lambda: list(out.glob("small/.building-*")))
    second = program(study, out)
    said = second.communicate(timeout=200)
    assert second.returncode == 2, said
    assert said[1].startswith(f"RunError: Another ex-cx is at work in {out / 'small'}.")
    assert first.communicate(timeout=200)[1] == ""
    assert first.returncode == 0
    assert verify_run(out / "small" / RUN)[1]
    assert hidden(out / "small") == []


def write_notebook(path: Path, *cells: str) -> Path:
    """A notebook in the place of one of ours; it takes any parameters."""
    import nbformat

    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    book.cells[0].metadata["tags"] = ["parameters"]
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "x", "language": "python"}
    nbformat.write(book, path)
    return path


EATS = "import os, time; held = bytearray(300_000_000); time.sleep(1.5); os.kill(os.getpid(), 9)"
BAD_NOTEBOOKS = {
    "raises": ("raise ValueError('no <rows>')", r"ValueError: no <rows>$"),
    "hangs": ("import time; time.sleep(600)", r"The notebook took longer than 8 seconds"),
    "eats": (EATS, r"The kernel died \(exit code -9\); .* It held up to (3[0-9]{2}|4[0-9]{2}) MiB"),
    "says nothing": ("1", r"ended without a report: it wrote no result\.json"),
}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("kernels", ["fresh", "forked"])
@pytest.mark.parametrize(("cell", "reason"), BAD_NOTEBOOKS.values(), ids=BAD_NOTEBOOKS)
def test_a_bad_notebook_fails_with_the_reason_and_keeps_the_last_good_report(
    study_file, tmp_path, monkeypatch, cell, reason, kernels
):
    from ex_cx.studies import kernels as kernels_module

    monkeypatch.setattr(kernels_module, "WORTH_IT", 1 if kernels == "forked" else 99)
    study, out = study_file(), tmp_path / "runs"
    (out / "small" / RUN).mkdir(parents=True)
    (out / "small" / RUN / "report.html").write_text("the last good one")
    book = write_notebook(tmp_path / "bad.ipynb", "a = 1", cell)
    monkeypatch.setattr(making, "notebook_path", lambda name: book)
    monkeypatch.setattr(preparing, "notebook_path", lambda name: book)
    outcome = run_study(study, out=out, timeout=8 if "sleep(600)" in cell else 120)
    (run,) = outcome.runs
    assert run.status == "failed"
    assert re.search(reason, run.reason), run.reason
    assert (out / "small" / RUN / "report.html").read_text() == "the last good one"
    assert html.escape(run.reason, quote=True)[:40] in outcome.index.read_text()
    assert run.reason.splitlines()[0] in (run.folder / "run.log").read_text()
    assert hidden(out / "small") == []
