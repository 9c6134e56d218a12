"""One notebook in one fresh kernel of this very interpreter, stoppable at any moment."""

from __future__ import annotations

import concurrent.futures
import contextlib
import logging
import math
import os
import queue
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ex_cx.errors import RunError
from ex_cx.studies.layout import is_alive
from ex_cx.studies.threads import one_thread
from ex_cx.studies.unexpected import told_of_cell

if TYPE_CHECKING:
    from jupyter_client.asynchronous.client import AsyncKernelClient
    from jupyter_client.kernelspec import KernelSpec

    from ex_cx.studies.nursery import Nursery

__all__ = ["can_fork", "environment", "execute_notebook", "nursery_for", "stop_signals_interrupt"]

_SOCKETS = "ex_cx-"
WARM = "ex-cx-warm"
WORTH_IT = 3
"""Runs from which on importing everything once and forking is quicker than fresh kernels."""


def execute_notebook(
    source: Path,
    target: Path,
    parameters: Mapping[str, Any],
    stop: threading.Event | None = None,
    nursery: Nursery | None = None,
    timeout: float | None = None,
) -> int | None:
    """Execute `source` with papermill and store it as `target`, also when a cell fails.

    The kernel is a fresh one of this interpreter, or comes from `nursery`.

    papermill works in a thread, so that an interrupt reaches this one, which then ends the
    kernel and raises KeyboardInterrupt again: nothing survives. Where this is not the main thread,
    `stop` being set is the interrupt.

    Parameters
    ----------
    timeout : seconds that the whole notebook may take, its kernel's start included.

    Returns
    -------
    int or None
        Most memory that the kernel's process held at a time, in bytes, looked at every tenth of a
        second; None where the system does not tell.

    Raises
    ------
    RunError : a cell failed, the kernel died or its time was up; the message holds the cause.
    """
    started: list[Any] = []
    peak, deadline = 0, math.inf if timeout is None else time.monotonic() + timeout
    _sweep_sockets()
    with (
        tempfile.TemporaryDirectory(
            prefix=f"{_SOCKETS}{os.getpid()}-", ignore_cleanup_errors=True
        ) as sockets,
        concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="papermill") as pool,
    ):
        manager = _manager_class(Path(sockets), started, nursery)
        future = pool.submit(_papermill, source, target, dict(parameters), manager)
        try:
            while not concurrent.futures.wait([future], timeout=0.1).done:
                peak = max(peak, _peak_memory(started))
                if stop is not None and stop.is_set():
                    raise KeyboardInterrupt
                if time.monotonic() > deadline:
                    raise RunError(
                        f"The notebook took longer than {timeout:g} seconds (--timeout) and was "
                        "ended. Allow more, or ask for less (fewer draws, fewer estimators)."
                    )
        except BaseException:
            _end_kernels(started, future)
            raise
    error = future.exception()
    if error is not None:
        raise RunError(_reason(error, started, peak)) from error
    return peak or None


def _sweep_sockets() -> None:
    """Remove the folders of sockets of this user's runners that were killed."""
    for left in Path(tempfile.gettempdir()).glob(f"{_SOCKETS}*-*"):
        owner = left.name.removeprefix(_SOCKETS).split("-")[0]
        with contextlib.suppress(OSError):
            mine = os.name == "posix" and left.stat().st_uid == os.getuid()
            if mine and owner.isdigit() and not is_alive(int(owner)):
                shutil.rmtree(left, ignore_errors=True)


def _papermill(source: Path, target: Path, parameters: dict[str, Any], manager: type) -> None:
    import papermill
    from papermill.engines import NBClientEngine, papermill_engines

    class StoresOnce(NBClientEngine):
        """Stores the notebook only where the kernel is lost; else papermill does, at the end."""

        @classmethod
        def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **options: Any) -> None:
            try:
                super().execute_managed_notebook(nb_man, kernel_name, **options)
            except BaseException:
                nb_man.output_path = str(target)
                raise

    papermill_engines.register(StoresOnce.__name__, StoresOnce)
    logging.getLogger("papermill").setLevel(logging.CRITICAL)  # what it says is in the run's log
    papermill.execute_notebook(
        str(source).replace("{", "{{").replace("}", "}}"),  # papermill formats its paths
        str(target).replace("{", "{{").replace("}", "}}"),
        parameters=parameters,
        engine_name=StoresOnce.__name__,
        kernel_name="python3",
        progress_bar=False,
        request_save_on_cell_execute=False,
        kernel_manager_class=manager,
        shutdown_kernel="immediate",  # all it wrote is closed, and its last output was received
    )


def environment() -> dict[str, str]:
    """What a kernel's environment has besides the runner's."""
    return {"PYDEVD_DISABLE_FILE_VALIDATION": "1", **one_thread()}


def can_fork() -> bool:
    """Can kernels be forked here: on Linux, where jupyter_client knows their provisioner?"""
    known = entry_points(group="jupyter_client.kernel_provisioners", name=WARM)
    return sys.platform == "linux" and bool(known)


