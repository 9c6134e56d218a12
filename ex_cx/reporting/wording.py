"""The sentences of a report, computed from its numbers. They say association, never effect."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import pandas as pd

from ex_cx.errors import SpecError, some
from ex_cx.reporting.numbers import capital, interval, label, number, plain, split_unit
from ex_cx.reporting.tables import by_term

__all__ = [
    "COMPARE_A_UNIT_WITH_ITSELF",
    "answer_mediation",
    "answer_panel",
    "by_kind",
    "change",
    "grade",
    "has_estimate",
    "holds_zero",
    "kind_of",
    "other_errors",
    "readable",
    "readable_text",
    "reading",
    "row_of",
    "words_of",
]

_WORDS = {
    "within": "Within units",
    "between": "Between units",
    "pooled": "Over all rows",
    "first_difference": "From one period to the next",
    "random": "Within and between units together",
    "correlated_random": "Within units",
    "fama_macbeth": "Across units, one period at a time",
    "within_period": "Across the units of one period",
    "no_effects": "Over all rows",
}
COMPARE_A_UNIT_WITH_ITSELF = ("within", "first_difference", "correlated_random")
"""Kinds of estimate that show change; all others mix in lasting differences between units."""

_READ = {
    "within": "The within estimate, net of the absorbed effects, holds lasting differences between "
    "units apart; pooled and between estimates mix them in.",
    "within_period": "With period effects alone, units of one period are compared with each other: "
    "lasting differences between units are in the estimate.",
    "first_difference": "First differences compare a period with the one before.",
    "correlated_random": "Correlated random effects hold the units' averages constant: where no "
    "row is missing, what is left is the within estimate.",
    "random": "Random effects assume that units do not differ in ways that go with the exposure.",
    "fama_macbeth": "Fama-MacBeth compares units with each other, one period at a time.",
}
"""How to read the lines of a forest, by kind of estimate."""


def kind_of(estimator: str, absorb: Sequence[str]) -> str:
    """What an estimate compares: "within" without unit effects does not look within units.

    >>> [kind_of("within", absorb) for absorb in (("unit", "period"), ("period",), ())]
    ['within', 'within_period', 'no_effects']
    """
    if estimator != "within" or "unit" in absorb:
        return estimator
    return "within_period" if "period" in absorb else "no_effects"


def by_kind(comparison: pd.DataFrame, absorb: Sequence[str]) -> pd.DataFrame:
    """A comparison whose estimators are named for what they compare."""
    return comparison.assign(estimator=[kind_of(e, absorb) for e in comparison["estimator"]])


def answer_panel(
    comparison: pd.DataFrame,
    *,
    term: str,
    outcome: str,
    estimator: str = "within",
    labels: Mapping[str, str] | None = None,
) -> str:
    """One sentence on one exposure, and a second where units differ otherwise than they change.

    Parameters
    ----------
    comparison : from `compare_estimators`, by kind; `estimator` is the one that answers.
    term : the exposure's term; `outcome` : the column explained.

    >>> rows = pd.DataFrame({"term": "x", "estimator": ["within"], "estimate": [-1.52],
    ...     "conf_low": [-1.8], "conf_high": [-1.24], "conf_level": [0.95]})
    >>> answer_panel(rows, term="x", outcome="y", labels={"x": "Load (%)", "y": "NPS (points)"})
    'Within units, Load higher by 1 percentage point is associated with NPS lower by 1.52 points \
(95 % interval −1.80 to −1.24).'
    """
    names = labels or {}
    row = row_of(comparison, term, estimator)
    sentence = f"{_WORDS[estimator]}, {change(row, label(term, names), label(outcome, names))}."
    if estimator not in COMPARE_A_UNIT_WITH_ITSELF or not has_estimate(comparison, term, "between"):
        return sentence
    return sentence + _against_between(row, row_of(comparison, term, "between"))


def answer_mediation(
    tidy: pd.DataFrame,
    *,
    exposure: str,
    outcome: str,
    mediators: tuple[str, ...],
    labels: Mapping[str, str] | None = None,
    within: bool = True,
) -> str:
    """One sentence on what runs through the mediators, and one on what remains direct."""
    names = labels or {}
    rows = by_term(tidy)
    cause, effect = split_unit(label(exposure, names)), split_unit(label(outcome, names))
    *first, last = (words_of(m, names) for m in mediators)
    through = f"{', '.join(first)} and {last}" if first else last
    where = "Within units" if within else "Over all rows"
    indirect, direct = rows["indirect"], rows["direct"]
    step = f"{cause[0]} higher by 1{_unit(cause[1], one=True)}"
    if holds_zero(indirect):
        head = (
            f"{where}, no path from {cause[0]} through {through} to {effect[0]} is shown: the "
            f"indirect association is {_with_interval(indirect, effect[1])}, which holds zero"
        )
    else:
        head = (
            f"{where}, {step} goes with {effect[0]} {_direction(indirect)} by "
            f"{_size(indirect, effect[1])} through {through} ({_interval(indirect)})"
        )
    rest = "holds zero" if holds_zero(direct) else "does not hold zero"
    return f"{head}; the direct path is {_with_interval(direct, effect[1])}, which {rest}."


def change(row: pd.Series, cause: str, effect: str) -> str:
    """`x higher by 1 % is associated with y lower by 1.5 points`, or that none is shown."""
    (x, x_unit), (y, y_unit) = split_unit(cause), split_unit(effect)
    if holds_zero(row):
        return (
            f"no association of {x} with {y} is shown: {_with_interval(row, y_unit)} per 1"
            f"{_unit(x_unit, one=True) or ' more'}, which holds zero"
        )
    return (
        f"{x} higher by 1{_unit(x_unit, one=True)} is associated with {y} {_direction(row)} by "
        f"{_size(row, y_unit)} ({_interval(row)})"
    )


def grade(guards: pd.DataFrame, row: pd.Series, estimator: str = "within") -> tuple[str, str]:
    """What the design earns, in words, and the verdict: clear, caution or limits."""
    worst = set(guards["verdict"]) if len(guards) else set()
    limiting = list(guards.loc[guards["verdict"] == "limits", "guard"]) if len(guards) else []
    if estimator not in COMPARE_A_UNIT_WITH_ITSELF:
        if holds_zero(row):
            return "Earned claim: no difference between units is shown", "limits"
        return "Earned claim: a difference between units, not a change within them", "limits"
    if limiting:
        noted = ", ".join(str(name).lower() for name in limiting)
        return f"Claim limited by: {noted}", "limits"
    if holds_zero(row):
        return "Earned claim: no association within units is shown", "caution"
    if "caution" in worst:
        return "Earned claim: an association within units, with cautions", "caution"
    return "Earned claim: an association within units", "clear"


def holds_zero(row: pd.Series) -> bool:
    """Does the interval hold zero (or is there none)?"""
    return not (row["conf_low"] > 0 or row["conf_high"] < 0)


def has_estimate(frame: pd.DataFrame, term: str, estimator: str) -> bool:
    """Does the comparison hold a number for this term by this estimator?"""
    rows = frame[(frame["term"] == term) & (frame["estimator"] == estimator)]
    return bool(rows["estimate"].notna().any())


def reading(rows: pd.DataFrame) -> str:
    """How to read the lines of one term's comparison, and which of them are empty."""
    shown = set(rows.loc[rows["estimate"].notna(), "estimator"])
    empty = [str(name).replace("_", " ") for name in rows["estimator"] if name not in shown]
    why = f" No estimate from these rows: {', '.join(empty)} (the method says why)."
    text = "".join(f" {words}" for name, words in _READ.items() if name in shown)
    return text + (why if empty else "")


