"""Twelve reports: `ex-cx run -j 2` against a shell loop of papermill and nbconvert."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from benchmarks.timing import Line, children_cpu, compared

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
LEVELS = [level / 100 for level in range(88, 100)]  # twelve reports that all differ
CURRENT = 200


def batches() -> list[Line]:
    """The same notebook, data and parameters both ways; then a large batch with nothing to do."""
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        study = write_study(here, LEVELS)
        before = children_cpu()
        ours = timed(f"{BIN}/ex-cx run {study} --data-root {data()} --out {here}/runs --jobs 2")
        our_cpu = children_cpu() - before
        made = len(list(here.glob("runs/*/*/report.html")))
        theirs = timed(shell_loop(here))
        their_cpu = children_cpu() - before - our_cpu
        pages = len(list(here.glob("loop/*.html")))
        if (made, pages) != (len(LEVELS), len(LEVELS)):
            raise RuntimeError(f"{made} and {pages} of {len(LEVELS)} reports were made.")
        line = replace(
            compared(
                "12 reports, `ex-cx run` with 2 jobs",
                "papermill + nbconvert, shell loop",
                ours,
                theirs,
                wanted=8.0,
            ),
            note=f"CPU {our_cpu:.0f} s and {their_cpu:.0f} s",
        )
        return [line, *unchanged(here)]


def unchanged(here: Path) -> list[Line]:
    """A large batch once more, when all of its reports are there."""
    study = write_study(here, [0.5 + at / 1000 for at in range(CURRENT)])
    where = f"{study} --data-root {data()} --out {here}/many"
    timed(f"{BIN}/ex-cx run {where} --jobs 2")  # makes them
    lines = []
    for command in (f"run {where} --jobs 2", f"status {where}"):
        before = children_cpu()
        seconds = timed(f"{BIN}/ex-cx {command}")
        lines.append(
            Line(
                task=f"{CURRENT} reports, nothing changed: `ex-cx {command.split()[0]}`",
                peer="3 seconds",
                ours=f"{seconds:.2f} s",
                theirs="3 s",
                ratio=3 / seconds,
                wanted=1.0,
                note=f"CPU {children_cpu() - before:.2f} s",
            )
        )
    return lines


def write_study(here: Path, levels: list[float]) -> Path:
    """The embedded study with one panel regression for each level."""
    text = (ROOT / "data" / "contact_centre" / "study.yaml").read_text(encoding="utf-8")
    text = text[: text.index("notebooks:")]
    runs = "".join(
        f"  - {{notebook: panel_regression, name: level-{level:g}, "
        f"parameters: {{conf_level: {level:g}}}}}\n"
        for level in levels
    )
    path = here / "study.yaml"
    path.write_text(f"{text}runs:\n{runs}", encoding="utf-8")
    return path


def data() -> Path:
    return ROOT / "data" / "contact_centre"


def shell_loop(here: Path) -> str:
    """What a user without a runner types."""
    notebook = ROOT / "notebooks" / "panel_regression.ipynb"
    out = here / "loop"
    out.mkdir()
    return "\n".join(
        f"{BIN}/papermill {notebook} {out}/{level}.ipynb -k python3 -p conf_level {level} && "
        f"{BIN}/jupyter-nbconvert --to html {out}/{level}.ipynb"
        for level in LEVELS
    )


def timed(command: str) -> float:
    start = time.perf_counter()
    subprocess.run(["sh", "-e", "-c", command], check=True, capture_output=True)
    return time.perf_counter() - start
