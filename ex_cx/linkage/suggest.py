"""Units of two sources that may be one under two names: told to a person, never applied."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from ex_cx.errors import LinkError
from ex_cx.linkage.audit import LinkAudit

__all__ = ["alike_units", "draft_crosswalk", "suggest_from_audit", "suggest_matches"]

_COLUMNS = ["left", "right", "score", "why"]
_AT_ONCE = 500
SAME = "the same but for capitals and spaces"


def suggest_matches(
    left: Iterable[object], right: Iterable[object], *, least: float = 85.0, most: int = 3
) -> pd.DataFrame:
    """Pairs of labels that look alike, best first: left, right, score (0-100), why.

    Nothing is linked by it. Labels whose numbers differ are no pair, however alike the rest is:
    "Team 1" is not "Team 2". Labels that are equal as they stand are left out.

    Parameters
    ----------
    left, right : labels, such as the units that only one of two sources knows.
    least : lowest score told. most : pairs per label of `left`, at most.

    Notes
    -----
    The score is the larger of rapidfuzz' `ratio` and `token_sort_ratio` of the labels without
    accents, capitals and signs.

    Raises
    ------
    LinkError : rapidfuzz is not installed.

    Examples
    --------
    >>> suggest_matches(["Team 07", "Leeds North"], ["team-7", "North Leeds", "Team 8"])
              left        right  score                            why
    0      Team 07       team-7  100.0    alike but for leading zeros
    1  Leeds North  North Leeds  100.0  the same words, another order
    """
    process, fuzz = _rapidfuzz()
    lefts, rights = (list(dict.fromkeys(str(v) for v in side)) for side in (left, right))
    keys, others = [_plain(v) for v in lefts], [_plain(v) for v in rights]
    numbers = [_numbers(v) for v in others]
    rows: list[tuple[str, str, float, str]] = []
    for start in range(0, len(lefts) if rights else 0, _AT_ONCE):
        part = keys[start : start + _AT_ONCE]
        scores = np.maximum(
            *(process.cdist(part, others, scorer=s) for s in (fuzz.ratio, fuzz.token_sort_ratio))
        )
        for at, line in enumerate(scores, start=start):
            near = [
                int(j)
                for j in np.argsort(-line, kind="stable")
                if line[j] >= least and numbers[j] == _numbers(keys[at]) and others[j]
            ]
            pairs = [j for j in near if rights[j] != lefts[at]][:most] if keys[at] else []
            ties = sum(line[j] == line[pairs[0]] for j in pairs) if pairs else 0
            tied = f"; {ties} equally alike" if ties > 1 else ""
            rows += [
                (lefts[at], rights[j], float(line[j]), _why(lefts[at], rights[j]) + tied)
                for j in pairs
            ]
    found = pd.DataFrame(rows, columns=_COLUMNS)
    return found.sort_values("score", ascending=False, kind="stable", ignore_index=True)


def suggest_from_audit(audit: LinkAudit, *, least: float = 85.0, most: int = 3) -> pd.DataFrame:
    """Suggestions: left, right, score, why, left_in, right_in (the sources that know each).

    Units that not every source knows are paired, where no source has both: those that a source
    tells apart are two, unless capitals and spaces alone tell them apart.
    """
    strangers, alike = audit.strangers, audit.alike
    parts = [pd.DataFrame(columns=[*_COLUMNS, "left_in", "right_in"])]
    parts.append(alike.assign(score=100.0, why=SAME) if len(alike) else alike)
    seen = strangers["seen_in"].astype(str) if len(strangers) else pd.Series(dtype="str")
    names = sorted(set(seen))
    for at, one in enumerate(names):
        for other in names[at + 1 :]:
            if set(one.split(", ")) & set(other.split(", ")):
                continue
            sides = (strangers.loc[seen == name, "unit"] for name in (one, other))
            found = suggest_matches(*sides, least=least, most=most)
            parts.append(found.assign(left_in=one, right_in=other))
    filled = [part for part in parts if len(part)] or parts[:1]
    whole = pd.concat(filled, ignore_index=True)[[*_COLUMNS, "left_in", "right_in"]]
    return whole.sort_values("score", ascending=False, kind="stable", ignore_index=True)


def alike_units(units: Iterable[str], seen_in: Iterable[str]) -> pd.DataFrame:
    """Units of one source that capitals and spaces alone tell apart.

    Columns left (known to fewer sources), right, left_in, right_in.

    >>> alike_units(["Team A", "team a", "Team B"], ["staff, calls", "staff", "calls"])
         left   right left_in      right_in
    0  team a  Team A   staff  staff, calls
    """
    found: dict[str, list[tuple[str, str]]] = {}
    for unit, seen in zip(units, seen_in, strict=True):
        found.setdefault(_folded(unit), []).append((str(unit), seen))
    rows = []
    for group in found.values():
        (best, known), *others = sorted(group, key=lambda each: -len(each[1].split(", ")))
        rows += [
            (unit, best, seen, known)
            for unit, seen in others
            if set(seen.split(", ")) & set(known.split(", "))
        ]
    return pd.DataFrame(rows, columns=["left", "right", "left_in", "right_in"])


def draft_crosswalk(suggestions: pd.DataFrame) -> pd.DataFrame:
    """A crosswalk to be edited: one line per suggestion, without `valid_from`.

    Without it no line is accepted, so that a person decides on each;
    `ex_cx.reporting.audit.write_draft_crosswalk` saves it.

    >>> draft = draft_crosswalk(suggest_matches(["Team A"], ["team a"]))
    >>> draft[["source_unit", "target_unit", "valid_from"]].values.tolist()
    [['Team A', 'team a', '']]
    """
    return pd.DataFrame(
        {
            "source_unit": suggestions["left"],
            "target_unit": suggestions["right"],
            "valid_from": "",
            "valid_to": "",
            "share": "",
            "score": suggestions["score"].round(1),
            "why": suggestions["why"],
        }
    )


def _rapidfuzz() -> tuple[Any, Any]:
    try:
        from rapidfuzz import fuzz, process
    except ImportError as error:
        raise LinkError(
            "Suggesting matches needs the package rapidfuzz. Install it: pip install "
            "'ex-cx[study]'."
        ) from error
    return process, fuzz


def _plain(label: str) -> str:
    """Without accents, capitals, signs and leading zeros."""
    folded = unicodedata.normalize("NFKD", label).casefold()
    letters = "".join(c if c.isalnum() else " " for c in folded if not unicodedata.combining(c))
    return " ".join(re.sub(r"\b0+(?=\d)", "", letters).split())


def _folded(label: str) -> str:
    """Without capitals and needless spaces."""
    return " ".join(str(label).casefold().split())


def _numbers(plain: str) -> list[str]:
    return sorted(number.lstrip("0") for number in re.findall(r"\d+", plain))


def _why(left: str, right: str) -> str:
    one, two = _folded(left), _folded(right)
    if one == two:
        return SAME
    plain = [re.sub(r"[^\w]", "", label) for label in (one, two)]
    if plain[0] == plain[1]:
        return "the same but for signs and spaces"
    if _plain(left) == _plain(right):
        zeros = any(re.search(r"(?<!\d)0+\d", label) for label in (left, right))
        return "alike but for leading zeros" if zeros else "the same but for accents or signs"
    if sorted(_plain(left).split()) == sorted(_plain(right).split()):
        return "the same words, another order"
    return "similar spelling"