def other_errors(comparison: pd.DataFrame, vcov: str) -> str:
    """Estimators of a comparison whose errors are of another kind than `vcov`, in words."""
    if "vcov" not in comparison:
        return ""
    found = comparison.loc[comparison["vcov"] != vcov, ["estimator", "vcov"]].drop_duplicates()
    pairs = found.itertuples(index=False)
    return "".join(f"; of {name} estimates: {kind}".replace("_", " ") for name, kind in pairs)


def row_of(frame: pd.DataFrame, term: str, estimator: str) -> pd.Series:
    """The row of one term by one estimator; a `SpecError` where the frame has none."""
    rows = frame[(frame["term"] == term) & (frame["estimator"] == estimator)]
    if rows.empty:
        raise SpecError(
            f"The comparison has no {estimator!r} estimate of {term!r}; it has "
            f"{some(frame['estimator'].unique())} of {some(frame['term'].unique())}. Name it in "
            "the estimators of compare_estimators."
        )
    return rows.iloc[0]


def _against_between(within: pd.Series, between: pd.Series) -> str:
    """What the comparison between units adds, if it says something else."""
    span = f"{number(between['estimate'], _half(between))} ({_interval(between)})"
    if holds_zero(within) and not holds_zero(between):
        return f" Units do differ lastingly, by {span}: that is not change within a unit."
    if not holds_zero(within) and holds_zero(between):
        return f" Between units no such difference is shown: {span}."
    opposite = within["estimate"] * between["estimate"] < 0
    if opposite and not holds_zero(within):
        return f" Between units the sign is the opposite, {span}: site mix would have misled."
    return ""


