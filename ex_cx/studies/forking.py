"""A process that has everything imported and forks a kernel whenever it is told to.

Run as `python -m ex_cx.studies.forking PID`, the number of the runner, whose `nursery` speaks to
it in lines of JSON: in comes {"start": number, "connection_file": path}, out go {"ready": pid},
{"started": number, "pid": pid} and {"ended": number, "returncode": code}. When the runner has
ended, however, its input closes: it kills its kernels and ends. Kernels are processes of their
own, each in its own session.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import pkgutil
import selectors
import signal
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from ex_cx.studies.threads import SELDOM

__all__ = ["serve"]

INLINE = "module://matplotlib_inline.backend_inline"
STACK = (
    *("numpy", "pandas", "pandas.io.formats.html", "pandas.io.formats.csvs"),
    *("pandas.io.formats.string", "pandas.core.methods.to_dict", "pyarrow.parquet"),
    *("pyarrow.dataset", "pandas.core.arrays.arrow.extension_types", "pyarrow.pandas_compat"),
    *("pyarrow.vendored.version", "scipy.special", "scipy.optimize"),
    *("scipy.sparse.csgraph", "matplotlib.pyplot", "matplotlib.backends.backend_svg"),
    *("pydantic", "ruamel.yaml", "jinja2", "latex2mathml.converter", "html.parser", "sqlite3"),
    *("IPython.extensions.storemagic", "IPython.core.logger", "ipykernel.kernelapp"),
    *("IPython.core.magics.execution", "IPython.core.completerlib", "psutil"),
    *("ipykernel.ipkernel", "ipykernel.debugger", "matplotlib_inline.backend_inline"),
    *("tornado.platform.asyncio", "zmq.utils.garbage"),
    *("ex_cx.studies.data", "ex_cx.studies.parameters"),
)
"""What kernels and notebooks import; what is missing fails in the notebook, where it is told."""
ROOMS = ("linkage", "estimation", "models", "robustness", "reporting")


def serve(runner: int) -> None:
    """Fork kernels as told on standard input, by the process `runner`, until it closes."""
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    silence = os.open(os.devnull, os.O_RDWR)
    os.dup2(silence, 1)
    os.environ["JPY_PARENT_PID"] = str(os.getpid())  # kernels end when this process has ended
    os.environ.setdefault("MPLBACKEND", INLINE)
    gc.set_threshold(SELDOM, 20, 20)
    for name in (*STACK, *_own()):
        if os.getppid() != runner:  # it was killed; nobody will ask for a kernel
            return
        with contextlib.suppress(ImportError):
            import_module(name)
    with contextlib.suppress(ImportError):
        _rehearse()
    gc.collect()
    gc.freeze()

    def tell(event: dict[str, int]) -> None:
        events.write(json.dumps(event) + "\n")
        events.flush()

    kernels: dict[int, int] = {}
    try:
        _listen(kernels, tell, silence)
    finally:
        for pid in kernels:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)


def _own() -> Iterator[str]:
    """The modules of ex_cx that notebooks use."""
    for room in ROOMS:
        inside = import_module(f"ex_cx.{room}").__path__
        yield from (f"ex_cx.{room}.{module.name}" for module in pkgutil.iter_modules(inside))


def _rehearse() -> None:
    """Draw and show something small, so that every kernel finds fonts and templates read."""
    import pandas as pd

    from ex_cx.reporting.page import template
    from ex_cx.reporting.plots import plot_forest
    from ex_cx.reporting.report import draw_figure

    row = {"term": "x", "estimator": "within", "estimate": 0.1, "conf_low": 0.0, "conf_high": 0.2}
    frame = pd.DataFrame([row | {"conf_level": 0.95}])
    draw_figure(plot_forest(frame), "rehearsal", caption="", alt="")
    frame.to_html()
    frame.to_string()
    template("body.html.j2")


def _listen(kernels: dict[int, int], tell: Callable[[dict[str, int]], None], silence: int) -> None:
    """The loop: orders from standard input, the ends of kernels from the system."""
    woken, wake = os.pipe()
    for end in (woken, wake):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    chooser = selectors.DefaultSelector()
    chooser.register(0, selectors.EVENT_READ)
    chooser.register(woken, selectors.EVENT_READ)
    tell({"ready": os.getpid()})
    rest = b""
    while True:
        for key, _ in chooser.select():
            if key.fd == woken:
                os.read(woken, 4096)
                _reap(kernels, tell)
                continue
            read = os.read(0, 65536)
            if not read:
                return
            *lines, rest = (rest + read).split(b"\n")
            for line in lines:
                order = json.loads(line)
                pid = _fork(Path(order["connection_file"]), silence)
                kernels[pid] = order["start"]
                tell({"started": order["start"], "pid": pid})


def _reap(kernels: dict[int, int], tell: Callable[[dict[str, int]], None]) -> None:
    while kernels:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        tell({"ended": kernels.pop(pid), "returncode": os.waitstatus_to_exitcode(status)})


def _fork(connection_file: Path, silence: int) -> int:
    """Start a kernel; its number. Its session is its own before this returns."""
    told, tell = os.pipe()
    pid = os.fork()
    if pid:
        os.close(tell)
        os.read(told, 1)
        os.close(told)
        return pid
    code = 1
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for stream in (0, 1, 2):
            os.dup2(silence, stream)
        os.close(told)
        os.write(tell, b".")
        os.close(tell)
        _kernel(connection_file)
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    finally:
        os._exit(code)


def _kernel(connection_file: Path) -> None:
    from ipykernel.kernelapp import IPKernelApp

    sys.argv = ["ipykernel_launcher", "-f", str(connection_file)]
    application: Any = IPKernelApp.instance()
    quiet = ("--IPKernelApp.log_level=50", "--HistoryManager.hist_file=:memory:")
    application.initialize([*sys.argv[1:], *quiet])
    if os.environ["MPLBACKEND"] == INLINE:  # a fresh kernel does this when it imports pyplot
        application.shell.enable_matplotlib("inline")
    application.start()


if __name__ == "__main__":
    serve(int(sys.argv[1]))
