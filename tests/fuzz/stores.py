"""Malformed DuckDB files and folders of Parquet, and good ones in which secrets are planted.

A DuckDB file differs each time it is written, so that what a seed makes is the SQL that fills it;
`write_store` runs it and spoils the bytes.
"""

from __future__ import annotations

import contextlib
import io
import json
import random
import re
import zipfile
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tests.fuzz.nasty import CELLS, DATES, NAMES, NUMBERS, SECRETS, pick, spoil_bytes

__all__ = ["database_sql", "planted_file", "write_store"]

TYPES = (
    *("VARCHAR", "VARCHAR", "BIGINT", "HUGEINT", "UHUGEINT", "UBIGINT", "TINYINT", "DOUBLE"),
    *("FLOAT", "DECIMAL(38,10)", "BOOLEAN", "DATE", "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_NS"),
    *("TIMESTAMPTZ", "TIME", "TIMETZ", "INTERVAL", "UUID", "BLOB", "BIT", "JSON", "INTEGER[]"),
    *("STRUCT(a INTEGER)", "MAP(VARCHAR, INTEGER)", "UNION(n INTEGER, t VARCHAR)", "INTEGER[3]"),
    *("ENUM('T0', 'T1', '5', '2024-01-31')", "BIGNUM", "VARIANT", "TIME_NS", "GEOMETRY"),
)
RIGHT = {"team": "VARCHAR", "score": "DOUBLE", "load": "DOUBLE"}
"""Types of the columns as they should be; of the others a date."""
EDGES = (
    *("'infinity'::DATE", "'-infinity'::TIMESTAMP", "'9999-12-31'::TIMESTAMP", "DATE '0001-01-01'"),
    *("'290000-01-01 (BC)'::DATE", "'nan'::DOUBLE", "'inf'::DOUBLE", "1e308", "2^62", "NULL", "''"),
    *("170141183460469231731687303715884105727", "TIMESTAMP '1677-01-01'", "INTERVAL 9 YEAR"),
)


def quoted(name: str, mark: str = '"') -> str:
    """A name, or a text with `'`, as SQL writes it."""
    return mark + name.replace("\x00", "").replace(mark, mark * 2) + mark


def database_sql(tables: dict[str, pd.DataFrame], first: str, rng: random.Random) -> str:
    """Statements, one a line, of which some may fail; the first says how to spoil the bytes."""
    lines = _table_sql(first, tables[first], rng)
    if rng.random() < 0.2:
        source = rng.choice(sorted(set(tables) - {"units"}))
        lines += _table_sql(source, tables[source], rng)
    spoil = rng.choice((0, 0, 0, 0, 0, 1, 5, 100))
    form = {"spoil": spoil, "cut": rng.random() < 0.05, "seed": rng.randrange(2**32)}
    return "\n".join((f"-- {json.dumps(form)}", *lines))


def _table_sql(source: str, frame: pd.DataFrame, rng: random.Random) -> list[str]:
    head = frame.iloc[: rng.choice((0, 1, 40, 200))]
    if "month" in head:
        head = head.assign(month=head["month"] + "-01")
    names = [str(name) for name in head.columns]
    kinds = [RIGHT.get(n, "DATE") if rng.random() < 0.8 else rng.choice(TYPES) for n in names]
    if rng.random() < 0.2:
        names[rng.randrange(len(names))] = pick(rng, NAMES)
    table = quoted(rng.choice((source,) * 6 + ("t", 'a"b', "information_schema", "é")))
    declared = ", ".join(f"{quoted(n)} {k}" for n, k in zip(names, kinds, strict=True))
    lines = [f"CREATE TABLE {table} ({declared})"]
    for row in head.itertuples(index=False):
        values = [quoted(str(value), "'") if value else "NULL" for value in row]
        if rng.random() < 0.05:
            at = rng.randrange(len(values))
            odd = pick(rng, rng.choice((CELLS, NUMBERS, DATES)))[:500]
            values[at] = rng.choice((rng.choice(EDGES), quoted(" ".join(odd.split()), "'")))
        lines.append(f"INSERT INTO {table} VALUES ({', '.join(values)})")
    act = rng.random()
    if act < 0.1:  # a view that fails when it is asked
        shown = f"CAST({quoted(rng.choice(names))} AS {rng.choice(TYPES)}) AS score"
        lines.append(f"CREATE VIEW v AS SELECT * EXCLUDE (score), {shown} FROM {table}")
    elif act < 0.15:
        lines += [f"CREATE VIEW w AS SELECT * FROM {table}", f"DROP TABLE {table}"]
    elif act < 0.2:
        lines.append("CREATE VIEW far AS SELECT * FROM read_csv('/etc/hostname', header=false)")
    return lines


