"""Runs on the workers of a real local dask cluster: processes, some of them killed."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pandas as pd
import pytest

from ex_cx.errors import RunError, StudyError
from ex_cx.studies import scattered
from ex_cx.studies.making import RunSpec, make_run
from ex_cx.studies.manifest import FileStamp
from ex_cx.studies.preparing import prepare_study
from ex_cx.studies.printing import BROWSERS
from ex_cx.studies.runner import Executor, run_study
from ex_cx.studies.verifying import verify_run

distributed = pytest.importorskip("distributed")
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
HERE = "from ex_cx.studies.cli import main; main()"
LEVELS = "grid: {conf_level: [0.8, 0.9, 0.95, 0.99]}\n"


@pytest.fixture(scope="module")
def cluster():
    """A scheduler and two worker processes of one thread, each watched by a nanny."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as found:
        yield found


def on(cluster) -> Executor:
    return Executor(kind="dask", scheduler=cluster.scheduler_address)


def descendants(pid: int) -> set[int]:
    """The processes beneath one, whatever session they are in."""
    parents = {}
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = place.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if text[0] != "Z":
            parents[int(place.parent.name)] = int(text[1])
    found, grown = {pid}, True
    while grown:
        more = {child for child, parent in parents.items() if parent in found} - found
        found, grown = found | more, bool(more)
    return found - {pid}


def wait_for(found, seconds: float = 90.0):
    """What `found` gives once it is not empty."""
    deadline = time.monotonic() + seconds
    while not (value := found()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return value


def result_bytes(folder: Path) -> dict[str, bytes]:
    """result.json and the tables of every run, and nothing that is dated."""
    parts = [*folder.glob("*/result.json"), *folder.glob("*/tables/*.csv")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in parts}


def test_a_spec_and_the_function_that_makes_it_travel(study_file, tmp_path, notebooks):
    prepared = prepare_study(study_file())
    (run, manifest), *_ = prepared.runs
    panel = tmp_path / "panel.parquet"
    panel.write_bytes(b"rows")
    spec = RunSpec(
        run=run.name,
        notebook=run.notebook,
        given=dict(run.given),
        manifest=manifest,
        study_dir=tmp_path / "runs",
        panel=panel,
        files={**prepared.files, panel: FileStamp.of(panel)},
    )
    make, again = pickle.loads(pickle.dumps((make_run, spec)))
    assert again == spec
    record = make(again)
    assert record.status == "ok", record.manifest
    assert pickle.loads(pickle.dumps(record)) == record
    assert (record.built / "report.html").is_file()


@LINUX
def test_a_killed_worker_costs_no_run_and_the_bytes_are_those_of_one_machine(
    cluster, study_file, tmp_path
):
    study, out = study_file(more=LEVELS), tmp_path / "dask"
    killed: list[int] = []

    def kill_one() -> None:
        (building, *_) = wait_for(lambda: list(out.glob("small/.building-*/")))
        killed.append(int(building.name.removeprefix(".building-").split("@")[0]))
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill_one)
    killer.start()
    outcome = run_study(study, out=out, executor=on(cluster))
    killer.join()
    assert len(killed) == 1
    assert killed[0] != os.getpid()
    assert outcome.exit_code == 0, [run.reason for run in outcome.runs]
    folder = outcome.index.parent
    assert not list(folder.glob(".*"))
    assert all(verify_run(run.folder, study.parent)[1] for run in outcome.runs)
    here = run_study(study, out=tmp_path / "here", jobs=2)
    shards = [run_study(study, out=tmp_path / "shards", shard=f"{i}/2") for i in (1, 2)]
    found = result_bytes(folder)
    assert len(found) >= 8
    assert found == result_bytes(here.index.parent) == result_bytes(shards[1].index.parent)
    rows = [pd.read_parquet(o.index.with_name("results.parquet")) for o in (outcome, here)]
    pd.testing.assert_frame_equal(*rows)
    again = run_study(study, out=out, executor=on(cluster))
    assert {run.status for run in again.runs} == {"unchanged"}


@LINUX
def test_when_the_runner_is_killed_its_kernels_on_workers_end_and_it_resumes(
    cluster, study_file, tmp_path
):
    study, out = study_file(more=LEVELS), tmp_path / "runs"
    command = [sys.executable, "-c", HERE, "run", str(study), "--out", str(out)]
    command += ["--executor", "dask", "--scheduler", cluster.scheduler_address]
    before = descendants(os.getpid())
    runner = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert wait_for(lambda: list(out.glob("small/.building-*/")))
    runner.kill()
    runner.wait()
    workers = set(before)
    assert wait_for(lambda: descendants(os.getpid()) <= workers), "kernels outlived the runner"
    outcome = run_study(study, out=out, executor=on(cluster))
    assert outcome.exit_code == 0, [run.reason for run in outcome.runs]
    assert wait_for(lambda: not list((out / "small").glob(".*")), 10)


