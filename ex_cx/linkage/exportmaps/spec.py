"""How a system's export becomes a clean table, as frozen choices; nothing here opens a file.

A mapping file maps onto these classes one to one, as a study file does onto `SourceSpec`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from ex_cx.errors import SchemaError, nearest, some
from ex_cx.linkage.exportmaps.column import ColumnMapping

if TYPE_CHECKING:
    from ex_cx.linkage.schema import SourceSpec

__all__ = ["FileForm", "RowFilter", "RowRules", "TableMapping", "TimeRules"]

_FORBID: dict[str, str] = {"extra": "forbid"}


@dataclass(frozen=True, slots=True, kw_only=True)
class FileForm:
    """How the export is written.

    Attributes
    ----------
    encoding, delimiter, decimal : as in the file; left out: detected.
    sheet : of an Excel file.
    above_header : lines above the line of column names.
    below_header : rows directly below it that are no data, such as question texts.
    missing : markers of "no value" in every column besides the blank.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID

    encoding: str | None = None
    delimiter: str | None = None
    decimal: Literal[".", ","] | None = None
    sheet: str | None = None
    above_header: int = 0
    below_header: int = 0
    missing: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("above_header", "below_header"):
            if not 0 <= getattr(self, name) <= 1000:
                raise SchemaError(f"`{name}` is {getattr(self, name)}; it counts rows, 0 to 1000.")


@dataclass(frozen=True, slots=True, kw_only=True)
class RowFilter:
    """Rows of the export that are kept: those whose `column` meets what is stated.

    Attributes
    ----------
    column : of the export, by the name it has there; it need not be taken.
    any_of, none_of : values as the export writes them, capitals and spaces aside.
    not_missing : must there be a value?
    """

    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID

    column: str
    any_of: tuple[str, ...] = ()
    none_of: tuple[str, ...] = ()
    not_missing: bool = False

    def __post_init__(self) -> None:
        if bool(self.any_of) + bool(self.none_of) + self.not_missing != 1:
            raise SchemaError(
                f"The filter of rows by {self.column!r} needs one of `any_of`, `none_of` and "
                "`not_missing: true`."
            )

    def describe(self) -> str:
        """Why a row that does not meet it is left out."""
        if self.not_missing:
            return f"no {self.column!r}"
        word = "is not" if self.any_of else "is"
        return f"{self.column!r} {word} {some(self.any_of or self.none_of)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RowRules:
    """Which rows of the export are taken; every other one is counted by its reason.

    Attributes
    ----------
    keep : filters, all of which a row must meet.
    unique : columns of the export that together name a row, such as a response's id.
    repeated : a row whose name is there already: `refuse` the file, or keep the `first` or `last`.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID

    keep: tuple[RowFilter, ...] = ()
    unique: tuple[str, ...] = ()
    repeated: Literal["refuse", "first", "last"] = "refuse"

    def __post_init__(self) -> None:
        if self.repeated != "refuse" and not self.unique:
            raise SchemaError("`repeated` needs `unique`, the columns that together name a row.")


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeRules:
    """Which clock the export's times are on, and which one they are brought to.

    Attributes
    ----------
    zone : of the export's clock, such as "America/New_York" or "UTC"; `written`: every value says
        how far it is from UTC (2024-03-31T09:30+01:00).
    to : zone of the clock that the table gets.
    repeated : a time in the hour that comes twice in autumn: `refuse` the file, take the `first` or
        the `second`, `in_order` of the rows (first row the first), or `lose` the row, counted.
    per : columns of the export; in each of their combinations times are in order.
    skipped : a time in the hour that is left out in spring: `refuse`, move `forward` by what the
        clock skipped, or `lose` the row, counted.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID

    zone: str = ""
    to: str = ""
    repeated: Literal["refuse", "first", "second", "in_order", "lose"] = "refuse"
    per: tuple[str, ...] = ()
    skipped: Literal["refuse", "forward", "lose"] = "refuse"

    def __post_init__(self) -> None:
        if bool(self.zone) != bool(self.to):
            lacking = "to" if self.zone else "zone"
            raise SchemaError(
                f"`times` states {'zone' if self.zone else 'to'!r} alone; state `{lacking}`, too: "
                "the zone of the export's clock and the one that the table gets."
            )
        for zone in (self.zone, self.to):
            if zone and not (zone == "written" and zone == self.zone):
                _check_zone(zone)
        if bool(self.per) != (self.repeated == "in_order"):
            raise SchemaError(
                "`repeated: in_order` and `per`, the columns that tell series of rows apart, go "
                "together; state both or neither."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class TableMapping:
    """How an export becomes a clean table: its form, its rows, its clock and its columns.

    Attributes
    ----------
    columns : name in the clean table -> where it comes from; the others of the export are left
        behind.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID

    columns: Mapping[str, ColumnMapping]
    file: FileForm = FileForm()
    rows: RowRules = RowRules()
    times: TimeRules = TimeRules()

    def __post_init__(self) -> None:
        if not self.columns:
            raise SchemaError("`columns` is empty; name at least one column of the clean table.")
        blank = [name for name in self.columns if not name.strip()]
        if blank:
            raise SchemaError("A column of the clean table has a blank name. Give it one.")

    def check_source(self, spec: SourceSpec) -> None:
        """Does a source that is read by this mapping agree with it?

        Raises
        ------
        SchemaError : scales or directions of measures are not those of the columns they read, or a
            date of the source is no time here; `read` speaks of columns.
        """
        if spec.read.dates or spec.read.text or spec.read.date_format:
            raise SchemaError(
                f"The source {spec.path!r} has a mapping, whose `columns` say what is a time and "
                "what is text. Leave `dates`, `date_format` and `text` out of `read`."
            )
        dates = [spec.period] if spec.frequency not in ("year", "integer") else []
        for new, measure in spec.measures.items():
            dates += [column for column, kind in measure.columns().items() if kind == "date"]
            for column in (measure.score, *measure.items):
                if column in self.columns:
                    self.columns[column].check_measure(new, measure)
        for column in dates:
            if column in self.columns and not self.columns[column].is_time:
                raise SchemaError(
                    f"The source {spec.path!r} takes {column!r} for a date, which its mapping does "
                    f"not say it is, so that no clock is heeded. State `kind: time` for {column!r}."
                )

    def needed(self) -> list[str]:
        """Columns of the export that must be there."""
        named = [*(rule.column for rule in self.rows.keep), *self.rows.unique, *self.times.per]
        for name, each in self.columns.items():
            named += each.columns or (each.column or name,)
            named += [each.clock, each.shift_start]
        return list(dict.fromkeys(filter(None, named)))


def _check_zone(name: str) -> None:
    import zoneinfo

    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        hint = nearest(name, zoneinfo.available_timezones())
        raise SchemaError(
            f"There is no time zone {name!r}.{hint} Write it like 'Europe/London' or 'UTC'."
        ) from None
