"""The parts of a mediation's report: effects, steps, assumptions, and on what paths depend."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import pandas as pd

from ex_cx.models.mediation import MediationResult
from ex_cx.reporting.figures import path_name
from ex_cx.reporting.mediation_plots import draw_conditional_indirect
from ex_cx.reporting.mediation_wording import index_row, path_words
from ex_cx.reporting.numbers import capital, count, interval, label, number, split_unit
from ex_cx.reporting.report import Section, Table
from ex_cx.reporting.tables import by_term, format_tidy
from ex_cx.reporting.wording import holds_zero, listed, told, words_of

__all__ = [
    "EFFECTS",
    "assumption_section",
    "condition_sections",
    "effects_table",
    "kinds",
    "step_sections",
]

EFFECTS = ("indirect", "direct", "total", "proportion_mediated")
_STEPS = ("a", "b", "d")
_PARTS = {
    "controlled_direct": "direct, mediators held at their means",
    "reference_interaction": "interaction alone",
    "mediated_interaction": "mediation and interaction together",
    "pure_indirect": "mediation alone",
    "pure_direct": "direct, mediators as before the change",
    "total_indirect": "all that runs through the mediators",
    "total": "total",
}


def effects_table(tidy: pd.DataFrame, result: MediationResult, names: Mapping[str, str]) -> Table:
    """Indirect, direct, total and the share mediated, or why there is none."""
    spec, glance = result.spec, result.glance().iloc[0]
    rows = tidy[kinds(tidy).isin(EFFECTS)]
    drawn = "draws of coefficients" if result.interval == "monte_carlo" else "draws"
    caption = (
        f"Outcome: {label(spec.outcome, names)}; exposure: {label(spec.single_exposure, names)}. "
        f"{capital(glance['convention'])}, {count(result.n_boot)} {drawn}, "
        f"{count(result.n_clusters)} clusters.{_at_the_means(result, names)}{_without_share(tidy)}"
    )
    answers = rows["term"].str.startswith("indirect").to_numpy().nonzero()[0]
    return Table(
        name="paths",
        frame=_shown(rows, names),
        caption=caption,
        answer_rows=tuple(map(int, answers)),
    )


def step_sections(
    tidy: pd.DataFrame, contrasts: pd.DataFrame, result: MediationResult, names: Mapping[str, str]
) -> tuple[Section, ...]:
    """Each arrow of the diagram, and each difference between two paths; folded.

    Parameters
    ----------
    contrasts : from `MediationResult.contrasts`, empty where there is one path.
    """
    outcome = label(result.spec.outcome, names)
    links = "; d: of one mediator on another" if (kinds(tidy) == "d").any() else ""
    steps = Table(
        name="steps",
        frame=_shown(tidy[kinds(tidy).isin(_STEPS)], names),
        caption=(
            f"The steps whose products are the paths. a: per 1 more "
            f"{label(result.spec.single_exposure, names)}; b: of {outcome} per 1 more of the "
            f"mediator{links}."
        ),
    )
    if contrasts.empty:
        return (Section(heading="", tables=(steps,), fold="Each step of the path"),)
    frame = format_tidy(contrasts)
    frame["term"] = _compared_paths(result, names)
    clear = sum(not holds_zero(row) for _, row in contrasts.iterrows())
    if len(contrasts) == 1:
        said = f"their difference {'excludes' if clear else 'holds'} zero"
    else:
        said = f"{clear} of {len(contrasts)} differences exclude zero"
    fold = f"Each step, and the paths compared: {said}"
    compared = Table(
        name="contrasts",
        frame=frame,
        caption=(
            "Indirect associations of two paths, the first less the second, with their signs, from "
            f"the same draws; {outcome} per 1 more {label(result.spec.single_exposure, names)}."
        ),
    )
    return (Section(heading="", tables=(steps, compared), fold=fold),)


def assumption_section(result: MediationResult, names: Mapping[str, str]) -> Section:
    """What must hold to read the numbers as effects, in plain words."""
    spec = result.spec
    cause, effect = words_of(spec.single_exposure, names), words_of(spec.outcome, names)
    several = len(spec.mediators) > 1
    between = "a mediator" if several else words_of(spec.mediators[0], names)
    confounders = (
        f"The numbers above are associations. To read them as effects, nothing unmeasured may move "
        f"both {cause} and {effect}, both {cause} and {between}, or both {between} and {effect}; "
        f"and nothing that {cause} itself moves may move both {between} and {effect}."
    )
    return Section(
        heading="What must hold to read this as an effect",
        text=(confounders, _order(result, cause, effect), _ruled_out(result)),
    )


def condition_sections(
    tidy: pd.DataFrame, result: MediationResult, names: Mapping[str, str], conf_level: float
) -> tuple[Section, ...]:
    """On what the paths depend: the moderator's index, figure and table, or the four parts."""
    if result.spec.interaction:
        return (_four_parts(result, names, conf_level),)
    if result.spec.moderator is None:
        return ()
    rows, moderator = by_term(tidy), words_of(result.spec.moderator, names)
    unit = split_unit(label(result.spec.outcome, names))[1]
    text = f"The moderator, {moderator}, changes the direct path only."
    index = index_row(rows)
    if index is not None:
        curved = any(term.startswith("curvature") for term in rows)
        at = "At its mean, 1" if curved else "1"
        text = (
            f"{at} more {label(result.spec.moderator, names)} changes the indirect association by "
            f"{told(index, unit)}."
        )
        text += f" {_opposite_changes(rows, result, names)}"
    shown = result.conditional(conf_level=conf_level)
    shown = shown[kinds(shown).isin(("indirect", "direct"))]
    products = tidy[~kinds(tidy).isin((*EFFECTS, *_STEPS))]
    tables = (
        _conditional_table(shown, moderator, result, names),
        Table(
            name="products",
            frame=_shown(products, names),
            caption=f"What changes per 1 more {label(result.spec.moderator, names)}.",
        ),
    )
    figures = (draw_conditional_indirect(result, conf_level=conf_level, labels=names),)
    return (
        Section(
            heading=f"Does it depend on {moderator}?",
            text=(text.strip(),),
            figures=figures if index is not None else (),
        ),
        Section(heading="", tables=tables, fold=f"The paths at values of {moderator}"),
    )


