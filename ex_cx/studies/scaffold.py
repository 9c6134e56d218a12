"""A study file around somebody's own table; what is guessed is marked as a guess."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ex_cx.errors import ExCxError, PanelError, SchemaError, StudyError, some

__all__ = ["Guess", "guess_roles", "scaffold_study"]

PERIODS = r"period|month|date|week|quarter|year|wave|time|day|school_year"
UNITS = r"unit|team|site|store|branch|trust|school|group|region|department|org|code|id|name"
OUTCOMES = r"cx|nps|csat|ces|satisf|customer|patient|guest|retention|churn|renew|sales|revenue|fcr"
EXPOSURES = r"ex|enps|engag|employee|staff|attrition|turnover|occupan|workload|absen|sick|tenure"
COUNTS = r"n|count|rows|respondents|answers|sample|weight"
MOST_GROUPS, FEWEST_UNITS = 12, 5
"""Groups of units that are offered as segments: how many at most, of how many units at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """Roles of a table's columns; `by_name` holds those that their names speak for.

    `groups` are columns that could be segments: text, the same in all rows of a unit.
    """

    unit: str
    period: str
    outcomes: tuple[str, ...]
    exposures: tuple[str, ...]
    others: tuple[str, ...]
    by_name: frozenset[str]
    groups: tuple[str, ...] = ()


def scaffold_study(folder: Path, data: Path) -> Iterator[str]:
    """Write `folder` with a copy of the table and a study.yaml around it; tell how it checks.

    Parameters
    ----------
    folder : must not exist, or be empty.
    data : a table with one row per unit and period, of any form that `read_table` takes.

    Raises
    ------
    StudyError : `folder` holds something; nothing is overwritten.
    SourceError, SchemaError, PanelError : the table cannot be read, or no two of its columns name
        each row; nothing is written.
    """
    from ex_cx.linkage.sources import read_table
    from ex_cx.studies.checking import check_study

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StudyError(f"{folder} exists and is not an empty folder. Name a new one.")
    guess = guess_roles(read_table(data).frame)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy2(data, folder / data.name)
        study = folder / "study.yaml"
        study.write_text(study_text(folder.absolute().name, data.name, guess), encoding="utf-8")
    except OSError as error:
        reason = error.strerror or error
        raise StudyError(f"{folder} cannot be written: {reason}. Name another folder.") from error
    yield f"{study}: unit {guess.unit}, period {guess.period}; read the lines marked 'guess'."
    try:
        yield from check_study(study)
    except ExCxError as error:
        yield f"It does not check yet: {error}"


def guess_roles(frame: pd.DataFrame) -> Guess:
    """What the columns of a table may be, from their names and contents.

    Parameters
    ----------
    frame : one row per unit and period.

    Raises
    ------
    PanelError : no two columns are a unit and a period that name each row.
    SchemaError : fewer than two other columns of numbers that differ.

    Examples
    --------
    >>> rows = pd.DataFrame({"team": ["A", "A", "B", "B"], "month": ["2024-01", "2024-02"] * 2,
    ...                      "workload": [3.0, 4, 5, 7], "nps": [9.0, 8, 2, 3]})
    >>> guess = guess_roles(rows)
    >>> guess.unit, guess.period, guess.exposures, guess.outcomes
    ('team', 'month', ('workload',), ('nps',))
    """
    unit, period = _keys(frame)
    numbers = [
        str(name)
        for name, column in frame.items()
        if name not in (unit, period)
        and _is_number(column)
        and column.min() < column.max()
        and not re.search(r"[:^]", str(name))
        and not _named(str(name), COUNTS)
    ]
    if len(numbers) < 2:
        raise SchemaError(
            f"The table has {len(numbers)} columns of numbers besides {unit!r} and {period!r} "
            f"({some(numbers)}); a study needs an exposure and an outcome. `ex-cx check` tells "
            "how each column is read."
        )
    outcomes = [name for name in numbers if _named(name, OUTCOMES)]
    exposures = [n for n in numbers if n not in outcomes and _named(n, EXPOSURES)]
    by_name = frozenset([*outcomes, *exposures])
    free = [name for name in numbers if name not in by_name]
    if not outcomes:
        outcomes = [(free or exposures)[-1]]
    exposures = [name for name in exposures if name not in outcomes]
    if not exposures:
        candidates = [name for name in (*free, *outcomes) if name != outcomes[0]]
        exposures = candidates[:1]
        outcomes = [name for name in outcomes if name not in exposures]
    taken = {unit, period, *outcomes, *exposures}
    return Guess(
        unit=unit,
        period=period,
        outcomes=tuple(outcomes),
        exposures=tuple(exposures),
        others=tuple(str(name) for name in frame if name not in taken),
        by_name=by_name,
        groups=tuple(_groups(frame, unit, taken)),
    )


