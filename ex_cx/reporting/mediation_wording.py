"""The sentences that answer a mediation: what runs through the mediators, what remains direct."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from ex_cx.reporting.numbers import label, split_unit
from ex_cx.reporting.tables import by_term
from ex_cx.reporting.wording import (
    direction,
    holds_zero,
    level_interval,
    listed,
    size_words,
    told,
    unit_words,
    with_interval,
    words_of,
)

__all__ = ["answer_mediation", "index_row", "path_words"]


def answer_mediation(
    tidy: pd.DataFrame,
    *,
    exposure: str,
    outcome: str,
    mediators: tuple[str, ...],
    moderator: str = "",
    own_means: bool = False,
    labels: Mapping[str, str] | None = None,
    within: bool = True,
) -> str:
    """One sentence on what runs through the mediators, one on what remains direct.

    With a `moderator` a second sentence tells how the first changes with it; `own_means` says
    that paths hold at the unit's own mean of it.
    """
    names = labels or {}
    rows = by_term(tidy)
    cause, (effect, unit) = (split_unit(label(end, names)) for end in (exposure, outcome))
    words = [words_of(m, names) for m in mediators]
    chain = any(term.startswith("d:") for term in rows)
    through = f"the chain {' → '.join(words)}" if chain else listed(words)
    where = "Within units" if within else "Over all rows"
    indirect, direct = rows["indirect"], rows["direct"]
    apart = {path_words(t, names): row for t, row in rows.items() if t.startswith("indirect:")}
    apart = apart if len(mediators) > 1 else {}
    if holds_zero(indirect):
        which = "no path" if all(map(holds_zero, apart.values())) else "no path altogether"
        head = (
            f"{where}, {which} from {cause[0]} through {through} to {effect} is shown: the "
            f"indirect association is {with_interval(indirect, unit)}, which holds zero"
        )
    else:
        head = (
            f"{where}, {cause[0]} higher by 1{unit_words(cause[1], one=True)} is associated with "
            f"{effect} {direction(indirect)} by {size_words(indirect, unit)} through {through} "
            f"({level_interval(indirect)})"
        )
    parts = [head, *_paths_apart(apart, indirect, unit)]
    parts.append(f"the direct path is {told(direct, unit)}{_opposed(indirect, direct)}")
    if "total" in rows and holds_zero(rows["total"]) and not holds_zero(indirect):
        parts.append(f"the total is {told(rows['total'], unit)}")
    return "; ".join(parts) + "." + _moderated(rows, moderator, unit, names, own_means)


def path_words(term: str, names: Mapping[str, str]) -> str:
    """The mediators of a path, in their order."""
    return " → ".join(words_of(m, names) for m in term.partition(":")[2].split("->"))


def _moderated(
    rows: Mapping[str, pd.Series], moderator: str, unit: str, names: Mapping[str, str], own: bool
) -> str:
    """Where the answer holds, and how it changes with the moderator."""
    if not moderator:
        return ""
    words = f"{words_of(moderator, names)} is at {'the unit’s own' if own else 'its'} mean"
    index = index_row(rows)
    if index is None:
        return f" This holds where {words}; it changes the direct path only."
    return (
        f" This holds where {words}; per 1 more of it the indirect association "
        f"changes by {told(index, unit)}."
    )


def _paths_apart(apart: Mapping[str, pd.Series], indirect: pd.Series, unit: str) -> list[str]:
    """Single paths of several that do not say what all of them together do."""
    clear = [name for name, row in apart.items() if not holds_zero(row)]
    against = any(apart[name]["estimate"] * indirect["estimate"] < 0 for name in clear)
    named = clear if holds_zero(indirect) or against else [n for n in apart if n not in clear]
    if len(named) > 2 or (named and len(apart) > 4):
        return [f"of its {len(apart)} paths alone, {len(clear)} exclude zero"]
    return [f"through {name} alone it is {told(apart[name], unit)}" for name in named]


def _opposed(indirect: pd.Series, direct: pd.Series) -> str:
    clear = not holds_zero(indirect) and not holds_zero(direct)
    opposite = indirect["estimate"] * direct["estimate"] < 0
    return ", the other way: the two offset each other" if clear and opposite else ""


def index_row(rows: Mapping[str, pd.Series]) -> pd.Series | None:
    """How the indirect association changes with the moderator: of all paths, or of the only one."""
    found = [row for term, row in rows.items() if term.partition(":")[0] == "index"]
    return rows.get("index", found[0] if len(found) == 1 else None)
