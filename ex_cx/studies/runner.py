"""A study file to a folder of reports: each run whole or not at all, unchanged ones skipped."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ex_cx.errors import RunError, StudyError, nearest
from ex_cx.studies.claims import Claim, parse_shard
from ex_cx.studies.data import StoredData
from ex_cx.studies.executors import Event, made_here
from ex_cx.studies.gathering import Ending, publish_study
from ex_cx.studies.kernels import nursery_for, stop_signals_interrupt
from ex_cx.studies.layout import discard_failed, working_in
from ex_cx.studies.making import RunRecord, RunSpec, publish_run
from ex_cx.studies.manifest import FileStamp
from ex_cx.studies.plan import PlannedRun
from ex_cx.studies.preparing import Prepared, prepare_study, runs_asked, why_not_asked
from ex_cx.studies.printing import find_browser
from ex_cx.studies.states import run_state, why_not_printed
from ex_cx.studies.study import LoadedStudy, load_study

if TYPE_CHECKING:
    from ex_cx.studies.nursery import Nursery

__all__ = ["Executor", "PlannedRun", "Progress", "RunOutcome", "StudyOutcome", "run_study"]

Status = Literal["ok", "unchanged", "failed", "not asked", "not started"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOutcome:
    """How one run ended.

    Attributes
    ----------
    run : what was asked for.
    status : done now, found unchanged, failed, not asked for (`only`, `shard`) or not started
        (after a failure, with `fail_fast`); `reason` says why, or `printed` of an unchanged one
        whose PDF was made now.
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
    """How a study ended: its index page and its runs, in order.

    `withheld` values are missing since their difference from earlier releases would tell of few.
    """

    index: Path
    runs: tuple[RunOutcome, ...]
    withheld: int = 0

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Executor:
    """Where runs are made.

    Attributes
    ----------
    kind : `here`, in kernels of this machine; or `dask`, by the workers of a cluster.
    scheduler : address of the cluster's scheduler, such as `tcp://host:8786`.
    """

    kind: str = "here"
    scheduler: str = ""

    def __post_init__(self) -> None:
        if self.kind not in ("here", "dask"):
            raise StudyError(
                f"--executor {self.kind!r}: there is no such executor; there are here and dask."
                f"{nearest(self.kind, ('here', 'dask'))}"
            )
        if (self.kind == "dask") != bool(self.scheduler):
            raise StudyError(
                "--executor dask and --scheduler ADDRESS belong together; the address is what "
                "the scheduler told when it was started, such as tcp://host:8786."
            )


def run_study(
    path: Path | str,
    *,
    data_root: Path | str = "",
    out: Path | str = "runs",
    jobs: int | None = None,
    only: str = "",
    shard: str = "",
    executor: Executor | None = None,
    force: bool = False,
    fail_fast: bool = False,
    timeout: float | None = None,
    pdf: bool = False,
    notify: Callable[[Progress], None] | None = None,
) -> StudyOutcome:
    """Link a study's sources once, then execute every run of it that is not current.

    Parameters
    ----------
    path : the study file.
    data_root : folder of its data files; empty means the study file's own folder.
    out : folder that receives `<study>/`; see `StudyOutcome` for what lies there.
    jobs : runs at a time, each in a kernel of its own; None is one here, and as many as there are
        threads of workers on a cluster.
    only : pattern (`*`, `?`) of the names of runs; the others are left as they are, and the index
        says so. force : make again also what is current.
    shard : `i/n`, the i-th of n parts of the study; parts may be at work at the same time, also on
        several machines with `out` on a shared file system. The last one completes the index.
    executor : where runs are made; None is here.
    fail_fast : after a failure no further run is started.
    timeout : seconds that one run may take.
    pdf : also print each report, as report.pdf; a current report without one, or with another than
        was printed, is only printed.
    notify : called before and after each run, one call at a time.

    Raises
    ------
    StudyError, SourceError, SchemaError, LinkError, PanelError : the study or its data are not
        usable; nothing was run. RunError : the folder cannot be written, another runner is at
        work in it, a cluster is lost, or `pdf` finds no Chromium. KeyboardInterrupt : stopped.
        What is in place is whole.

    Notes
    -----
    A run is built in a temporary folder and renamed into place. Its key is the hash of all that
    decides its result: parameters, input files, the study's data section, the notebook's code,
    ex_cx and the packages beneath. A failed run leaves `<run>.failed/` beside its last good report.
    """
    part, where = parse_shard(shard), executor or Executor()
    if pdf and where.kind == "here":
        find_browser()
    loaded = load_study(path)
    folder = Path(out).absolute() / loaded.study.study
    ahead = 0 if only or shard or where.kind != "here" else _sure_to_run(loaded, folder, force)
    with stop_signals_interrupt(), nursery_for(ahead) as nursery:  # it imports while this links
        prepared = prepare_study(loaded, data_root, out, anew=force)
        asked = runs_asked(prepared, only, part)
        with working_in(folder, part, asked) as claim:
            stored = prepared.store(folder)
            files = {**prepared.files, stored.panel: FileStamp.of(stored.panel)}
            todo = [pair for pair in prepared.runs if pair[0].name in asked]
            current = set() if force else _current(folder, todo)
            skip = {name for name in current if not (pdf and why_not_printed(folder / name))}
            specs = [
                replace(
                    _spec(run, manifest, files, stored, timeout),
                    pdf=pdf,
                    only_pdf=run.name in current,
                )
                for run, manifest in todo
                if run.name not in skip
            ]
            events = _events(where, specs, claim, jobs=jobs, fail_fast=fail_fast, warm=nursery)
            tell = notify or (lambda progress: None)
            ended = _run_all([run for run, _ in todo], skip, folder, events, tell)
            left = why_not_asked(prepared, only, part)
            every = tuple(
                ended.get(run.name) or _left(run, folder, left.get(run.name))
                for run, _ in prepared.runs
            )
            index = _publish(prepared, folder, every)
    return StudyOutcome(index=index, runs=every, withheld=prepared.linkage.withheld)


