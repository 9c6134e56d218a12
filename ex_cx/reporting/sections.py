"""The parts of a report below its main figure: sizes, shape, errors side by side, diagnostics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from ex_cx.models.curve import CurveResult
from ex_cx.models.magnitude import predict_change
from ex_cx.models.regress import PanelResult
from ex_cx.reporting.curves import draw_curve
from ex_cx.reporting.numbers import capital, count, equals, interval, label, number, p_value
from ex_cx.reporting.report import Figure, Section, Table
from ex_cx.reporting.wording import (
    COMPARE_A_UNIT_WITH_ITSELF,
    answer_change,
    change,
    given_products,
    holds_zero,
    kind_of,
    listed,
    moved,
    readable_text,
    words_of,
)
from ex_cx.robustness.findings import FEW_CLUSTERS

__all__ = [
    "errors_sections",
    "instrument_sections",
    "other_terms",
    "readable_diagnostics",
    "shape_sections",
    "size_sections",
]

_CHANGES = {
    "one unit": "one more",
    "one within-unit sd": "one standard deviation",
    "25th to 75th percentile of the unit's own history": "across the middle half",
}
_ERRORS = {
    "cluster": "clustered (CR1)",
    "jackknife": "jackknife",
    "wild": "wild bootstrap",
    "bias_reduced": "bias-reduced (CR2)",
    "cluster_two_way": "clustered two ways",
    "driscoll_kraay": "Driscoll-Kraay",
    "robust": "robust (HC1)",
    "unadjusted": "unadjusted",
}
_ASKS = {
    "Hausman test": "Would random effects, which mix units and change, say the same?",
    "Mundlak test": "Do units differ lastingly otherwise than they change?",
    "Serial correlation": "Are a unit's errors alike from one period to the next?",
    "Cross-section dependence": "Do units move together for reasons outside the model?",
    "Effective clusters": "How many clusters of equal weight are behind each estimate?",
    "Leverage of single clusters": "Does one cluster carry an estimate?",
    "Variation within units": "How much does each term move inside units?",
    "Variance inflation": "Do the terms say the same, so that errors grow?",
    "Reliability within units": "How much of what moves is more than survey noise?",
}


def other_terms(
    forests: Sequence[Figure], tables: Sequence[Table], result: PanelResult
) -> tuple[Section, ...]:
    """All terms but the headline, folded."""
    which = ["exposure" if len(forests) == 1 else "exposures"] if forests else []
    which += ["controls"] if result.spec.controls else []
    if not which:
        return ()
    fold = f"The other {listed(which)}" if forests else "The controls"
    return (Section(heading="", figures=tuple(forests), tables=tuple(tables), fold=fold),)


def size_sections(
    sizes: pd.DataFrame | None,
    changes: Mapping[str, float],
    result: PanelResult,
    names: Mapping[str, str],
) -> tuple[Section, ...]:
    """How large is it? What goes with a change that can be pictured, and other such changes.

    Parameters
    ----------
    sizes : from `effect_sizes`. changes : term -> amount; for the sentence.
    """
    if sizes is None:
        return ()
    level, outcome = float(sizes["conf_level"].iloc[0]), result.spec.outcome
    row = predict_change(result, changes, conf_level=level).iloc[0]
    spread = _spread(result)
    remark = f"which is {spread}" if _is_one_sd(sizes, changes) else ""
    text = answer_change(row, changes, outcome, labels=names, remark=remark)
    left = [term for term in result.terms if term not in changes]
    bound = [term for term in changes if given_products(left, term, names)]
    if bound:
        return (_no_one_size(bound, names),)
    alone = sizes[~sizes["term"].str.contains(r"[:^]")]
    tables = (_size_table(alone, sizes, result, names),) if len(alone) else ()
    several = ", other exposures" if len(set(alone["term"])) > 1 else ""
    section = Section(
        heading="How large is it?",
        text=(text,),
        tables=tables,
        fold=("Other changes" + several) if tables else "",
    )
    return (section,)


def _no_one_size(bound: Sequence[str], names: Mapping[str, str]) -> Section:
    """Terms that also enter as products or powers have no size of their own."""
    text = (
        f"{capital(listed([words_of(term, names) for term in bound]))} also enters the model in "
        "products or powers, which move with it: how much goes with a change depends on where the "
        "change starts. Name what each of these terms changes by to be told a size."
    )
    return Section(heading="How large is it?", text=(text,))


def _spread(result: PanelResult) -> str:
    within = kind_of(result.spec.estimator, result.spec.absorb) in COMPARE_A_UNIT_WITH_ITSELF
    if not within:
        return "one standard deviation of it"
    common = ", net of what periods share" if "period" in result.spec.absorb else ""
    return f"one standard deviation within units{common}"


def _is_one_sd(sizes: pd.DataFrame, changes: Mapping[str, float]) -> bool:
    if len(changes) != 1:
        return False
    ((term, amount),) = changes.items()
    own = sizes[(sizes["term"] == term) & (sizes["change"] == "one within-unit sd")]
    return bool((own["size"] == amount).any())


def _size_table(
    alone: pd.DataFrame, sizes: pd.DataFrame, result: PanelResult, names: Mapping[str, str]
) -> Table:
    level = 100 * alone["conf_level"].iloc[0]
    pairs = list(zip(alone["term"], alone["size"], strict=True))
    frame = pd.DataFrame(
        {
            "change": [moved(*pair, names) for pair in pairs],
            "difference": list(map(number, alone["estimate"], alone["std_error"])),
            f"{level:g} % interval": list(map(interval, alone["conf_low"], alone["conf_high"])),
            "the change is": alone["change"].map(_CHANGES).to_numpy(),
        }
    )
    products = " Products and squares move with their parts and are left out."
    caption = (
        f"Difference in {label(result.spec.outcome, names)} that goes with each change, all other "
        f"terms held. One standard deviation: of the exposure, net of the absorbed effects. Middle "
        "half: from the 25th to the 75th percentile of a unit's own values, the median unit's. "
        f"Both are taken as known.{products if len(alone) < len(sizes) else ''}"
    )
    return Table(name="sizes", frame=frame, caption=caption, text_columns=("the change is",))


def instrument_sections(
    instrumented: PanelResult | None,
    result: PanelResult,
    names: Mapping[str, str],
    conf_level: float,
) -> tuple[Section, ...]:
    """The exposures as moved by their instruments, beside the estimates that answer."""
    if instrumented is None or not instrumented.spec.instruments:
        return ()
    outcome = label(result.spec.outcome, names)
    rows, plain = (fit.tidy(conf_level).set_index("term") for fit in (instrumented, result))
    own = [note for note in instrumented.warnings if note not in result.warnings]
    lines = []
    for stage in instrumented.first_stage.to_dict("records"):
        term = stage["term"]
        moved_by = listed([words_of(name, names) for name in stage["instruments"].split(", ")])
        strength = f" First-stage F = {number(stage['f'])}."
        lines.append(
            f"As far as {words_of(term, names)} is moved by {moved_by}: "
            f"{change(rows.loc[term], label(term, names), outcome)}. Without instruments it is "
            f"{number(plain.loc[term, 'estimate'], plain.loc[term, 'std_error'])} "
            f"({interval(plain.loc[term, 'conf_low'], plain.loc[term, 'conf_high'])})."
            f"{'' if any('F of ' in note and term in note for note in own) else strength}"
        )
    lines += [f"{capital(readable_text(note, names)).rstrip('.')}." for note in own]
    lines.append(
        "This holds only if the instruments go with the outcome in no other way, which no test "
        "can show."
    )
    return (Section(heading="With instruments", text=tuple(lines)),)


def shape_sections(
    curve: CurveResult | str,
    scatter: Figure,
    result: PanelResult,
    names: Mapping[str, str],
    conf_level: float,
) -> tuple[Section, ...]:
    """Is it a straight line? The curve, or why there is none; bin means folded below it.

    Parameters
    ----------
    curve : from `headline_curve`; empty: not asked. scatter : from `draw_scatter`.
    """
    heading, words = "Is it a straight line?", _clause(result.terms[0], names)
    if isinstance(curve, str):
        why = f"No curve of {words} is drawn: {readable_text(curve, names)}."
        return (Section(heading=heading, text=(why,), figures=(scatter,)),) if curve else ()
    drawn = Section(
        heading=heading,
        text=(
            _straightness(curve, words, result.tidy(conf_level).iloc[0]),
            *(f"{capital(readable_text(note, names))}." for note in _own(curve)),
        ),
        figures=(draw_curve(curve, conf_level=conf_level, labels=names),),
    )
    return drawn, Section(heading="", figures=(scatter,), fold="Rows behind the straight line")


def _straightness(curve: CurveResult, words: str, line: pd.Series) -> str:
    """Does a flexible curve say something else than the straight line?"""
    p, alpha = curve.linearity.p_value, 1 - line["conf_level"]
    test = f"(test of straightness: p {equals(p)})"
    if pd.isna(p):
        return f"These rows are too few to test a flexible curve of {words} against the line."
    if p < alpha:
        return (
            f"A flexible curve of {words} fits better than the straight line that answers {test}. "
            "Read the slope as an average, and the curve for where it holds."
        )
    if holds_zero(line) and curve.association.p_value >= alpha:
        return f"A flexible curve of {words} shows no association either, straight or bent {test}."
    return f"A flexible curve of {words} does not fit better than the straight line {test}."


def _clause(term: str, names: Mapping[str, str]) -> str:
    """A term within a sentence, with a comma after its lag."""
    words = words_of(term, names)
    return words + "," * (", " in words)


def _own(curve: CurveResult) -> list[str]:
    """What the curve warns of beyond the regression's own warnings."""
    return [text.rstrip(".") for text in curve.warnings if text not in curve.fit.warnings]