def nursery_for(n_runs: int) -> contextlib.AbstractContextManager[Nursery | None]:
    """A nursery of kernels, where that many runs are worth one and the system can fork.

    jupyter_client must know its provisioner; it does where ex_cx was installed as it is now.
    """
    if n_runs < WORTH_IT or not can_fork():
        return contextlib.nullcontext()
    from ex_cx.studies.nursery import Nursery

    return Nursery(environment())


def _manager_class(sockets: Path, started: list[Any], warm: Nursery | None) -> type:
    """A kernel manager that starts this interpreter, whatever kernels are installed.

    Where there are Unix sockets, a kernel is spoken to through ones in `sockets`, which only this
    user can open, instead of through the network.
    """
    from jupyter_client.manager import AsyncKernelManager
    from traitlets import default

    spec = _kernel_spec(warm is not None)

    class SameInterpreter(AsyncKernelManager):
        """Starts `sys.executable`; leaves itself in `started`."""

        nursery = warm

        @default("client_factory")
        def _own_client(self) -> type[AsyncKernelClient]:
            return _client_class()

        @default("transport")
        def _own_transport(self) -> str:
            return "ipc" if os.name == "posix" else "tcp"

        @default("ip")
        def _own_ip(self) -> str:
            return str(sockets / "kernel") if self.transport == "ipc" else "127.0.0.1"

        @default("connection_file")
        def _own_connection_file(self) -> str:
            return str(sockets / "kernel.json")

        @property
        def kernel_spec(self) -> KernelSpec:
            if self not in started:
                started.append(self)
            return spec

    return SameInterpreter


def _kernel_spec(forked: bool) -> KernelSpec:
    from jupyter_client.kernelspec import KernelSpec

    return KernelSpec(
        argv=[
            *(sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"),
            "--IPKernelApp.log_level=50",  # an interrupted kernel is told of here, not by itself
        ],
        display_name="Python 3",
        language="python",
        env=environment(),
        metadata={"kernel_provisioner": {"provisioner_name": WARM}} if forked else {},
    )


def _client_class() -> type[AsyncKernelClient]:
    """A client that begins as soon as the kernel answers and is heard.

    jupyter_client's own then listens for 0.2 s more, to drop what belongs to no cell; that has
    other parents, by which nbclient tells it apart.
    """
    from jupyter_client.asynchronous.client import AsyncKernelClient

    class EagerClient(AsyncKernelClient):
        async def wait_for_ready(self, timeout: float | None = None) -> None:
            """Wait until the kernel has answered and its outputs reach us."""
            deadline = time.monotonic() + (math.inf if timeout is None else timeout)
            while True:
                self.kernel_info()
                with contextlib.suppress(queue.Empty):  # not up yet, or not heard yet
                    answer = await self.get_shell_msg(timeout=1)
                    if answer["msg_type"] == "kernel_info_reply":
                        await self.get_iopub_msg(timeout=0.2)
                        return
                if not await self.is_alive():
                    raise RuntimeError("Kernel died before replying to kernel_info")
                if time.monotonic() > deadline:
                    raise RuntimeError(f"Kernel didn't respond in {timeout:g} seconds")

    return EagerClient


def _peak_memory(started: list[Any]) -> int:
    """Most bytes that a running kernel has held so far; 0 where the system does not tell."""
    peak = 0
    for manager in started:
        pid = getattr(manager.provisioner, "pid", None)
        with contextlib.suppress(OSError):
            status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
            found = re.search(r"^VmHWM:\s+(\d+) kB$", status, flags=re.MULTILINE)
            peak = max(peak, 1024 * int(found[1]) if found else 0)
    return peak


def _end_kernels(started: list[Any], future: concurrent.futures.Future[None]) -> None:
    """Kill the kernels (each leads its own process group), then let papermill's thread notice."""
    while True:
        for manager in started:
            pid = getattr(manager.provisioner, "pid", None)
            if pid:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(pid, signal.SIGKILL) if os.name == "posix" else os.kill(pid, 9)
        if concurrent.futures.wait([future], timeout=0.1).done:
            return


def _reason(error: BaseException, started: list[Any], peak: int) -> str:
    """What failed, in one line or a few: papermill's own text is mostly the traceback."""
    name = getattr(error, "ename", type(error).__name__)
    text = str(getattr(error, "evalue", error)).strip()
    if name != "DeadKernelError":
        return told_of_cell(name, text, getattr(error, "traceback", ""))
    codes = [getattr(manager.provisioner, "process", None) for manager in started]
    known = [process.returncode for process in codes if process is not None]
    ended = f" (exit code {known[-1]})" if known and known[-1] is not None else ""
    held = f" It held up to {peak / 2**20:.0f} MiB." if peak else ""
    return f"The kernel died{ended}; most often the machine ran out of memory.{held} {text}"


@contextlib.contextmanager
def stop_signals_interrupt() -> Iterator[None]:
    """Within: being told to end (SIGTERM, SIGHUP) is a KeyboardInterrupt, like Ctrl-C."""
    names = [getattr(signal, name, None) for name in ("SIGINT", "SIGTERM", "SIGHUP")]
    wanted = [number for number in names if number is not None]
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in wanted}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
