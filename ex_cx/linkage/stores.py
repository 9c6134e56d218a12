"""A DuckDB file, or files of Parquet, opened without reading them: the rows stay where they are."""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import tempfile
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ex_cx.errors import SourceError, nearest, some
from ex_cx.linkage.indatabase.failures import asking
from ex_cx.linkage.reads import ReadReport, TableOpen
from ex_cx.linkage.wording import counted

__all__ = ["DUCKDB", "connect_duckdb", "open_table"]

DUCKDB = (".duckdb", ".ddb")
PARQUET = (".parquet", ".pq")
RESERVED = ("information_schema", "main", "memory", "system", "temp")
"""Names that DuckDB has given away itself."""
_Stamp = tuple[Path, int, int]


def open_table(
    path: str | Path, *, table: str = "", memory: str = "2GB", threads: int = 0
) -> TableOpen:
    """Open a DuckDB file, a Parquet file or a folder of such, and leave the rows where they are.

    Parameters
    ----------
    path : .duckdb or .ddb, .parquet or .pq, or a folder of Parquet files of the same columns.
    table : table or view of a DuckDB file; needed if there are several.
    memory, threads : most memory (beyond it, the disk is used) and processors (0, or more than
        there are: all).

    Returns
    -------
    TableOpen
        Its `table` is an Ibis table; what `measure_source` asks of it, the database computes. The
        files are hashed when the report is asked for their SHA-256.

    Raises
    ------
    SourceError : no such file, folder or table; a file that is not what its name says; a missing
        package; a view that cannot be computed, or that asks for a file beside the database.
    """
    file = Path(path)
    if threads < 0:
        raise SourceError(f"`threads` is {threads}. State how many processors, or 0 for all.")
    is_store = file.suffix.lower() in DUCKDB
    files = [file] if is_store and file.is_file() else _parquet_files(file)
    stamps = _stamps(files)
    found = _open(file, files, table, memory, threads)
    with asking(file.name):
        rows = int(found.count().execute())
    return TableOpen(
        table=found,
        report=ReadReport(
            name=file.name + (f", table {found.get_name()}" if is_store else ""),
            hashed=functools.partial(_hash, stamps),
            rows=rows,
            columns=len(found.columns),
            date_formats={},
        ),
    )


def _parquet_files(path: Path) -> list[Path]:
    """The Parquet files of a folder, sorted; or the one file that it is.

    Raises
    ------
    SourceError : no such file, or no Parquet in it.
    """
    if path.is_dir():
        found = sorted(p for p in path.iterdir() if p.suffix.lower() in PARQUET and p.is_file())
        base = path.resolve()
        away = [p.name for p in found if not p.resolve().is_relative_to(base)]
        if away:
            raise SourceError(
                f"{counted(len(away), 'file')} of the folder {path.name!r} lead out of it "
                f"({some(away)}). Put the files themselves there."
            )
        if not found:
            raise SourceError(
                f"The folder {path.name!r} holds no Parquet file. Name the folder that does."
            )
        return found
    if not path.is_file():
        raise SourceError(
            f"There is no file or folder {str(path)!r}. Correct the path or the data root."
        )
    if path.suffix.lower() not in PARQUET:
        raise SourceError(
            f"{path.name!r} cannot stay in a database: that is for Parquet files, a folder of them "
            f"and {DUCKDB[0]} files. Leave `database` out, or export Parquet."
        )
    return [path]


def _open(path: Path, files: Sequence[Path], table: str, memory: str, threads: int) -> Any:
    """An Ibis table of the rows, none of which is read yet.

    The database may use so much `memory` (such as 2GB) and so many `threads` (0: one a processor);
    what does not fit goes to a temporary folder that vanishes with the connection.

    Raises
    ------
    SourceError : the package is absent, or the file, the table or a setting is not right.
    """
    try:
        import duckdb
        import ibis  # noqa: F401
    except ImportError as error:
        raise SourceError(
            f"Leaving the rows of {path.name!r} in a database needs the packages ibis and duckdb. "
            "Install them: pip install 'ex-cx[db]'."
        ) from error
    is_store = path.suffix.lower() in DUCKDB
    try:
        if not is_store:
            connection = connect_duckdb(memory, threads, files=files)
            return connection.read_parquet([str(file) for file in files])
        connection = connect_duckdb(memory, threads, attached=path)
        chosen = _table(_names(connection), table, path.name)
        with asking(f"{path.name}, table {chosen}"):
            return connection.table(chosen)
    except (duckdb.Error, UnicodeDecodeError) as error:  # its message may quote what is held
        raise SourceError(
            f"{path.name!r} cannot be opened by DuckDB ({type(error).__name__}). Check the file, "
            "that nothing has it open for writing, and the settings `memory` and `threads`."
        ) from None


