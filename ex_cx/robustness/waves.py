"""Is a column measured in every period, or carried forward between waves of a survey?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ex_cx.estimation.design import DesignTerm, term_values
from ex_cx.linkage.panel import Panel
from ex_cx.robustness.direction import timed_term
from ex_cx.robustness.findings import Finding, together

__all__ = ["Waves", "find_waves", "measured_in_every_period"]

MANY_STILL = 1 / 3
"""Share of the periods without any change, in any unit, from which a column looks carried."""
MOST_MOVE = 0.5
"""Share of the units that change in the other periods, at least: in a wave all answer anew."""


class Waves(NamedTuple):
    """Periods that can be compared with the one before, and in how many of them a term moves."""

    compared: int
    moving: int
    carried: bool


def find_waves(panel: Panel, term: str) -> Waves:
    """In how many periods does a term change at all, and does it look carried between waves?

    A term looks carried if no unit changes in a third of the periods or more, and at least half of
    them change in the median other period, of which there are two or more. What changes in a few
    units at a time, such as a programme that starts here and there, does not look carried, nor does
    a survey of which only the waves are in the panel.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = pd.DataFrame({"unit": np.repeat(["A", "B"], 6), "period": [1, 2, 3, 4, 5, 6] * 2,
    ...                      "x": [4.1, 4.1, 4.1, 3.9, 3.9, 4.4, 3.2, 3.2, 3.2, 3.5, 3.5, 3.1]})
    >>> find_waves(Panel.from_frame(rows, unit="unit", period="period"), "x")
    Waves(compared=5, moving=2, carried=True)
    """
    values = term_values(panel, DesignTerm(term))
    before = panel.rows_at_lag(1)
    pairs = (before >= 0) & np.isfinite(values) & np.isfinite(values[before])
    if not pairs.any():
        return Waves(0, 0, carried=False)
    changed = values[pairs] != values[before[pairs]]
    periods = panel.period_codes[pairs]
    seen = np.bincount(periods)
    share = np.bincount(periods, weights=changed)[seen > 0] / seen[seen > 0]
    moving = share[share > 0]
    still = len(share) - len(moving)
    carried = (
        still >= MANY_STILL * len(share)
        and len(moving) >= 2
        and float(np.median(moving)) >= MOST_MOVE
    )
    return Waves(len(share), len(moving), carried)


def measured_in_every_period(panel: Panel, terms: Sequence[str]) -> Finding:
    """Does each term move from period to period, or stand still between waves, in all units?"""
    findings = []
    for term in dict.fromkeys(timed_term(panel, term)[0] for term in terms):
        waves = find_waves(panel, term)
        if waves.carried:
            words = (
                f"{term} stands still, in every unit, in {waves.compared - waves.moving} of "
                f"{waves.compared} periods: between waves a value is carried forward, which mostly "
                "pulls estimates towards zero and hides which period comes first"
            )
            findings.append(Finding(words, "caution"))
    if not findings:
        return Finding("Nothing stands still in all units at once, as between waves.", "clear")
    return together(findings)