def write_store(sql: str, path: Path) -> None:
    """Make the file; what the database does not take is left out."""
    import duckdb

    first, *lines = sql.split("\n")
    form = json.loads(first.removeprefix("-- "))
    with duckdb.connect(config={"threads": 1}) as memory:
        for line in lines:
            with contextlib.suppress(duckdb.Error, UnicodeDecodeError):  # of its own message
                memory.execute(line)
        memory.execute("ATTACH " + quoted(str(path), "'") + " AS kept")
        with contextlib.suppress(duckdb.Error, UnicodeDecodeError):  # of a view that fails
            memory.execute("COPY FROM DATABASE memory TO kept")
        memory.execute("DETACH kept")
    if form["spoil"] or form["cut"]:
        rng = random.Random(form["seed"])
        content = spoil_bytes(path.read_bytes(), rng, form["spoil"])
        path.write_bytes(content[: rng.randrange(len(content))] if form["cut"] else content)


def planted_file(tables: dict[str, pd.DataFrame], rng: random.Random) -> tuple[str, bytes]:
    """A good file of answers, load or people with secrets where no name of a unit or column is.

    It is written as any of the formats; what is said of it must not hold a secret.
    """
    from tests.linkage.companies import to_csv

    source = rng.choice(sorted(set(tables) - {"units"}))
    frame = tables[source].iloc[: rng.choice((3, 60, 300))].copy()
    for at in rng.sample(range(1, len(frame.columns)), rng.choice((1, 1, len(frame.columns) - 1))):
        share = rng.choice((0.02, 0.3, 1.0))
        hit = [rng.random() < share for _ in range(len(frame))]
        hit[rng.randrange(len(hit))] = True
        column = [
            pick(rng, SECRETS) if h else v for h, v in zip(hit, frame.iloc[:, at], strict=True)
        ]
        frame.isetitem(at, column)
    ending = rng.choice((".csv", ".csv", ".xlsx", ".parquet", ".duckdb"))
    if ending == ".csv":
        end = rng.choice(("\n", "\r\n"))
        text = to_csv(frame, delimiter=rng.choice(",;\t|"), end=end, quote=rng.choice((0, 1)))
        lines = text.split(end)
        act = rng.randrange(4)
        below = rng.randrange(1, len(lines) - 1)
        if act == 0:
            lines[below] += rng.choice((",x", ";;", '"', f",{SECRETS[0]}"))
        elif act == 1:
            lines[below] = f'"{lines[below]}'
        return f"{source}.csv", end.join(lines).encode()
    if ending == ".duckdb":
        return f"{source}.duckdb", _planted_sql(source, frame, rng).encode()
    out = io.BytesIO()
    if ending == ".xlsx":
        frame.to_excel(out, index=False)
        return f"{source}.xlsx", stamped(out.getvalue())
    columns = [pa.array(frame.iloc[:, at].astype(str)) for at in range(len(frame.columns))]
    names = [str(name) for name in frame.columns]
    pq.write_table(pa.Table.from_arrays(columns, names=names), out)
    return f"{source}.parquet", out.getvalue()


def _planted_sql(source: str, frame: pd.DataFrame, rng: random.Random) -> str:
    """A table of text, seen through a view that turns a column into what not all of it is."""
    names = [str(name) for name in frame.columns]
    lines = [f"CREATE TABLE raw_rows ({', '.join(f'{quoted(name)} VARCHAR' for name in names)})"]
    for row in frame.itertuples(index=False):
        values = ", ".join(quoted(str(value), "'") for value in row)
        lines.append(f"INSERT INTO raw_rows VALUES ({values})")
    at = rng.randrange(1, len(names))
    kind = rng.choice(("INTEGER", "DOUBLE", "DATE", "TIMESTAMP", "VARCHAR", "UUID", "BOOLEAN"))
    shown = [
        f"CAST({quoted(name)} AS {kind}) AS {quoted(name)}" if i == at else quoted(name)
        for i, name in enumerate(names)
    ]
    lines.append(f"CREATE VIEW {quoted(source)} AS SELECT {', '.join(shown)} FROM raw_rows")
    return "\n".join(('-- {"spoil": 0, "cut": false, "seed": 0}', *lines))


def stamped(book: bytes) -> bytes:
    """An Excel file without the time of its making."""
    stamp = rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(book)) as parts, zipfile.ZipFile(out, "w") as copy:
        for name in parts.namelist():
            text = re.sub(stamp, b"2024-01-01T00:00:00Z", parts.read(name))
            copy.writestr(zipfile.ZipInfo(name), text)
    return out.getvalue()
