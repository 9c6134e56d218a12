"""Kernels forked from one process that has everything imported: a second each instead of many."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from ex_cx.errors import RunError

__all__ = ["ForkedKernel", "Nursery", "WarmProvisioner"]

PATIENCE = 120.0
"""Seconds within which the stack must be imported, or a kernel be forked."""


class ForkedKernel:
    """A kernel of the nursery, spoken to like a `subprocess.Popen`."""

    stdin = stdout = stderr = None

    def __init__(self) -> None:
        self.pid = 0
        self.returncode: int | None = None
        self.started = threading.Event()
        self.ended = threading.Event()

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait until it has ended."""
        if not self.ended.wait(timeout):
            raise subprocess.TimeoutExpired("kernel", timeout or 0.0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)


class Nursery:
    """The forking process of one runner; a context manager that ends it and all its kernels.

    Parameters
    ----------
    environment : what the kernels' environment has besides this process's own.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._kernels: dict[int, ForkedKernel] = {}
        self._lock = threading.Lock()
        self._ready = threading.Event()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "ex_cx.studies.forking", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
            start_new_session=True,  # Ctrl-C is for the runner, which ends the kernels itself
        )
        self._listener = threading.Thread(target=self._listen, name="nursery", daemon=True)
        self._listener.start()

    def __enter__(self) -> Nursery:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._ready.is_set():
            self._process.kill()  # it still imports, has no kernels and does not look at its input
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):  # it has ended already
                self._process.stdin.close()
        self._process.wait()
        self._listener.join()

    def fork(self, connection_file: str) -> ForkedKernel:
        """A new kernel, running, that listens where the file says.

        Raises
        ------
        RunError : the forking process has ended, or does not answer.
        """
        kernel = ForkedKernel()
        if not self._ready.wait(PATIENCE):
            raise RunError(f"The packages of a notebook were not imported within {PATIENCE:.0f} s.")
        with self._lock:
            number = len(self._kernels) + 1
            self._kernels[number] = kernel
            self._order({"start": number, "connection_file": connection_file})
        if not kernel.started.wait(PATIENCE) or kernel.pid == 0:
            raise RunError("No kernel could be started: the process that forks them has ended.")
        return kernel

    def _order(self, order: dict[str, Any]) -> None:
        stream = self._process.stdin
        try:
            if stream is not None:
                stream.write(json.dumps(order) + "\n")
                stream.flush()
        except (BrokenPipeError, ValueError):
            self._give_up()

    def _listen(self) -> None:
        for line in self._process.stdout or ():
            event = json.loads(line)
            if "ready" in event:
                self._ready.set()
            elif "started" in event:
                kernel = self._kernels[event["started"]]
                kernel.pid = event["pid"]
                kernel.started.set()
            else:
                kernel = self._kernels[event["ended"]]
                kernel.returncode = event["returncode"]
                kernel.ended.set()
        self._give_up()

    def _give_up(self) -> None:
        """The forking process is gone, and its kernels with it."""
        self._ready.set()
        for kernel in list(self._kernels.values()):
            if kernel.returncode is None:
                kernel.returncode = -signal.SIGKILL
            kernel.started.set()
            kernel.ended.set()


class WarmProvisioner(LocalProvisioner):
    """Starts a kernel in the nursery of its manager; all else is as for a local process."""

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Fork a kernel that listens at the manager's connection file."""
        manager: Any = self.parent
        self.process = manager.nursery.fork(manager.connection_file)
        self.pid = self.pgid = self.process.pid
        return self.connection_info

    async def wait(self) -> int | None:
        """Wait until it has ended, and notice that at once."""
        while await self.poll() is None:
            await asyncio.sleep(0.01)
        return await super().wait()
