"""Runs made by the workers of a dask cluster; all machines see the folders at the same paths.

Scheduling, and trying again what a lost worker had in hand, are dask's. A worker gets one object
of ours, its hand, which holds what its runs share. Only the runner puts reports in place, so that a
worker that was given up for lost but goes on changes nothing.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
import time
import uuid
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import distributed
from distributed.client import ClosedClientError

from ex_cx.errors import RunError
from ex_cx.studies.claims import is_held
from ex_cx.studies.executors import BEAT, Event
from ex_cx.studies.kernels import nursery_for
from ex_cx.studies.making import RunRecord, RunSpec, make_run, record_failure
from ex_cx.studies.unexpected import told_of_error

__all__ = ["Hand", "made_on_dask", "make_there"]

CANCELLED = (concurrent.futures.CancelledError, asyncio.CancelledError)
BROKEN = (OSError, RuntimeError, ClosedClientError, *CANCELLED)
"""What a client raises whose connection is lost; RuntimeError: its connections are closed."""
PATIENCE = 60.0
"""Seconds to wait for a scheduler to answer, or for a first worker."""
ENDING = 10.0
"""Seconds that kernels on workers have to end when a batch is stopped."""
LOOK = 1.0
"""Seconds between two looks at which workers there are, and whether the runner lives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unstored:
    """A worker could not store even a failure; raised, it would look like a lost connection."""

    number: int
    reason: str


class Hand(distributed.WorkerPlugin):
    """What the runs of one batch share on a worker: forked kernels, and the order to stop.

    Parameters
    ----------
    name : of the batch. runs : that each worker will make, about.
    lock : file that the runner has locked as long as it lives; None where there are no locks.
    """

    def __init__(self, name: str, runs: int, lock: Path | None) -> None:
        self.name, self.runs, self.lock = name, runs, lock

    def setup(self, worker: Any) -> None:
        """Begin to fork kernels on this worker, and to look after the runner."""
        self.stop = threading.Event()
        self.held = contextlib.ExitStack()
        self.nursery = self.held.enter_context(nursery_for(self.runs))
        threading.Thread(target=self._watch, name="ex_cx-watch", daemon=True).start()

    def teardown(self, worker: Any) -> None:
        """End the runs that are going on here, and their kernels."""
        self.stop.set()
        self.held.close()

    def make(self, spec: RunSpec) -> RunRecord | Unstored:
        """Make one run.

        Raises
        ------
        RunError : this machine does not see the folder, or the batch was stopped.
        """
        if not spec.panel.is_file():
            raise RunError(
                f"A worker does not find {spec.panel}. The folder of the reports (--out) and the "
                "data must lie on a file system that all machines see at the same path."
            )
        try:
            return make_run(spec, self.stop, self.nursery)
        except KeyboardInterrupt:
            raise RunError("The batch was stopped.") from None
        except OSError as error:
            return Unstored(number=error.errno or 0, reason=error.strerror or str(error))

    def _watch(self) -> None:
        while not self.stop.wait(LOOK):
            if self.lock is not None and not is_held(self.lock):
                self.teardown(None)


def make_there(spec: RunSpec, batch: str) -> RunRecord | Unstored:
    """A run's record, made by the hand that this worker has for the batch."""
    hand = distributed.get_worker().plugins[batch]
    if not isinstance(hand, Hand):
        raise RunError(f"This worker's {batch!r} is none of ex_cx's.")
    return hand.make(spec)