def errors_sections(
    errors: pd.DataFrame | None, result: PanelResult, names: Mapping[str, str]
) -> tuple[Section, ...]:
    """The interval by other errors: open where clusters are few, else folded behind one line.

    Parameters
    ----------
    errors : from `compare_errors`; its first term is the headline.
    """
    if errors is None:
        return ()
    level = f"{100 * errors['conf_level'].iloc[0]:g} %"
    term = errors["term"].iloc[0]
    said = _agreement(errors[errors["term"] == term], _clause(term, names), level)
    table = _errors_table(errors, result, names, level)
    if result.n_clusters >= FEW_CLUSTERS:
        return (Section(heading="", tables=(table,), fold=f"Errors side by side: {said}"),)
    few = (
        f"With {count(result.n_clusters)} clusters, clustered errors (CR1) are easily too small; "
        "the jackknife and the wild bootstrap stand up better."
    )
    text = f"{few} {capital(said)}."
    return (Section(heading="Errors side by side", text=(text,), tables=(table,)),)


def _agreement(rows: pd.DataFrame, words: str, level: str) -> str:
    """Which errors' intervals of the headline hold zero, and which do not."""
    known = rows[rows["conf_low"].notna() | rows["conf_high"].notna()]
    holds = [_ERRORS[row["errors"]] for _, row in known.iterrows() if holds_zero(row)]
    excludes = [_ERRORS[row["errors"]] for _, row in known.iterrows() if not holds_zero(row)]
    missing = [_ERRORS[kind] for kind in rows["errors"] if kind not in set(known["errors"])]
    if not len(known):
        return f"none can be had for {words}"
    if holds and excludes:
        said = f"the {level} interval of {words} excludes zero by {listed(excludes)} errors, "
        said += f"but holds zero by {listed(holds)}"
    else:
        verb = "holds" if holds else "excludes"
        said = f"the {level} interval of {words} {verb} zero by {listed(holds or excludes)} errors"
    return said + (f" (none by {listed(missing)})" if missing else "")


