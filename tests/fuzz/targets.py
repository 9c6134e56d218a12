"""Malformed files put to everything that opens one; only an `ExCxError` may come out."""

from __future__ import annotations

import contextlib
import io
import random
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from ex_cx.errors import ExCxError
from ex_cx.linkage.alignspec import CombineSpec, CrosswalkSpec
from ex_cx.linkage.exportmaps.file import read_mapping
from ex_cx.linkage.link import link_sources, link_study_data, read_source
from ex_cx.linkage.linkspec import LinkSpec
from ex_cx.linkage.measure import measure_source
from ex_cx.linkage.schema import MeasureSpec, ReadSpec, SourceSpec
from ex_cx.linkage.sources import read_table
from ex_cx.studies.checking import check_study, check_table_file
from ex_cx.studies.study import load_study
from tests.fuzz.files import Made, good_tables, make
from tests.fuzz.nasty import CELLS, FORMATS, NAMES, STATED, pick
from tests.linkage.companies import SOURCES, to_csv

__all__ = ["Escape", "probe"]


class Escape(AssertionError):
    """Something else than an `ExCxError` came out; the message tells how to see it again."""


def probe(kind: str, seed: int, folder: Path) -> int:
    """Put one malformed file to all that reads it; how many calls ended well.

    Raises
    ------
    Escape : another exception than an `ExCxError`, or a warning that a number was damaged.
    """
    made = make(kind, seed)
    path = folder / made.name
    path.write_bytes(made.content)
    rng = random.Random(f"targets of {kind}:{seed}")
    done = 0
    for name, call in _calls(kind, made, path, rng):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", RuntimeWarning)
                call()
            done += 1
        except ExCxError as error:
            _check_told(error, name, kind, seed)
        except (Exception, SystemExit, RecursionError) as error:
            told = "".join(traceback.format_exception(error)[-6:])
            raise Escape(
                f"{type(error).__name__} out of {name} for {made.name}; again with: "
                f"python -m tests.fuzz --case {kind}:{seed}\n{told}"
            ) from error
    return done


def _check_told(error: ExCxError, name: str, kind: str, seed: int) -> None:
    """A message is not blank, ends as a sentence and is short enough to be read."""
    text = str(error)
    if not text.strip() or len(text) > 20_000:
        raise Escape(
            f"{type(error).__name__} of {len(text)} letters out of {name}; again with: "
            f"python -m tests.fuzz --case {kind}:{seed}"
        ) from error


def _calls(
    kind: str, made: Made, path: Path, rng: random.Random
) -> Iterator[tuple[str, Callable[[], Any]]]:
    if kind == "study":
        _write_good(path.parent)
        yield "load_study", lambda: load_study(path)
        yield "check_study", lambda: list(check_study(path, path.parent))
    elif kind == "mapping":
        _write_good(path.parent)
        yield "read_mapping", lambda: read_mapping(path)
        yield "measure_source by a mapping", lambda: _measure_mapped(path)
    elif kind == "crosswalk":
        _write_good(path.parent, but=path.name)
        for _ in range(2):
            walk = _crosswalk(path.name, rng)
            sources = {**SOURCES, "answers": replace(SOURCES["answers"], crosswalk=walk)}
            yield "link_study_data", lambda used=sources: link_study_data(used, root=path.parent)
    else:
        yield "read_table", lambda: read_table(path)
        yield "read_table with options", lambda: read_table(path, **_options(rng))
        yield "check_table_file", lambda: list(check_table_file(path))
        for source, spec in _specs(path, rng):
            yield f"measure_source {source}", lambda s=spec, n=source: _measure(s, n, path.parent)
        if rng.random() < 0.2:
            yield "link_study_data", lambda: _link_beside_good(path, rng)
    if kind != "mapping" and rng.random() < 0.1:
        yield "ex-cx check", lambda: _command("check", str(path), "--data-root", str(path.parent))