def made_on_dask(
    specs: Sequence[RunSpec],
    *,
    address: str,
    lock: Path | None = None,
    most: int | None = None,
    fail_fast: bool = False,
) -> Generator[Event]:
    """Make runs on the workers of a cluster; close the iterator to end what is going on.

    Parameters
    ----------
    address : of the scheduler. most : runs at a time; None is one for each thread of a worker.
    lock : file that this process has locked, the sign that it lives.
    fail_fast : nothing is begun after a failure; what was not begun has no event.

    Raises
    ------
    RunError : no scheduler or no worker there, or lost. OSError : a record could not be stored.
    """
    if not specs:
        return
    batch = f"ex_cx-{uuid.uuid4().hex[:12]}"
    with _connected(address) as client:
        with _talking():
            each = -(-len(specs) // max(len(client.scheduler_info(n_workers=-1)["workers"]), 1))
            client.register_plugin(Hand(batch, each, lock))
        going: dict[distributed.Future[RunRecord | Unstored], int] = {}
        try:
            yield from _supervised(client, specs, going, batch, most, fail_fast)
        finally:
            with contextlib.suppress(*BROKEN):  # the scheduler is gone
                client.unregister_worker_plugin(batch)
                _await_ends(list(going))


def _await_ends(going: Sequence[distributed.Future[RunRecord | Unstored]]) -> None:
    """Give kernels that were told to stop a moment for it."""
    deadline = time.monotonic() + ENDING
    while any(not future.done() for future in going) and time.monotonic() < deadline:
        time.sleep(BEAT)


@contextlib.contextmanager
def _connected(address: str) -> Generator[distributed.Client]:
    """A client of the scheduler, which has a worker."""
    try:
        client = distributed.Client(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError, ImportError) as error:
        raise RunError(
            f"No dask scheduler answers at {address} ({type(error).__name__}). Start one with "
            "`dask scheduler`, workers with `dask worker ADDRESS`, and name its address."
        ) from error
    try:
        try:
            client.wait_for_workers(1, timeout=PATIENCE)
        except TimeoutError as error:
            raise RunError(
                f"The scheduler at {address} has had no worker for {PATIENCE:.0f} s. Start some "
                f"with `dask worker {address}`."
            ) from error
        except OSError as error:
            raise _lost() from error
        yield client
    finally:
        with contextlib.suppress(*BROKEN):  # the scheduler is gone
            client.close()


def _supervised(
    client: distributed.Client,
    specs: Sequence[RunSpec],
    going: dict[distributed.Future[RunRecord | Unstored], int],
    batch: str,
    most: int | None,
    fail_fast: bool,
) -> Generator[Event]:
    """Hand out runs as there is room, and take back what became of them."""
    waiting, room, looked = list(range(len(specs))), 0, 0.0
    while waiting or going:
        if time.monotonic() - looked > LOOK:
            with _talking():
                room, looked = sum(client.nthreads().values()), time.monotonic()
        while waiting and len(going) < min(room, most or room):
            position = waiting.pop(0)
            with _talking():
                future = client.submit(make_there, specs[position], batch, pure=False)
            going[future] = position
            yield Event(position=position)
        for future in [future for future in going if future.done()]:
            record = _record(future, specs[going[future]])
            position = going.pop(future)
            if fail_fast and record.status == "failed":
                waiting.clear()
            yield Event(position=position, record=record)
        time.sleep(BEAT)


@contextlib.contextmanager
def _talking() -> Generator[None]:
    """What goes wrong in here is the connection to the scheduler."""
    try:
        yield
    except BROKEN as error:
        raise _lost() from error


def _record(future: distributed.Future[RunRecord | Unstored], spec: RunSpec) -> RunRecord:
    with _talking():
        if future.status in ("cancelled", "lost"):
            raise _lost()
        error = future.exception()
        if isinstance(error, CANCELLED):
            raise _lost()
        found = future.result() if error is None else None
    if isinstance(found, Unstored):
        raise OSError(found.number, found.reason)
    if isinstance(found, RunRecord):
        return found if found.built.is_dir() else record_failure(spec, _elsewhere(spec))
    if isinstance(error, distributed.KilledWorker):
        return record_failure(
            spec,
            "Every worker that began this run was lost, most often because a machine ran out of "
            "memory or was taken away. Give workers more memory, or fewer threads.",
        )
    told = told_of_error(error) if error is not None else "It ended without a result."
    return record_failure(spec, told)


def _elsewhere(spec: RunSpec) -> str:
    return (
        f"A worker made this run in a folder {spec.study_dir} that is not this machine's. The "
        "folder of the reports must lie on a file system that all machines share."
    )


def _lost() -> RunError:
    return RunError(
        "The dask scheduler was lost. What is in place is whole; start it again, then run again "
        "to go on."
    )