def connect_duckdb(
    memory: str, threads: int, *, attached: Path | None = None, files: Sequence[Path] = ()
) -> Any:
    """A connection with bounds, to a DuckDB file if one is `attached`, that reads `files` at most.

    Raises
    ------
    duckdb.Error : the file or a setting is not right.
    """
    import ibis

    used = min(threads, os.cpu_count() or 1)
    settings: dict[str, Any] = {"memory_limit": memory} | ({"threads": used} if used else {})
    place = tempfile.mkdtemp(prefix="ex_cx-")
    try:
        connection = ibis.duckdb.connect(":memory:", temp_directory=place, **settings)
        if attached is not None:
            _attach(connection, attached)
        _keep_to(connection, files)
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    weakref.finalize(connection, shutil.rmtree, place, ignore_errors=True)
    return connection


def _attach(connection: Any, path: Path) -> None:
    """The file beside an empty database, as it could not be opened twice with two settings.

    Its name there is the one it has when it is opened alone, as its views may use it.
    """
    name = path.stem if path.stem.lower() not in RESERVED else f"{path.stem}_file"
    quoted, file = name.replace('"', '""'), str(path).replace("'", "''")
    connection.con.execute(f"ATTACH '{file}' AS \"{quoted}\" (READ_ONLY)")
    connection.con.execute(f'USE "{quoted}".main')


def _keep_to(connection: Any, files: Sequence[Path]) -> None:
    """Other files than these are closed to the views of a database that a stranger has made."""
    listed = ", ".join("'" + str(file).replace("'", "''") + "'" for file in files)
    connection.con.execute(f"SET allowed_paths = [{listed}]")
    connection.con.execute("SET enable_external_access = false")


def _names(connection: Any) -> list[str]:
    """Tables and views; Ibis's own list of them does not come from DuckDB 2."""
    asked = (
        "select table_name from information_schema.tables "
        "where table_schema = 'main' and table_catalog = current_catalog()"
    )
    return sorted(row[0] for row in connection.con.execute(asked).fetchall())


def _table(tables: Sequence[str], wanted: str, name: str) -> str:
    if not wanted and len(tables) == 1:
        return tables[0]
    listed = f"It has {counted(len(tables), 'table')} ({some(sorted(tables), 9)})."
    if not wanted:
        raise SourceError(f"{name!r}: which table? {listed} State `database: {{table: ...}}`.")
    if wanted not in tables:
        raise SourceError(f"{name!r} has no table {wanted!r}.{nearest(wanted, tables)} {listed}")
    return wanted


def _stamps(files: Sequence[Path]) -> tuple[_Stamp, ...]:
    """Path, size and time of the last change of each file."""
    return tuple(
        (file.absolute(), (stat := file.stat()).st_size, stat.st_mtime_ns) for file in files
    )


@functools.cache
def _hash(opened: tuple[_Stamp, ...]) -> str:
    """SHA-256 of a file, or of the names and hashes of several; never all of it in memory.

    Raises
    ------
    SourceError : a file is no longer the one that was opened.
    """
    files = [file for file, _, _ in opened]
    try:
        with ThreadPoolExecutor(min(len(files), os.cpu_count() or 1)) as threads:
            hashes = list(threads.map(_file_hash, files))
        changed = [a[0].name for a, b in zip(opened, _stamps(files), strict=True) if a != b]
    except FileNotFoundError as error:
        changed = [Path(str(error.filename)).name]
    if changed:
        raise SourceError(
            f"{counted(len(changed), 'file')} changed while the rows were used ({some(changed)}). "
            "Keep the files as they are, and run it again."
        )
    if len(hashes) == 1:
        return hashes[0]
    lines = "".join(f"{digest}  {file.name}\n" for digest, file in zip(hashes, files, strict=True))
    return hashlib.sha256(lines.encode()).hexdigest()


def _file_hash(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
