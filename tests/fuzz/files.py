"""Malformed files, each made from a good one by a seed: tables, crosswalks, study files."""

from __future__ import annotations

import io
import random
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import cache
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tests.fuzz.nasty import BYTES, CELLS, DATES, ENCODINGS, NAMES, NUMBERS, pick, spoil_bytes
from tests.fuzz.stores import database_sql, planted_file
from tests.linkage.companies import Mess, draw_company, to_csv

__all__ = ["MAKERS", "Made", "good_tables", "make"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A malformed file: its name (with the ending that decides how it is read) and its bytes."""

    name: str
    content: bytes


@cache
def good_tables() -> dict[str, pd.DataFrame]:
    """A small company without mess."""
    mess = Mess(seed=5, units=3, no_unit=0, no_date=0, outside=0, blank=0)
    lines = {
        "source_unit": ["T0", "T1", "T2", "OLD"],
        "target_unit": ["T0", "T1", "T2", "T2"],
        "valid_from": ["2020-01", "2020-01", "2020-01", "2020-01"],
        "valid_to": ["", "", "", "2023-12"],
        "share": ["", "", "", "1"],
    }
    return {**draw_company(mess), "units": pd.DataFrame(lines, dtype=object)}


def make(kind: str, seed: int) -> Made:
    """The malformed file of this kind and seed; always the same one."""
    return MAKERS[kind](random.Random(f"{kind}:{seed}"))


def _delimited(rng: random.Random, table: str = "") -> Made:
    source = table or rng.choice(list(good_tables()))
    frame = _spoil_cells(good_tables()[source].copy(), rng)
    end = rng.choice(("\n", "\n", "\r\n", "\r"))
    text = to_csv(frame, delimiter=rng.choice(",,,,;\t|x"), end=end, quote=rng.choice((0, 0, 1)))
    if rng.random() < 0.3:
        text = _spoil_lines(text, end, rng)
    codec = rng.choice(("utf-8",) * 9 + ENCODINGS)
    content = text.encode(codec, errors="replace")
    if rng.random() < 0.2:
        content = rng.choice(BYTES) + content
    if rng.random() < 0.35:
        content = spoil_bytes(content, rng, rng.choice((1, 2, 5, 40)))
    if rng.random() < 0.02:
        content = rng.randbytes(rng.choice((0, 1, 50, 5000)))
    ending = rng.choice(
        (".csv",) * 8 + (".txt", ".tsv", ".parquet", ".xlsx", ".xls", ".CSV", ".zip")
    )
    return Made(name=f"{source}{ending}", content=content)


def _spoil_cells(frame: pd.DataFrame, rng: random.Random) -> pd.DataFrame:
    for _ in range(rng.choice((0, 0, 1, 1, 2, 5))):
        act = rng.randrange(7)
        at = rng.randrange(len(frame.columns))
        if act == 0 and len(frame):
            frame.iloc[rng.randrange(len(frame)), at] = pick(rng, CELLS)
        elif act == 1:
            frame.isetitem(at, [pick(rng, CELLS) for _ in range(len(frame))])
        elif act == 2:
            pool = [pick(rng, rng.choice((NUMBERS, DATES, CELLS))) for _ in range(2)]
            frame.isetitem(at, [rng.choice(pool) for _ in range(len(frame))])
        elif act == 3:
            names = list(frame.columns)
            names[at] = pick(rng, NAMES)
            frame = frame.set_axis(names, axis=1)
        elif act == 4 and len(frame.columns) > 1:
            frame = frame.iloc[:, [n for n in range(len(frame.columns)) if n != at]]
        elif act == 5:
            frame = frame.iloc[: rng.choice((0, 1, 2, len(frame)))]
        else:
            doubled = [frame, frame.iloc[: rng.randrange(len(frame) + 1)]]
            frame = pd.concat(doubled, ignore_index=True)
    return frame


def _spoil_lines(text: str, end: str, rng: random.Random) -> str:
    lines = text.split(end)
    for _ in range(rng.choice((1, 1, 3))):
        at = rng.randrange(len(lines))
        act = rng.randrange(6)
        if act == 0:
            lines[at] += rng.choice((",", ";", ",,,", '"', "\x00", "\r", "\u2028", ",x", '"x'))
        elif act == 1:
            lines[at] = lines[at].replace(",", rng.choice((";", "", ",,", '","')), 1)
        elif act == 2:
            lines.insert(at, rng.choice(("", "# comment", "Total,,,", "sep=;", '"', "-----")))
        elif act == 3:
            del lines[at]
            lines = lines or [""]
        elif act == 4:
            lines[at] = f'"{lines[at]}'
        else:
            lines.insert(0, lines[at])
    return rng.choice((end, end, "\n", "\r\n", "\n\r", "\u2028")).join(lines)


def _crosswalk(rng: random.Random) -> Made:
    return _delimited(rng, "units")


def _scalar(rng: random.Random) -> Any:
    return rng.choice(
        (
            *(
                None,
                True,
                0,
                -1,
                2**62,
                0.5,
                float("inf"),
                float("nan"),
                1e300,
                "",
                "T0",
                "2024-01",
            ),
            *(
                datetime(2024, 1, 31, 5),
                datetime(1, 1, 1),
                datetime(9999, 12, 31),
                date(2024, 1, 1),
            ),
            *(time(5, 30), timedelta(days=1), Decimal("1.5"), pick(rng, CELLS)),
        )
    )


_TYPES: tuple[Callable[[list], Any], ...] = (
    lambda v: pa.array([str(x) for x in v]),
    lambda v: pa.array([str(x) for x in v]).dictionary_encode(),
    lambda v: pa.array([str(x) for x in v], pa.large_string()),
    lambda v: pa.array([str(x) for x in v], pa.string_view()),
    lambda v: pa.array([str(x).encode() for x in v]),
    lambda v: pa.nulls(len(v)),
    lambda v: pa.nulls(len(v), pa.string()),
    lambda v: pa.array(range(len(v)), pa.uint64()),
    lambda v: pa.array([2**63 + n for n in range(len(v))], pa.uint64()),
    lambda v: pa.array([None, *range(len(v) - 1)], pa.int32()) if v else pa.nulls(0),
    lambda v: pa.array([bool(n % 2) for n in range(len(v))]),
    lambda v: pa.array([n / 7 for n in range(len(v))], pa.float16()),
    lambda v: pa.array([float("nan"), *[1e308] * (len(v) - 1)]) if v else pa.nulls(0),
    lambda v: pa.array([Decimal(n) / 8 for n in range(len(v))], pa.decimal128(30, 6)),
    lambda v: pa.array([-(2**40) - n for n in range(len(v))], pa.int64()).cast(pa.timestamp("s")),
    lambda v: pa.array([2**61 + n for n in range(len(v))]).cast(pa.timestamp("us")),
    lambda v: pa.array([2**50 + n for n in range(len(v))]).cast(
        pa.timestamp("ns", tz="Asia/Tokyo")
    ),
    lambda v: pa.array([n - 800_000 for n in range(len(v))], pa.int32()).cast(pa.date32()),
    lambda v: pa.array([2**31 - 1] * len(v), pa.int32()).cast(pa.date32()),
    lambda v: pa.array([n * 86_400_000 for n in range(len(v))]).cast(pa.date64()),
    lambda v: pa.array(range(len(v)), pa.int32()).cast(pa.time32("s")),
    lambda v: pa.array(range(len(v)), pa.int64()).cast(pa.duration("ms")),
    lambda v: pa.array([[n] for n in range(len(v))]),
    lambda v: pa.array([{"a": n} for n in range(len(v))]),
    lambda v: pa.array([b"ab"] * len(v), pa.binary(2)),
)


def _parquet(rng: random.Random) -> Made:
    source = rng.choice(list(good_tables()))
    frame = _spoil_cells(good_tables()[source].copy(), rng)
    columns = [pa.array(frame.iloc[:, at].astype(str)) for at in range(len(frame.columns))]
    for _ in range(rng.choice((0, 1, 1, 3))):
        at = rng.randrange(len(columns))
        columns[at] = rng.choice(_TYPES)(frame.iloc[:, at].astype(str).tolist())
    out = io.BytesIO()
    pq.write_table(
        pa.Table.from_arrays(columns, names=[str(name) for name in frame.columns]),
        out,
        compression=rng.choice(("snappy", "none", "gzip", "zstd")),
    )
    content = out.getvalue()
    if rng.random() < 0.5:
        content = spoil_bytes(content, rng, rng.choice((1, 3, 30)))
    if rng.random() < 0.1:
        content = content[: rng.randrange(len(content) + 1)]
    return Made(
        name=f"{source}{rng.choice(('.parquet', '.parquet', '.pq', '.csv'))}", content=content
    )


def _excel(rng: random.Random) -> Made:
    from openpyxl import Workbook
    from openpyxl.utils.exceptions import IllegalCharacterError

    source = rng.choice(list(good_tables()))
    frame = _spoil_cells(good_tables()[source].iloc[:30].copy(), rng)
    book = Workbook()
    sheet = book.active
    for row in ([*frame.columns], *frame.itertuples(index=False)):
        spoilt = [_scalar(rng) if rng.random() < 0.01 else value for value in row]
        try:
            sheet.append(spoilt)
        except (IllegalCharacterError, ValueError):
            sheet.append([None for _ in row])
    if rng.random() < 0.2:
        sheet.merge_cells("A2:B3")
    if rng.random() < 0.1:
        book.create_sheet("second")
    out = io.BytesIO()
    try:
        book.save(out)
    except (ValueError, TypeError, OverflowError):  # openpyxl cannot write every date
        return _delimited(rng)
    content = _repacked(out.getvalue(), rng)
    if rng.random() < 0.3:
        content = spoil_bytes(content, rng, rng.choice((1, 3, 30)))
    return Made(
        name=f"{source}{rng.choice(('.xlsx',) * 6 + ('.xlsm', '.xls', '.csv'))}", content=content
    )


def _repacked(content: bytes, rng: random.Random) -> bytes:
    """The book without the clock's time in it; in half of them one part is damaged or left out."""
    with zipfile.ZipFile(io.BytesIO(content)) as book:
        parts = {name: book.read(name) for name in book.namelist()}
    stamp = rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
    core = "docProps/core.xml"
    parts[core] = re.sub(stamp, b"2024-01-01T00:00:00Z", parts[core])
    if rng.random() < 0.5:
        victim, act = rng.choice(sorted(parts)), rng.randrange(3)
        if act == 0:
            del parts[victim]
        else:
            spoilt = spoil_bytes(parts[victim], rng, rng.choice((1, 3, 9)))
            parts[victim] = b"" if act == 1 else spoilt
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as book:
        for name, part in parts.items():
            book.writestr(zipfile.ZipInfo(name), part)
    return out.getvalue()


STUDY = """\
study: fuzzed
title: Does load go with a low score?
data:
  sources:
    answers:
      path: answers.csv
      unit: team
      period: date
      respondents: customers
      first: 2023-11
      last: 2024-03
      min_n: 5
      measures:
        cx_score: {metric: mean, score: score, low: 0, high: 10, split_seed: 1}
        cx_nps: {metric: nps, score: score}
        answers: {metric: count}
      crosswalk: {path: units.csv, unlisted: keep, date_format: null}
      read: {encoding: utf-8, delimiter: ",", decimal: ".", missing: ["-"], text: [team]}
    load:
      path: load.csv
      unit: team
      period: month
      frequency: month
      columns: {ex_load: load}
      ranges: {ex_load: [0, 1000]}
      combine: {ex_load: {rule: mean, min_share: 0.5}}
    people:
      path: people.csv
      unit: team
      measures:
        ex_leavers_pct: {metric: attrition, hire: hire, exit: exit}
  link:
    first: 2023-11
    last: 2024-03
    frequency: month
    derive:
      - {name: ex_load_share, multiply: ex_load, by: 0.01}
      - {standardise: [ex_load, cx_score], within: period}
      - {name: both, mean_of: [ex_load, cx_score], min_share: 0.5}
      - {name: letter, text_part: unit, start: 0, stop: 1}
    where:
      - {column: ex_load, at_least: 1, at_most: 1e3}
      - {column: unit, any_of: [T0, T1, T2]}
roles:
  exposures: [ex_load, ex_leavers_pct]
  mediators: []
  outcomes: [cx_score]
  controls: []
segments: [letter]
labels: {ex_load: load}
limits: ["It is made up."]
notebooks: [data_audit, panel_regression]
defaults:
  seed: 1
grid:
  panel_regression: {lag: [0, 1]}
runs:
  - notebook: panel_regression
    name: again
    parameters: {outcome: cx_nps, exposures: [ex_load]}
"""
_VALUES = (
    *("", "~", "null", "[]", "{}", "[[]]", "{a: {b: {c: d}}}", "true", "NO", "-1", "0", "1e400"),
    *("-9999999999999999999999", ".nan", ".inf", "0x1F", "1_000", "2024-03", "0000-00", "10000-01"),
    *(
        "9999-12",
        "&a b",
        "*a",
        "!!python/object:x {}",
        "!x y",
        "!!binary aGk=",
        "<<: {a: b}",
        "? a",
    ),
    *(
        "|",
        ">",
        "'",
        '"',
        "[1, 2",
        "{a: 1",
        "\t",
        "@x",
        "`x",
        "%TAG",
        "---",
        "...",
        "- a",
        "a: b: c",
    ),
    *(
        "month",
        "hour",
        "integer",
        "day",
        "quarter",
        "year",
        "team",
        "score",
        "../../etc/passwd",
        ".",
    ),
    *(
        "/dev/null",
        "/",
        "x" * 5000,
        "é",
        "😀",
        '"\\ud800"',
        '"\\x00"',
        '"\\0a"',
        "[" * 200,
        "{" * 200,
    ),
    *("? [a, b]", "{1: x, 1.0: y}", "{null: x}", "{[a]: b}", "{? {a: b} : c}", "__class__: {}"),
    *(
        "{column: {column: x}}",
        "[team]",
        "[[team], score]",
        "{column: [a, b]}",
        "%",
        "%Y%",
        "(?P<a",
    ),
    *("{columns: [team, [a]], combine: join}", "[0, 100, 200]", "{low: high}", "Mars/Olympus"),
    *("1.5", "[T0, 1, true]", "[null]", "[1, 1]", "lose", "attrition", "retention", "nps", "sum"),
)


MAPPING = """\
mapping: fuzzed
title: Answers
file: {delimiter: ",", decimal: ".", above_header: 0, below_header: 0, missing: ["-"]}
rows:
  keep: [{column: team, not_missing: true}, {column: score, none_of: ["99"]}]
  unique: []
times: {zone: Europe/London, to: UTC, repeated: first, skipped: forward}
columns:
  team: {kind: text, case: upper, pad: 3}
  day: {column: date, kind: time, format: "%Y-%m-%d"}
  hour: {column: date, clock: score, part: hour, invalid: missing}
  score: {scale: nps, invalid: missing}
  turned: {column: score, low: 0, high: 10, reverse: true, rescale: [0, 100], invalid: missing}
  word: {column: score, choices: {"0": low, "10": high}, invalid: missing}
  long: {column: score, unit: minutes, to: hours, thousands: ","}
  both: {columns: [score, team], combine: join}
source:
  unit: team
  period: day
  respondents: customers
  measures: {cx_nps: {metric: nps, score: score}, rows: {metric: count}}
"""


def _mapping(rng: random.Random) -> Made:
    return Made(name="mapping.yaml", content=_study(rng, MAPPING).content)


def _study(rng: random.Random, text: str = STUDY) -> Made:
    lines = text.split("\n")
    for _ in range(rng.choice((0, 1, 1, 2, 4))):
        at = rng.randrange(len(lines))
        line, act = lines[at], rng.randrange(9)
        if act in (0, 1, 2):
            key, colon, _ = line.partition(":")
            lines[at] = f"{key}{colon} {pick(rng, _VALUES)}"
        elif act == 3:
            del lines[at]
            lines = lines or [""]
        elif act == 4:
            lines.insert(at, rng.choice(lines))
        elif act == 5:
            lines[at] = rng.choice((" ", "  ", "\t", "- ", "# ", "\u2028", "\r")) + line
        elif act == 6:
            words = line.split(" ")
            words[rng.randrange(len(words))] = pick(rng, _VALUES)
            lines[at] = " ".join(words)
        elif act == 7:
            lines[at] = line.replace(
                rng.choice(list(line or " ")), rng.choice((":", "", "{", "'")), 1
            )
        else:
            lines[at] = line.strip()
    content = "\n".join(lines).encode(rng.choice(("utf-8",) * 9 + ENCODINGS), errors="replace")
    if rng.random() < 0.15:
        content = spoil_bytes(content, rng, rng.choice((1, 1, 3, 20)))
    return Made(name="study.yaml", content=content)


def _database(rng: random.Random) -> Made:
    """The SQL that fills a DuckDB file; `probe` writes it."""
    name = rng.choice(("answers", "load", "people"))
    ending = rng.choice((".duckdb", ".duckdb", ".ddb"))
    return Made(name=f"{name}{ending}", content=database_sql(good_tables(), name, rng).encode())


def _planted(rng: random.Random) -> Made:
    name, content = planted_file(good_tables(), rng)
    return Made(name=name, content=content)


MAKERS: dict[str, Callable[[random.Random], Made]] = {
    "delimited": _delimited,
    "parquet": _parquet,
    "excel": _excel,
    "crosswalk": _crosswalk,
    "study": _study,
    "mapping": _mapping,
    "database": _database,
    "planted": _planted,
}
