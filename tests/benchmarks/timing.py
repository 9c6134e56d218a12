"""Fair clocks: warm, interleaved, medians; and the table that a run becomes."""

from __future__ import annotations

import gc
import os
import platform
import resource
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

Job = Callable[[], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One comparison: how many times as much the peer takes, and what was wanted."""

    task: str
    peer: str
    ours: str
    theirs: str
    ratio: float
    wanted: float | None = None  # at least this ratio; None where there is no demand
    note: str = ""

    @property
    def verdict(self) -> str:
        """Met or missed, blank where nothing was demanded."""
        if self.wanted is None:
            return ""
        return "met" if self.ratio >= self.wanted else "MISSED"


def interleave(
    jobs: Mapping[str, Job], rounds: int, prepare: Mapping[str, Callable[[], Job]] | None = None
) -> dict[str, float]:
    """Median seconds of each job; every round runs each of them once, in turning order.

    `prepare` makes a job afresh before each of its rounds, outside the clock.
    """
    makers: dict[str, Callable[[], Job]] = {
        name: (lambda job=job: job) for name, job in jobs.items()
    }
    makers |= dict(prepare or {})
    names = list(makers)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for name in names:
        makers[name]()()  # warm
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            job = makers[name]()
            gc.collect()
            start = time.perf_counter()
            job()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def children_cpu() -> float:
    """Seconds of CPU that finished child processes have used."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def interleave_processes(
    commands: Mapping[str, Sequence[str]], rounds: int
) -> dict[str, tuple[float, float]]:
    """Median (wall, CPU) seconds of fresh processes, bytecode warm."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for turn in range(-1, rounds):
        for name, command in commands.items():
            wall, before = time.perf_counter(), children_cpu()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=env)
            wall, cpu = time.perf_counter() - wall, children_cpu() - before
            if turn >= 0:
                seconds[name].append((wall, cpu))
    return {
        name: (statistics.median(w for w, _ in pairs), statistics.median(c for _, c in pairs))
        for name, pairs in seconds.items()
    }


def processor() -> str:
    """The processor's name where the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def shown(seconds: float) -> str:
    """Seconds with their unit: 31 ms, 1.62 s, 25 min."""
    if seconds < 0.9995:
        return f"{1000 * seconds:.3g} ms"
    return f"{seconds:.3g} s" if seconds < 120 else f"{seconds / 60:.3g} min"


def compared(
    task: str,
    peer: str,
    ours: float,
    theirs: float,
    *,
    wanted: float | None = None,
    note: str = "",
) -> Line:
    """A line from two median times."""
    return Line(
        task=task,
        peer=peer,
        ours=shown(ours),
        theirs=shown(theirs),
        ratio=theirs / ours,
        wanted=wanted,
        note=note,
    )
