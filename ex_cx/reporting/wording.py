"""The sentences of a report, computed from its numbers. They say association, never effect."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from ex_cx.errors import SpecError, some
from ex_cx.estimation.contrasts import joint_test
from ex_cx.models.regress import PanelResult
from ex_cx.reporting.numbers import capital, equals, interval, label, number, plain, split_unit

__all__ = [
    "COMPARE_A_UNIT_WITH_ITSELF",
    "answer_change",
    "answer_panel",
    "by_kind",
    "change",
    "direction",
    "given_products",
    "grade",
    "has_estimate",
    "holds_zero",
    "jointly",
    "kind_of",
    "level_interval",
    "listed",
    "moved",
    "other_errors",
    "readable",
    "readable_text",
    "reading",
    "row_of",
    "size_words",
    "told",
    "unit_words",
    "with_interval",
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

_MIXED = ("pooled", "random", "no_effects")
"""Kinds in which change within units and differences between them are one number."""

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
    sentence += given_products(comparison["term"].unique(), term, names)
    if estimator not in COMPARE_A_UNIT_WITH_ITSELF or not has_estimate(comparison, term, "between"):
        return sentence
    unit = split_unit(label(outcome, names))[1]
    return sentence + _against_between(row, row_of(comparison, term, "between"), unit)


def answer_change(
    row: pd.Series,
    changes: Mapping[str, float],
    outcome: str,
    *,
    labels: Mapping[str, str] | None = None,
    remark: str = "",
) -> str:
    """What goes with a change of this size in one or more terms, as one sentence.

    Parameters
    ----------
    row : from `predict_change` of `changes`, term -> amount; `remark` says what kind of change.

    >>> row = pd.Series(dict(estimate=-6.02, conf_low=-6.9, conf_high=-5.1, conf_level=0.95))
    >>> answer_change(row, {"x": 3.37}, "y", labels={"x": "Load (%)", "y": "NPS (points)"})
    'Load higher by 3.37 percentage points is associated with NPS lower by 6.02 points (95 % \
interval −6.90 to −5.10).'
    """
    names = labels or {}
    cause = listed([moved(term, amount, names) for term, amount in changes.items()])
    cause += f", {remark}," * bool(remark)
    effect, unit = split_unit(label(outcome, names))
    if holds_zero(row):
        return (
            f"No difference in {effect} is shown for {cause.rstrip(',')}: "
            f"{with_interval(row, unit)}, which holds zero."
        )
    verb = "is" if len(changes) == 1 else "together are"
    return capital(
        f"{cause} {verb} associated with {effect} {direction(row)} by {size_words(row, unit)} "
        f"({level_interval(row)})."
    )


def moved(term: str, amount: float, names: Mapping[str, str]) -> str:
    """A term and how far it is moved.

    >>> moved("x", -5, {"x": "Load (%)"}), moved("x_lag1", 0.5, {"x": "Mood (1-5)"})
    ('Load lower by 5 percentage points', 'Mood, 1 period earlier, higher by 0.5')
    """
    words, unit = split_unit(label(term, names))
    words += "," * (", " in words)  # a lag is told after a comma
    if amount == 0:
        return f"{words} unchanged"
    way = "higher" if amount > 0 else "lower"
    far = f"{abs(amount):,.0f}" if abs(amount) >= 1000 else plain(f"{abs(amount):.3g}")
    return f"{words} {way} by {far}{unit_words(unit, one=abs(amount) == 1)}"


def told(row: pd.Series, unit: str) -> str:
    """Estimate, interval, and whether it holds zero."""
    rest = "holds zero" if holds_zero(row) else "does not hold zero"
    return f"{with_interval(row, unit)}, which {rest}"


def listed(words: Sequence[str]) -> str:
    """`a, b and c`."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def change(row: pd.Series, cause: str, effect: str) -> str:
    """`x higher by 1 % is associated with y lower by 1.5 points`, or that none is shown."""
    (x, x_unit), (y, y_unit) = split_unit(cause), split_unit(effect)
    x += "," * (", " in x)  # a lag is told after a comma
    if holds_zero(row):
        return (
            f"no association of {x} with {y} is shown: {with_interval(row, y_unit)} per 1"
            f"{unit_words(x_unit, one=True) or ' more'}, which holds zero"
        )
    return (
        f"{x} higher by 1{unit_words(x_unit, one=True)} is associated with {y} {direction(row)} "
        f"by {size_words(row, y_unit)} ({level_interval(row)})"
    )