def _groups(frame: pd.DataFrame, unit: str, taken: set[str]) -> Iterator[str]:
    """Columns of text that sort the units into a few groups, each of several."""
    for name in (str(name) for name in frame if name not in taken and not _is_number(frame[name])):
        each = frame.groupby(unit)[name].nunique()
        sizes = frame.groupby(name)[unit].nunique()
        if each.max() == 1 and 2 <= len(sizes) <= MOST_GROUPS and sizes.min() >= FEWEST_UNITS:
            yield name


def _is_number(column: pd.Series) -> bool:
    return column.dtype.kind in "iuf"


def _named(name: str, words: str) -> bool:
    """Does a part of `name` begin with one of the words? Short ones must be the whole part."""
    parts = [part for part in re.split(r"[^a-z0-9]+", name.lower()) if part]
    whole = [word for word in words.split("|") if len(word) <= 3]
    stems = [word for word in words.split("|") if len(word) > 3]
    return any(part in whole or part.startswith(tuple(stems)) for part in parts)


def _keys(frame: pd.DataFrame) -> tuple[str, str]:
    """The first pair of likely columns that names each row once."""
    from ex_cx.linkage.panel import Panel

    names = [str(name) for name in frame]
    periods = sorted(names, key=lambda name: not _named(name, PERIODS))
    periods = [name for name in periods if _named(name, PERIODS) or _looks_dated(frame[name])]
    units = sorted(names, key=lambda name: not _named(name, UNITS))
    units = [n for n in units if _named(n, UNITS) or not pd.api.types.is_numeric_dtype(frame[n])]
    for period in periods:
        for unit in units:
            n_units = frame[unit].nunique()
            seen_again = 2 * n_units <= len(frame)  # or else any column of numbers of answers fits
            if unit == period or n_units < 2 or not seen_again or frame[period].nunique() < 2:
                continue
            try:
                Panel.from_frame(frame, unit=unit, period=period)
            except ExCxError:
                continue
            return unit, period
    raise PanelError(
        f"No two columns are a unit and a period that name each row once (units: {some(units)}; "
        f"periods: {some(periods)}). A table of answers or people is a source to be measured and "
        "linked: begin with a copy of data/contact_centre/study.yaml."
    )


def _looks_dated(column: pd.Series) -> bool:
    if pd.api.types.is_datetime64_any_dtype(column):
        return True
    if pd.api.types.is_numeric_dtype(column):
        return False
    return bool(column.dropna().astype(str).str.match(r"^(19|20)\d\d([-/ ]?[QqWw]?\d|$)").all())


def study_text(study: str, table: str, guess: Guess) -> str:
    """A study file; lines that rest on a guess say so."""
    name = re.sub(r"[^A-Za-z0-9_-]", "_", study).lstrip("_-")[:64] or "study"
    return "\n".join(
        [
            "# Begun by `ex-cx new`. Check the lines marked guess, then: ex-cx check study.yaml",
            f"study: {name}",
            "title: Is employee experience associated with customer outcomes?  # put your question",
            "",
            "data:",
            f"  panel: {_quoted(table)}",
            f"unit: {_quoted(guess.unit)}  # guess: with the period it names each row once",
            f"period: {_quoted(guess.period)}  # guess",
            "",
            "roles:",
            f"  exposures: {_listed(guess.exposures)}  # {_basis(guess.exposures, guess)}",
            f"  outcomes: {_listed(guess.outcomes)}  # {_basis(guess.outcomes, guess)}",
            "  # mediators and controls are not guessed. Columns without a role:",
            *(f"  #   {json.dumps(other, ensure_ascii=False)}" for other in guess.others),
            "",
            "notebooks: [data_audit, panel_regression]",
            *(
                f"# segments: {{{_quoted(name)}: [panel_regression]}}  "
                "# one report more for each value"
                for name in guess.groups
            ),
            "",
        ]
    )


def _basis(names: Sequence[str], guess: Guess) -> str:
    if all(name in guess.by_name for name in names):
        return "guess, by name"
    return "guess, by position only: correct it"


def _quoted(text: str) -> str:
    plain = re.fullmatch(r"[A-Za-z][A-Za-z0-9_.]*", text)
    reserved = text.lower() in ("true", "false", "null")
    return text if plain and not reserved else json.dumps(text, ensure_ascii=False)


def _listed(names: Sequence[str]) -> str:
    return f"[{', '.join(map(_quoted, names))}]"
