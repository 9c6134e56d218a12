"""A table of a database that a connection leads to, whose URL the environment alone knows.

A study file names the connection and the table. The URL, which may hold a password, is shown
nowhere: what a package says when it cannot connect is not passed on either.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlparse

import pandas as pd

from ex_cx.errors import SourceError, nearest, some
from ex_cx.linkage.confidentiality.identifiers import hash_columns
from ex_cx.linkage.files.cells import Cells
from ex_cx.linkage.files.typed import arrow_cells
from ex_cx.linkage.indatabase.columns import refuse_lacking, refuse_zone
from ex_cx.linkage.indatabase.failures import asking
from ex_cx.linkage.reads import ReadReport, TableOpen, TableRead
from ex_cx.linkage.readspec import DatabaseSpec
from ex_cx.linkage.rules import source_rules
from ex_cx.linkage.schema import SourceSpec
from ex_cx.linkage.sources import type_cells
from ex_cx.linkage.stores import connect_duckdb
from ex_cx.linkage.wording import counted

__all__ = [
    "close_table",
    "fetch_source",
    "groups_itself",
    "holds_text",
    "measured_sha256",
    "open_connection",
    "refuse_changed",
]

GROUPING = ("duckdb", "postgres", "pyspark")
"""Databases held against rows in memory by the tests; of any other the rows are fetched: their text
may be equal where ours is not (capitals, accents), or a column hold what its type does not say."""
IN_FILES = ("duckdb", "sqlite")
_EXACT = 2.0**53


def open_connection(asked: DatabaseSpec) -> TableOpen:
    """Open the table of a connection, and leave the rows where they are.

    Returns
    -------
    TableOpen
        Its report has no hash yet: a table has no bytes, so what is measured of it is hashed.

    Raises
    ------
    SourceError : no such variable, package, schema or table; no database that answers.
    """
    connection = _connect(asked)
    schema, table = _find(connection, asked)
    label = f"{asked.connection}, table {'.'.join(filter(None, (schema, table)))}"
    with asking(label):
        found = connection.table(table, **({"database": schema} if schema else {}))
        rows = int(found.count().execute())
    report = ReadReport(
        name=label, hashed="", rows=rows, columns=len(found.columns), date_formats={}
    )
    return TableOpen(table=found, report=report)


def groups_itself(opened: TableOpen) -> bool:
    """Is it a database that computes the measures where the rows are?"""
    return opened.table.get_backend().name in GROUPING


def holds_text(opened: TableOpen) -> bool:
    """Is it SQLite, where any column may hold anything and dates are text?"""
    return bool(opened.table.get_backend().name == "sqlite")


def fetch_source(opened: TableOpen, spec: SourceSpec) -> TableRead:
    """The columns that `spec` needs, read into memory as those of a file.

    Raises
    ------
    SchemaError : a column that is not there, or dates that have a time zone.
    SourceError : the database failed, or a column holds bytes, lists or records.
    """
    name, rules = opened.report.name, source_rules(spec, opened.report.name)
    needed = dict.fromkeys(
        (*(rule.name for rule in rules.columns), *spec.columns.values(), *spec.people)
    )
    refuse_lacking(opened.table.columns, needed, name)
    for rule in rules.columns:
        if rule.kind == "date":
            refuse_zone(opened.table[rule.name].type(), rule.name, name)
    with asking(name):
        wanted = opened.table.select(*needed)
        is_text = holds_text(opened)
        cells = _sqlite_cells(wanted, name) if is_text else arrow_cells(name, wanted.to_pyarrow())
    dates = [rule.name for rule in rules.columns if rule.kind == "date"]
    table = type_cells(
        cells,
        replace(opened.report, rows=len(cells.frame)),
        dates=dict.fromkeys((*dates, *spec.read.dates), spec.read.date_format),
        text=dict.fromkeys((spec.unit, *spec.attributes.values(), *spec.read.text)),
        missing=spec.read.missing,
        decimal=spec.read.decimal,
    )
    frame = hash_columns(table.frame, spec.people, name, unit=spec.unit)
    return replace(table, frame=frame, hashed=spec.people)


def _connect(asked: DatabaseSpec) -> Any:
    """An Ibis connection to what the environment variable says; nothing of that is told."""
    url = os.environ.get(asked.variable, "").strip()
    if not url:
        raise SourceError(
            f"There is no connection {asked.connection!r}: the environment variable "
            f"{asked.variable} is not set. Set it to the URL of the database, such as "
            "postgres://user:password@host:5432/database."
        )
    kind = urlparse(url).scheme.replace("postgresql", "postgres")
    known = {entry.name for entry in entry_points(group="ibis.backends")}
    if known and kind not in known:
        raise SourceError(
            f"What {asked.variable} holds is no URL of a database that Ibis knows. It begins with "
            "the kind of database: postgres://, sqlite:///, duckdb:///, mysql://, snowflake://."
        )
    try:
        import ibis

        return _file(url, kind, asked) if kind in IN_FILES else ibis.connect(url)
    except SourceError:
        raise
    except ImportError:
        hint = {"duckdb": "ex-cx[db]", "sqlite": "ex-cx[db]", "postgres": "ex-cx[postgres]"}
        raise SourceError(
            f"The connection {asked.connection!r} needs a package that is not installed: "
            f"pip install '{hint.get(kind, f'ibis-framework[{kind}]')}'."
        ) from None
    except Exception as error:  # of any package; its message may hold the password
        settings = ", and `memory` and `threads`" if kind == "duckdb" else ""
        raise SourceError(
            f"The connection {asked.connection!r} cannot be opened ({type(error).__name__}). Check "
            f"the URL in {asked.variable}, that the database is there, who may read it{settings}."
        ) from None


def _file(url: str, kind: str, asked: DatabaseSpec) -> Any:
    """A DuckDB or SQLite file, for reading only."""
    import ibis

    parsed = urlparse(url)
    parts = filter(None, (parsed.netloc, parsed.path[bool(parsed.netloc) :]))
    file = Path(*parts)
    if parse_qsl(parsed.query):
        raise SourceError(
            f"The URL in {asked.variable} has settings behind a question mark, which a file has "
            "not. Leave them out: it is opened for reading, `memory` and `threads` are stated "
            "beside the connection."
        )
    if not file.is_file():
        raise SourceError(
            f"The connection {asked.connection!r} names a file that is not there. Correct the URL "
            f"in {asked.variable}: {kind}:///folder/file for a file from the root."
        )
    if asked.threads < 0:
        raise SourceError(f"`threads` is {asked.threads}. State how many, or 0 for all.")
    if kind == "sqlite":
        connection = ibis.sqlite.connect(file)
        connection.con.execute("PRAGMA query_only = ON")
        return connection
    return connect_duckdb(asked.memory, asked.threads, attached=file)


def _find(connection: Any, asked: DatabaseSpec) -> tuple[str, str]:
    """Schema (empty: the default) and table, both among those that there are."""
    schema, table, name = asked.schema, asked.table, asked.connection
    with asking(name):
        tables = [] if schema else _tables(connection, "")
    if not schema and "." in table and table not in tables:
        schema, table = table.rsplit(".", 1)
    if schema:
        with asking(name):
            schemas = _schemas(connection)
        if schema not in schemas:
            raise SourceError(
                f"The connection {name!r} has no schema {schema!r}.{nearest(schema, schemas)} It "
                f"has {counted(len(schemas), 'schema')} ({some(schemas, 9)})."
            )
        with asking(name):
            tables = _tables(connection, schema)
    where = f"The schema {schema!r} of {name!r}" if schema else f"The connection {name!r}"
    listed = f"It has {counted(len(tables), 'table')} ({some(tables, 9)})."
    if not table and len(tables) == 1:
        return schema, tables[0]
    if not table:
        raise SourceError(f"{where}: which table? {listed} State `table` under `database`.")
    if table not in tables:
        raise SourceError(f"{where} has no table {table!r}.{nearest(table, tables)} {listed}")
    return schema, table


def _schemas(connection: Any) -> list[str]:
    if connection.name == "duckdb":
        asked = "select schema_name from information_schema.schemata where catalog_name = "
        found = connection.con.execute(f"{asked} current_catalog()").fetchall()
        return sorted({row[0] for row in found})
    return sorted(connection.list_databases())


def _tables(connection: Any, schema: str) -> list[str]:
    """Tables and views of a schema, or of the default one."""
    if connection.name == "duckdb":  # Ibis's own list does not come from DuckDB 2
        asked = "select table_name from information_schema.tables where table_catalog = "
        found = connection.con.execute(
            f"{asked} current_catalog() and table_schema = ?", [schema or "main"]
        ).fetchall()
        return sorted(row[0] for row in found)
    tables = set(connection.list_tables(**({"database": schema} if schema else {})))
    if connection.name == "postgres":  # of which the list of Ibis has none
        asked = "select matviewname from pg_matviews where schemaname = coalesce(%s, "
        found = connection.con.execute(f"{asked}current_schema())", [schema or None]).fetchall()
        tables |= {row[0] for row in found}
    return sorted(tables)


def _sqlite_cells(wanted: Any, name: str) -> Cells:
    """Cells as a text file would hold them: in SQLite any column may hold anything."""
    connection = wanted.get_backend()
    columns = list(wanted.columns)
    rows = connection.con.execute(connection.compile(wanted)).fetchall()
    frame = {}
    for at, column in enumerate(columns):
        values = [row[at] for row in rows]
        if any(isinstance(value, bytes) for value in values):
            raise SourceError(
                f"{name!r} has bytes, not text, in the column {column!r}. Cast them to text in a "
                "view, and name the view."
            )
        frame[column] = pd.Series([_written(value) for value in values], dtype="str")
    return Cells(frame=pd.DataFrame(frame))


def _written(value: object) -> str | None:
    """A value of SQLite as text, a number so that it can be read back to the last digit."""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < _EXACT else repr(value)
    return None if value is None else str(value)


def close_table(table: TableOpen | TableRead) -> None:
    """Close the connection that a table came by; what is of no connection is left alone."""
    if isinstance(table, TableOpen) and not table.report.hashed:
        table.table.get_backend().disconnect()


def refuse_changed(rows: int, report: ReadReport, name: str) -> None:
    """Refuse what was measured of a table that somebody wrote to meanwhile.

    Parameters
    ----------
    rows : that were measured; the report has those that were there before.

    Raises
    ------
    SourceError : of a table of a connection, there are others.
    """
    if not report.hashed and rows != report.rows:
        raise SourceError(
            f"The table of {name!r} ({report.name}) changed while it was read: it had "
            f"{counted(report.rows, 'row')}, then {rows:,}. Run it again when nobody writes to it."
        )


def measured_sha256(frames: Sequence[pd.DataFrame]) -> str:
    """SHA-256 of what was measured of a table, each number to 12 digits.

    What a database adds up in another order differs beyond them; it is the same result.

    >>> one, other = (pd.DataFrame({"x": [value]}) for value in (0.1 + 0.2, 0.3))
    >>> measured_sha256([one]) == measured_sha256([other])
    True
    """
    digest = hashlib.sha256()
    for frame in frames:
        for name in frame.columns:
            digest.update(f"{name}\0{len(frame)}\0".encode())
            column = frame[name]
            is_float = pd.api.types.is_float_dtype(column.dtype)
            told = [f"{v:.12g}" for v in column.round(12)] if is_float else column.astype("str")
            digest.update("\0".join(["-" if v != v else str(v) for v in told]).encode())
    return digest.hexdigest()
