"""How a source's units and periods are brought to those of the panel, as frozen choices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from ex_cx.errors import SchemaError, nearest

__all__ = ["CombineSpec", "CrosswalkSpec", "Rule"]

Rule = Literal["mean", "weighted_mean", "sum", "last"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CrosswalkSpec:
    """A file that says which unit of a source is which unit of the panel, and when.

    Attributes
    ----------
    path : CSV, Parquet or Excel file below the data root, one line per mapping.
    unit, target : its columns of the source's unit and of the panel's unit; both stay text.
    valid_from : column of the first day (or month, quarter, year) on which the line holds.
    valid_to : column of the last one, included; blank, or no such column: until further notice. The
        same column as `valid_from`: each line holds for its own period, as in a register that lists
        every unit anew in each release.
    share : column of the part, above 0 to 1, of a unit that goes to the target where it is split;
        the parts valid on one day sum to 1. No such column: units are not split.
    unlisted : what becomes of rows of a unit that the file does not list: "lose", counted and
        named in the audit, or "keep" under their own name.
    date_format : strptime form of the two dates. sheet : of an Excel file.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    path: str
    unit: str = "source_unit"
    target: str = "target_unit"
    valid_from: str = "valid_from"
    valid_to: str = "valid_to"
    share: str = "share"
    unlisted: Literal["lose", "keep"] = "lose"
    date_format: str | None = None
    sheet: str | None = None

    def __post_init__(self) -> None:
        ends = dict.fromkeys((self.valid_from, self.valid_to))
        names = [self.unit, self.target, *ends, self.share]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise SchemaError(
                f"The crosswalk {self.path!r} uses the column {twice[0]!r} for two things. Name "
                "another column for one of the two."
            )
        if self.unlisted not in ("lose", "keep"):
            raise SchemaError(
                f"`unlisted` of the crosswalk {self.path!r} is {self.unlisted!r}; use 'lose' or "
                "'keep'."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class CombineSpec:
    """How several values of a ready column become one: merged units, or months of a quarter.

    Attributes
    ----------
    rule : `mean` of the values, `weighted_mean` by the column `by` (such as the number of answers),
        `sum`, or `last`, the value of the last finer period.
    by : column of the file that says how much a value counts; for `weighted_mean` only.
    min_share : least share of the values that must be there; below it there is no value.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    rule: Rule
    by: str = ""
    min_share: float = 1.0

    def __post_init__(self) -> None:
        if self.rule not in get_args(Rule):
            raise SchemaError(
                f"There is no rule {self.rule!r}.{nearest(self.rule, get_args(Rule))} Rules: "
                f"{', '.join(get_args(Rule))}."
            )
        if (self.rule == "weighted_mean") != bool(self.by):
            raise SchemaError(
                "The rule 'weighted_mean' needs 'by', the column that weighs, and no other rule "
                f"takes it; here the rule is {self.rule!r} and 'by' is {self.by!r}."
            )
        if not 0 < self.min_share <= 1:
            raise SchemaError(f"min_share must be above 0 and at most 1; it is {self.min_share:g}.")
        if self.rule == "last" and self.min_share != 1:
            raise SchemaError("The rule 'last' takes one value, so it has no 'min_share'.")

    def describe(self) -> str:
        """The rule in words, for definitions."""
        words = {"weighted_mean": f"mean weighted by {self.by!r}", "last": "last value"}
        share = "" if self.min_share == 1 else f" of at least {self.min_share:.0%} of the values"
        return words.get(self.rule, self.rule) + share
