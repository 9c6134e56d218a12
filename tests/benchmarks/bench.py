"""Time ex_cx against its peers: python -m benchmarks.bench [--only PART] [--write FILE].

Everything is warm and interleaved, and ratios are of medians within this one run: absolute times
depend on the machine and on what else it does, ratios far less.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import sys
from importlib import metadata
from pathlib import Path

from benchmarks import batches, errors, mediations, panels, scale, startups
from benchmarks.timing import Line, processor

PARTS = {
    "fit": panels.small,
    "errors": errors.errors,
    "mediation": mediations.two_way,
    "chain": mediations.serial,
    "packages": mediations.packages,
    "startup": startups.startups,
    "large": panels.large,
}
ALONE = {  # run by --only: ten minutes of reports, 50 million rows
    "batch": batches.batches,
    "scale": scale.scales,
}
README = Path(__file__).resolve().parents[2] / "README.md"
MARKS = ("<!-- written by make bench -->", "<!-- end of what make bench writes -->")
PACKAGES = (
    *("ex-cx", "numpy", "pandas", "scipy", "StatsPAI", "pyfixest", "linearmodels"),
    *("statsmodels", "wildboottest", "pyprocessmacro", "pingouin", "typer"),
)


def header() -> str:
    """Date, machine and versions."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)
    return (
        f"{datetime.date.today():%Y-%m-%d}, {os.cpu_count()} cores, {processor()}, "
        f"Python {platform.python_version()}, {versions}."
    )


def table(lines: list[Line]) -> str:
    """The comparisons as a Markdown table."""
    head = "| task | peer | ex_cx | peer's | ratio | wanted | |\n" + "| --- " * 7 + "|\n"
    body = "".join(
        f"| {one.task} | {one.peer} | {one.ours} | {one.theirs} | {number(one.ratio)} | "
        f"{'' if one.wanted is None else '>= ' + number(one.wanted)} | {one.verdict} |\n"
        for one in lines
    )
    notes = dict.fromkeys(f"- {one.task} / {one.peer}: {one.note}." for one in lines if one.note)
    return head + body + "\n" + "\n".join(notes) + "\n"


def brief(lines: list[Line]) -> str:
    """What was demanded, as the short table of the README."""
    body = "".join(
        f"| {one.task} | {one.peer} | {number(one.ratio)} | {number(one.wanted)} |\n"
        for one in lines
        if one.wanted is not None
    )
    head = "| task | peer | the peer takes so many times as much | wanted |\n"
    return f"{header()}\n\n{head}{'| --- ' * 4}|\n{body}"


def write_readme(lines: list[Line]) -> None:
    """Put the short table between the marks in the README."""
    text = README.read_text(encoding="utf-8")
    before, rest = text.split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    README.write_text(f"{before}{MARKS[0]}\n{brief(lines)}{MARKS[1]}{after}", encoding="utf-8")


def number(ratio: float) -> str:
    """Three digits, thousands apart."""
    return f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.3g}"


def main() -> int:
    """Run the parts; 1 if a demand was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=PARTS | ALONE, action="append", help="a part to run")
    parser.add_argument("--write", type=Path, help="the Markdown file to write")
    given = parser.parse_args()
    lines: list[Line] = []
    for name in given.only or PARTS:
        print(f"{name} ...", file=sys.stderr, flush=True)
        lines += (PARTS | ALONE)[name]()
    text = (
        "# Benchmarks\n\n"
        "Written by `make bench`. Warm, interleaved, medians of one run; the ratio is the peer's "
        "time (or memory) over that of ex_cx, so above 1 means that ex_cx is ahead. Peers are "
        "checked to give the same estimates first. All tools run with their default threads.\n\n"
        f"{header()}\n\n{table(lines)}"
    )
    print(text)
    if given.write:
        given.write.parent.mkdir(parents=True, exist_ok=True)
        given.write.write_text(text, encoding="utf-8")
        if not given.only:
            write_readme(lines)
    return int(any(one.verdict == "MISSED" for one in lines))


if __name__ == "__main__":
    sys.exit(main())
