"""Malformed files put to everything that opens one; only an `ExCxError` may come out."""

from __future__ import annotations

import contextlib
import io
import random
import shutil
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from ex_cx.errors import ExCxError
from ex_cx.linkage.alignspec import CombineSpec, CrosswalkSpec
from ex_cx.linkage.exportmaps.file import read_mapping
from ex_cx.linkage.link import link_sources, link_study_data
from ex_cx.linkage.linkspec import LinkSpec
from ex_cx.linkage.measure import measure_source
from ex_cx.linkage.opening import read_source
from ex_cx.linkage.schema import DatabaseSpec, MeasureSpec, ReadSpec, SourceSpec
from ex_cx.linkage.sources import read_table
from ex_cx.linkage.stores import DUCKDB, PARQUET, open_table
from ex_cx.studies.checking import check_study, check_table_file
from ex_cx.studies.proposing import propose_for_file
from ex_cx.studies.scaffold import scaffold_study
from ex_cx.studies.study import load_study
from tests.fuzz.files import Made, good_tables, make
from tests.fuzz.nasty import CELLS, FORMATS, NAMES, STATED, pick, secrets_in
from tests.fuzz.stores import write_store
from tests.linkage.companies import SOURCES, to_csv

__all__ = ["Escape", "probe"]


BY_MAPPING = """\
study: mapped
title: Answers by a mapping
data:
  sources:
    answers: {path: answers.csv, mapping: mapping.yaml}
    load: {path: load.csv, unit: team, period: month, columns: {ex_load: load}}
roles: {exposures: [ex_load], outcomes: [cx_nps]}
notebooks: [data_audit]
"""


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
    if path.suffix in DUCKDB:
        write_store(made.content.decode(), path)
    else:
        path.write_bytes(made.content)
    rng = random.Random(f"targets of {kind}:{seed}")
    done = 0
    for name, call in _calls(kind, made, path, rng):
        again = f"for {made.name}; again with: python -m tests.fuzz --case {kind}:{seed}"
        before = _files(folder)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", RuntimeWarning)
                told = call()
            _check_told(told if isinstance(told, str) and told else ".", name, again)
            done += 1
        except ExCxError as error:
            _check_told(str(error), f"{type(error).__name__} out of {name}", again)
            if _files(folder) != before:
                raise Escape(f"{name} failed and left files behind {again}") from error
        except Escape as escape:
            raise Escape(f"{escape} {again}") from escape
        except (Exception, SystemExit, RecursionError) as error:
            told = "".join(traceback.format_exception(error)[-6:])
            raise Escape(f"{type(error).__name__} out of {name} {again}\n{told}") from error
    return done


def _files(folder: Path) -> dict[str, int]:
    """What lies there, but for what a call is made for."""
    return {str(p): p.stat().st_size for p in folder.rglob("*") if not p.name.endswith(".good")}


def _check_told(text: str, name: str, again: str) -> None:
    """A message is not blank, short enough to be read, and holds no value of the data."""
    if not text.strip() or len(text) > 20_000:
        raise Escape(f"{name}: {len(text)} letters {again}")
    if found := secrets_in(text):
        raise Escape(f"{name} quotes the data: {found} {again}\n{text[:2000]}")


def _calls(
    kind: str, made: Made, path: Path, rng: random.Random
) -> Iterator[tuple[str, Callable[[], Any]]]:
    if kind == "study":
        _write_good(path.parent)
        yield "load_study", lambda: load_study(path)
        yield "check_study", lambda: _lines(check_study(path, path.parent))
    elif kind == "mapping":
        _write_good(path.parent)
        yield "read_mapping", lambda: read_mapping(path)
        yield "measure_source by a mapping", lambda: _measure_mapped(path)
        (path.parent / "study.yaml").write_text(BY_MAPPING, encoding="utf-8")
        yield "check_study by a mapping", lambda: _lines(check_study(path.parent / "study.yaml"))
    elif kind == "crosswalk":
        _write_good(path.parent, but=path.name)
        for _ in range(2):
            walk = _crosswalk(path.name, rng)
            sources = {**SOURCES, "answers": replace(SOURCES["answers"], crosswalk=walk)}
            yield "link_study_data", lambda used=sources: link_study_data(used, root=path.parent)
    elif path.suffix in DUCKDB:
        yield "check_table_file", lambda: _lines(check_table_file(path))
        yield "open_table", lambda: _open(path, rng)
        for source, spec in _specs(path, rng):
            kept = DatabaseSpec(table=rng.choice(("", "", "", path.stem)), threads=1)
            form = ReadSpec(missing=rng.choice(((), ("-",))))
            spec = replace(spec, database=kept, read=form)
            yield f"measure_source {source}", lambda s=spec, n=source: _measure(s, n, path.parent)
    else:
        yield "read_table", lambda: read_table(path)
        yield "read_table with options", lambda: read_table(path, **_options(rng))
        yield "check_table_file", lambda: _lines(check_table_file(path))
        yield "ex-cx map", lambda: _propose(path)
        if rng.random() < 0.3:
            yield "ex-cx new", lambda: _lines(scaffold_study(path.parent / "new", path))
        for source, spec in _specs(path, rng):
            yield f"measure_source {source}", lambda s=spec, n=source: _measure(s, n, path.parent)
        if path.suffix in PARQUET:
            yield from _stays(path, rng)
        if rng.random() < 0.2:
            _write_good(path.parent, but=path.name)
            yield "link_study_data", lambda: _link_beside_good(path, rng)
    if kind != "mapping" and rng.random() < 0.1:
        yield "ex-cx check", lambda: _command("check", str(path), "--data-root", str(path.parent))


def _lines(lines: Iterable[str]) -> str:
    return "\n".join(lines)


def _open(path: Path, rng: random.Random) -> None:
    memory = rng.choice(("500MB",) * 9 + ("0", "-1", "much", "1e99GB"))
    threads = rng.choice((1,) * 9 + (-1, 10**9))
    open_table(path, table=rng.choice(("", "", pick(rng, NAMES))), memory=memory, threads=threads)


def _stays(path: Path, rng: random.Random) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Parquet that is not read but grouped by DuckDB, alone and beside a good part."""
    folder = path.parent / "parts"
    folder.mkdir()
    shutil.copy2(path, folder / path.name)
    if path.stem in good_tables() and rng.random() < 0.5:
        good_tables()[path.stem].to_parquet(folder / "another.parquet")
    for place in (path.name, folder.name):
        for source, spec in _specs(path, rng):
            kept = DatabaseSpec(memory="500MB", threads=1)
            spec = replace(spec, path=place, database=kept, read=ReadSpec())
            yield f"measure_source {source}", lambda s=spec, n=source: _measure(s, n, path.parent)


def _propose(path: Path) -> str:
    """A mapping proposed; what is proposed loads, and is whole or not there."""
    out = path.with_name("proposed.yaml.good")
    out.unlink(missing_ok=True)
    try:
        text, told = propose_for_file(path, out)
    except ExCxError:
        if out.exists():
            raise Escape("a proposal was left though it failed") from None
        raise
    if out.read_text(encoding="utf-8") != text:
        raise Escape("another proposal was written than told")
    return "\n".join((text, *told))


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


def _command(*arguments: str) -> str:
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
    return out.getvalue() + err.getvalue()
