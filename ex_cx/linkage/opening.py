"""What a source names, read or opened: a file, a database in files, a table of a connection."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ex_cx.errors import SchemaError
from ex_cx.linkage.confidentiality.identifiers import hash_columns
from ex_cx.linkage.connections import (
    close_table,
    fetch_source,
    groups_itself,
    holds_text,
    open_connection,
)
from ex_cx.linkage.periods import dates_needed
from ex_cx.linkage.schema import DatabaseSpec, SourceSpec
from ex_cx.linkage.sources import TableOpen, TableRead, read_table
from ex_cx.linkage.stores import DUCKDB, open_table

__all__ = ["read_source"]

_WRITTEN = ("encoding", "delimiter", "decimal", "date_format", "sheet")
"""How a file is written, which has no meaning in a database."""
_IN_TEXT = ("decimal", "date_format")
"""Of these, what has one where numbers and dates are text."""


def read_source(spec: SourceSpec, root: str | Path = ".") -> TableRead | TableOpen:
    """Read the file of a source; units and attributes stay text, known dates are dates, identifiers
    of people are keyed hashes.

    Rows of a `database` are not read, only found, unless it is one that cannot group them as here.
    """
    if spec.database is not None and spec.database.connection:
        return _connected(spec, spec.database)
    if spec.database is not None or Path(spec.path).suffix.lower() in DUCKDB:
        return _opened(spec, root)
    table = _read_file(spec, root)
    frame = hash_columns(table.frame, spec.people, table.report.name, unit=spec.unit)
    return replace(table, frame=frame, hashed=spec.people)


def _read_file(spec: SourceSpec, root: str | Path) -> TableRead:
    """The file of a source as it is."""
    read = spec.read
    if spec.mapping is not None:
        return read_table(
            Path(root) / spec.path,
            encoding=read.encoding,
            delimiter=read.delimiter,
            decimal=read.decimal,
            missing=read.missing,
            sheet=read.sheet,
            mapping=spec.mapping,
        )
    dates = [
        column
        for measure in spec.measures.values()
        for column, kind in measure.columns().items()
        if kind == "date"
    ]
    if spec.period and dates_needed(spec.frequency) and not spec.is_spells:
        dates.append(spec.period)
    return read_table(
        Path(root) / spec.path,
        encoding=read.encoding,
        delimiter=read.delimiter,
        decimal=read.decimal,
        dates=(*dates, *read.dates),
        date_format=read.date_format,
        text=(spec.unit, *spec.attributes.values(), *_margins(spec), *read.text),
        missing=read.missing,
        sheet=read.sheet,
    )


def _margins(spec: SourceSpec) -> tuple[str, ...]:
    """Columns of categories by which respondents are weighted."""
    return () if spec.weighting is None else tuple(spec.weighting.margins)


def _connected(spec: SourceSpec, asked: DatabaseSpec) -> TableRead | TableOpen:
    """The table of a connection, fetched where its database is not asked to group."""
    opened = open_connection(asked)
    _refuse_written(spec, _IN_TEXT if holds_text(opened) else ())
    if groups_itself(opened):
        return opened
    try:
        return fetch_source(opened, spec)
    finally:
        close_table(opened)


def _opened(spec: SourceSpec, root: str | Path) -> TableOpen:
    _refuse_written(spec)
    chosen = spec.database or DatabaseSpec()
    return open_table(
        Path(root) / spec.path, table=chosen.table, memory=chosen.memory, threads=chosen.threads
    )


def _refuse_written(spec: SourceSpec, allowed: tuple[str, ...] = ()) -> None:
    """Refuse to be told how a file is written where there is none."""
    stated = {"mapping": spec.mapping, **{key: getattr(spec.read, key) for key in _WRITTEN}}
    given = [key for key, value in stated.items() if value is not None and key not in allowed]
    if given:
        remedy = ", or leave `database` out so that the file is read" if spec.path else ""
        raise SchemaError(
            f"The rows of {spec.place!r} stay in a database, which has no {given[0]!r}. Leave it "
            f"out{remedy}."
        )