def _sure_to_run(loaded: LoadedStudy, folder: Path, force: bool) -> int:
    """Runs, at the least, that will be made whatever the data are; 0 where reports lie already."""
    if not force and any(folder.glob("*/manifest.json")):
        return 0
    study = loaded.study
    return len(study.notebooks) * max(len(study.roles.outcomes), 1) + len(study.runs)


def _current(folder: Path, todo: Sequence[tuple[PlannedRun, Mapping[str, Any]]]) -> set[str]:
    """Names of the runs whose report is of all that decides it today."""
    states = [run_state(folder / run.name, manifest) for run, manifest in todo]
    return {state.run for state in states if state.condition == "current"}


def _spec(
    run: PlannedRun,
    manifest: Mapping[str, Any],
    files: Mapping[Path, FileStamp],
    stored: StoredData,
    timeout: float | None,
) -> RunSpec:
    return RunSpec(
        run=run.name,
        notebook=run.notebook,
        given=dict(run.given),
        manifest=manifest,
        study_dir=stored.panel.parent,
        panel=stored.panel,
        files=files,
        timeout=timeout,
    )


def _events(
    where: Executor,
    specs: Sequence[RunSpec],
    claim: Claim,
    *,
    jobs: int | None,
    fail_fast: bool,
    warm: Nursery | None,
) -> Generator[Event]:
    if where.kind == "dask":
        try:
            from ex_cx.studies.scattered import made_on_dask
        except ModuleNotFoundError as error:
            raise RunError(
                f"--executor dask needs the package {error.name}: pip install 'ex-cx[dask]', here "
                "and where the workers are."
            ) from error
        return made_on_dask(
            specs, address=where.scheduler, lock=claim.lock, most=jobs, fail_fast=fail_fast
        )
    return made_here(specs, jobs=jobs or 1, fail_fast=fail_fast, warm=warm)


def _run_all(
    runs: Sequence[PlannedRun],
    skip: set[str],
    folder: Path,
    events: Generator[Event],
    tell: Callable[[Progress], None],
) -> dict[str, RunOutcome]:
    """What became of each run that was not left out; each is put in place as soon as it is made."""
    said = {
        run.name: Progress(position=at, total=len(runs), run=run.name)
        for at, run in enumerate(runs, start=1)
    }
    ended: dict[str, RunOutcome] = {}
    for run in (run for run in runs if run.name in skip):
        discard_failed(folder / run.name)
        ended[run.name] = RunOutcome(
            run=run, status="unchanged", seconds=0.0, folder=folder / run.name
        )
        tell(said[run.name])
        tell(replace(said[run.name], outcome=ended[run.name]))
    todo = [run for run in runs if run.name not in skip]
    with contextlib.closing(events):  # an interrupt here ends them all
        for event in events:
            run = todo[event.position]
            if event.record is not None:
                ended[run.name] = _put(run, event.record, folder)
            tell(replace(said[run.name], outcome=ended.get(run.name)))
    return ended


def _put(run: PlannedRun, record: RunRecord, folder: Path) -> RunOutcome:
    printed = record.status == "printed"
    return RunOutcome(
        run=run,
        status="unchanged" if printed else record.status,  # type: ignore[arg-type]
        seconds=record.seconds,
        folder=publish_run(record, folder / run.name),
        reason="printed" if printed else record.manifest.get("reason", ""),
    )


def _left(run: PlannedRun, folder: Path, why: str | None) -> RunOutcome:
    """A run that was not asked for, or not begun since another one failed."""
    return RunOutcome(
        run=run,
        status="not asked" if why else "not started",
        seconds=0.0,
        folder=folder / run.name,
        reason=why or "another run failed before it (--fail-fast)",
    )


def _publish(prepared: Prepared, folder: Path, outcomes: Sequence[RunOutcome]) -> Path:
    endings = {
        outcome.run.name: Ending(status=outcome.status, reason=outcome.reason)
        for outcome in outcomes
        if outcome.status != "not asked" or "--shard" not in outcome.reason
    }
    return publish_study(prepared, folder, endings)
