"""Identifiers of people as keyed hashes: equal ones stay equal, and nobody reads who it is."""

from __future__ import annotations

import functools
import hashlib
import hmac
import os
import secrets

import pandas as pd

from ex_cx.errors import SchemaError

__all__ = ["KEY_VARIABLE", "hash_identifiers"]

KEY_VARIABLE = "EX_CX_IDENTIFIER_KEY"
"""Environment variable that may hold the key; without it each process draws its own."""
_LEAST = 16
"""Characters of a key; a shorter one can be guessed, and with it every identifier."""


def hash_identifiers(column: pd.Series, key: bytes | None = None) -> pd.Series:
    """HMAC-SHA256 of every identifier, as 32 hexadecimal digits (128 bits); missing stays missing.

    Parameters
    ----------
    column : text.
    key : None takes that of the environment variable `EX_CX_IDENTIFIER_KEY`, else one drawn at
        random for this process. It is written nowhere, so that hashes of two processes differ.

    Raises
    ------
    SchemaError : a key of the environment of fewer than 16 characters.

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


def _key() -> bytes:
    given = os.environ.get(KEY_VARIABLE, "")
    if not given:
        return _drawn()
    if len(given) < _LEAST:
        raise SchemaError(
            f"The key in {KEY_VARIABLE} has {len(given)} characters; a key needs {_LEAST} at "
            "least. Make one by: python -c 'import secrets; print(secrets.token_hex())'"
        )
    return given.encode()


@functools.cache
def _drawn() -> bytes:
    """The key of this process."""
    return secrets.token_bytes(32)
