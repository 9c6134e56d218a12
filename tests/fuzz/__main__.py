"""Malformed files for as long as you like: python -m tests.fuzz [MINUTES] [--seed S] [--case K:N].

Every file comes from its kind and a number, so that a finding can be seen again. Ends with 1 if
anything but an `ExCxError` came out; each finding is printed once, by where it came from.
"""

from __future__ import annotations

import argparse
import faulthandler
import resource
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

from tests.fuzz.files import MAKERS, make
from tests.fuzz.targets import Escape, probe

PATIENCE = 60
"""Seconds after which a file counts as one that hangs."""
MEMORY = 6 * 2**30
"""Bytes of address space: a file that asks for more is a finding, not a machine without memory."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("minutes", nargs="?", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1_000_000)
    parser.add_argument("--case", default="", help="one file again, such as delimited:17")
    parser.add_argument("--most", type=int, default=20, help="findings after which to stop")
    given = parser.parse_args()
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.signal(signal.SIGALRM, _too_long)
    if given.case:
        return _again(given.case)
    return _search(given.minutes, given.seed, given.most)


def _too_long(_signal: int, _frame: FrameType | None) -> None:
    raise TimeoutError(f"no answer within {PATIENCE} seconds")


def _again(case: str) -> int:
    kind, _, seed = case.partition(":")
    print(make(kind, int(seed)).content[:2000])
    with TemporaryDirectory() as folder:
        probe(kind, int(seed), Path(folder))
    print(f"{case}: nothing escapes")
    return 0


def _search(minutes: float, seed: int, most: int) -> int:
    start, files, calls = time.monotonic(), Counter[str](), Counter[str]()
    found: dict[str, str] = {}
    while time.monotonic() - start < 60 * minutes and len(found) < most:
        for kind in MAKERS:
            with TemporaryDirectory() as folder:
                signal.alarm(PATIENCE)
                try:
                    calls[kind] += probe(kind, seed, Path(folder))
                except Escape as escape:
                    where = str(escape).rstrip().splitlines()
                    found.setdefault("\n".join(where[-3:]), str(escape))
                finally:
                    signal.alarm(0)
            files[kind] += 1
        seed += 1
    for text in found.values():
        print(text)
    told = ", ".join(
        f"{n:,} {kind} ({calls[kind]:,} calls ended well)" for kind, n in files.items()
    )
    print(f"{sum(files.values()):,} files in {time.monotonic() - start:.0f} s: {told}.")
    print(f"{len(found)} findings; the next seed is {seed}.")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
