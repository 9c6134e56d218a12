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
from ex_cx.linkage.sources import shared_path
from ex_cx.studies.data import StoredData, link_study, segment_values, store_linked
from ex_cx.studies.kernels import execute_notebook, nursery_for, stop_signals_interrupt
from ex_cx.studies.layout import (
    building,
    discard_failed,
    failed_folder,
    put_in_place,
    read_json,
    working_in,
    write_json,
    write_parquet,
    write_text,
)
from ex_cx.studies.plan import PlannedRun, plan_runs
from ex_cx.studies.records import (
    collect_results,
    finish,
    hide_places,
    is_current,
    now,
    run_log,
    start_manifest,
)
from ex_cx.studies.study import LoadedStudy, column_complaints, load_study

if TYPE_CHECKING:
    from ex_cx.studies.nursery import Nursery

__all__ = ["Progress", "RunOutcome", "StudyOutcome", "run_study"]

Status = Literal["ok", "unchanged", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOutcome:
    """How one run ended.

    Attributes
    ----------
    run : what was asked for.
    status : done now, found unchanged, or failed (`reason` says why).
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
    notify: Callable[[Progress], None] | None = None,
) -> StudyOutcome:
    """Link a study's sources once, then execute every run of it that is not current.

    Parameters
    ----------
    path : the study file.
    data_root : folder of its data files; empty means the study file's own folder.
    out : folder that receives `<study>/`; see `StudyOutcome` for what lies there.
    jobs : runs at a time, each in a kernel of its own.
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
        loaded = load_study(path)
        folder = Path(out).absolute() / loaded.study.study
        root = Path(data_root).absolute() if str(data_root) else loaded.path.parent
        linked = link_study(loaded, root)
        columns = linked.panel.frame.columns
        loaded.refuse(column_complaints(loaded.study, columns))
        runs = plan_runs(loaded, segment_values(linked.panel, loaded.study.segments))
        with working_in(folder):
            stored = store_linked(linked, folder)
            tasks = [_task(loaded, run, folder, stored) for run in runs]
            with nursery_for(sum(not task.current for task in tasks)) as nursery:
                context = _Context(
                    loaded=loaded,
                    folder=folder,
                    data=stored,
                    stop=threading.Event(),
                    nursery=nursery,
                )
                outcomes = _run_all(context, tasks, notify or (lambda progress: None), jobs)
            return _publish(context, outcomes)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Context:
    """What all runs of a study share; the nursery makes their kernels, if there is one."""

    loaded: LoadedStudy
    folder: Path
    data: StoredData
    stop: threading.Event
    nursery: Nursery | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """A run, its notebook, the start of its manifest, and whether its report is there already."""

    run: PlannedRun
    notebook: Path
    manifest: dict[str, Any]
    current: bool


def _task(loaded: LoadedStudy, run: PlannedRun, folder: Path, data: StoredData) -> _Task:
    notebook = shared_path("notebooks", f"{run.notebook}.ipynb")
    manifest = start_manifest(loaded, run, notebook, data)
    current = is_current(folder / run.name, manifest["key"])
    return _Task(run=run, notebook=notebook, manifest=manifest, current=current)


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
    if task.current:
        discard_failed(final)
        return RunOutcome(run=run, status="unchanged", seconds=0.0, folder=final)
    manifest = task.manifest | {"started": now()}
    with building(context.folder, run.name) as folder:
        try:
            _execute(context, task, folder)
            manifest |= finish("ok", started)
            _complete(context, run, manifest, folder, final)
        except Exception as error:
            reason = (
                str(error) if isinstance(error, ExCxError) else f"{type(error).__name__}: {error}"
            )
            manifest |= finish("failed", started) | {"reason": reason}
            return _keep_failure(run, manifest, folder, final)
    return RunOutcome(run=run, status="ok", seconds=manifest["wall_seconds"], folder=final)


def _execute(context: _Context, task: _Task, folder: Path) -> None:
    places = {"panel_path": str(context.data.panel), "run_dir": str(folder)}
    parameters = {**task.run.given, **places}
    execute_notebook(
        task.notebook, folder / "notebook.ipynb", parameters, context.stop, context.nursery
    )
    if not (folder / "result.json").is_file():
        raise RunError(
            f"The notebook {task.run.notebook} ended without a report: it wrote no result.json."
        )


def _complete(
    context: _Context, run: PlannedRun, manifest: dict[str, Any], folder: Path, final: Path
) -> None:
    """Manifest, log and page; then everything is put in place at once."""
    from ex_cx.reporting.page import notebook_body, render_page

    executed = folder / "notebook.ipynb"
    manifest["rows"] = (read_json(folder / "result.json") or {}).get("counts", {})
    hide_places(executed, {str(folder): ".", str(context.folder): ".."})
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


def _publish(context: _Context, outcomes: tuple[RunOutcome, ...]) -> StudyOutcome:
    """results.parquet and index.html over all current reports, failures on top."""
    from ex_cx.reporting.index import render_index

    good = [outcome for outcome in outcomes if outcome.status != "failed"]
    study = context.loaded.study
    results = collect_results(study.study, [(o.run, o.folder) for o in good])
    write_parquet(context.folder / "results.parquet", results)
    cards = [_card(context, outcome) for outcome in outcomes]
    head = {"study": study.study, "title": study.title or study.study}
    index = context.folder / "index.html"
    write_text(index, render_index(head, cards, dated=dt.date.today().isoformat()))
    return StudyOutcome(index=index, runs=outcomes)


def _card(context: _Context, outcome: RunOutcome) -> dict[str, Any]:
    """What the index says of one run; a failed one points at its last good report, if any."""
    run = outcome.run
    page = context.folder / run.name / "report.html"
    return {
        "name": run.name,
        "notebook": run.notebook.replace("_", " "),
        "segment": run.segment.replace("=", " "),
        "status": outcome.status,
        "reason": outcome.reason,
        "href": f"{run.name}/report.html" if page.is_file() else "",
        "report": read_json(context.folder / run.name / "result.json"),
        "labels": dict(context.loaded.study.labels),
    }
