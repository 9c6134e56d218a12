"""What a source is and what is measured from it: one frozen choice for each file.

A study file maps onto these classes one to one. A wrong or missing field is a `SchemaError` that
names the right one. Nothing here opens a file. (`__pydantic_config__` is read by the validator of
study files: a misspelt key is an error.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import ClassVar, Literal, get_args

from ex_cx.errors import SchemaError, nearest, some
from ex_cx.linkage.alignspec import CombineSpec, CrosswalkSpec
from ex_cx.linkage.exportmaps.spec import TableMapping
from ex_cx.linkage.readspec import DatabaseSpec, ReadSpec
from ex_cx.linkage.weightspec import WeightingSpec

__all__ = [
    "ColumnRule",
    "DatabaseSpec",
    "Frequency",
    "Kind",
    "MeasureSpec",
    "Metric",
    "ReadSpec",
    "SourceSpec",
    "TableSchema",
]

Frequency = Literal["month", "quarter", "year", "day", "hour", "integer"]
Kind = Literal["number", "text", "date"]
Metric = Literal[
    "nps",
    "effort",
    "scale_mean",
    "mean",
    "share",
    "fcr",
    "attrition",
    "retention",
    "occupancy",
    "aht",
    "ratio",
    "sum",
    "count",
]

MIN_N = 5
"""Fewest respondents behind a survey mean that is shown; can only be raised."""
MIN_N_SHARES = 10
"""Fewest respondents behind a distribution of answers that is shown; can only be raised."""

SPELL_METRICS = ("attrition", "retention")
ANSWER_METRICS = ("nps", "effort", "scale_mean", "mean", "share", "fcr")
RESERVED = ("unit", "period", "linked")

_REQUIRED: dict[str, tuple[str, ...]] = {
    "nps": ("score",),
    "effort": ("score", "direction", "low", "high"),
    "scale_mean": ("items", "low", "high"),
    "mean": ("score",),
    "share": ("score", "positive"),
    "fcr": (),
    "attrition": ("hire", "exit"),
    "retention": ("start", "end"),
    "occupancy": ("numerator", "denominator"),
    "aht": ("numerator", "denominator"),
    "ratio": ("numerator", "denominator"),
    "sum": ("score",),
    "count": (),
}
_OPTIONAL: dict[str, tuple[str, ...]] = {
    "nps": ("split_seed",),
    "effort": ("split_seed",),
    "scale_mean": ("reverse", "min_share", "split_seed"),
    "mean": ("low", "high", "split_seed"),
    "share": ("split_seed",),
    "fcr": ("score", "positive", "customer", "days"),
    "attrition": ("exit_type", "types"),
    "retention": ("weight", "window"),
    "ratio": ("per",),
    "sum": ("low", "high"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureSpec:
    """One measure, computed per unit and period from the rows of a source.

    ==========  =============================  ==============================================
    metric      needs (and may have)           value
    ==========  =============================  ==============================================
    nps         score                          9-10 less 0-6, points -100..100
    effort      score, low, high, direction    mean answer
    scale_mean  items, low, high (reverse,     mean over respondents of the mean of their
                min_share)                     answered items, reverse-keyed first
    mean        score (low, high)              mean answer
    share       score, positive                answers among `positive`, 0-100
    fcr         score, positive                "was it resolved" answers, 0-100
    fcr         customer (days)                contacts without another within `days`, 0-100
    attrition   hire, exit (exit_type, types)  exits / mean of open and close headcount, 0-100
    retention   start, end (weight, window)    of those at the start, kept `window` periods, 0-100
    occupancy   numerator, denominator         handle time / staffed time, 0-100
    aht         numerator, denominator         handle time / contacts handled
    ratio       numerator, denominator (per)   sum over sum, times `per`
    sum         score (low, high)              sum
    count                                      number of rows
    ==========  =============================  ==============================================

    Attributes
    ----------
    score : column of answers or amounts.
    items, reverse : columns of a scale, and those of them worded the other way round.
    low, high : ends of the answer scale; an answer outside them is an error.
    min_share : share of items a respondent must have answered.
    direction : whether a high answer means much effort (CES 1-5) or little (CES 2.0).
    positive : answers that count as yes.
    customer, days : who made the contact, and the window in which a new one is a repeat.
    hire, exit, exit_type, types : dates, kind of exit, kinds that count (none: all do; people
        who leave for another reason leave the headcount, too).
    start, end, weight, window : dates of an account, what it counts for (such as revenue; none:
        each counts 1), periods it must be kept.
    numerator, denominator, per : columns summed before dividing, and a factor such as 100. Several
        are added up row by row; one with a minus before its name is taken away, such as
        ("offered", "-short"). A row that lacks one of them is in neither sum.
    split_seed : with it, `<measure>_half1` and `_half2` are added: the measure of two random
        halves of each unit's respondents, which instrument each other (see `split_half`); the
        same seed and file give the same halves.

    Source: METHODS.md section 1.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    metric: Metric
    score: str = ""
    items: tuple[str, ...] = ()
    reverse: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    min_share: float = 2 / 3
    direction: Literal["", "high_is_bad", "low_is_bad"] = ""
    positive: tuple[str, ...] = ()
    customer: str = ""
    days: int = 7
    hire: str = ""
    exit: str = ""
    exit_type: str = ""
    types: tuple[str, ...] = ()
    start: str = ""
    end: str = ""
    weight: str = ""
    window: int = 1
    numerator: str | tuple[str, ...] = ""
    denominator: str | tuple[str, ...] = ""
    per: float = 1.0
    split_seed: int | None = None

    def __post_init__(self) -> None:
        if self.metric not in get_args(Metric):
            raise SchemaError(
                f"There is no metric {self.metric!r}.{nearest(self.metric, get_args(Metric))} "
                f"Metrics: {', '.join(get_args(Metric))}."
            )
        self._check_fields()
        self._check_values()

    def _check_fields(self) -> None:
        required, optional = _REQUIRED[self.metric], _OPTIONAL.get(self.metric, ())
        given = [f.name for f in fields(self) if getattr(self, f.name) != f.default]
        allowed = ("metric", *required, *optional)
        for name in given:
            if name not in allowed:
                takes = ", ".join(allowed[1:]) or "no further field"
                raise SchemaError(
                    f"The metric {self.metric!r} does not use {name!r}."
                    f"{nearest(name, allowed[1:])} It takes: {takes}."
                )
        lacking = [name for name in required if name not in given]
        if lacking:
            raise SchemaError(
                f"The metric {self.metric!r} needs {', '.join(map(repr, lacking))}; state "
                f"{'it' if len(lacking) == 1 else 'them'} in its spec."
            )
        if self.metric == "fcr" and bool(self.score) == bool(self.customer):
            raise SchemaError(
                "The metric 'fcr' needs either 'score' and 'positive' (what customers answered) or "
                "'customer' and 'days' (who contacted again); state one of the two."
            )
        if self.metric == "fcr" and self.score and not self.positive:
            raise SchemaError("The metric 'fcr' needs 'positive' beside 'score', such as ['yes'].")

    def _check_values(self) -> None:
        strangers = [name for name in self.reverse if name not in self.items]
        if strangers:
            raise SchemaError(
                f"{len(strangers)} reverse-keyed items are not among the items "
                f"({some(strangers)}).{nearest(strangers[0], self.items)} Name them in both lists."
            )
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise SchemaError(f"low ({self.low:g}) must be below high ({self.high:g}).")
        if not 0 < self.min_share <= 1:
            raise SchemaError(f"min_share must be above 0 and at most 1; it is {self.min_share:g}.")
        if self.types and not self.exit_type:
            raise SchemaError("'types' lists kinds of exit; state the column 'exit_type', too.")
        for side in ("numerator", "denominator"):
            given, signed = getattr(self, side), self.added(side)
            once = len(signed) == len(_as_tuple(given)) and "" not in signed
            if given != "" and not (once and 1 in signed.values()):
                raise SchemaError(
                    f"{side!r} must name each column once, and at least one without a minus; it is "
                    f"{list(_as_tuple(given))}."
                )
        if self.window < 1 or self.days < 1:
            raise SchemaError("'window' and 'days' count periods and days; the least is 1.")

    def added(self, side: Literal["numerator", "denominator"]) -> dict[str, int]:
        """Columns that are added up on a side of the ratio -> 1, or -1 for those taken away.

        >>> level = MeasureSpec(metric="ratio", numerator="fast", denominator=("calls", "-short"))
        >>> level.added("denominator")
        {'calls': 1, 'short': -1}
        """
        named = _as_tuple(getattr(self, side))
        return {name.removeprefix("-"): -1 if name.startswith("-") else 1 for name in named}

    def columns(self) -> dict[str, Kind]:
        """Columns that the measure reads -> "number", "text" or "date"."""
        ratio = (*self.added("numerator"), *self.added("denominator"))
        sums = (*ratio, self.weight, *self.items)
        wanted: dict[str, Kind] = dict.fromkeys(sums, "number")
        wanted |= dict.fromkeys((self.hire, self.exit, self.start, self.end), "date")
        wanted |= dict.fromkeys((self.exit_type, self.customer), "text")
        wanted[self.score] = "text" if self.metric in ("share", "fcr") else "number"
        return {name: kind for name, kind in wanted.items() if name}


