"""What became of every row: the flow of each source, what matched, what was not shown."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["Flow", "LinkAudit"]

FLOW_COLUMNS = ("step", "source", "counting", "rows_in", "rows_kept", "rows_lost", "reason")


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """A waterfall: in every step rows_in = rows_kept + rows_lost, and each begins with what the
    one before it kept.

    >>> flow = Flow(source="hris").step("read", 10).lose(np.arange(10) > 2, "no unit")
    >>> flow.frame()[["rows_in", "rows_kept", "rows_lost", "reason"]].values.tolist()
    [[10, 10, 0, ''], [10, 7, 3, 'no unit']]
    """

    source: str
    steps: tuple[tuple[str, str, int, int, str], ...] = ()

    def step(self, name: str, n: int, *, counting: str = "rows") -> Flow:
        """Begin to count `n` rows, or what they became."""
        return replace(self, steps=(*self.steps, (name, counting, n, n, "")))

    def lose(self, keep: np.ndarray, reason: str, *, step: str = "left out") -> Flow:
        """Note the rows that `keep` (true for all that remain) no longer holds; none: no step."""
        before, after = self.steps[-1][3], int(keep.sum())
        if after == before:
            return self
        counting = self.steps[-1][1]
        return replace(self, steps=(*self.steps, (step, counting, before, after, reason)))

    def preceded(self, lost: Sequence[tuple[str, int]]) -> Flow:
        """The flow with the rows that a mapping left out, by reason, before its first step."""
        name, counting, n, _, _ = self.steps[0]
        before = n + sum(rows for _, rows in lost)
        begun = replace(self, steps=((name, counting, before, before, ""),))
        for reason, rows in lost:
            step = ("left out", counting, before, before - rows, reason)
            begun, before = replace(begun, steps=(*begun.steps, step)), before - rows
        return replace(self, steps=(*begun.steps, *self.steps[1:]))

    def frame(self) -> pd.DataFrame:
        """One row per step."""
        rows = [
            (step, self.source, counting, before, after, before - after, reason)
            for step, counting, before, after, reason in self.steps
        ]
        return pd.DataFrame(rows, columns=list(FLOW_COLUMNS))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class LinkAudit:
    """The record of a linkage, as tidy frames; shown in a notebook, stored as JSON.

    Attributes
    ----------
    flow : step, source, counting, rows_in, rows_kept, rows_lost, reason. The rows of a source that
        were read are those kept in its last step of rows and those lost, by reason.
    unmatched : by source: units and how many no other source knows (and the first of them);
        unit-periods, those carried over from a survey wave, those linked (seen in every source)
        or not, and those absent (seen elsewhere, not here).
    suppressed : by measure: unit-periods, shown, suppressed for too few respondents, shares
        suppressed, and rows without an answer.
    definitions : column, source, measured_on, definition.
    reads : how each file was read.
    crosswalk : source, unit, target, share, rows, outcome: what became of each unit's rows.
    combined : source, column, rule, unit_periods, incomplete: ready columns combined by a rule, and
        values left out because too few of their parts are there.
    weighting : by source and period: how many respondents were weighted, the design effect, the
        effective number, the range of weights (means of the people at each end), how many were
        trimmed, rounds until all margins were met, or why the period is left out.
    margins : source, period, margin, category, respondents, answered_pct, known_pct, weighted_pct,
        mean_weight: who carries which weights, and what they stand for.
    strangers : unit, seen_in, lacks, unit_periods: units that not every source knows.
    alike : left, right, left_in, right_in: units that capitals and spaces alone tell apart.
    selective : rows kept and lost compared, as `compare_lost` returns them.
    scales, waves : may the answers of a scale be averaged, and is it the same in every wave; as
        `scale_evidence` returns them.
    """

    flow: pd.DataFrame
    unmatched: pd.DataFrame
    suppressed: pd.DataFrame
    definitions: pd.DataFrame
    reads: pd.DataFrame
    crosswalk: pd.DataFrame = field(default_factory=pd.DataFrame)
    combined: pd.DataFrame = field(default_factory=pd.DataFrame)
    weighting: pd.DataFrame = field(default_factory=pd.DataFrame)
    margins: pd.DataFrame = field(default_factory=pd.DataFrame)
    strangers: pd.DataFrame = field(default_factory=pd.DataFrame)
    alike: pd.DataFrame = field(default_factory=pd.DataFrame)
    selective: pd.DataFrame = field(default_factory=pd.DataFrame)
    scales: pd.DataFrame = field(default_factory=pd.DataFrame)
    waves: pd.DataFrame = field(default_factory=pd.DataFrame)

    def to_dict(self) -> dict[str, list[dict[str, Any]]]:
        """Plain types, for JSON; `LinkAudit.from_dict` reads them back."""
        return {name: _records(getattr(self, name)) for name in _PARTS}

    @classmethod
    def from_dict(cls, parts: Mapping[str, Sequence[Mapping[str, Any]]]) -> LinkAudit:
        """The audit that `to_dict` stored."""
        return cls(**{name: pd.DataFrame(list(parts.get(name, ()))) for name in _PARTS})

    def with_steps(self, flow: Flow | None, definitions: pd.DataFrame | None = None) -> LinkAudit:
        """The audit continued by steps on the linked panel and by new columns."""
        flows = self.flow if flow is None else _stack([self.flow, flow.frame()])
        texts = self.definitions if definitions is None else _stack([self.definitions, definitions])
        return replace(self, flow=flows, definitions=texts)

    def __repr__(self) -> str:
        """One line; each part is a frame."""
        parts = ", ".join(f".{name} ({len(getattr(self, name))} rows)" for name in _PARTS)
        return f"<LinkAudit {parts}>"

    def _repr_html_(self) -> str:
        return "".join(_shown(self, name) for name in _PARTS if len(getattr(self, name)))


_PARTS = {
    "flow": "What became of every row",
    "unmatched": "What matched",
    "suppressed": "What is shown",
    "definitions": "What the columns mean",
    "reads": "How the files were read",
    "crosswalk": "What the crosswalk did with each unit",
    "combined": "Which ready columns were combined",
    "weighting": "How respondents were weighted",
    "margins": "Whom the weights stand for",
    "strangers": "Units that not every source knows",
    "alike": "Units that capitals and spaces alone tell apart",
    "selective": "Are the rows that were lost different?",
    "scales": "May the answers of a scale be averaged?",
    "waves": "Is a scale the same in every wave?",
}


_OPEN = ("flow", "unmatched", "suppressed")
"""Parts that a notebook shows at once; the others lie folded."""


def _shown(audit: LinkAudit, name: str) -> str:
    title = f"<strong>{html.escape(_PARTS[name])}</strong>"
    table = getattr(audit, name).to_html(index=False, escape=True, na_rep="", max_rows=60)
    if name in _OPEN:
        return f"<p>{title}</p>{table}"
    return f"<details><summary>{title}</summary>{table}</details>"


def _stack(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat([frame for frame in frames if len(frame)], ignore_index=True)


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as plain Python values; a missing number is None."""
    return [
        {str(name): _plain(value) for name, value in row.items()}
        for row in frame.to_dict("records")
    ]


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and np.isnan(value) else value
