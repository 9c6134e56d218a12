"""How a source is written or where its rows stay, as frozen choices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

__all__ = ["DatabaseSpec", "ReadSpec"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadSpec:
    """How a file is written, where it should not be left to detection.

    Attributes
    ----------
    encoding, delimiter, decimal : as in the file, for example "cp1252", ";" and ",".
    dates : further date columns (those that a source's spec names are known already).
    date_format : strptime form of all dates, for example "%d/%m/%Y"; needed when 03/04/2024 could
        be March or April.
    text : columns that stay text as they stand (`007`, `NA`); units and attributes always do.
    missing : markers that mean "no value" besides the blank, for example ("N/A", "-"); not applied
        to text columns.
    sheet : name of the Excel sheet, needed when the workbook has several.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    encoding: str | None = None
    delimiter: str | None = None
    decimal: Literal[".", ","] | None = None
    dates: tuple[str, ...] = ()
    date_format: str | None = None
    text: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    sheet: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSpec:
    """Rows that stay where they are: a DuckDB file, a Parquet file or a folder of such.

    Attributes
    ----------
    table : table or view of the DuckDB file, needed when it has several.
    memory : most memory that the database takes, such as "2GB"; beyond it, it uses the disk.
    threads : most processors that it takes; 0 for all.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    table: str = ""
    memory: str = "2GB"
    threads: int = 0
