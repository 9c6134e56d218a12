"""What a database refuses, in words of ours: its own message may quote a value of the rows."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ex_cx.errors import SourceError

__all__ = ["asking"]

_ROOMS = (
    *("duckdb", "_duckdb", "ibis", "sqlglot", "pyspark", "py4j", "pyarrow"),
    *("sqlite3", "psycopg", "psycopg2", "MySQLdb", "pyodbc", "oracledb", "snowflake", "google"),
    *("clickhouse_connect", "clickhouse_driver", "trino", "databricks", "impala", "pyexasol"),
    *("pydruid", "singlestoredb", "pyathena", "redshift_connector"),
)
"""Packages that speak for a database."""
_WHY = {
    "ConversionException": "a value does not fit the type that a view or a column asks for",
    "OutOfRangeException": "a number is too large",
    "PermissionException": "a view asks for a file beside the database, which is not opened",
    "OutOfMemoryException": "it needs more than its `memory`",
    "BinderException": "a view names what is not there, or a type does not fit",
    "CatalogException": "a view names what is not there",
    "IOException": "the file is damaged, locked or no longer there",
    "InternalException": "the file is damaged",
    "FatalException": "the file is damaged",
    "SerializationException": "the file is damaged",
    "UnicodeDecodeError": "it holds text that is damaged",
    "OperationalError": "it is out of reach, busy or refuses the question",
    "AdminShutdown": "its server was shut down",
    "InsufficientPrivilege": "its user may not read that",
    "InvalidTextRepresentation": "a value does not fit the type that a view or a column asks for",
    "NumericValueOutOfRange": "a number is too large",
    "DatetimeFieldOverflow": "a date is too early or too late",
    "DivisionByZero": "a view divides by zero",
    "QueryCanceled": "its server stopped the question, perhaps after a time that is set there",
    "TableNotFound": "the table is not there",
}
_CANNOT = ("OperationNotDefinedError", "UnsupportedOperationError", "UnsupportedBackendType")
_WAYS_OUT = {
    **dict.fromkeys(_CANNOT, "Export the table to Parquet and name that file"),
    "OperationalError": "See that it runs, and run it again",
    "AdminShutdown": "See that it runs, and run it again",
    "InsufficientPrivilege": "Ask for the right to select, with a crosswalk also to make temporary "
    "tables",
}


@contextlib.contextmanager
def asking(name: str) -> Iterator[None]:
    """Whatever a database raises while it is asked about `name` becomes one error without values.

    Raises
    ------
    SourceError : the database, or what lies between it and this package, failed.

    Examples
    --------
    >>> import duckdb
    >>> with asking("calls.duckdb"):
    ...     duckdb.sql("select cast('Ann Lee' as integer)").fetchall()
    Traceback (most recent call last):
    ex_cx.errors.SourceError: The database cannot answer what is asked of 'calls.duckdb': a value \
does not fit the type that a view or a column asks for (ConversionException). Correct it there, or \
leave the column out.
    """
    try:
        yield
    except Exception as error:
        kind = type(error)
        is_damaged = isinstance(error, UnicodeDecodeError)  # of text that is none, or of a message
        if kind.__module__.partition(".")[0] not in _ROOMS and not is_damaged:
            raise
        why = _WHY.get(kind.__name__)
        if kind.__name__ in _CANNOT:
            why = "this kind of database cannot compute it"
        way = _WAYS_OUT.get(kind.__name__, "Correct it there, or leave the column out")
        told = f"{why} ({kind.__name__})" if why else kind.__name__
        raise SourceError(
            f"The database cannot answer what is asked of {name!r}: {told}. {way}."
        ) from None
