"""A study file to a folder of reports: each run whole or not at all, unchanged ones skipped."""

from __future__ import annotations

import concurrent.futures
import datetime as dt
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ex_cx.errors import ExCxError, RunError
from ex_cx.studies.data import StoredData, store_linked
from ex_cx.studies.kernels import execute_notebook, nursery_for, stop_signals_interrupt
from ex_cx.studies.layout import (
    building,
    discard_failed,
    failed_folder,
    put_in_place,
    read_json,
    working_in,
    write_bytes,
    write_json,
    write_parquet,
    write_text,
)
from ex_cx.studies.plan import PlannedRun
from ex_cx.studies.preparing import notebook_path, prepare_study, runs_asked
from ex_cx.studies.records import (
    brief_results,
    collect_results,
    finish,
    hide_places,
    now,
    outputs_of,
    run_log,
)
from ex_cx.studies.states import RunState, run_state
from ex_cx.studies.study import LoadedStudy

if TYPE_CHECKING:
    from ex_cx.studies.nursery import Nursery

__all__ = ["Progress", "RunOutcome", "StudyOutcome", "run_study"]

Status = Literal["ok", "unchanged", "failed", "not asked", "not started"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOutcome:
    """How one run ended.

    Attributes
    ----------
    run : what was asked for.
    status : done now, found unchanged, failed, not asked for (`only`) or not started (after a
        failure, with `fail_fast`); `reason` says why.
    seconds : time it took.
    folder : where its report lies; for a failure, where its notebook and log lie.
    """

    run: PlannedRun
    status: Status
    seconds: float
    folder: Path
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyOutcome:
    """How a study ended: its index page and its runs, in order."""

    index: Path
    runs: tuple[RunOutcome, ...]

    @property
    def exit_code(self) -> int:
        """0 when every run is good, 1 when some failed."""
        return int(any(run.status == "failed" for run in self.runs))


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What the runner says while it works; a run's outcome is missing while it is going on."""

    position: int
    total: int
    run: str
    outcome: RunOutcome | None = None


def run_study(
    path: Path | str,
    *,
    data_root: Path | str = "",
    out: Path | str = "runs",
    jobs: int = 1,
    only: str = "",
    force: bool = False,
    fail_fast: bool = False,
    timeout: float | None = None,
    notify: Callable[[Progress], None] | None = None,
) -> StudyOutcome:
    """Link a study's sources once, then execute every run of it that is not current.

    Parameters
    ----------
    path : the study file.
    data_root : folder of its data files; empty means the study file's own folder.
    out : folder that receives `<study>/`; see `StudyOutcome` for what lies there.
    jobs : runs at a time, each in a kernel of its own.
    only : pattern (`*`, `?`) of the names of runs; the others are left as they are, and the index
        says so. force : make again also what is current.
    fail_fast : after a failure no further run is started.
    timeout : seconds that one run may take.
    notify : called before and after each run, one call at a time.

    Raises
    ------
    StudyError, SourceError, SchemaError, LinkError, PanelError : the study or its data are not
        usable; nothing was run. RunError : the folder cannot be written, or another runner is at
        work in it. KeyboardInterrupt : stopped. In both cases what is in place is whole.

    Notes
    -----
    A run is built in a temporary folder and renamed into place. Its key is the hash of all that
    decides its result: parameters, input files, the study's data section, the notebook's code,
    ex_cx and the packages beneath. A failed run leaves `<run>.failed/` beside its last good report.
    """
    with stop_signals_interrupt():
        prepared = prepare_study(path, data_root)
        folder = Path(out).absolute() / prepared.loaded.study.study
        asked = runs_asked(prepared, only)
        with working_in(folder):
            stored = store_linked(prepared.linked, folder)
            tasks = [
                _task(run, manifest, folder, force=force, asked=run.name in asked)
                for run, manifest in prepared.runs
            ]
            todo = [task for task in tasks if task.asked]
            with nursery_for(sum(not task.skip for task in todo)) as nursery:
                context = _Context(
                    loaded=prepared.loaded,
                    folder=folder,
                    data=stored,
                    stop=threading.Event(),
                    failed=threading.Event() if fail_fast else None,
                    timeout=timeout,
                    nursery=nursery,
                )
                outcomes = _run_all(context, todo, notify or (lambda progress: None), jobs)
            return _publish(context, tasks, outcomes)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Context:
    """What all runs of a study share; the nursery makes their kernels, if there is one.

    `failed` is there when the first failure keeps further runs from starting.
    """

    loaded: LoadedStudy
    folder: Path
    data: StoredData
    stop: threading.Event
    failed: threading.Event | None
    timeout: float | None
    nursery: Nursery | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """A run, the start of its manifest, what lies there of it, and whether to make it."""

    run: PlannedRun
    manifest: dict[str, Any]
    state: RunState
    asked: bool
    skip: bool


def _task(
    run: PlannedRun, manifest: dict[str, Any], folder: Path, *, force: bool, asked: bool
) -> _Task:
    state = run_state(folder / run.name, manifest)
    skip = state.condition == "current" and not force
    return _Task(run=run, manifest=manifest, state=state, asked=asked, skip=skip)


def _run_all(
    context: _Context, tasks: list[_Task], notify: Callable[[Progress], None], jobs: int
) -> tuple[RunOutcome, ...]:
    """All runs, `jobs` at a time, each in a thread; an interrupt ends them all, then goes on."""
    telling = threading.Lock()

    def run_and_tell(position: int, task: _Task) -> RunOutcome:
        progress = Progress(position=position, total=len(tasks), run=task.run.name)
        with telling:
            notify(progress)
        outcome = _run_one(context, task)
        with telling:
            notify(replace(progress, outcome=outcome))
        return outcome

    with concurrent.futures.ThreadPoolExecutor(jobs, thread_name_prefix="run") as pool:
        futures = [pool.submit(run_and_tell, i, task) for i, task in enumerate(tasks, start=1)]
        pending = set(futures)
        try:
            while pending:
                done, pending = concurrent.futures.wait(
                    pending, timeout=0.1, return_when=concurrent.futures.FIRST_EXCEPTION
                )
                for future in done:
                    future.result()
        except BaseException:
            context.stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return tuple(future.result() for future in futures)


def _run_one(context: _Context, task: _Task) -> RunOutcome:
    run, started = task.run, time.monotonic()
    final = context.folder / run.name
    if task.skip:
        discard_failed(final)
        return RunOutcome(run=run, status="unchanged", seconds=0.0, folder=final)
    if context.failed is not None and context.failed.is_set():
        reason = "another run failed before it (--fail-fast)"
        return RunOutcome(run=run, status="not started", seconds=0.0, folder=final, reason=reason)
    manifest = task.manifest | {"started": now()}
    with building(context.folder, run.name) as folder:
        try:
            manifest["peak_memory_bytes"] = _execute(context, task, folder)
            manifest |= finish("ok", started)
            _complete(context, manifest, folder, final)
        except Exception as error:
            if context.failed is not None:
                context.failed.set()
            reason = (
                str(error) if isinstance(error, ExCxError) else f"{type(error).__name__}: {error}"
            )
            manifest |= finish("failed", started) | {"reason": reason}
            return _keep_failure(run, manifest, folder, final)
    return RunOutcome(run=run, status="ok", seconds=manifest["wall_seconds"], folder=final)


def _execute(context: _Context, task: _Task, folder: Path) -> int | None:
    """Run the notebook; the most memory it took."""
    places = {"panel_path": str(context.data.panel), "run_dir": str(folder)}
    parameters = {**task.run.given, **places}
    peak = execute_notebook(
        notebook_path(task.run.notebook),
        folder / "notebook.ipynb",
        parameters,
        context.stop,
        context.nursery,
        context.timeout,
    )
    if not (folder / "result.json").is_file():
        raise RunError(
            f"The notebook {task.run.notebook} ended without a report: it wrote no result.json."
        )
    return peak


def _complete(context: _Context, manifest: dict[str, Any], folder: Path, final: Path) -> None:
    """Manifest, log and page; then everything is put in place at once."""
    from ex_cx.reporting.page import notebook_body, render_page

    executed = folder / "notebook.ipynb"
    result = read_json(folder / "result.json") or {}
    manifest |= {"rows": result.get("counts", {}), "results": brief_results(result)}
    hide_places(executed, {str(folder): ".", str(context.folder): ".."})
    manifest["outputs"] = outputs_of(folder)
    write_json(folder / "manifest.json", manifest)
    write_text(folder / "run.log", run_log(manifest, executed))
    page = render_page(folder, manifest, notebook_body(executed))
    write_text(folder / "report.html", page)
    put_in_place(folder, final)
    discard_failed(final)


def _keep_failure(
    run: PlannedRun, manifest: dict[str, Any], folder: Path, final: Path
) -> RunOutcome:
    """Notebook so far, manifest and log, beside the last good report, which stays."""
    executed = folder / "notebook.ipynb"
    kept = failed_folder(final)
    write_json(folder / "manifest.json", manifest)
    write_text(folder / "run.log", run_log(manifest, executed))
    put_in_place(folder, kept)
    return RunOutcome(
        run=run,
        status="failed",
        seconds=manifest["wall_seconds"],
        folder=kept,
        reason=manifest["reason"],
    )


def _publish(
    context: _Context, tasks: list[_Task], outcomes: tuple[RunOutcome, ...]
) -> StudyOutcome:
    """results.parquet, results.xlsx and index.html over all current reports, failures on top."""
    from ex_cx.reporting.index import render_index

    ended = {outcome.run.name: outcome for outcome in outcomes}
    every = tuple(ended.get(task.run.name) or _not_asked(context, task) for task in tasks)
    made = {o.run.name for o in outcomes if o.status in ("ok", "unchanged")}
    left = {
        task.run.name
        for task, outcome in zip(tasks, every, strict=True)
        if task.state.condition == "current" and outcome.status in ("not asked", "not started")
    }
    good = [(o.run, context.folder / o.run.name) for o in every if o.run.name in made | left]
    study = context.loaded.study
    head = {"study": study.study, "title": study.title or study.study}
    _write_results(context.folder, head, good)
    cards = [
        _card(context, task, outcome, current=outcome.run.name in made | left)
        for task, outcome in zip(tasks, every, strict=True)
    ]
    index = context.folder / "index.html"
    write_text(index, render_index(head, cards, dated=dt.date.today().isoformat()))
    return StudyOutcome(index=index, runs=every)


def _write_results(folder: Path, head: dict[str, str], good: list[tuple[PlannedRun, Path]]) -> None:
    """The tidy rows of the good runs as Parquet, and with their tables as a workbook."""
    from ex_cx.reporting.workbook import study_provenance, study_workbook

    results = collect_results(head["study"], good)
    write_parquet(folder / "results.parquet", results)
    reports = {run.name: read_json(place / "result.json") or {} for run, place in good}
    manifests = {run.name: read_json(place / "manifest.json") or {} for run, place in good}
    write_bytes(
        folder / "results.xlsx",
        study_workbook(results, reports, study_provenance(head, manifests)),
    )


def _not_asked(context: _Context, task: _Task) -> RunOutcome:
    reason = "not asked for (--only)"
    folder = context.folder / task.run.name
    return RunOutcome(run=task.run, status="not asked", seconds=0.0, folder=folder, reason=reason)


def _card(context: _Context, task: _Task, outcome: RunOutcome, *, current: bool) -> dict[str, Any]:
    """What the index says of one run; a failed one points at its last good report, if any."""
    run = outcome.run
    page = context.folder / run.name / "report.html"
    report = read_json(page.with_name("result.json"))
    note = ""
    if outcome.status in ("not asked", "not started"):
        there = "; ".join([task.state.condition, *task.state.why])
        note = f"{outcome.reason.capitalize()}; what lies here: {there}."
    return {
        "name": run.name,
        "notebook": run.notebook.replace("_", " "),
        "segment": run.segment.replace("=", " "),
        "status": outcome.status,
        "current": current,
        "reason": outcome.reason,
        "note": note,
        "href": f"{run.name}/report.html" if page.is_file() and report else "",
        "report": report,
        "labels": dict(context.loaded.study.labels),
    }
