"""What a guard says: one finding in plain words with its numbers, and a verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import pandas as pd

from ex_cx.errors import ExCxError, InferenceError, some
from ex_cx.estimation.design import DesignTerm, same_source, term_columns, term_values
from ex_cx.linkage.panel import Panel
from ex_cx.robustness.direction import timed_term

__all__ = [
    "Finding",
    "Verdict",
    "about_headline",
    "check_conf_level",
    "cluster_counts",
    "guard_frame",
    "holds_zero",
    "interval_level",
    "number",
    "records",
    "rows_lost",
    "shared_source",
    "span",
    "spread_within",
    "together",
    "told",
    "variation_within",
    "why",
]

Verdict = Literal["clear", "caution", "limits"]
_SEVERITY: tuple[Verdict, ...] = ("limits", "caution", "clear")

FEW_CLUSTERS, TOO_FEW_CLUSTERS = 40, 12
"""Clusters below which errors are likely too small, and below which they cannot be trusted."""
FEW_EFFECTIVE, TOO_FEW_EFFECTIVE = 20, 6
"""The same in effective clusters, of which equal-sized clusters have up to two thirds fewer."""
LITTLE_WITHIN, HARDLY_WITHIN = 0.20, 0.05
"""Shares of an exposure's variance within units that are little, and too little to build on."""
FAR = 3.0
"""Within-unit standard deviations that a change of 1 may reach before that is said."""
MANY_LOST, MOST_LOST = 0.20, 0.50
"""Shares of the panel's rows whose loss calls for caution, and limits what the rest can say."""


class Finding(NamedTuple):
    """What was found, and what it means for the claim."""

    words: str
    verdict: Verdict


def guard_frame(checks: Mapping[str, Callable[[], Finding]]) -> pd.DataFrame:
    """Carry out each check: columns guard, finding, verdict.

    A check that these data do not allow is a caution, with the reason in words; what to do about it
    is left out, as it concerns the check and not the study.
    """
    rows = []
    for guard, check in checks.items():
        try:
            words, verdict = check()
        except ExCxError as error:
            words, verdict = f"Could not be checked on these rows: {why(error)}.", "caution"
        rows.append({"guard": guard, "finding": words, "verdict": verdict})
    return pd.DataFrame(rows, columns=["guard", "finding", "verdict"])


def why(error: ExCxError) -> str:
    """What was found, without what to do about it: the first sentence of an error.

    >>> why(ExCxError("There is 1 cluster. Add units."))
    'There is 1 cluster'
    """
    return str(error).split(". ")[0].rstrip(".")


def together(findings: Sequence[Finding], end: str = "") -> Finding:
    """Several findings of one guard as one: the worst first, at most three of them told.

    >>> together([Finding("x: fine", "clear"), Finding("z: odd", "caution")], "As seen.")
    Finding(words='z: odd; x: fine. As seen.', verdict='caution')
    """
    ranked = sorted(findings, key=lambda finding: _SEVERITY.index(finding.verdict))
    return Finding(_listed(ranked, end), ranked[0].verdict)


def _listed(ranked: Sequence[Finding], end: str) -> str:
    """The first three in words, and how many more."""
    first = "; ".join(finding.words for finding in ranked[:3])
    rest = f"; and {len(ranked) - 3} more, none worse" if len(ranked) > 3 else ""
    return f"{first}{rest}.{' ' + end if end else ''}"


def about_headline(findings: Mapping[str, Finding], headline: str, end: str = "") -> Finding:
    """Findings by exposure as one, the headline's first; another exposure's limit is a caution.

    >>> about_headline({"z": Finding("z: odd", "limits"), "x": Finding("x: fine", "clear")}, "x")
    Finding(words='x: fine; z: odd.', verdict='caution')
    """
    first = [finding for name, finding in findings.items() if name == headline]
    others = [
        finding._replace(verdict="caution") if finding.verdict == "limits" else finding
        for name, finding in findings.items()
        if name != headline
    ]
    worst = together([*first, *others]).verdict
    ranked = sorted(others, key=lambda finding: _SEVERITY.index(finding.verdict))
    return Finding(_listed([*first, *ranked], end), worst)


def number(value: float) -> str:
    """Three significant figures, thousands in full.

    >>> number(0.012345), number(-1234.5), number(0.0)
    ('0.0123', '-1,234', '0')
    """
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def span(low: float, high: float) -> str:
    """The ends of an interval.

    >>> span(-0.1, 0.25)
    '-0.1 to 0.25'
    """
    return f"{number(low)} to {number(high)}"


