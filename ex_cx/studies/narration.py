"""How a study's progress is told: one live line on a terminal, plain lines elsewhere, or JSON."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ex_cx.linkage.wording import counted

if TYPE_CHECKING:
    from ex_cx.studies.runner import Progress, RunOutcome, StudyOutcome

__all__ = ["Tally", "closing", "narration", "outcome_json", "short"]

SECOND = 1.0
"""Seconds between two looks at the clock, on a terminal."""


class Tally:
    """Counts of a batch, and the time it still needs: what each took so far, for those waiting."""

    def __init__(self) -> None:
        self.started = self.last = time.monotonic()
        self.total = self.running = self.done = self.failed = self.made = 0

    def add(self, progress: Progress) -> None:
        """Count the start or the end of a run; the clock begins with the first one."""
        if not self.total:
            self.started = self.last = time.monotonic()
        self.total = progress.total
        if progress.outcome is None:
            self.running += 1
            return
        self.running -= 1
        self.failed += progress.outcome.status == "failed"
        self.done += progress.outcome.status in ("ok", "unchanged")
        if progress.outcome.status in ("ok", "failed") or progress.outcome.reason == "printed":
            self.made += 1
            self.last = time.monotonic()

    def line(self) -> str:
        """`3 of 9 done, 2 running, 1 failed, about 1:20 left`; it counts down between runs."""
        told = f"{self.done} of {self.total} done, {self.running} running, {self.failed} failed"
        waiting = self.total - self.done - self.failed
        if not self.made or not waiting:
            return told
        since = time.monotonic() - self.last
        left = (self.last - self.started) / self.made * waiting - since
        if left < 0:
            return f"{told}, longer than the runs before"
        minutes, seconds = divmod(round(left), 60)
        return f"{told}, about {minutes}:{seconds:02d} left"


@contextlib.contextmanager
def narration(file: IO[str]) -> Iterator[Callable[[Progress], None]]:
    """What to call with each progress: keeps a line on a terminal, writes plain ones otherwise."""
    if not file.isatty():
        yield lambda progress: _plain_line(progress, lambda line: _write(file, line))
        return
    from rich.console import Console
    from rich.progress import BarColumn, SpinnerColumn, TextColumn
    from rich.progress import Progress as Bar

    console = Console(file=file, highlight=False, markup=False)
    tally = Tally()
    columns = (SpinnerColumn(), BarColumn(), TextColumn("{task.description}", markup=False))
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("linking the sources", total=None)

        def draw() -> None:
            done = tally.done + tally.failed
            bar.update(task, total=tally.total, completed=done, description=tally.line())

        def show(progress: Progress) -> None:
            tally.add(progress)
            draw()
            _plain_line(progress, console.print)

        with _ticking(lambda: draw() if tally.total else None):
            yield show


@contextlib.contextmanager
def _ticking(act: Callable[[], None]) -> Iterator[None]:
    """Call `act` about every second from a thread of its own, until the block ends."""
    ended = threading.Event()

    def tick() -> None:
        while not ended.wait(SECOND):
            act()

    thread = threading.Thread(target=tick, name="ticking", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _write(file: IO[str], line: str) -> None:
    file.write(line + "\n")
    file.flush()


def _plain_line(progress: Progress, write: Callable[[str], None]) -> None:
    if progress.outcome is not None:
        width = len(str(progress.total))
        count = f"[{progress.position:>{width}}/{progress.total}]"
        write(f"{count} {progress.run}: {_state(progress.outcome)}")


def _state(outcome: RunOutcome) -> str:
    if outcome.status == "unchanged":
        made = f"{outcome.reason} in {outcome.seconds:.1f} s" if outcome.reason else "skipped"
        return f"unchanged, {made}"
    if outcome.status == "ok":
        return f"done in {outcome.seconds:.1f} s"
    if outcome.status == "not started":
        return f"not started: {outcome.reason}"
    return f"FAILED after {outcome.seconds:.1f} s: {outcome.reason}"


def closing(outcome: StudyOutcome) -> Iterator[str]:
    """The last lines: logs of failures, what was left out, and where the index lies."""
    failed = [run for run in outcome.runs if run.status == "failed"]
    if failed:
        yield f"{len(failed)} of {len(outcome.runs)} runs failed; their logs:"
        yield from (f"  {short(run.folder / 'run.log')}" for run in failed)
    left = sum(run.status == "not asked" for run in outcome.runs)
    if left:
        yield f"{left} of {len(outcome.runs)} runs were not asked for."
    if outcome.withheld:
        yield (
            f"Withheld, since the difference from an earlier release would tell of few people: "
            f"{counted(outcome.withheld, 'value')}. If that release was of other data or never "
            "given to anybody, forget it: ex-cx releases STUDY --forget NAME."
        )
    yield short(outcome.index)


def outcome_json(outcome: StudyOutcome) -> str:
    """How a study ended, as one JSON document."""
    runs: list[dict[str, Any]] = [
        {
            "run": run.run.name,
            "status": run.status,
            "reason": run.reason,
            "seconds": run.seconds,
            "folder": str(run.folder),
        }
        for run in outcome.runs
    ]
    whole = {"index": str(outcome.index), "exit_code": outcome.exit_code, "runs": runs}
    whole |= {"withheld_for_release": outcome.withheld} if outcome.withheld else {}
    return json.dumps(whole, indent=2, ensure_ascii=False)


def short(path: Path) -> str:
    """A path below the working folder without it."""
    whole = path.absolute()
    here = Path.cwd()
    return str(whole.relative_to(here) if whole.is_relative_to(here) else whole)
