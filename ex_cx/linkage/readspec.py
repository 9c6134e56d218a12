"""How a source is written or where its rows stay, as frozen choices."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, Literal

from ex_cx.errors import SchemaError

__all__ = ["DatabaseSpec", "ReadSpec"]

VARIABLE = "EX_CX_CONNECTION_"


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
    """Rows in a database: a DuckDB file, a Parquet file or a folder of such; or a connection.

    Attributes
    ----------
    connection : name of a connection, whose URL the environment variable EX_CX_CONNECTION_ and the
        name (in capitals) holds, such as EX_CX_CONNECTION_WAREHOUSE; in place of a `path`.
    schema : where the table of a connection is, where that is not the default.
    table : table or view, needed when there are several.
    memory : most memory that DuckDB takes, such as "2GB"; beyond it, it uses the disk.
    threads : most processors that it takes; 0 for all.

    Raises
    ------
    SchemaError : a name that no connection can have; a schema without a connection.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    connection: str = ""
    schema: str = ""
    table: str = ""
    memory: str = "2GB"
    threads: int = 0

    def __post_init__(self) -> None:
        if self.connection and not re.fullmatch("[A-Za-z][A-Za-z0-9_]*", self.connection):
            raise SchemaError(  # it may be a URL, with a password: not shown
                "`connection` is the name of a connection: letters, digits and underscores, the "
                "first one a letter. Its URL stands in the environment variable "
                f"{VARIABLE}<NAME>, never in a study file."
            )
        if self.schema and not self.connection:
            raise SchemaError(
                "`schema` says where the table of a `connection` is. Leave it out, or name one."
            )

    @property
    def variable(self) -> str:
        """The environment variable that holds the URL of the connection."""
        return f"{VARIABLE}{self.connection.upper()}"
