"""The measures of employee and customer experience, one pure function each, conventions stated.

Every function takes rows or counts and returns an `Estimate`. Rates are sums over sums, never means
of rates, and their errors those of a ratio of sums over the rows given (linearised); a single row
of counts has the binomial error where the measure is a share of countable things, and none else.
Definitions and sources: METHODS.md section 1. Units and periods: group first, or link a source.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
import pandas as pd

from ex_cx.errors import SchemaError, nearest
from ex_cx.linkage.grouped import contact_resolution, group_nps
from ex_cx.linkage.wording import counted

__all__ = [
    "Estimate",
    "abandonment_rate",
    "adherence",
    "attrition_rate",
    "average_handle_time",
    "conformance",
    "customer_effort",
    "customer_satisfaction",
    "first_contact_resolution",
    "net_promoter_score",
    "occupancy",
    "repeat_contact",
    "required_staff",
    "retention_rate",
    "service_level",
    "shrinkage",
    "utilisation",
]

Numbers = Sequence[float] | np.ndarray | pd.Series | float
AttritionConvention = Literal["simple", "annualised", "compound"]
RetentionBasis = Literal["accounts", "gross_revenue", "net_revenue"]
Short = Literal["net_of_short", "with_abandoned"]
ServiceConvention = Literal["offered", "answered", "net_of_short", "with_abandoned"]


class Estimate(NamedTuple):
    """A measure, its standard error in the same unit (NaN where there is none), and its n."""

    estimate: float
    std_error: float
    n: float


def net_promoter_score(scores: Numbers, *, adjusted: bool = False) -> Estimate:
    """Share of 9-10 less share of 0-6, in points (-100..100).

    Parameters
    ----------
    scores : answers, whole numbers 0 to 10; missing ones are left out.
    adjusted : adjusted Wald: 3/4 promoter, 3/2 passives and 3/4 detractor are added, which keeps
        the error from vanishing where all are of one mind.

    Raises
    ------
    SchemaError : other answers.

    Notes
    -----
    Variance [p + d - (p - d)^2] / n of the difference of two multinomial shares.

    >>> found = net_promoter_score([10, 9, 9, 7, 3])
    >>> round(found.estimate, 6), round(found.std_error, 4), found.n
    (40.0, 35.7771, 5)
    """
    answers = np.atleast_1d(np.asarray(scores, dtype=float))
    row = group_nps(answers, np.zeros(len(answers), dtype=np.int64), 1).iloc[0]
    n = float(row["n"])
    if not adjusted or n == 0:
        return Estimate(float(row["value"]), float(row["se"]), int(n))
    p, d = ((row[c] * n + 0.75) / (n + 3) for c in ("promoter_share", "detractor_share"))
    error = 100 * np.sqrt((p + d - (p - d) ** 2) / (n + 3))
    return Estimate(float(100 * (p - d)), float(error), int(n))


def customer_satisfaction(
    scores: Numbers,
    *,
    low: float,
    high: float,
    convention: Literal["top_two", "mean"] = "top_two",
) -> Estimate:
    """Share of the two best answers in percent, or the mean answer; the scale is `low` to `high`.

    >>> customer_satisfaction([5, 4, 3, 1], low=1, high=5).estimate
    50.0
    """
    answers = _answers(scores, low, high)
    _choose("convention", convention, ("top_two", "mean"))
    return _share(answers >= high - 1) if convention == "top_two" else _mean(answers)


def customer_effort(scores: Numbers, *, version: Literal["ces1", "ces2"]) -> Estimate:
    """Mean answer: of ces1 effort 1-5, high is bad; of ces2 agreement 1-7 that it was easy.

    >>> customer_effort([1, 2, 3], version="ces1").estimate
    2.0
    """
    _choose("version", version, ("ces1", "ces2"))
    return _mean(_answers(scores, 1, 5 if version == "ces1" else 7))


def first_contact_resolution(customers: pd.Series, times: pd.Series, *, days: int = 7) -> Estimate:
    """Contacts without another of the same customer within `days` days, percent.

    Contacts of the last `days` whose window reaches past the end of the data are unknown and left
    out; so are contacts without customer or time.

    >>> times = pd.Series(pd.to_datetime(["2024-01-01", "2024-01-05", "2024-01-20", "2024-01-30"]))
    >>> found = first_contact_resolution(pd.Series(["a", "a", "a", "b"]), times)
    >>> round(found.estimate, 2), round(found.std_error, 2), found.n
    (66.67, 27.22, 3)
    """
    resolved = contact_resolution(customers, times, days=days)
    return _share(resolved[~np.isnan(resolved)] == 1)


def repeat_contact(customers: pd.Series, times: pd.Series, *, days: int = 7) -> Estimate:
    """100 less `first_contact_resolution`: contacts followed by another within `days`, percent."""
    found = first_contact_resolution(customers, times, days=days)
    return found._replace(estimate=100 - found.estimate)


def attrition_rate(
    exits: Numbers,
    headcount: Numbers,
    *,
    periods_a_year: float = 12,
    convention: AttritionConvention = "simple",
) -> Estimate:
    """Exits over mean headcount, percent.

    Parameters
    ----------
    exits, headcount : of one or more consecutive periods; headcount the mean of open and close, or
        of daily counts. n is the mean headcount.
    convention : simple, sum of exits / sum of headcounts: the rate of a mean period; annualised,
        that times `periods_a_year` (sum of 12 months' exits / mean of 12 headcounts); compound,
        1 - (1 - m) ^ `periods_a_year`, the share of a team that a year at rate m takes.

    >>> [round(attrition_rate(3, 100, convention=c).estimate, 1)
    ...  for c in ("simple", "annualised", "compound")]
    [3.0, 36.0, 30.6]
    """
    _choose("convention", convention, get_args(AttritionConvention))
    rate = _ratio(exits, headcount, "exits", "headcount", binomial=True)
    n = float(np.mean(_numbers(headcount, "headcount")))
    if convention == "simple":
        return Estimate(100 * rate.estimate, 100 * rate.std_error, n)
    if convention == "annualised":
        factor = 100 * periods_a_year
        return Estimate(factor * rate.estimate, factor * rate.std_error, n)
    stay = 1 - rate.estimate
    slope = periods_a_year * stay ** (periods_a_year - 1)
    return Estimate(100 * (1 - stay**periods_a_year), 100 * slope * rate.std_error, n)


def retention_rate(
    start: Numbers, end: Numbers, new: Numbers = 0.0, *, basis: RetentionBasis = "accounts"
) -> Estimate:
    """Of the customers at the start, those still there at the end: (end - new) / start, percent.

    Parameters
    ----------
    start, end, new : accounts at the start, at the end, and won in between; or their revenue.
    basis : accounts; gross_revenue (without growth of those kept: at most 100); net_revenue (with
        it: may exceed 100). Cohorts whose window is not over are no rows: leave them out.

    >>> retention_rate(200, 210, 30).estimate
    90.0
    """
    _choose("basis", basis, get_args(RetentionBasis))
    kept = _numbers(end, "end") - _numbers(new, "new")
    before = _numbers(start, "start")
    grown = int((kept > before * (1 + 1e-12)).sum())
    if basis != "net_revenue" and grown:
        raise SchemaError(
            f"{counted(grown, 'row')} of {len(before)} keep more than they had at the start "
            f"(end less new exceeds start), which {basis!r} cannot. Subtract growth from `end`, or "
            "use basis='net_revenue'."
        )
    found = _ratio(kept, before, "kept", "start", binomial=basis == "accounts")
    return _percent(found)


def average_handle_time(talk: Numbers, hold: Numbers, wrap: Numbers, answered: Numbers) -> Estimate:
    """(Talk + hold + after-call work) / answered contacts, in the unit of the times.

    >>> average_handle_time([200.0, 300.0], [20.0, 0.0], [80.0, 60.0], [1, 1]).estimate
    330.0
    """
    total = sum(_numbers(part, name) for part, name in ((talk, "talk"), (hold, "hold")))
    return _ratio(total + _numbers(wrap, "wrap"), answered, "handle time", "answered")


def occupancy(handle: Numbers, available: Numbers) -> Estimate:
    """Handle time / (handle + available waiting time), percent: how busy people at work are.

    >>> occupancy([45.0], [15.0]).estimate
    75.0
    """
    busy = _numbers(handle, "handle")
    return _percent(_ratio(busy, busy + _numbers(available, "available"), "handle", "staffed time"))


def utilisation(handle: Numbers, paid: Numbers) -> Estimate:
    """Handle time / paid time, percent; lower than occupancy, since not all paid time is staffed.

    >>> utilisation([45.0], [90.0]).estimate
    50.0
    """
    _check_part(handle, paid, "handle", "paid")
    return _percent(_ratio(handle, paid, "handle", "paid"))


def adherence(in_planned_state: Numbers, scheduled: Numbers) -> Estimate:
    """Time in the state that was planned / scheduled time, percent.

    >>> adherence([54.0], [60.0]).estimate
    90.0
    """
    _check_part(in_planned_state, scheduled, "in_planned_state", "scheduled")
    return _percent(_ratio(in_planned_state, scheduled, "time in planned state", "scheduled"))


def conformance(worked: Numbers, scheduled: Numbers) -> Estimate:
    """Total time worked / scheduled time, percent, whenever it was worked: no adherence.

    >>> conformance([60.0], [60.0]).estimate
    100.0
    """
    return _percent(_ratio(worked, scheduled, "worked", "scheduled"))


def shrinkage(unavailable: Numbers, paid: Numbers) -> Estimate:
    """Paid time in which people are not available / paid time, percent.

    >>> shrinkage([30.0], [100.0]).estimate
    30.0
    """
    _check_part(unavailable, paid, "unavailable", "paid")
    return _percent(_ratio(unavailable, paid, "unavailable", "paid"))


def required_staff(on_duty: float, shrinkage_pct: float) -> float:
    """People to employ so that `on_duty` are available: on_duty / (1 - s), never times (1 + s).

    >>> round(required_staff(70, 30), 6)
    100.0
    """
    if not 0 <= shrinkage_pct < 100:
        raise SchemaError(f"Shrinkage is {shrinkage_pct:g} %; it must be from 0 to below 100.")
    return on_duty / (1 - shrinkage_pct / 100)


def service_level(
    answered_in_time: Numbers,
    *,
    answered: Numbers,
    abandoned: Numbers | None = None,
    abandoned_in_time: Numbers | None = None,
    convention: ServiceConvention,
) -> Estimate:
    """Contacts answered within the threshold, percent of one of four denominators in use.

    Parameters
    ----------
    answered_in_time, abandoned_in_time : within the threshold; answered, abandoned : all.
    convention : offered, in time / (answered + abandoned); answered, in time / answered;
        net_of_short, in time / (offered - abandoned in time); with_abandoned, (in time + abandoned
        in time) / offered. A count that the convention needs must be given.

    >>> counts = {"answered": 90, "abandoned": 10, "abandoned_in_time": 4}
    >>> [round(service_level(72, convention=c, **counts).estimate, 1)
    ...  for c in ("offered", "answered", "net_of_short", "with_abandoned")]
    [72.0, 80.0, 75.0, 76.0]
    """
    _choose("convention", convention, get_args(ServiceConvention))
    needs = {
        "abandoned": abandoned is None and convention != "answered",
        "abandoned_in_time": abandoned_in_time is None and convention in get_args(Short),
    }
    if any(needs.values()):
        missing = ", ".join(name for name, lacking in needs.items() if lacking)
        raise SchemaError(f"The service level {convention!r} needs {missing} too. Give the counts.")
    top, all_answered = (
        _numbers(v, n) for v, n in ((answered_in_time, "answered_in_time"), (answered, "answered"))
    )
    _check_part(top, all_answered, "answered_in_time", "answered")
    short = _numbers(0.0 if abandoned_in_time is None else abandoned_in_time, "abandoned_in_time")
    offered = all_answered + _numbers(0.0 if abandoned is None else abandoned, "abandoned")
    if convention == "with_abandoned":
        top = top + short
    bottom = {"answered": all_answered, "net_of_short": offered - short}.get(convention, offered)
    return _percent(_ratio(top, bottom, "answered in time", convention, binomial=True))


def abandonment_rate(abandoned: Numbers, offered: Numbers, *, short: Numbers = 0.0) -> Estimate:
    """Contacts given up / offered, percent; `short` abandons are taken out of both.

    >>> [round(abandonment_rate(10, 100, short=s).estimate, 2) for s in (0, 4)]
    [10.0, 6.25]
    """
    few, given_up, all_offered = (
        _numbers(values, name)
        for values, name in ((short, "short"), (abandoned, "abandoned"), (offered, "offered"))
    )
    _check_part(few, given_up, "short", "abandoned")
    _check_part(given_up, all_offered, "abandoned", "offered")
    top, bottom = given_up - few, all_offered - few
    return _percent(_ratio(top, bottom, "abandoned", "offered", binomial=True))


def _choose(name: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise SchemaError(
            f"{name}={value!r} is not one of {', '.join(allowed)}.{nearest(value, allowed)}"
        )


def _numbers(values: Numbers, name: str) -> np.ndarray:
    found = np.atleast_1d(np.asarray(values, dtype=float))
    wrong = int((~np.isfinite(found) & ~np.isnan(found)).sum() + (found < 0).sum())
    if wrong:
        raise SchemaError(
            f"{counted(wrong, 'value')} of {len(found)} of {name} {'is' if wrong == 1 else 'are'} "
            "negative or infinite. Correct them, or set them to missing."
        )
    return found


def _check_part(part: Numbers, whole: Numbers, name: str, name_whole: str) -> None:
    """Refuse a part that exceeds its whole."""
    larger = int((_numbers(part, name) > _numbers(whole, name_whole) * (1 + 1e-12)).sum())
    if larger:
        raise SchemaError(
            f"{name} exceeds {name_whole}, of which it is a part, in {counted(larger, 'row')}. "
            "Check the columns and their units."
        )


def _answers(scores: Numbers, low: float, high: float) -> np.ndarray:
    found = np.atleast_1d(np.asarray(scores, dtype=float))
    found = found[~np.isnan(found)]
    wrong = int(((found < low) | (found > high)).sum())
    if wrong:
        raise SchemaError(
            f"{counted(wrong, 'answer')} of {len(found)} {'is' if wrong == 1 else 'are'} outside "
            f"the scale {low:g} to {high:g}. Correct them, or the scale."
        )
    return found


def _mean(answers: np.ndarray) -> Estimate:
    n = len(answers)
    error = float(answers.std(ddof=1) / np.sqrt(n)) if n > 1 else np.nan
    return Estimate(float(answers.mean()) if n else np.nan, error, n)


def _share(yes: np.ndarray) -> Estimate:
    n = len(yes)
    p = float(yes.mean()) if n else np.nan
    return Estimate(100 * p, float(100 * np.sqrt(p * (1 - p) / n)) if n else np.nan, n)


def _percent(found: Estimate) -> Estimate:
    return Estimate(100 * found.estimate, 100 * found.std_error, found.n)


def _ratio(
    top: Numbers, bottom: Numbers, name_top: str, name_bottom: str, *, binomial: bool = False
) -> Estimate:
    """Sum over sum with its linearised error; rows that lack one of the two are in neither sum.

    Source: Cochran (1977), Sampling Techniques, eq. 2.46, without finite-population correction.
    """
    above, below = _numbers(top, name_top), _numbers(bottom, name_bottom)
    if len(above) != len(below):
        raise SchemaError(
            f"{name_top} has {len(above)} rows and {name_bottom} {len(below)}; give one row each."
        )
    use = ~(np.isnan(above) | np.isnan(below))
    above, below, rows = above[use], below[use], int(use.sum())
    total = below.sum()
    if not total > 0:
        return Estimate(np.nan, np.nan, float(total))
    ratio = float(above.sum() / total)
    if rows > 1:
        spread = ((above - ratio * below) ** 2).sum() * rows / (rows - 1)
        return Estimate(ratio, float(np.sqrt(spread) / total), float(total))
    error = np.sqrt(ratio * (1 - ratio) / total) if binomial and 0 <= ratio <= 1 else np.nan
    return Estimate(ratio, float(error), float(total))
