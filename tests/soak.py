"""Kills at random moments: python tests/soak.py [N] [--seed S]; ends with 1 if one left a trace.

A small study of three runs, in forked kernels, is run over and over: by one runner, or by two
shards at the same time. Each time, at a random moment, a runner, a forking process or a kernel is
killed at once (SIGKILL). Afterwards no process may be left and every run's folder must be whole or
absent; at the end an undisturbed run must finish and every run verify.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from ex_cx.studies.layout import read_json
from ex_cx.studies.manifest import installed_sha256
from ex_cx.studies.simulating import write_simulated_study
from ex_cx.studies.verifying import verify_run

HERE = "from ex_cx.studies.cli import main; main()"
MARK = "EX_CX_SOAK"
PATIENCE = 60.0


def run(study: Path, out: Path, mark: str, *more: str) -> subprocess.Popen[str]:
    """Start a runner whose processes can be told by their environment."""
    command = [sys.executable, "-c", HERE, "run", str(study), "--out", str(out), "--force", *more]
    return subprocess.Popen(
        command,
        env={**os.environ, MARK: mark},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def marked(mark: str) -> list[int]:
    """Processes, not yet ended, that carry the mark in their environment."""
    found = []
    wanted = f"{MARK}={mark}".encode()
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (place / "environ").read_bytes().split(b"\0"):
                found.append(int(place.name))
        except OSError:  # it has ended, or is not ours
            continue
    return sorted(found)


def broken(folder: Path) -> list[str]:
    """Runs' folders that are neither whole nor marked as failed."""
    wrong = []
    for run_folder in folder.glob("[!.]*"):
        if not run_folder.is_dir():
            continue
        if run_folder.name.endswith(".failed"):
            whole = (read_json(run_folder / "manifest.json") or {}).get("status") == "failed"
            lines = ["a failed run without its record"]
        else:
            lines, whole = verify_run(run_folder)
        if not whole:
            wrong.append(f"{run_folder.name}: {lines}")
    return wrong


def kill_once(
    study: Path, out: Path, mark: str, rng: random.Random, longest: float
) -> tuple[str, list[str]]:
    """Runners disturbed at a random moment: what was killed, and what was wrong afterwards."""
    shards = [("--shard", "1/2"), ("--shard", "2/2")] if rng.random() < 1 / 3 else [()]
    runners = [run(study, out, mark, *shard) for shard in shards]
    own = {process.pid for process in runners}
    if rng.random() < 3 / 4:  # else also while it links the sources
        while marked(mark) and not set(marked(mark)) - own:
            time.sleep(0.1)
    time.sleep(rng.uniform(0.0, longest))
    others = [pid for pid in marked(mark) if pid not in own]
    victim = rng.choice(others) if others and rng.random() < 2 / 3 else runners[0].pid
    what = "the runner" if len(runners) == 1 else "one of two shards"
    if victim not in own:
        what = f"process {others.index(victim) + 1} of {len(others)} beneath {what}"
    try:
        os.kill(victim, signal.SIGKILL)
    except ProcessLookupError:
        what += " (had ended)"
    for process in runners:
        try:
            process.communicate(timeout=4 * PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            return what, ["the runner hung"]
    deadline = time.monotonic() + PATIENCE
    while marked(mark) and time.monotonic() < deadline:
        time.sleep(0.1)
    left = marked(mark)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    orphans = [f"{len(left)} processes outlived the runner"] if left else []
    return what, orphans + broken(out / "contact_centre")


def main() -> int:
    """Kill N times, then finish; 0 when nothing was ever left behind."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kills", type=int, nargs="?", default=100)
    parser.add_argument("--longest", type=float, default=14.0, help="seconds before a kill")
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin no kill after them")
    parser.add_argument("--seed", type=int, default=20261122)
    asked = parser.parse_args()
    rng, begun, killed = random.Random(asked.seed), time.monotonic(), Counter[str]()
    place = Path(tempfile.mkdtemp(prefix="ex_cx_soak-"))
    out, faults = place / "runs", 0
    write_simulated_study(place / "study", n_units=12, n_periods=9, seed=1, reverse=0.0)
    study = place / "study" / "study.yaml"
    text = study.read_text(encoding="utf-8")
    only = text.replace("notebooks: [data_audit, panel_regression, mediation]", "")
    study.write_text(
        only[: only.index("segments:")]
        + "notebooks: [panel_regression]\ngrid: {conf_level: [0.8, 0.9, 0.95]}\n",
        encoding="utf-8",
    )
    code = installed_sha256()
    for number in range(1, asked.kills + 1):
        if time.monotonic() - begun > 60 * asked.minutes:
            break
        if installed_sha256() != code:
            sys.exit("The code of ex_cx was changed meanwhile; begin again.")
        what, wrong = kill_once(study, out, f"{place.name}-{number}", rng, asked.longest)
        faults += bool(wrong)
        killed[re.sub(r"process .* beneath", "a process beneath", what)] += 1
        print(f"{number}/{asked.kills} killed {what}: {'; '.join(wrong) or 'clean'}", flush=True)
    last = run(study, out, f"{place.name}-last")
    said, _ = last.communicate()
    wrong = broken(out / "contact_centre")
    left = [path.name for path in (out / "contact_centre").glob(".*")]
    print(f"undisturbed run: exit code {last.returncode}; {wrong or left or 'all runs verify'}")
    if last.returncode or wrong or left:
        print(said)
        faults += 1
    shutil.rmtree(place)
    minutes = (time.monotonic() - begun) / 60
    print(f"killed: {dict(killed)}")
    print(f"{faults} faults after {killed.total()} kills in {minutes:.0f} minutes")
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