def interval_level(conf_level: float) -> str:
    """What the intervals of a finding are.

    >>> interval_level(0.975)
    '97.5 % intervals.'
    """
    return f"{100 * conf_level:.4g} % intervals."


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a frame, each by column name."""
    return [dict(zip(frame.columns, row, strict=True)) for row in frame.itertuples(index=False)]


def holds_zero(row: Mapping[str, Any]) -> bool:
    """Whether a tidy row's interval holds zero; one that does not exist does.

    >>> holds_zero({"conf_low": -1.0, "conf_high": 2.0})
    True
    """
    return not (row["conf_low"] > 0 or row["conf_high"] < 0)


def told(row: Mapping[str, Any]) -> str:
    """Estimate and interval of a tidy row.

    >>> told({"estimate": 1.5, "conf_low": 1.0, "conf_high": 2.0})
    '1.5 (1 to 2)'
    """
    return f"{number(row['estimate'])} ({span(row['conf_low'], row['conf_high'])})"


def check_conf_level(conf_level: float) -> None:
    """Refuse a level that is not a share between 0 and 1."""
    if not 0 < conf_level < 1:
        raise InferenceError(
            f"conf_level={conf_level!r} is not between 0 and 1. For 95 % intervals use 0.95."
        )


def cluster_counts(n_clusters: int, effective: Mapping[str, float]) -> Finding:
    """How many clusters there are, and how many equally informative ones they are worth.

    `effective` : by exposure, the headline first; where others have too few, that is a caution.
    """
    worth = ", ".join(
        f"{number(float(f'{value:.2g}'))} for {term}" for term, value in effective.items()
    )
    words = f"{n_clusters:,} clusters (by leverage worth {worth})"
    headline, fewest = next(iter(effective.values())), min(effective.values())
    if n_clusters < TOO_FEW_CLUSTERS or headline < TOO_FEW_EFFECTIVE:
        return Finding(f"{words}: too few for clustered intervals to be trusted", "limits")
    if n_clusters < FEW_CLUSTERS or fewest < FEW_EFFECTIVE:
        return Finding(f"{words}: few enough that intervals are likely too short", "caution")
    return Finding(words, "clear")


def shared_source(
    panel: Panel, pairs: Sequence[tuple[str, str]], headline: Sequence[tuple[str, str]]
) -> Finding:
    """Were outcome and cause of each pair measured on the same people? By the provenance.

    `headline` : those of the pairs that the claim is about; for others, it is a caution.
    """
    bare = {pair: tuple(timed_term(panel, term)[0] for term in pair) for pair in pairs}
    shared = [
        Finding(text, "limits" if pair in headline else "caution")
        for pair, (y, x) in bare.items()
        for text in same_source(panel, [y], [x])
    ]
    if shared:
        return together(shared)
    columns = [c for pair in bare.values() for term in pair for c in term_columns(panel, term)]
    unique = list(dict.fromkeys(columns))
    unknown = [name for name in unique if not panel.provenance.get(name)]
    if unknown:
        return Finding(
            f"The source of {some(unknown)} is not recorded, so one source for both sides cannot "
            "be ruled out. State the provenance of each column.",
            "caution",
        )
    sources = ", ".join(f"{name} from {panel.provenance[name]}" for name in unique)
    return Finding(f"Different sources: {sources}.", "clear")


def spread_within(panel: Panel, terms: Sequence[str]) -> pd.DataFrame:
    """`Panel.describe` of terms, products and powers included, indexed by term."""
    values = {term: term_values(panel, DesignTerm(term)) for term in dict.fromkeys(terms)}
    keys = panel.frame[[panel.unit, panel.period]]
    alone = Panel.from_frame(keys.assign(**values), unit=panel.unit, period=panel.period)
    return alone.describe().set_index("column")


def variation_within(panel: Panel, terms: Sequence[str], headline: str = "") -> Finding:
    """What share of each term's variance lies within units, where effects are estimated?

    `headline` : the term that the claim is about; empty: all of them.
    """
    spread = spread_within(panel, terms)[["within_share", "sd_within"]]
    findings = {str(term): _varying(str(term), *row) for term, row in spread.T.items()}
    return about_headline(findings, headline) if headline else together([*findings.values()])


def _varying(term: str, share: float, sd: float) -> Finding:
    words = f"{100 * share:.2g} % of the variance of {term} lies within units"
    if sd > 0:
        far = f": 1 more is {number(1 / sd)} of them, further than units move"
        words += f" (standard deviation {number(sd)}{far if FAR * sd < 1 else ''})"
    if share >= LITTLE_WITHIN:
        return Finding(words, "clear")
    if share >= HARDLY_WITHIN:
        return Finding(f"{words}, which is little to learn from", "caution")
    return Finding(f"{words}: change within units is hardly observed", "limits")


def rows_lost(rows_in: int, lost: Mapping[str, int]) -> Finding:
    """How many of the panel's rows were not used, and why."""
    gone = sum(lost.values())
    if not gone:
        return Finding(f"All {rows_in:,} rows of the panel are used.", "clear")
    share = gone / rows_in
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in lost.items())
    words = (
        f"{rows_in - gone:,} of {rows_in:,} rows are used, {gone:,} ({100 * share:.1f} %) are not: "
        f"{reasons}."
    )
    if share > MOST_LOST:
        return Finding(f"{words} What is left may not stand for the whole.", "limits")
    if share > MANY_LOST:
        return Finding(f"{words} See who they are before reading on.", "caution")
    return Finding(words, "clear")