def _as_tuple(names: str | tuple[str, ...]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) and names else tuple(names)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSpec:
    """One file and what it brings into the panel: ready `columns`, or `measures` of its rows.

    Attributes
    ----------
    path : file below the data root; empty where `database` names a connection.
    unit : column of the unit's identifier; kept as text.
    period : column of the date or period; not needed where all measures come from dated spells
        (attrition, retention).
    frequency : what one period is. Years and integers stay integers.
    respondents : on whom or what it was measured ("employees", "customers"): the provenance of its
        columns. Sources with equal labels are one source to the models. Empty: the source's name.
    columns : new name -> column of a file that has one row per unit and period already.
    measures : new name -> how it is computed from many rows per unit and period.
    attributes : new name -> column that is constant within a unit, such as site or region.
    identifiers : columns that name people, such as an employee's or a customer's number; replaced
        by keyed hashes as soon as the file is read. The `customer` of a measure always is one.
    ranges : new name of a column -> (lowest, highest) value that can be right.
    first, last : first and last period that the file covers in full, such as "2023-01".
    carry : periods for which a survey wave stands in for the ones after it.
    crosswalk : file of units that merge, split, are renamed or close, applied to the rows.
    combine : one of `columns` -> how its values become one where units merge, or where the periods
        of the link are longer; measures are computed from the rows anew and need no rule.
    min_n, min_n_shares : fewest respondents behind a mean, and behind shares of answers and
        standard errors.
    weighting : known margins to which the respondents behind `measures` of answers are weighted.
    read : how the file is written.
    database : the rows are not read but grouped where they are; so are those of a .duckdb file.
    mapping : how a system's export becomes a clean table, whose columns all else here names.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    path: str = ""
    unit: str
    period: str = ""
    frequency: Frequency = "month"
    respondents: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    measures: Mapping[str, MeasureSpec] = field(default_factory=dict)
    attributes: Mapping[str, str] = field(default_factory=dict)
    identifiers: tuple[str, ...] = ()
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    first: str | int = ""
    last: str | int = ""
    carry: int = 0
    crosswalk: CrosswalkSpec | None = None
    combine: Mapping[str, CombineSpec] = field(default_factory=dict)
    min_n: int = MIN_N
    min_n_shares: int = MIN_N_SHARES
    weighting: WeightingSpec | None = None
    read: ReadSpec = field(default_factory=ReadSpec)
    database: DatabaseSpec | None = None
    mapping: TableMapping | None = None

    def __post_init__(self) -> None:
        if self.frequency not in get_args(Frequency):
            raise SchemaError(
                f"There is no frequency {self.frequency!r}; use one of "
                f"{', '.join(get_args(Frequency))}."
            )
        if bool(self.path) == bool(self.database is not None and self.database.connection):
            raise SchemaError(
                f"The source {self.place!r} needs either 'path' (a file) or a `connection` under "
                "'database'; state one of the two."
            )
        if bool(self.columns) == bool(self.measures):
            raise SchemaError(
                f"The source {self.place!r} needs either 'columns' (one row per unit and period "
                "already) or 'measures' (computed from many rows); state one of the two."
            )
        spells = [n for n, measure in self.measures.items() if measure.metric in SPELL_METRICS]
        if spells and len(spells) < len(self.measures):
            raise SchemaError(
                f"The source {self.place!r} mixes measures of dated spells ({some(spells)}) with "
                "measures of dated rows. List the file as two sources."
            )
        if not spells and not self.period:
            raise SchemaError(f"The source {self.place!r} needs 'period', its date column.")
        self._check_names()
        self._check_identifiers()
        self._check_thresholds()
        for part in (self.mapping, self.weighting):
            if part is not None:
                part.check_source(self)

    @property
    def place(self) -> str:
        """What messages call it: the path of the file, or the table of the connection."""
        asked = self.database
        if asked is None or not asked.connection:
            return self.path
        table = ".".join(filter(None, (asked.schema, asked.table)))
        return f"{asked.connection}, table {table}" if table else asked.connection

    @property
    def is_dated(self) -> bool:
        """Are its periods written as dates, not as whole numbers?"""
        if self.frequency in ("year", "integer"):
            return self.is_spells or self.period in self.read.dates
        return True

    @property
    def people(self) -> tuple[str, ...]:
        """Columns of identifiers of people, each once."""
        customers = (m.customer for m in self.measures.values() if m.customer != self.unit)
        return tuple(dict.fromkeys(filter(None, (*self.identifiers, *customers))))

    @property
    def is_spells(self) -> bool:
        """Is a row a spell with a start and an end date, not something of one date?"""
        return any(measure.metric in SPELL_METRICS for measure in self.measures.values())

    def _check_names(self) -> None:
        names = [*self.columns, *self.measures, *self.attributes]
        taken = [name for name in names if name in RESERVED or names.count(name) > 1]
        if taken:
            raise SchemaError(
                f"The source {self.place!r} brings {taken[0]!r}, a name that is "
                f"{'the key of the panel' if taken[0] in RESERVED else 'given twice'}. Rename it."
            )
        for key in ("ranges", "combine"):
            unknown = [name for name in getattr(self, key) if name not in self.columns]
            if unknown:
                raise SchemaError(
                    f"{key!r} of {self.place!r} names {unknown[0]!r}, which is none of its columns."
                    f"{nearest(unknown[0], self.columns)}"
                )

    def _check_identifiers(self) -> None:
        answers = {c for m in self.measures.values() for c in m.columns() if c != m.customer}
        other = {self.period, *self.columns.values(), *self.attributes.values(), *answers}
        wrong = [name for name in self.people if name in other]
        if wrong:
            raise SchemaError(
                f"{wrong[0]!r} of {self.place!r} is an identifier of people and something that is "
                "shown or computed with. Take it out of `identifiers`, or name another column."
            )

    def _check_thresholds(self) -> None:
        for name, least in (("min_n", MIN_N), ("min_n_shares", MIN_N_SHARES)):
            if getattr(self, name) < least:
                raise SchemaError(
                    f"{name} of {self.place!r} is {getattr(self, name)}; it protects respondents "
                    f"and can only be raised above {least}. Leave it out, or state more."
                )
        if self.carry < 0:
            raise SchemaError(f"carry of {self.place!r} is {self.carry}; it cannot be negative.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnRule:
    """What one column of a table must hold.

    `kind` says how it is read; `low`, `high` bound numbers; `allowed` lists permitted text;
    `required` forbids blanks.
    """

    name: str
    kind: Kind = "number"
    low: float | None = None
    high: float | None = None
    allowed: tuple[str, ...] = ()
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSchema:
    """What a table must hold; `key` columns together identify a row."""

    name: str
    columns: tuple[ColumnRule, ...]
    key: tuple[str, ...] = ()