def grade(
    guards: pd.DataFrame, row: pd.Series, estimator: str = "within", what: str = "association"
) -> tuple[str, str]:
    """What the design earns, in words, and the verdict: clear, caution or limits.

    Parameters
    ----------
    guards : from `check_guards` of the spec whose headline is `row`; what they find about other
        exposures is a caution at most.
    estimator : kind of the estimate. what : is claimed, such as an indirect association.
    """
    worst = set(guards["verdict"]) if len(guards) else set()
    limiting = list(guards.loc[guards["verdict"] == "limits", "guard"]) if len(guards) else []
    noted = ", ".join(str(name).lower() for name in limiting)
    none, an = holds_zero(row), "an" if what[0] in "aeiou" else "a"
    if estimator in _MIXED:
        if none:
            return f"Earned claim: no {what} over all rows is shown", "limits"
        return f"Earned claim: {an} {what} over all rows, not a change within units", "limits"
    if estimator not in COMPARE_A_UNIT_WITH_ITSELF:
        if none:
            return "Earned claim: no difference between units is shown", "limits"
        return "Earned claim: a difference between units, not a change within them", "limits"
    if none:
        claim = f"Earned claim: no {what} within units is shown"
        return (f"{claim}; limited by: {noted}", "limits") if limiting else (claim, "caution")
    if limiting:
        return f"Claim limited by: {noted}", "limits"
    if "caution" in worst:
        return f"Earned claim: {an} {what} within units, with cautions", "caution"
    return f"Earned claim: {an} {what} within units", "clear"


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


def given_products(terms: Iterable[str], term: str, names: Mapping[str, str]) -> str:
    """A reminder where the model also holds a product or power of the term."""
    own = _columns(term)
    others = [str(other) for other in terms]
    products = [other for other in others if other != term and own < _columns(other)]
    squares = [other for other in others if other != term and _columns(other, power=True) == own]
    if not products and not squares:
        return ""
    zero = sorted(set().union(*map(_columns, products)) - own) if products else []
    at = [f"where {' and '.join(words_of(name, names) for name in zero)} is 0"] if zero else []
    at += [f"at {words_of(term, names)} of 0"] if squares else []
    held = ", ".join(label(other, names) for other in [*products, *squares])
    return f" This is the slope {' and '.join(at)}: the model also holds {held}."


def jointly(result: PanelResult, term: str, names: Mapping[str, str]) -> str:
    """Whether all terms that hold a headline's column matter; empty where there is but one.

    The slope at one value may be nothing where the whole is much, and the other way round.
    """
    if not given_products(result.terms, term, names):
        return ""
    own = _columns(term)
    at = [j for j, other in enumerate(result.terms) if own <= _columns(other)]
    test = joint_test(result.coef[at], result.vcov[np.ix_(at, at)], result.df_t)
    if np.isnan(test.p_value):
        return ""
    return (
        f" Test of no association for all {len(at)} terms with {words_of(term, names)} together: "
        f"p {equals(test.p_value)}."
    )


def _columns(term: str, *, power: bool = False) -> set[str]:
    """The columns of a term, without their lags; with `power`, none unless it is a power.

    >>> sorted(_columns("x:z_lag1")), _columns("x_lag2"), _columns("x", power=True)
    (['x', 'z'], {'x'}, set())
    """
    if power and "^" not in term:
        return set()
    return {re.sub(r"_(lag|lead)\d+$", "", part.split("^")[0]) for part in term.split(":")}


def _against_between(within: pd.Series, between: pd.Series, unit: str) -> str:
    """What the comparison between units adds, if it says something else."""
    span = with_interval(between, unit)
    if holds_zero(within) and not holds_zero(between):
        return f" Between units it is {span}: a lasting difference, not change within a unit."
    if not holds_zero(within) and holds_zero(between):
        return f" Between units none is shown: {span}."
    opposite = within["estimate"] * between["estimate"] < 0
    if opposite and not holds_zero(within):
        return f" Between units the sign is the opposite, {span}: comparing units would mislead."
    return ""


def _half(row: pd.Series) -> float:
    return float((row["conf_high"] - row["conf_low"]) / 2)


def size_words(row: pd.Series, unit: str) -> str:
    """The size of an estimate with its unit."""
    return f"{number(abs(row['estimate']), _half(row))}{unit_words(unit)}"


def direction(row: pd.Series) -> str:
    """Which way an estimate points."""
    return "higher" if row["estimate"] > 0 else "lower"


def with_interval(row: pd.Series, unit: str) -> str:
    """An estimate with its unit and interval."""
    return f"{number(row['estimate'], _half(row))}{unit_words(unit)} ({level_interval(row)})"


def level_interval(row: pd.Series) -> str:
    """An interval with its level."""
    if pd.isna(row["conf_low"]) and pd.isna(row["conf_high"]):
        return "no interval can be given"
    return f"{100 * row['conf_level']:g} % interval {interval(row['conf_low'], row['conf_high'])}"


def unit_words(unit: str, *, one: bool = False) -> str:
    """A unit after a number; a scale such as 1-5 is not one, and 1 % more means a point.

    >>> unit_words("% a month", one=True), unit_words("%"), unit_words("1-5")
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
