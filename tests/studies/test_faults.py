"""What can go wrong around a batch: nothing lost, nothing half-written, no process left."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from ex_cx.errors import RunError, StudyError
from ex_cx.studies.claims import is_held, parse_shard
from ex_cx.studies.gathering import gather_study
from ex_cx.studies.layout import working_in
from ex_cx.studies.preparing import prepare_study
from ex_cx.studies.runner import run_study
from ex_cx.studies.telling import planned_lines, status_lines

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
    assert second.index.read_text().count("no &lt;rows&gt;") == 2
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
