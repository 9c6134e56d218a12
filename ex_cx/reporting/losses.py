"""What a report says of the rows it could not use: how many, why, and what was withheld."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ex_cx.linkage.audit import LinkAudit
from ex_cx.models.mediation import MediationResult
from ex_cx.models.regress import PanelResult
from ex_cx.reporting.numbers import count
from ex_cx.reporting.wording import readable_text, words_of

__all__ = ["clusters_fact", "row_counts"]

_WITHHELD = re.compile("suppressed|withheld_.*")
"""Columns of an audit's `suppressed` that count values which are not shown to protect people."""


def row_counts(result: PanelResult | MediationResult) -> dict[str, Any]:
    """Rows in, rows used, and rows lost by reason."""
    lost = {f"rows lost: {reason}": int(n) for reason, n in result.lost.items()}
    return {"rows in": int(result.rows_in), "rows used": int(result.n_obs), **lost}


def clusters_fact(
    result: PanelResult | MediationResult, names: Mapping[str, str], audit: LinkAudit | None = None
) -> tuple[str, str]:
    """The clusters, and in words the rows used and lost; of missing values those withheld.

    Parameters
    ----------
    names : column -> reader's name. audit : of the data that the panel was linked from; it knows
        what was withheld in the whole study, not which rows of a segment lack it for that.
    """
    lost = sum(result.lost.values())
    why = "; ".join(
        f"{count(n)} {readable_text(reason, names)}" for reason, n in result.lost.items()
    )
    text = f"clusters; {count(result.n_obs)} of {count(result.rows_in)} rows used"
    if lost:
        text += f", {count(lost)} lost ({why}{_withheld(result, names, audit)})"
    return count(result.n_clusters), text


def _withheld(
    result: PanelResult | MediationResult, names: Mapping[str, str], audit: LinkAudit | None
) -> str:
    """Of the measures that rows lack, how many values the linkage withheld."""
    if audit is None or not len(audit.suppressed):
        return ""
    table = audit.suppressed.set_index("measure")
    held = table[[name for name in table if _WITHHELD.fullmatch(str(name))]].sum(axis=1)
    missing = " ".join(reason for reason in result.lost if reason.startswith("missing "))
    found = [
        f"{count(n)} of {words_of(str(measure), names)}"
        for measure, n in held.items()
        if n and re.search(rf"(?<!\w){re.escape(str(measure))}(?!\w)", missing)
    ]
    if not found:
        return ""
    return f"; withheld in the whole study to protect small groups: {', '.join(found)}"
