"""One column of an export: where it comes from and what is done to its values, as a choice."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

from ex_cx.errors import SchemaError

if TYPE_CHECKING:
    from ex_cx.linkage.schema import MeasureSpec

__all__ = ["MILLISECONDS_IN", "SCALES", "TIME_UNITS", "ColumnMapping", "folded"]

Unit = Literal[
    "",
    "milliseconds",
    "seconds",
    "minutes",
    "hours",
    "days",
    "clock",
    "minutes_clock",
    "percent",
    "share",
    "money",
]
Scale = Literal[
    "", "ces_v1", "ces_2", "nps", "enps", "engagement_10", "likert_5", "likert_7", "percent"
]
Part = Literal["", "date", "hour", "half_hour", "weekday", "month", "year"]
Code = float | int | str | None

SCALES: Mapping[str, tuple[float, float, str]] = {
    "ces_v1": (1, 5, "high_is_bad"),  # "how much effort did you have to make?"
    "ces_2": (1, 7, "low_is_bad"),  # "the company made it easy"
    "nps": (0, 10, ""),
    "enps": (-100, 100, ""),
    "engagement_10": (0, 10, ""),
    "likert_5": (1, 5, ""),
    "likert_7": (1, 7, ""),
    "percent": (0, 100, ""),
}
"""Name of a scale -> lowest and highest value, and what a high one means where it can differ."""
MILLISECONDS_IN = {
    "milliseconds": 1,
    "seconds": 1000,
    "minutes": 60_000,
    "hours": 3_600_000,
    "days": 86_400_000,
}
TIME_UNITS = (*MILLISECONDS_IN, "clock", "minutes_clock")
_CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
_FORBID: dict[str, str] = {"extra": "forbid"}


def folded(text: str) -> str:
    """Text without what systems change at will: capitals, kinds and numbers of spaces.

    >>> folded(" Strongly  AGREE\u00a0")
    'strongly agree'
    """
    return " ".join(text.casefold().split())


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnMapping:
    """One column of the clean table: where it comes from and what is done to its values.

    Attributes
    ----------
    column : of the export; left out: the column of the same name.
    columns, combine : several of the export, each treated alike, then made one: `sum` or `mean`
        (missing where one is), the `first` that has a value, text `join`ed by " / ".
    kind : text, number or time; left out: as the other keys and the values say.
    missing : further markers of "no value" in this column.
    strip : pieces of text taken from both ends of a value, such as "$" or "(h)".
    thousands : mark between thousands.
    choices : text of an answer -> its code (number or text; null: no answer). Capitals and spaces
        aside. Codes themselves are taken as they are, unless texts are numbers, too.
    unit, to : unit in the export and unit wanted: milliseconds, seconds, minutes, hours, days;
        percent, share. `clock` is 1:02:30 (h:mm:ss) and `minutes_clock` 62:30 (mm:ss); money is
        left as it is.
    scale : name of an answer scale, see `SCALES`; or else
    low, high : ends of the scale, or the range that can be right, in the export's own unit.
    reverse : turn answers round: low + high - answer.
    rescale : [lowest, highest] of the scale wanted; answers are stretched on to it.
    invalid : an unknown choice, a value that is no number or time or is out of range: `refuse` the
        file, or make it `missing`, counted.
    case, pad : `upper` or `lower`; width to which text is filled up with leading zeros.
    format : strptime form of a time, such as "%m%d%Y".
    clock : second column with the time of day; past 24:00 it is the day after.
    shift_start, next_day_before : the date is that of the shift: clock times before the shift's
        start (a column), or before a time such as "06:00", are on the day after.
    day_starts : such as "04:00": the date of the working day to which the time belongs.
    part : take only the date, hour, half_hour (0 to 47), weekday, month or year.
    local : a time without a zone, such as a day of birth: the rules of `times` do not apply.
    filled : 1 where the export has a value, 0 where it has none, such as a time of hanging up.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID

    column: str = ""
    columns: tuple[str, ...] = ()
    combine: Literal["", "sum", "mean", "first", "join"] = ""
    kind: Literal["", "text", "number", "time"] = ""
    missing: tuple[str, ...] = ()
    strip: tuple[str, ...] = ()
    thousands: Literal["", ",", ".", " ", "'"] = ""
    choices: Mapping[str, Code] = field(default_factory=dict)
    unit: Unit = ""
    to: Literal["", "seconds", "minutes", "hours", "days", "percent", "share"] = ""
    scale: Scale = ""
    low: float | None = None
    high: float | None = None
    reverse: bool = False
    rescale: tuple[float, float] | None = None
    invalid: Literal["refuse", "missing"] = "refuse"
    case: Literal["", "upper", "lower"] = ""
    pad: int = 0
    format: str = ""
    clock: str = ""
    shift_start: str = ""
    next_day_before: str = ""
    day_starts: str = ""
    part: Part = ""
    local: bool = False
    filled: bool = False

    def __post_init__(self) -> None:
        if self.column and self.columns:
            raise SchemaError("`column` and `columns` name where it comes from; state one of them.")
        if bool(self.columns) != bool(self.combine):
            raise SchemaError(
                "`columns` needs `combine` (sum, mean, first or join), and `combine` needs "
                "`columns`; state both or neither."
            )
        self._check_kinds()
        self._check_scale()
        self._check_units()
        self._check_choices()
        for name in ("next_day_before", "day_starts"):
            if getattr(self, name) and not _CLOCK.fullmatch(getattr(self, name)):
                raise SchemaError(f"`{name}` is {getattr(self, name)!r}; write it like '06:00'.")
        if not 0 <= self.pad <= 40:
            raise SchemaError(f"`pad` is {self.pad}; it counts characters, 0 to 40.")

    @property
    def is_time(self) -> bool:
        """Is it a time, by its kind or by a key that only times have?"""
        return self.kind == "time" or bool(self.stated(_TIME_KEYS))

    @property
    def is_number(self) -> bool:
        """Is it a number, by its kind or by a key that only numbers have?"""
        if self.choices:
            return not any(isinstance(code, str) for code in self.choices.values())
        sums = self.combine in ("sum", "mean")
        return self.kind == "number" or sums or self.filled or bool(self.stated(_NUMBER_KEYS))

    @property
    def range(self) -> tuple[float | None, float | None]:
        """Lowest and highest value that can be right in the export."""
        return SCALES[self.scale][:2] if self.scale else (self.low, self.high)

    @property
    def final_range(self) -> tuple[float | None, float | None]:
        """The same in the clean table; of values whose unit changes it is not told."""
        return (None, None) if self.to else self.rescale or self.range

    def check_measure(self, name: str, measure: MeasureSpec) -> None:
        """Do the ends and the direction that a measure states agree with the scale here?

        Raises
        ------
        SchemaError : they do not.
        """
        low, high = self.final_range
        ends = [("low", measure.low, low), ("high", measure.high, high)]
        for end, stated, known in ends:
            if stated is not None and known is not None and stated != known:
                raise SchemaError(
                    f"The measure {name!r} states {end} {stated:g}, but the mapping brings its "
                    f"column to {low:g} to {high:g}. State one and the same scale."
                )
        means = SCALES[self.scale][2] if self.scale else ""
        if self.reverse and means:
            means = "low_is_bad" if means == "high_is_bad" else "high_is_bad"
        if means and measure.direction and measure.direction != means:
            raise SchemaError(
                f"The measure {name!r} states direction {measure.direction}, but its column is "
                f"{self.scale}{', turned round,' if self.reverse else ''}, where {means}. Correct "
                "one of the two."
            )

    def stated(self, names: Iterable[str]) -> list[str]:
        """Those of the keys that are stated."""
        return [name for name in names if getattr(self, name) not in ("", False, None, (), 0)]

    def _check_kinds(self) -> None:
        times, numbers = self.stated(_TIME_KEYS), self.stated(_NUMBER_KEYS)
        texts = self.stated(("case", "pad"))
        if self.combine in ("sum", "mean"):
            numbers.append(f"combine: {self.combine}")
        if self.combine == "join":
            texts.append("combine: join")
        found = {"time": times, "number": numbers, "text": texts}
        used = {kind: keys for kind, keys in found.items() if keys}
        if self.kind:
            used.setdefault(self.kind, ["kind"])
        if len(used) > 1:
            (one, keys), (other, more) = list(used.items())[:2]
            raise SchemaError(
                f"{keys[0]!r} is for a {one} and {more[0]!r} for a {other}; a column is one of "
                "them. Leave one key out, or take the column twice under two names."
            )
        if self.filled and (used.keys() - {"number"} or numbers or self.choices or self.columns):
            raise SchemaError("`filled` tells whether there is a value, so it stands alone.")
        if times and (self.choices or self.columns):
            raise SchemaError("A time has neither `choices` nor `columns`; leave them out.")
        if re.search("%[zZ]", self.format):
            raise SchemaError(
                f"`format` is {self.format!r}; times with an offset need none. Leave it out and "
                "state `times: zone` as `written`."
            )
        if self.shift_start and self.next_day_before:
            raise SchemaError("State one of `shift_start` and `next_day_before`, not both.")
        if (self.shift_start or self.next_day_before) and not self.clock:
            raise SchemaError(
                "`shift_start` and `next_day_before` need `clock`, the column of the time of day."
            )

    def _check_scale(self) -> None:
        if self.scale and (self.low is not None or self.high is not None):
            raise SchemaError(f"`scale: {self.scale}` has its own ends; leave `low`, `high` out.")
        low, high = self.range
        if low is not None and high is not None and low >= high:
            raise SchemaError(f"`low` ({low:g}) must be below `high` ({high:g}).")
        if (self.reverse or self.rescale) and (low is None or high is None):
            key = "reverse" if self.reverse else "rescale"
            raise SchemaError(f"`{key}` needs the ends of the scale: `scale`, or `low` and `high`.")
        if self.rescale and self.rescale[0] >= self.rescale[1]:
            raise SchemaError("`rescale` is [lowest, highest] of the scale wanted, in this order.")

    def _check_units(self) -> None:
        times, shares = self.unit in TIME_UNITS, self.unit in ("percent", "share")
        fits = (times and self.to in ("", *MILLISECONDS_IN)) or (
            shares and self.to in ("", "percent", "share")
        )
        if self.to and not fits:
            raise SchemaError(
                f"`to: {self.to}` cannot be made from `unit: {self.unit or 'none stated'}`. Times "
                "become seconds, minutes, hours or days, percent and share each other."
            )
        if self.unit in ("clock", "minutes_clock") and not self.to:
            raise SchemaError(f"`unit: {self.unit}` needs `to`, such as seconds.")
        if self.to and (self.rescale or self.reverse):
            raise SchemaError("`to` changes a unit, `rescale` and `reverse` a scale; state one.")

    def _check_choices(self) -> None:
        seen: dict[str, str] = {}
        for text in self.choices:
            plain = folded(text)
            if plain in seen:
                raise SchemaError(
                    f"The choices {seen[plain]!r} and {text!r} are the same but for capitals and "
                    "spaces. Keep one of them."
                )
            seen[plain] = text
        kinds = {isinstance(code, str) for code in self.choices.values() if code is not None}
        if len(kinds) > 1:
            raise SchemaError("Codes of `choices` are all numbers or all text; here are both.")
        if self.choices and not kinds:
            raise SchemaError("`choices` makes every answer missing. Give at least one a code.")
        if True in kinds and self.stated(_NUMBER_KEYS):
            raise SchemaError(
                f"`choices` gives text, for which there is no {self.stated(_NUMBER_KEYS)[0]!r}."
            )


_TIME_KEYS = (
    *("format", "clock", "shift_start", "next_day_before", "day_starts", "part", "local"),
)
_NUMBER_KEYS = ("thousands", "unit", "to", "scale", "low", "high", "reverse", "rescale")
