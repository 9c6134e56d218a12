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
TURNS = 3


def batches() -> list[Line]:
    """The same notebook, data and parameters both ways; then a large batch with nothing to do."""
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        study, out = write_study(here, LEVELS), here / "loop"
        out.mkdir()
        ours, theirs, cpu = [], 0.0, {"ours": 0.0, "theirs": 0.0}
        for turn in range(TURNS):  # the loop in parts, and a whole batch before each
            before = children_cpu()
            runs = here / f"runs-{turn}"
            ours.append(
                timed(f"{BIN}/ex-cx run {study} --data-root {data()} --out {runs} --jobs 2")
            )
            cpu["ours"] += (children_cpu() - before) / TURNS
            before = children_cpu()
            theirs += timed(shell_loop(out, LEVELS[turn::TURNS]))
            cpu["theirs"] += children_cpu() - before
            made = len(list(runs.glob("*/*/report.html")))
            if made != len(LEVELS):
                raise RuntimeError(f"{made} of {len(LEVELS)} reports were made.")
        pages = len(list(out.glob("*.html")))
        if pages != len(LEVELS):
            raise RuntimeError(f"The loop made {pages} of {len(LEVELS)} pages.")
        line = replace(
            compared(
                "12 reports, `ex-cx run` with 2 jobs",
                "papermill + nbconvert, shell loop",
                sum(ours) / TURNS,
                theirs,
                wanted=8.0,
            ),
            note=f"mean of {TURNS} batches ({min(ours):.1f} to {max(ours):.1f} s), taken in turns "
            f"with the parts of one loop; CPU {cpu['ours']:.0f} s and {cpu['theirs']:.0f} s",
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


def shell_loop(out: Path, levels: list[float]) -> str:
    """What a user without a runner types."""
    notebook = ROOT / "notebooks" / "panel_regression.ipynb"
    return "\n".join(
        f"{BIN}/papermill {notebook} {out}/{level}.ipynb -k python3 -p conf_level {level} && "
        f"{BIN}/jupyter-nbconvert --to html {out}/{level}.ipynb"
        for level in levels
    )


def timed(command: str) -> float:
    start = time.perf_counter()
    subprocess.run(["sh", "-e", "-c", command], check=True, capture_output=True)
    return time.perf_counter() - start
