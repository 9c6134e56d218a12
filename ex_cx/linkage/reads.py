"""A table that was read, or opened where it stays, and the report of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["ReadReport", "TableOpen", "TableRead"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadReport:
    """What was read and how, so that another reader gets the same table.

    Attributes
    ----------
    name : file name without its folder.
    hashed : SHA-256 of the bytes, or what works it out when somebody asks.
    rows, columns : size of the table, header not counted.
    encoding, delimiter, decimal : as used; empty where the format has none.
    detected : which of the three were found by looking, not stated.
    date_formats : date column -> the form its values were written in.
    coercions : what a mapping did to how many values, one line each.
    """

    name: str
    hashed: str | Callable[[], str]
    rows: int
    columns: int
    encoding: str = ""
    delimiter: str = ""
    decimal: str = ""
    detected: tuple[str, ...] = ()
    date_formats: dict[str, str]
    coercions: tuple[str, ...] = ()

    @property
    def sha256(self) -> str:
        """Of the bytes, in hexadecimal digits."""
        return self.hashed if isinstance(self.hashed, str) else self.hashed()

    def to_dict(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        told: dict[str, Any] = {"name": self.name, "sha256": self.sha256}
        told |= {each.name: getattr(self, each.name) for each in fields(self)[2:]}
        told |= {"detected": list(self.detected), "coercions": list(self.coercions)}
        return told | {"date_formats": dict(self.date_formats)}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TableRead:
    """A table and the report of how it was read. Its row 2 is the first below the header.

    With a mapping, `coercions` (column, coercion, values, of) tells how many values it changed how,
    `lost` how many rows were left out why, `rows` where in the file the others are, shape (rows,).
    """

    frame: pd.DataFrame
    report: ReadReport
    coercions: pd.DataFrame = field(default_factory=pd.DataFrame)
    lost: tuple[tuple[str, int], ...] = ()
    rows: np.ndarray | None = None
    hashed: tuple[str, ...] = ()  # columns whose identifiers are keyed hashes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TableOpen:
    """A table that stays in its database, an Ibis expression, and the report of what it is."""

    table: Any
    report: ReadReport