def _errors_table(
    errors: pd.DataFrame, result: PanelResult, names: Mapping[str, str], level: str
) -> Table:
    spreads = [
        "–" if kind == "wild" else number(error, error)
        for kind, error in zip(errors["errors"], errors["std_error"], strict=True)
    ]
    frame = pd.DataFrame(
        {
            "term": [label(term, names) for term in errors["term"]],
            "errors": errors["errors"].map(_ERRORS).to_numpy(),
            f"{level} interval": list(map(interval, errors["conf_low"], errors["conf_high"])),
            "p": list(map(p_value, errors["p_value"])),
            "std. error": spreads,
        }
    )
    asked = _ERRORS[result.spec.vcov]
    notes = errors.loc[errors["note"] != "", ["errors", "note"]].drop_duplicates()
    why = "".join(
        f" {capital(_ERRORS[kind])}: {readable_text(note, names)}."
        for kind, note in notes.itertuples(index=False)
    )
    caption = (
        f"The same estimates with other errors; those of the answer, {asked}, in bold. The wild "
        f"bootstrap gives a p-value and an interval, but no standard error.{why}"
    )
    answers = (errors["errors"] == result.spec.vcov).to_numpy().nonzero()[0]
    return Table(
        name="errors",
        frame=frame,
        caption=caption,
        text_columns=("errors",),
        answer_rows=tuple(map(int, answers)),
    )


def readable_diagnostics(
    diagnostics: pd.DataFrame | None, names: Mapping[str, str]
) -> pd.DataFrame:
    """Diagnostics with the reader's names and p-values in their readings, and what each asks."""
    if diagnostics is None:
        return pd.DataFrame()
    readings = [
        (f"{words_of(term, names)}: " if term else "")
        + _capital_if(readable_text(text, names), not term)
        + (f" (p {equals(p)})" if pd.notna(p) else "")
        for term, text, p in diagnostics[["term", "reading", "p_value"]].itertuples(index=False)
    ]
    asks = [_ASKS.get(name, "") for name in diagnostics["diagnostic"]]
    return diagnostics.assign(reading=readings, asks=asks)


def _capital_if(text: str, first: bool) -> str:
    """The text, with a capital where it comes first."""
    return capital(text) if first else text
