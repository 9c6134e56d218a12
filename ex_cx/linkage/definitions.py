"""What a measure is, in words."""

from __future__ import annotations

from collections.abc import Mapping

from ex_cx.linkage.confidentiality.withholding import is_distribution
from ex_cx.linkage.schema import ANSWER_METRICS, MeasureSpec, SourceSpec
from ex_cx.linkage.wording import counted

__all__ = ["definition"]


def _added(signs: Mapping[str, int]) -> str:
    """Columns as a sum: ('offered' - 'short')."""
    if not signs:
        return ""
    first, *rest = signs.items()
    begin = f"{'-' if first[1] < 0 else ''}{first[0]!r}"
    whole = begin + "".join(f" {'+' if sign > 0 else '-'} {name!r}" for name, sign in rest)
    return f"({whole})" if rest else whole


def definition(measure: MeasureSpec, spec: SourceSpec) -> str:
    """What the measure is, in a sentence for the audit and the report."""
    span = (
        f"{measure.low:g} to {measure.high:g}"
        if measure.low is not None and (measure.high is not None)
        else "its scale"
    )
    effort = "much" if measure.direction == "high_is_bad" else "little"
    kinds = f" ({', '.join(measure.types)})" if measure.types else ""
    amount = f"{measure.weight!r} of accounts" if measure.weight else "accounts"
    yes = " or ".join(repr(value) for value in measure.positive)
    turned = f", {len(measure.reverse)} reverse-keyed" if measure.reverse else ""
    contact = (
        f"contacts of {measure.customer!r} without another within {measure.days} days, percent; "
        "contacts whose window reaches past the end of the data are left out"
    )
    top, bottom = _added(measure.added("numerator")), _added(measure.added("denominator"))
    texts = {
        "nps": "share of answers 9-10 less share of 0-6, points from -100 to 100",
        "effort": f"mean answer, {span}; high means {effort} effort",
        "scale_mean": f"mean over respondents of {len(measure.items)} items{turned}, {span}, "
        f"at least {measure.min_share:.0%} of the items answered",
        "mean": f"mean of {measure.score!r}",
        "share": f"share of answers to {measure.score!r} that are {yes}, percent",
        "fcr": contact
        if measure.customer
        else f"share of customers who answered {yes} to {measure.score!r}, percent",
        "attrition": f"exits{kinds} in the {spec.frequency} / mean of open and close headcount, "
        "percent",
        "retention": f"{amount} at the start of the {spec.frequency} that are still there at the "
        f"end of {counted(measure.window, spec.frequency)}, percent",
        "occupancy": f"{top} / {bottom}, sums, percent",
        "aht": f"{top} / {bottom}, sums",
        "ratio": f"{measure.per:g} x sum of {top} / sum of {bottom}",
        "sum": f"sum of {measure.score!r}",
        "count": "number of rows",
    }
    least = max(spec.min_n, spec.min_n_shares) if is_distribution(measure) else spec.min_n
    few = f"; missing below {least} respondents" if measure.metric in ANSWER_METRICS else ""
    split = "" if measure.split_seed is None else "; also of two random halves of the respondents"
    return texts[measure.metric] + few + split
