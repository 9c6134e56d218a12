"""Identifiers of people as keyed hashes: equal ones stay equal, and nobody reads who it is."""

from __future__ import annotations

import functools
import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import pandas as pd

from ex_cx.errors import SchemaError, nearest
from ex_cx.linkage.parsing import as_text

__all__ = ["FILE_VARIABLE", "KEY_VARIABLE", "hash_columns", "hash_identifiers", "key_from"]

KEY_VARIABLE = "EX_CX_IDENTIFIER_KEY"
"""Environment variable that may hold the key; without any each process draws its own."""
FILE_VARIABLE = "EX_CX_IDENTIFIER_KEY_FILE"
"""Environment variable that may name a file that holds the key."""
_LEAST = 16
"""Characters of a key; a shorter one can be guessed, and with it every identifier."""
_MOST = 4096
"""Bytes of a file that holds a key; a longer one is something else."""
_STUDY_FILE: ContextVar[Path | None] = ContextVar("identifier_key_file", default=None)


def hash_columns(
    frame: pd.DataFrame, names: Sequence[str], table: str, *, unit: str = ""
) -> pd.DataFrame:
    """The frame with each of the columns `names` hashed; `frame` is not changed.

    Parameters
    ----------
    table : what messages call it.
    unit : the column of units; hashed, it stands in the panel, for which a key must be stated.

    Raises
    ------
    SchemaError : no such column; a key that is unfit, or none where units are hashed.
    """
    lacking = [name for name in names if name not in frame.columns]
    if lacking:
        raise SchemaError(
            f"{table!r} has no column {lacking[0]!r}, which is one of its identifiers of people."
            f"{nearest(lacking[0], frame.columns)} Correct `identifiers`."
        )
    if unit in names and not _stated():
        raise SchemaError(
            f"The units of {table!r} are people, whose hashes stand in the panel; with a key drawn "
            "at random they would be others in every run. State one: `identifier_key_file` of the "
            f"link, {FILE_VARIABLE} or {KEY_VARIABLE}."
        )
    return frame.assign(**{name: hash_identifiers(as_text(frame[name])) for name in names})


def hash_identifiers(column: pd.Series, key: bytes | None = None) -> pd.Series:
    """HMAC-SHA256 of every identifier, as 32 hexadecimal digits (128 bits); missing stays missing.

    Parameters
    ----------
    column : text.
    key : None takes the one that is stated: by `key_from`, in the environment variable
        `EX_CX_IDENTIFIER_KEY`, or in the file that `EX_CX_IDENTIFIER_KEY_FILE` names. Where none
        is, one is drawn at random for this process and written nowhere, so that hashes of two
        processes differ.

    Raises
    ------
    SchemaError : two keys are stated, one is shorter than 16 characters, or others than its owner
        may read its file.

    >>> hashes = hash_identifiers(pd.Series(["ann", "bo", "ann"]), b"key of the example")
    >>> hashes[0] == hashes[2] != hashes[1], len(hashes[0])
    (True, 32)
    """
    secret = _key() if key is None else key
    codes, names = pd.factorize(column)
    hashed = [
        hmac.new(secret, str(name).encode(), hashlib.sha256).hexdigest()[:32] for name in names
    ]
    values = pd.Series(hashed, dtype="str").reindex(codes)
    return pd.Series(values.array, index=column.index, name=column.name)


@contextmanager
def key_from(file: str, root: str | Path = ".") -> Iterator[None]:
    """Within the block, keys are those of `file`, seen from `root`; of an empty one as ever.

    >>> with key_from(""):
    ...     len(hash_identifiers(pd.Series(["ann"]))[0])
    32
    """
    chosen = _STUDY_FILE.set((Path(root) / Path(file).expanduser()) if file else None)
    try:
        yield
    finally:
        _STUDY_FILE.reset(chosen)


def _stated() -> dict[str, str]:
    """Where a key is stated -> the key, or the file that holds it."""
    file = _STUDY_FILE.get()
    found = {
        "`identifier_key_file`": "" if file is None else str(file),
        FILE_VARIABLE: os.environ.get(FILE_VARIABLE, ""),
        KEY_VARIABLE: os.environ.get(KEY_VARIABLE, ""),
    }
    return {where: what for where, what in found.items() if what}


def _key() -> bytes:
    """The key that is stated, else that of this process."""
    given = _stated()
    if len(given) > 1:
        raise SchemaError(
            f"The key of identifiers is stated in {' and in '.join(given)}. Keep one."
        )
    if not given:
        return _drawn()
    [(where, what)] = given.items()
    key = what if where == KEY_VARIABLE else _in_file(where, Path(what))
    if len(key) < _LEAST:
        raise SchemaError(
            f"The key in {where} has {len(key)} characters; a key needs {_LEAST} at "
            "least. Make one by: python -c 'import secrets; print(secrets.token_hex())'"
        )
    return key.encode()


def _in_file(where: str, file: Path) -> str:
    """The text of a key's file, blanks at its ends aside; nobody but its owner may read it."""
    try:
        about = file.stat()
        text = file.read_text(encoding="utf-8").strip() if about.st_size <= _MOST else ""
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise SchemaError(
            f"The file of the key, {where}, cannot be read: {reason}. Correct its path."
        ) from None
    if about.st_size > _MOST:
        raise SchemaError(
            f"The file of the key, {where}, has {about.st_size:,} bytes; a key is one line. Name "
            "the file that holds it."
        )
    if os.name == "posix" and about.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise SchemaError(
            f"Others than its owner may use the file of the key, {where} (mode "
            f"{stat.filemode(about.st_mode)}). Make it yours alone: chmod 600."
        )
    return text


@functools.cache
def _drawn() -> bytes:
    """The key of this process."""
    return secrets.token_bytes(32)