def kinds(tidy: pd.DataFrame) -> pd.Series:
    """What kind of term each row holds: `indirect` of `indirect:m`."""
    return tidy["term"].str.partition(":")[0]


def _shown(tidy: pd.DataFrame, names: Mapping[str, str]) -> pd.DataFrame:
    frame = format_tidy(tidy)
    frame["term"] = [path_name(term, names) for term in tidy["term"]]
    return frame


def _at_the_means(result: MediationResult, names: Mapping[str, str]) -> str:
    """Where the terms hold, if they depend on a value."""
    spec = result.spec
    means = "units' own means" if spec.products == "within" else "means"
    if spec.moderator is not None:
        mean = "unit's own mean" if spec.products == "within" else "mean"
        return f" All at the {mean} of {words_of(spec.moderator, names)}."
    if spec.interaction:
        return f" Indirect: total natural; direct: pure natural; one unit up from the {means}."
    return ""


def _without_share(tidy: pd.DataFrame) -> str:
    """Why no share of the total is mediated, if none is."""
    rows = by_term(tidy)
    if pd.notna(rows["proportion_mediated"]["estimate"]):
        return ""
    if holds_zero(rows["total"]):
        return " No share mediated is given: the interval of the total holds zero."
    return " No share mediated is given: direct and indirect have opposite signs."


def _compared_paths(result: MediationResult, names: Mapping[str, str]) -> list[str]:
    """The rows of `contrasts` in words, in its order."""
    pairs = [pair for group in result.rivals for pair in combinations(group, 2)]
    return [" less ".join(path_words(path, names) for path in pair) for pair in pairs]


