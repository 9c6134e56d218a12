"""Sources that are linked, withheld together: the attributes of one group the units of another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from ex_cx.linkage.calendar import calendar_codes
from ex_cx.linkage.confidentiality.withholding import withhold
from ex_cx.linkage.measure import MeasuredSource

__all__ = ["protect_sources"]


def protect_sources(sources: Sequence[MeasuredSource]) -> list[MeasuredSource]:
    """The sources without the values that follow from totals of any group that one of them knows.

    A source by itself withholds for the groups of its own attributes; linked, the site of a team
    may stand in another file. What is withheld further is counted under `withheld_for_others`.
    """
    groups = _all_groups(sources)
    return [_protected(source, groups) for source in sources]


def _all_groups(sources: Sequence[MeasuredSource]) -> pd.DataFrame:
    """Unit and every attribute; of two values of one unit the first (linking refuses them)."""
    whole = pd.concat([source.attributes for source in sources], ignore_index=True)
    return whole.groupby("unit", sort=True, as_index=False).first()


def _protected(source: MeasuredSource, groups: pd.DataFrame) -> MeasuredSource:
    own = source.attributes.columns
    if source.spec is None or not source.people.n or not set(groups.columns) - set(own):
        return source
    position = calendar_codes(source.frame["period"])
    frame, lost = withhold(
        source.frame, position, source.people, source.spec, source.attributes, groups
    )
    more = source.suppressed["measure"].map(lost).fillna(0).astype(int)
    suppressed = source.suppressed.assign(
        shown=source.suppressed["shown"] - more,
        withheld_for_others=source.suppressed["withheld_for_others"] + more,
    )
    return replace(source, frame=frame, suppressed=suppressed)