def _half(row: pd.Series) -> float:
    return float((row["conf_high"] - row["conf_low"]) / 2)


def _size(row: pd.Series, unit: str) -> str:
    return f"{number(abs(row['estimate']), _half(row))}{_unit(unit)}"


def _direction(row: pd.Series) -> str:
    return "higher" if row["estimate"] > 0 else "lower"


def _with_interval(row: pd.Series, unit: str) -> str:
    return f"{number(row['estimate'], _half(row))}{_unit(unit)} ({_interval(row)})"


def _interval(row: pd.Series) -> str:
    if pd.isna(row["conf_low"]) and pd.isna(row["conf_high"]):
        return "no interval can be given"
    return f"{100 * row['conf_level']:g} % interval {interval(row['conf_low'], row['conf_high'])}"


def _unit(unit: str, *, one: bool = False) -> str:
    """A unit after a number; a scale such as 1-5 is not one, and 1 % more means a point.

    >>> _unit("% a month", one=True), _unit("%"), _unit("1-5")
    (' percentage point a month', ' percentage points', '')
    """
    if unit == "%" or unit.startswith("% "):
        unit = f"percentage point{'' if one else 's'}{unit[1:]}"
    return f" {unit}" if unit and not any(sign.isdigit() for sign in unit) else ""


def words_of(name: str, labels: Mapping[str, str]) -> str:
    """The reader's name of a column without its unit."""
    return split_unit(label(name, labels))[0]


def readable(guards: pd.DataFrame, labels: Mapping[str, str]) -> pd.DataFrame:
    """Findings with the reader's names for columns, and a real minus sign before numbers."""
    return guards.assign(finding=[readable_text(text, labels) for text in guards["finding"]])


def readable_text(text: str, labels: Mapping[str, str]) -> str:
    """One finding, as `readable` writes it."""
    if labels:
        longest_first = sorted(labels, key=len, reverse=True)
        known = "|".join(map(re.escape, longest_first))
        pattern = rf"(?<!\w)((?:{known})(?:_(?:lag|lead)\d+)?)(?!\w)"
        text = re.sub(pattern, lambda match: words_of(match[1], labels), text)
    text = re.sub(r"(?<![\w.])-(?=\d)", "−", plain(text)).replace("->", "→")
    named = any(text.startswith(words_of(name, labels)) for name in labels)
    return capital(text) if named else text
