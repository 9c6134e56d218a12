"""The checks of a mediation's report: levels side by side, and what it takes to undo a path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from ex_cx.models.mediation import MediationResult
from ex_cx.reporting.figures import path_name, slug
from ex_cx.reporting.mediation_sections import EFFECTS, kinds
from ex_cx.reporting.numbers import capital, count, interval, label, number, split_unit
from ex_cx.reporting.plots import axis_label
from ex_cx.reporting.report import Figure, Section, Table, draw_figure
from ex_cx.reporting.sensitivity_plots import plot_sensitivity
from ex_cx.reporting.tables import by_term
from ex_cx.reporting.wording import holds_zero, readable_text, told, words_of
from ex_cx.robustness.confounding import MediationSensitivity

__all__ = ["level_sections", "sensitivity_sections"]

_LEVELS = {
    "within": ("within units", "what goes with change in a unit"),
    "between": ("between units", "what goes with lasting differences"),
    "difference": ("between less within", "what comparing units adds to it"),
    "pooled": ("pooled", "a mixture of the first two, of neither kind"),
}


def level_sections(
    levels: pd.DataFrame | str | None, result: MediationResult, names: Mapping[str, str]
) -> tuple[Section, ...]:
    """Within beside between with their difference; pooled as what it is.

    Parameters
    ----------
    levels : from `levels_of_paths`: a frame, or why there is none.
    """
    if levels is None:
        return ()
    heading = "Change within units, or differences between them?"
    if isinstance(levels, str):
        why = f"These rows admit no comparison: {readable_text(levels, names).rstrip('.')}."
        return (Section(heading=heading, text=(why,)),)
    rows = levels[levels["term"] == "indirect"]
    others = levels[kinds(levels).isin(EFFECTS) & (levels["term"] != "indirect")]
    others = others[others["term"] != "proportion_mediated"]
    places = {term: at for at, term in enumerate(others["term"].unique())}
    others = others.iloc[others["term"].map(places).argsort(kind="stable")]
    first = Table(
        name="levels",
        frame=_level_frame(rows),
        caption=_level_caption(rows, result, names),
        text_columns=("what it says",),
        answer_rows=(0,) if "unit" in result.spec.absorb else (3,),
    )
    terms = [path_name(term, names) for term in others["term"]]
    rest = Table(
        name="levels_of_paths",
        frame=_level_frame(others, terms),
        caption="The same for each path, the direct association and the total.",
        text_columns=("effect", "level"),
    )
    text = _levels_told({str(row["level"]): row for _, row in rows.iterrows()}, result, names)
    return (
        Section(heading=heading, text=(text,), tables=(first,)),
        Section(heading="", tables=(rest,), fold="Levels of each path, direct and total"),
    )


def sensitivity_sections(
    sensitivity: MediationSensitivity | str | None,
    names: Mapping[str, str],
    conf_level: float,
) -> tuple[Section, ...]:
    """What it takes to undo each path, told and drawn; further paths' figures folded.

    Parameters
    ----------
    sensitivity : from `sensitivity_of_paths`: a result, or why there is none.
    """
    if sensitivity is None:
        return ()
    heading = "How strong would a confounder have to be?"
    if isinstance(sensitivity, str):
        why = f"Not computed: {readable_text(sensitivity, names).rstrip('.')}."
        return (Section(heading=heading, text=(why,)),)
    tidy = sensitivity.tidy(conf_level).reset_index(drop=True)
    curve = sensitivity.curve(conf_level)
    first = int(tidy["estimate"].abs().argmax())
    figures = [_sensitivity_figure(term, curve, tidy, sensitivity, names) for term in tidy["term"]]
    rest = tuple(figure for at, figure in enumerate(figures) if at != first)
    spec = sensitivity.spec
    held = ", the other mediators held" if len(spec.mediators) > 1 else ""
    end = f"{capital(words_of(spec.single_exposure, names))} is taken as unconfounded here{held}."
    text = " ".join([*(_undone(row, spec.outcome, names) for _, row in tidy.iterrows()), end])
    sections = (Section(heading=heading, text=(text,), figures=(figures[first],)),)
    if not rest:
        return sections
    fold = "The same for the other paths" if len(rest) > 1 else "The same for the other path"
    return (*sections, Section(heading="", figures=rest, fold=fold))


def _level_frame(rows: pd.DataFrame, words: Sequence[str] = ()) -> pd.DataFrame:
    """Level, estimate, interval; before them the effects named by `words`, or what levels say."""
    halves = (rows["conf_high"] - rows["conf_low"]) / 2
    frame = pd.DataFrame(
        {
            "level": [_LEVELS[name][0] for name in rows["level"]],
            "estimate": list(map(number, rows["estimate"], halves)),
            f"{100 * rows['conf_level'].iloc[0]:g} % interval": list(
                map(interval, rows["conf_low"], rows["conf_high"])
            ),
        }
    )
    if words:
        frame.insert(0, "effect", list(words))
        return frame
    return frame.assign(**{"what it says": [_LEVELS[name][1] for name in rows["level"]]})


def _level_caption(rows: pd.DataFrame, result: MediationResult, names: Mapping[str, str]) -> str:
    counts = rows.set_index("level")["n_obs"]
    spec = result.spec
    plain = spec.moderator is not None or spec.interaction
    alone = f" Without the {'moderator' if spec.moderator else 'interaction'}." if plain else ""
    drawn = (
        " Levels are drawn together, so that the within interval differs a little from the one "
        "above."
        if result.interval == "monte_carlo"
        else ""
    )
    return (
        f"All paths together: {label(spec.outcome, names)} per 1 more "
        f"{label(spec.single_exposure, names)}. Within and pooled: {count(counts['within'])} rows; "
        f"between: the means of {count(counts['between'])} units, in which with few rows a unit "
        f"some change within remains.{alone}{drawn}"
    )


def _levels_told(
    rows: Mapping[str, pd.Series], result: MediationResult, names: Mapping[str, str]
) -> str:
    """Within, between and their difference, and what follows."""
    unit = split_unit(label(result.spec.outcome, names))[1]
    within, between, gap = (rows[level] for level in ("within", "between", "difference"))
    text = (
        f"When a unit itself changes, the indirect association is {told(within, unit)}; between "
        f"units that differ lastingly it is {told(between, unit)}. The difference is "
        f"{told(gap, unit)}"
    )
    if holds_zero(gap):
        return f"{text}: the two cannot be told apart."
    clear = not holds_zero(within) and not holds_zero(between)
    if clear and within["estimate"] * between["estimate"] < 0:
        return f"{text}: the signs are opposite, so comparing units would mislead about change."
    return f"{text}: comparing units does not show what change within a unit goes with."


def _undone(row: pd.Series, outcome: str, names: Mapping[str, str]) -> str:
    """What takes one path to zero."""
    mediator = words_of(str(row["term"]).partition(":")[2], names)
    if row["rho_interval"] == 0:
        return f"The path through {mediator} holds zero without any confounder."
    zero = number(row["rho_zero"])
    share = number(100 * abs(row["rho_zero"]), 10.0)
    text = (
        f"The path through {mediator} would be zero if the errors of {mediator} and of "
        f"{words_of(outcome, names)} correlated at {zero}, as they would by an unmeasured cause of "
        f"{share} % of what is left of each"
    )
    end = row["rho_interval"]
    return (
        f"{text}; its interval would reach zero at {number(end)}." if pd.notna(end) else f"{text}."
    )


def _sensitivity_figure(
    term: str,
    curve: pd.DataFrame,
    tidy: pd.DataFrame,
    sensitivity: MediationSensitivity,
    names: Mapping[str, str],
) -> Figure:
    spec, row = sensitivity.spec, by_term(tidy)[term]
    mediator = term.partition(":")[2]
    through = words_of(mediator, names)
    ylabel = axis_label(spec.outcome, names, f", through {through}")
    ax = plot_sensitivity(curve, tidy, term=term, ylabel=ylabel)
    level = f"{100 * row['conf_level']:g} %"
    caption = (
        f"Indirect association through {through} over the correlation of its error with that of "
        f"{words_of(spec.outcome, names)}: {label(spec.outcome, names)} per 1 more "
        f"{label(spec.single_exposure, names)}. Dot: no confounder; band: {level} interval, "
        f"{count(len(sensitivity.draws))} draws of {count(sensitivity.n_clusters)} clusters, "
        f"n = {count(sensitivity.n_obs)} rows."
    )
    alt = f"Sensitivity curve. {_undone(row, spec.outcome, names)}"
    return draw_figure(ax, f"sensitivity_{slug(mediator)}", caption=caption, alt=alt)