def _order(result: MediationResult, cause: str, effect: str) -> str:
    """What is assumed of time, of mediators among themselves, and of the paths' form."""
    spec = result.spec
    chain = spec.structure == "serial" and len(spec.mediators) > 1
    lags = (spec.lag_mediator, spec.lag_outcome, *((spec.lag_serial,) if chain else ()))
    if all(lags):
        first = f"{capital(cause)} comes before what it is said to move, and so on to {effect}"
    else:
        where = "All" if not any(lags) else "Some of them"
        first = (
            f"{where} are from the same period, so the order from {cause} to {effect} is assumed"
        )
    if chain:
        first += "; mediators act on each other in the order of the chain only"
    elif len(spec.mediators) > 1:
        first += "; to tell the paths apart, mediators do not act on each other"
    shape = "" if spec.interaction else " and the effect of a mediator is the same at any exposure"
    return f"{first}. Paths are straight lines{shape}."


def _ruled_out(result: MediationResult) -> str:
    spec = result.spec
    words = {"unit": "is always so in a unit", "period": "hits all units alike"}
    known = [f"what {words[effect]}" for effect in words if effect in spec.absorb]
    known += ["what the controls hold"] if spec.controls else []
    if not known:
        return "Nothing is ruled out: whatever differs between rows can carry these numbers."
    return f"Ruled out is {listed(known)}, and nothing else."


def _opposite_changes(
    rows: Mapping[str, pd.Series], result: MediationResult, names: Mapping[str, str]
) -> str:
    """Paths whose change with the moderator is clear where that of their sum is not."""
    unit = split_unit(label(result.spec.outcome, names))[1]
    clear = {
        m: rows[f"index:{m}"]
        for m in result.spec.mediators
        if len(result.spec.mediators) > 1 and not holds_zero(rows[f"index:{m}"])
    }
    against = any(row["estimate"] * rows["index"]["estimate"] < 0 for row in clear.values())
    if not clear or not (holds_zero(rows["index"]) or against):
        return ""
    parts = [f"through {words_of(m, names)} by {told(row, unit)}" for m, row in clear.items()]
    return f"Path by path it changes {'; '.join(parts)}."


def _conditional_table(
    shown: pd.DataFrame, moderator: str, result: MediationResult, names: Mapping[str, str]
) -> Table:
    frame = _shown(shown, names)
    values = shown["moderator"]
    frame.insert(0, moderator, [number(v, float(values.std()) or None) for v in values])
    frame["band"] = list(map(interval, shown["band_low"], shown["band_high"]))
    deviation = (
        f" {capital(moderator)} is told as deviation from the unit's own mean."
        if result.spec.products == "within"
        else ""
    )
    caption = (
        "Interval: at one value; band: at all values shown at once, from the same draws; "
        f"{label(result.spec.outcome, names)} per 1 more "
        f"{label(result.spec.single_exposure, names)}.{deviation}"
    )
    return Table(name="conditional", frame=frame, caption=caption, text_columns=("term",))


def _four_parts(result: MediationResult, names: Mapping[str, str], conf_level: float) -> Section:
    """Mediation and interaction told apart."""
    parts = result.decomposition(conf_level=conf_level)
    rows, spec = by_term(parts), result.spec
    unit = split_unit(label(spec.outcome, names))[1]
    cause = words_of(spec.single_exposure, names)
    text = (
        f"May {cause} also change what a mediator does? The part of the total in which mediation "
        f"and interaction act together is {told(rows['mediated_interaction'], unit)}; mediation "
        f"alone is {told(rows['pure_indirect'], unit)}."
    )
    frame = format_tidy(parts)
    frame["term"] = parts["term"].map(_PARTS).to_numpy()
    caption = (
        f"{capital(label(spec.outcome, names))} per 1 more {label(spec.single_exposure, names)}, "
        f"from {'the unit’s own' if spec.products == 'within' else 'its'} mean; the first four "
        "rows add up to the total. Mediators are held at their "
        "means, where interaction alone is zero by construction (VanderWeele 2014)."
    )
    table = Table(name="four_way", frame=frame, caption=caption, answer_rows=(5,))
    return Section(
        heading="Mediation, interaction, or both?",
        text=(text,),
        tables=(table,),
        fold="The total in four parts",
    )
