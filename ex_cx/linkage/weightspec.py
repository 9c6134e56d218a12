"""How respondents are weighted to the known make-up of those who were asked, as a frozen choice."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, ClassVar, Literal

from ex_cx.errors import SchemaError, nearest, some

if TYPE_CHECKING:
    from ex_cx.linkage.schema import SourceSpec

__all__ = ["WeightingSpec"]

_WEIGHED = ("nps", "effort", "scale_mean", "mean", "share", "fcr")
"""Metrics that are means over respondents, who can be weighted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightingSpec:
    """Known margins to which the respondents of a source are raked (`rake_weights`).

    Attributes
    ----------
    margins : column of the file -> category -> people asked, as numbers or as shares: of each
        margin only the proportions count.
    within : "period": the respondents of each period of the panel (each wave) are raked on their
        own; "file": all rows of the source at once.
    trim : no weight above this many times the mean one of its period; none: no trimming.
    too_few : what becomes of a period in which a category has fewer than `min_n` respondents:
        "refuse" the source, or "lose" the period, whose rows are counted in the audit.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    margins: Mapping[str, Mapping[str, float]]
    within: Literal["period", "file"] = "period"
    trim: float | None = None
    too_few: Literal["refuse", "lose"] = "refuse"

    def __post_init__(self) -> None:
        if not self.margins:
            raise SchemaError(
                "`weighting` has no margins. Name a column of the file with the people asked by "
                "category, such as {shift: {day: 30, night: 30}}."
            )
        for name, known in self.margins.items():
            wrong = [c for c, asked in known.items() if not (asked > 0 and math.isfinite(asked))]
            if wrong or len(known) < 2:
                found = f"has no positive number for {some(wrong)}" if wrong else "has no two"
                raise SchemaError(
                    f"The margin {name!r} {found}{'' if wrong else ' categories'}. State how many "
                    "were asked of each; leave out what nobody belongs to."
                )
        for key, options in (("within", ("period", "file")), ("too_few", ("refuse", "lose"))):
            given = getattr(self, key)
            if given not in options:
                raise SchemaError(
                    f"`{key}` of `weighting` is {given!r}; use {' or '.join(map(repr, options))}."
                    f"{nearest(str(given), options)}"
                )
        if self.trim is not None and not (self.trim > 1 and math.isfinite(self.trim)):
            raise SchemaError(
                f"`trim` of `weighting` is {self.trim:g}; it must exceed 1: a weight cannot be "
                "held below the mean."
            )

    @property
    def mark(self) -> float:
        """A number between 0 and 1 that differs between weightings, the same in every process."""
        stated = {
            "margins": {name: dict(known) for name, known in self.margins.items()},
            "within": self.within,
            "trim": self.trim,
        }
        digest = hashlib.sha256(json.dumps(stated, sort_keys=True).encode()).digest()
        return int.from_bytes(digest[:4], "big") / 2**32

    def refuse_database(self, name: str) -> None:
        """Rows that stay where they are have no weights of their own."""
        raise SchemaError(
            f"The rows of {name!r} stay in a database, where respondents are not weighted one by "
            f"one (here by {', '.join(map(repr, self.margins))}). Export the answers to a Parquet "
            "file that is read (no `database`), or leave `weighting` out."
        )

    def check_source(self, spec: SourceSpec) -> None:
        """Refuse what cannot be weighted in a source."""
        if not spec.measures:
            raise SchemaError(
                f"`weighting` of {spec.place!r} weighs respondents, and `columns` are values of "
                "units. State `measures` of the answers, or leave `weighting` out."
            )
        for name, measure in spec.measures.items():
            if measure.metric not in _WEIGHED or measure.customer:
                kind = "contacts" if measure.customer else repr(measure.metric)
                raise SchemaError(
                    f"{name!r} of {spec.place!r} measures {kind}, which `weighting` cannot weigh: "
                    f"it weighs means over respondents ({', '.join(_WEIGHED)} of answers). List "
                    "the file a second time, without `weighting`, for this measure."
                )
        if spec.database is not None or PurePath(spec.path).suffix.lower() in (".duckdb", ".ddb"):
            self.refuse_database(spec.place)
        answers = {c for m in spec.measures.values() for c in m.columns()}
        wrong = [c for c in self.margins if c in (*spec.people, *answers, spec.period)]
        if wrong:
            raise SchemaError(
                f"The margin {wrong[0]!r} of {spec.place!r} is an identifier, a date or an answer. "
                "Weigh by what is known of everybody who was asked, such as shift, site or tenure."
            )
