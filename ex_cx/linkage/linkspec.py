"""What happens once the sources are measured: derived columns and filters, as frozen choices."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar, Literal

from ex_cx.errors import SchemaError
from ex_cx.linkage.schema import RESERVED, Frequency

__all__ = ["DeriveSpec", "LinkSpec", "WhereSpec"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeriveSpec:
    """One new column from columns of the linked panel: exactly one verb.

    Attributes
    ----------
    name : the new column; not needed for `standardise`, which adds `<column>_z` for each column.
    standardise : (value - mean) / sd (n - 1), within each period if `within="period"`, over rows
        seen in every source if `rows="linked"`; other rows get no value.
    mean_of : mean of these columns in a row, when at least `min_share` of them is present.
    first_present : the first of these columns that has a value in the row.
    ratio, difference : of two columns, in the order given; a ratio to zero is missing.
    product : of two or more columns.
    multiply, by : a column times a number.
    text_part, start, stop : letters `start` to `stop` (from 0, without `stop`) of a text column or
        of the unit.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    name: str = ""
    standardise: tuple[str, ...] = ()
    mean_of: tuple[str, ...] = ()
    first_present: tuple[str, ...] = ()
    ratio: tuple[str, ...] = ()
    difference: tuple[str, ...] = ()
    product: tuple[str, ...] = ()
    multiply: str = ""
    text_part: str = ""
    within: Literal["", "period"] = ""
    rows: Literal["all", "linked"] = "all"
    min_share: float = 1.0
    by: float = 1.0
    start: int = 0
    stop: int = 1

    def __post_init__(self) -> None:
        given = [verb for verb in _VERBS if getattr(self, verb)]
        if len(given) != 1:
            raise SchemaError(
                f"A derived column needs exactly one verb, this one ({self.name or 'no name'}) has "
                f"{len(given)}. Verbs: {', '.join(_VERBS)}."
            )
        verb = given[0]
        options = [
            n for n in _OPTIONS if getattr(self, n) != _DEFAULTS[n] and n not in _VERBS[verb]
        ]
        if options:
            raise SchemaError(
                f"{verb!r} does not use {options[0]!r}. It takes: "
                f"{', '.join(_VERBS[verb]) or 'nothing else'}."
            )
        if verb in ("ratio", "difference") and len(getattr(self, verb)) != 2:
            raise SchemaError(f"{verb!r} needs two columns; {self.name!r} has {len(self.columns)}.")
        if not self.name and verb != "standardise":
            raise SchemaError(f"A {verb!r} needs 'name', the column it makes.")
        if self.name in RESERVED:
            raise SchemaError(f"{self.name!r} is the key of the panel. Name the column otherwise.")
        if self.name and verb == "standardise" and len(self.standardise) > 1:
            raise SchemaError(
                f"'standardise' of {len(self.standardise)} columns names each <column>_z; leave "
                f"'name' ({self.name!r}) out."
            )

    @property
    def verb(self) -> str:
        """Which of the verbs is asked for."""
        return next(verb for verb in _VERBS if getattr(self, verb))

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the verb reads."""
        value = getattr(self, self.verb)
        return (value,) if isinstance(value, str) else tuple(value)


_VERBS: dict[str, tuple[str, ...]] = {
    "standardise": ("within", "rows"),
    "mean_of": ("min_share",),
    "first_present": (),
    "ratio": (),
    "difference": (),
    "product": (),
    "multiply": ("by",),
    "text_part": ("start", "stop"),
}
_OPTIONS = ("within", "rows", "min_share", "by", "start", "stop")
_DEFAULTS = {f.name: f.default for f in fields(DeriveSpec)}


@dataclass(frozen=True, slots=True, kw_only=True)
class WhereSpec:
    """Rows of the linked panel to keep: all stated conditions on one column hold.

    A row without a value never meets `at_least`, `at_most` or `any_of`; it is counted as such.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    column: str
    at_least: float | None = None
    at_most: float | None = None
    any_of: tuple[str | float | bool, ...] = ()
    not_missing: bool = False

    def __post_init__(self) -> None:
        bounds = self.at_least is not None or self.at_most is not None
        if not (bounds or self.any_of or self.not_missing):
            raise SchemaError(
                f"The filter on {self.column!r} states no condition. Give it at_least, "
                "at_most, any_of or not_missing."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkSpec:
    """What is done once the sources are measured: window, derived columns, then filters.

    `first` and `last` stand for every source that does not state its own. `frequency` is that of
    the panel; sources that are finer are brought to it, measures by computing them anew.
    `identifier_key_file` is a file, seen from the data root, that holds the key of the hashes that
    stand for people; only its owner may read it.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    first: str | int = ""
    last: str | int = ""
    frequency: Frequency | Literal[""] = ""
    derive: tuple[DeriveSpec, ...] = ()
    where: tuple[WhereSpec, ...] = ()
    identifier_key_file: str = ""