def _options(rng: random.Random) -> dict[str, Any]:
    names = [*NAMES, "team", "date", "score", "hire", "month"]
    chosen: dict[str, Any] = {
        key: pick(rng, values) for key, values in STATED.items() if rng.random() < 0.3
    }
    chosen["dates"] = [pick(rng, names) for _ in range(rng.choice((0, 1, 1, 2)))]
    chosen["text"] = [pick(rng, names) for _ in range(rng.choice((0, 0, 1)))]
    chosen["missing"] = [pick(rng, CELLS) for _ in range(rng.choice((0, 0, 2)))]
    if rng.random() < 0.3:
        chosen["date_format"] = pick(rng, FORMATS)
    return chosen


def _specs(path: Path, rng: random.Random) -> list[tuple[str, SourceSpec]]:
    """The file as what it was, and as each kind of source that it was not."""
    name = path.stem
    right = SOURCES.get(name, SOURCES["load"])
    loose = {"first": "", "last": ""} if right.period else {}
    frequency = rng.choice(("month", "quarter", "year", "day", "hour", "integer"))
    edge = rng.choice(("", "2024-01", "0000-00", "9999-12", "10000-01", 7, -(10**30), "x", "2024"))
    free = {
        "frequency": frequency,
        "first": edge,
        "last": rng.choice(("", "2024-03", "2262-05", 10**30)),
        "carry": rng.choice((0, 0, 1, 500)),
        "read": ReadSpec(date_format=rng.choice((None, None, "%Y-%m-%d", "%d/%m/%Y"))),
    }
    measures = {
        "n": MeasureSpec(metric="count"),
        "nps": MeasureSpec(metric="nps", score="score"),
        "yes": MeasureSpec(metric="share", score="score", positive=("5", "yes")),
        "again": MeasureSpec(metric="fcr", customer="team", days=rng.choice((1, 7, 10**6))),
        "per": MeasureSpec(metric="ratio", numerator="score", denominator="score", per=1e300),
        "total": MeasureSpec(metric="sum", score="score"),
    }
    some = rng.sample(sorted(measures), 2)
    drawn = SourceSpec(
        path=path.name,
        unit="team",
        period="date",
        measures={each: measures[each] for each in some},
        **free,
    )
    found = [(name, replace(right, path=path.name, **loose)), ("drawn", drawn)]
    if name == "load":
        rule = CombineSpec(rule=rng.choice(("mean", "sum", "last")), min_share=1.0)
        ready = replace(right, path=path.name, combine={"ex_load": rule}, **free)
        found.append(("ready", ready))
    return found


def _measure(spec: SourceSpec, name: str, folder: Path) -> None:
    longer = "year" if spec.frequency in ("month", "quarter") and not spec.carry else ""
    measured = measure_source(read_source(spec, folder), spec, name, frequency=longer)
    link_sources([measured])


def _measure_mapped(path: Path) -> None:
    spec = read_mapping(path).source_spec("answers.csv")
    measure_source(read_source(spec, path.parent), spec, "answers")


def _link_beside_good(path: Path, rng: random.Random) -> None:
    _write_good(path.parent, but=path.name)
    sources = dict(SOURCES)
    if path.stem in sources:
        sources[path.stem] = replace(sources[path.stem], path=path.name)
    plan = LinkSpec(frequency=rng.choice(("", "month")))
    link_study_data(sources, plan, path.parent)


def _crosswalk(name: str, rng: random.Random) -> CrosswalkSpec:
    odd = {"date_format": pick(rng, FORMATS)} if rng.random() < 0.2 else {}
    odd |= {"sheet": "x"} if rng.random() < 0.1 else {}
    return CrosswalkSpec(path=name, unlisted=rng.choice(("lose", "keep")), **odd)


def _write_good(folder: Path, but: str = "") -> None:
    for name, table in good_tables().items():
        file = folder / f"{name}.csv"
        if file.name != but:
            file.write_text(to_csv(table), encoding="utf-8", newline="")


def _command(*arguments: str) -> None:
    """`ex-cx` with these arguments, in this process; it must end with 0 or 2 and a message."""
    from ex_cx.studies.cli import main

    before, out, err = sys.argv, io.StringIO(), io.StringIO()
    sys.argv = ["ex-cx", *arguments]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as end:
        told = err.getvalue()
        if end.code not in (0, None, 2) or "Traceback" in told:
            raise Escape(f"ex-cx {' '.join(arguments)} ended with {end.code}: {told}") from end
    finally:
        sys.argv = before