def test_a_failure_on_a_worker_is_on_record_and_fail_fast_stops(cluster, study_file, tmp_path):
    study = study_file(more=LEVELS, panel=pd.read_csv(study_file().with_name("panel.csv"))[:8])
    outcome = run_study(study, out=tmp_path, executor=on(cluster), jobs=1, fail_fast=True)
    assert [run.status for run in outcome.runs] == ["failed", *["not started"] * 3]
    (failed,) = [run for run in outcome.runs if run.status == "failed"]
    assert failed.reason.startswith("SpecError: None of the 8 rows")
    assert json.loads((failed.folder / "manifest.json").read_text())["status"] == "failed"


@pytest.mark.skipif(not any(map(shutil.which, BROWSERS)), reason="There is no Chromium to print.")
def test_a_current_report_is_only_printed_on_a_worker(cluster, study_file, tmp_path, notebooks):
    study = study_file()
    (here,) = run_study(study, out=tmp_path).runs
    made = result_bytes(here.folder.parent)
    (printed,) = run_study(study, out=tmp_path, executor=on(cluster), pdf=True).runs
    assert (printed.status, printed.reason) == ("unchanged", "printed")
    assert (here.folder / "report.pdf").read_bytes().startswith(b"%PDF")
    assert result_bytes(here.folder.parent) == made
    assert verify_run(here.folder)[1]
    (again,) = run_study(study, out=tmp_path, executor=on(cluster), pdf=True).runs
    assert (again.status, again.reason) == ("unchanged", "")


@pytest.mark.parametrize(
    ("kind", "scheduler", "told"),
    [
        ("dsak", "", "there is no such executor; there are here and dask. Did you mean 'dask'?"),
        ("dask", "", "--executor dask and --scheduler ADDRESS belong together"),
        ("here", "tcp://a:1", "--executor dask and --scheduler ADDRESS belong together"),
    ],
)
def test_a_bad_executor_is_told(kind, scheduler, told):
    with pytest.raises(StudyError) as caught:
        Executor(kind=kind, scheduler=scheduler)
    assert told in str(caught.value)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nonsense://x", "127.0.0.1:port"])
def test_no_scheduler_is_told(study_file, tmp_path, monkeypatch, address):
    monkeypatch.setattr(scattered, "PATIENCE", 1.0)
    with pytest.raises(RunError, match=r"No dask scheduler answers at "):
        run_study(study_file(), out=tmp_path, executor=Executor(kind="dask", scheduler=address))
    assert not list((tmp_path / "small").glob(".*"))


def test_a_cluster_without_workers_is_told(study_file, tmp_path, monkeypatch):
    monkeypatch.setattr(scattered, "PATIENCE", 2.0)
    options = {"threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with (
        distributed.LocalCluster(n_workers=0, **options) as empty,
        pytest.raises(RunError, match="has had no worker for 2 s"),
    ):
        run_study(study_file(), out=tmp_path, executor=on(empty))


@LINUX
def test_a_scheduler_that_is_lost_ends_the_batch_and_what_is_in_place_is_whole(
    study_file, tmp_path, monkeypatch
):
    monkeypatch.setattr(scattered, "PATIENCE", 15.0)
    study, out = study_file(more=LEVELS), tmp_path / "runs"
    at = tmp_path / "scheduler.json"
    tool = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--no-dashboard", "--port", "0"]
    scheduler = subprocess.Popen(
        [*tool, "--host", "127.0.0.1", "--scheduler-file", str(at)], stderr=subprocess.DEVNULL
    )
    assert wait_for(at.exists)
    tool = [sys.executable, "-m", "distributed.cli.dask_worker", "--no-dashboard"]
    tool += ["--nthreads", "1", "--scheduler-file", str(at)]
    worker = subprocess.Popen(tool, stderr=subprocess.DEVNULL)
    killer = threading.Thread(
        target=lambda: (
            wait_for(lambda: list(out.glob("small/panel_regression*/report.html")), 240),
            scheduler.kill(),
        )
    )
    killer.start()
    address = json.loads(at.read_text())["address"]
    with distributed.Client(address, timeout=60, set_as_default=False) as client:
        client.wait_for_workers(1, timeout=60)
    try:
        with pytest.raises(RunError, match=r"The dask scheduler was lost\. What is in place"):
            run_study(study, out=out, executor=Executor(kind="dask", scheduler=address))
        made = list(out.glob("small/panel_regression*/report.html"))
        assert made
        assert all(verify_run(page.parent)[1] for page in made)
        beneath = descendants(worker.pid)
        worker.terminate()
        worker.wait(timeout=60)
        assert wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in beneath), 30)
    finally:
        killer.join()
        for process in (scheduler, worker):
            process.kill()
            process.wait()
