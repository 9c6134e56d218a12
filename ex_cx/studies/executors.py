"""Runs made in threads of this process, each with a kernel of its own; `scattered` is for clusters.

An executor takes specs and gives back what happens to them, as it happens.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import queue
import threading
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ex_cx.studies.kernels import nursery_for
from ex_cx.studies.making import RunRecord, RunSpec, make_run

if TYPE_CHECKING:
    from ex_cx.studies.nursery import Nursery

__all__ = ["Event", "made_here"]

BEAT = 0.1
"""Seconds between two looks, so that an interrupt is noticed at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """The run at this position has begun, or (with a record) has ended."""

    position: int
    record: RunRecord | None = None


def made_here(
    specs: Sequence[RunSpec],
    *,
    jobs: int = 1,
    fail_fast: bool = False,
    warm: Nursery | None = None,
) -> Generator[Event]:
    """Make runs, `jobs` at a time; close the iterator to end what is going on.

    At a time so many kernels are at work. Where there are several, the next one works already
    while the page of a run that has been executed is laid out; one job is one after the other.

    Parameters
    ----------
    fail_fast : nothing is begun after a failure; what was not begun has no event.
    warm : a nursery that was started ahead; without one there is one where it is worth it.

    Raises
    ------
    OSError : a record could not be stored.
    """
    stop, failed = threading.Event(), threading.Event()
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    kernels, threads = threading.Semaphore(jobs), jobs if jobs == 1 else 2 * jobs

    def one(position: int) -> None:
        with contextlib.ExitStack() as turn:
            turn.enter_context(kernels)
            if stop.is_set() or failed.is_set():
                return
            events.put(Event(position=position))
            record = make_run(specs[position], stop, nursery, turn.close)
            if fail_fast and record.status == "failed":
                failed.set()
            events.put(Event(position=position, record=record))

    executed = sum(not spec.only_pdf for spec in specs)
    with (
        contextlib.nullcontext(warm) if warm else nursery_for(executed) as nursery,
        concurrent.futures.ThreadPoolExecutor(threads, thread_name_prefix="run") as pool,
    ):
        try:
            pending = {pool.submit(one, position) for position in range(len(specs))}
            while pending:
                done, pending = concurrent.futures.wait(
                    pending, timeout=BEAT, return_when=concurrent.futures.FIRST_COMPLETED
                )
                while not events.empty():
                    yield events.get()
                for future in done:
                    future.result()
            while not events.empty():
                yield events.get()
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
