"""What a column of an export may be: a time, a number, a scale, words; every guess says why.

Columns that may name people, or hold what they wrote, are left behind.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from ex_cx.errors import SchemaError
from ex_cx.linkage.exportmaps.column import folded
from ex_cx.linkage.exportmaps.values import distinct_text
from ex_cx.linkage.parsing import parse_dates
from ex_cx.linkage.wording import counted

__all__ = [
    "VAGUE_UNITS",
    "GuessedColumn",
    "guess_column",
    "is_named",
    "odd_words",
    "plain_name",
    "quoted",
]

PERIODS = r"period|month|date|recorded|start|created|time|day|week|quarter|year|wave|answered"
UNITS = (
    r"team|store|unit|site|branch|department|dept|queue|group|trust|school|shop|segment|mu|office"
    r"|organisation|organization|provider|chain|hospital|clinic|location"
)
VAGUE_UNITS = r"group|segment|queue|location"
"""Names of units only where no other column is called like one."""
PERSONAL = r"email|mail|phone|mobile|address|ipaddress|birth|latitude|longitude|surname|firstname"
PEOPLE = r"first|last|full|employee|agent|customer|user|recipient|respondent|contact|person|manager"
FREE_TEXT = r"comment|text|verbatim|feedback|why|else|note|remark"
MARKERS = ("n/a", "na", "none", "null", "nan", "-", "--", ".", "#n/a", "missing", "unknown")
_NUMBER = r"[+\-\u2212]?(?:\d+(?:[.,]\d+)?|[.,]\d+)"
_THOUSANDS = r"[+\-\u2212]?\d{1,3}(?:,\d{3})+(?:\.\d+)?"
_CLOCK = r"\d{1,4}:[0-5]\d:[0-5]\d"
_DATED = (
    r"\d{4}-\d{2}-\d{2}|\d{1,2}[./-]\d{1,2}[./-]\d{4}|\d{4}/\d{1,2}/\d{1,2}"
    r"|\d{4}-(?:0[1-9]|1[0-2])$|\d{4}-?[Qq][1-4]$"
)
_FORMS = ("%m%d%Y", "%Y%m%d", "%d%m%Y", "%b %Y", "%b-%y", "%B %Y", "%d-%b-%Y", "%d %b %Y")
_OFFSET = r":\d{2}(?:\.\d+)?\s?(?:Z|[+-]\d{2}:?\d{2})$"
_LADDERS: tuple[tuple[str, ...], ...] = (
    (
        *("strongly disagree", "somewhat disagree", "neither agree nor disagree"),
        *("somewhat agree", "strongly agree"),
    ),
    ("strongly disagree", "disagree", "neither agree nor disagree", "agree", "strongly agree"),
    ("strongly disagree", "disagree", "neutral", "agree", "strongly agree"),
    (
        *("extremely dissatisfied", "somewhat dissatisfied"),
        *("neither satisfied nor dissatisfied", "somewhat satisfied", "extremely satisfied"),
    ),
    ("very dissatisfied", "dissatisfied", "neutral", "satisfied", "very satisfied"),
    ("very difficult", "difficult", "neutral", "easy", "very easy"),
    ("never", "rarely", "sometimes", "often", "always"),
    ("no", "yes"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GuessedColumn:
    """One column of the export as guessed: `keys` are written, or it is left behind for `left`."""

    old: str
    new: str = ""
    keys: tuple[tuple[str, str], ...] = ()
    why: str = ""
    left: str = ""
    role: str = ""

    @property
    def is_time(self) -> bool:
        """Is it a date or a time?"""
        return ("kind", "time") in self.keys or any(key == "format" for key, _ in self.keys)

    def line(self) -> str:
        """Its line of the proposal."""
        if self.left:
            return f"  # left behind, {self.left}: {json.dumps(self.old, ensure_ascii=False)}"
        parts = [("column", quoted(self.old)), *self.keys]
        inner = ", ".join(f"{key}: {value}" for key, value in parts)
        return f"  {quoted(self.new)}: {{{inner}}}" + (f"  # guess: {self.why}" if self.why else "")


def guess_column(old: str, cells: pd.Series, taken: set[str]) -> GuessedColumn:
    """What one column may be; `taken` are the new names in use, to which its own is added."""
    _, text, size = distinct_text(cells)
    if len(text) == 0:
        return GuessedColumn(old=old, left="it is empty")
    people = is_named(old, "name") and (is_named(old, PEOPLE) or folded(old) == "name")
    if people or is_named(old, PERSONAL):
        return GuessedColumn(old=old, left="it may name a person")
    known = text[~text.isin(odd_words(text))]
    if len(known) == 0:
        return GuessedColumn(old=old, left="it holds no value")
    base = GuessedColumn(old=old, new=plain_name(old, taken))
    typed = _typed(base, cells, known)
    if typed is not None:
        return typed
    long = float(np.average(text.str.len(), weights=size)) > 40 and len(text) > len(cells) / 2
    if long or is_named(old, FREE_TEXT):
        return GuessedColumn(old=old, left="it may be what people wrote")
    if is_named(old, UNITS) and not is_named(old, "nps"):  # else promoters and detractors
        return replace(base, keys=(("kind", "text"),), role="unit", why="a unit, by its name")
    return replace(base, keys=(("kind", "text"),), why=counted(len(text), "different text"))


def _typed(base: GuessedColumn, cells: pd.Series, known: pd.Series) -> GuessedColumn | None:
    """A time, a number, a duration or choices; None for mere text."""
    if cells.dtype.kind == "M":
        role = "period" if is_named(base.old, PERIODS) else ""
        return replace(base, keys=(("kind", "time"),), role=role)
    if known.str.fullmatch(r'=".*"').all():
        keys = (("kind", "text"), ("strip", "['=\"', '\"']"))
        return replace(base, keys=keys, why="text that Excel was kept from reading")
    time = _time(base, known)
    if time is not None:
        return time
    if known.str.fullmatch(_CLOCK).all():
        keys = (("unit", "clock"), ("to", "seconds"))
        return replace(base, keys=keys, why="a duration as h:mm:ss; a time of day if not")
    return _number(base, known) or _choices(base, known)


def _time(base: GuessedColumn, known: pd.Series) -> GuessedColumn | None:
    role = "period" if is_named(base.old, PERIODS) else ""
    open_end = known[known.str.contains("9999", regex=False)]
    if len(open_end) == 1 and len(known) > 1 and known.str.match(_DATED).all():
        rest = _time(base, known.drop(open_end.index))
        keys = ("missing", json.dumps(open_end.tolist()))
        why = "the end of time stands for none"
        return None if rest is None else replace(rest, keys=(*rest.keys, keys), why=why)
    digits = bool(known.str.fullmatch(r"\d{8}").all()) and bool(role)
    for form in _FORMS:
        if digits != (form in _FORMS[:3]):
            continue
        found = pd.to_datetime(known, format=form, errors="coerce")
        if found.notna().all() and found.dt.year.between(1990, 2100).all():
            why = "day and month may be the other way round" if digits else "months by name"
            return replace(base, keys=(("format", f'"{form}"'),), role=role, why=why)
    if not known.str.match(_DATED).all():
        return None
    if known.str.contains(_OFFSET).all():
        return replace(base, keys=(("kind", "time"),), role=role)
    try:
        parse_dates(known)
    except SchemaError:
        mark = known.str.extract(r"\d([./-])\d")[0].dropna().iloc[0]
        clock = " %H:%M" + (":%S" if known.str.count(":").max() > 1 else "")
        written = f"%d{mark}%m{mark}%Y" + (clock if known.str.contains(":").any() else "")
        found = pd.to_datetime(known, format=written, errors="coerce")
        if found.isna().any():
            return None
        why = "the day first; it may be the month"
        return replace(base, keys=(("format", f'"{written}"'),), role=role, why=why)
    return replace(base, keys=(("kind", "time"),), role=role)


def _number(base: GuessedColumn, known: pd.Series) -> GuessedColumn | None:
    pieces = [mark for mark in ("$", "€", "£") if known.str.contains(mark, regex=False).all()]
    plain = known
    for piece in pieces:
        plain = plain.str.replace(piece, "", regex=False).str.strip()
    keys = [("unit", "money"), ("strip", json.dumps(pieces, ensure_ascii=False))] if pieces else []
    if known.str.endswith("%").all():
        plain, keys = plain.str.removesuffix("%").str.strip(), [("unit", "percent")]
    grouped = plain.str.fullmatch(_THOUSANDS)
    if not (plain.str.fullmatch(_NUMBER) | grouped).all():
        return None
    if plain.str.fullmatch(r"0\d+").any():
        role = "unit" if is_named(base.old, UNITS) else ""
        return replace(base, keys=(("kind", "text"),), role=role, why="codes with leading zeros")
    if is_named(base.old, UNITS) or is_named(base.old, r"id|code|number|no"):
        role = "unit" if is_named(base.old, UNITS) else ""
        return replace(base, keys=(("kind", "text"),), role=role, why="numbers that name things")
    thousands = bool(grouped.any()) and not plain[~grouped].str.contains(",").any()
    keys += [("thousands", '","')] if thousands else []
    whole = pd.to_numeric(plain.where(plain.str.fullmatch(r"[+-]?\d+")), errors="coerce")
    scale = _scale(base.old, whole) if whole.notna().all() and not keys else None
    if scale is not None:
        return replace(base, keys=scale[0], why=scale[1], role=scale[2])
    return replace(base, keys=tuple(keys or [("kind", "number")]), role="number")


def _scale(old: str, whole: pd.Series) -> tuple[tuple[tuple[str, str], ...], str, str] | None:
    low, high = float(whole.min()), float(whole.max())
    if is_named(old, r"nps|recommend|ltr") and low >= 0 and high <= 10:
        return (("scale", "nps"),), "0 to 10", "nps"
    if is_named(old, r"enps") and low >= -100 and high <= 100:
        return (("scale", "enps"),), "points from -100 to 100", "number"
    if is_named(old, r"ces|effort|ease|easy") and low >= 1 and high <= 7:
        if high > 5 or is_named(old, r"ease|easy"):
            return (("scale", "ces_2"),), "1 to 7, high is easy; see `ces_v1`", "ces_2"
        return (("scale", "ces_v1"),), "1 to 5, high is much effort; see `ces_2`", "ces_v1"
    if re.match(r"(?i)(q|item|question|eng|sat)[_ ]?\d", old) and low >= 1 and high <= 7:
        name = "likert_5" if high <= 5 else "likert_7"
        return (("scale", name),), "`reverse: true` if worded the other way", name
    return None


def _choices(base: GuessedColumn, known: pd.Series) -> GuessedColumn | None:
    """Codes for the words of a well-known answer scale."""
    plain = known.map(folded)
    for ladder in _LADDERS:
        if plain.isin(ladder).all() and len(known) > 1:
            first = 0 if len(ladder) == 2 else 1
            coded = {word: at for at, word in enumerate(ladder, start=first)}
            told = dict(zip(plain, known, strict=True))
            pairs = ", ".join(f"{quoted(told.get(word, word))}: {n}" for word, n in coded.items())
            scale = (("scale", "likert_5"),) if first == 1 else ()
            keys = (*scale, ("choices", f"{{{pairs}}}"))
            why = "the order of the words; `reverse: true` if worded the other way"
            return replace(base, keys=keys, why=why, role="likert_5" if first else "yes_no")
    labelled = plain.str.extract(r"^(\d{1,2}) ?[-:=] ?\D.*$")[0]
    numbers = labelled.fillna(plain.where(plain.str.fullmatch(r"\d{1,2}")))
    ends_only = labelled.dropna().isin(["0", "00", "10"]).all()  # other words may be anything
    if numbers.notna().all() and ends_only and numbers.astype(float).between(0, 10).all():
        ends = labelled.notna() & ~plain.duplicated()
        codes = zip(known[ends], labelled[ends], strict=True)
        pairs = ", ".join(f"{quoted(text)}: {int(n)}" for text, n in codes)
        choices = ("choices", f"{{{pairs}}}")
        return replace(
            base, keys=(("scale", "nps"), choices), why="0 to 10 with words at the ends", role="nps"
        )
    return None


def is_named(name: str, words: str) -> bool:
    """Is a part of the name one of the words, or begins it with one of at least four letters?"""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    parts = [part for part in re.split(r"[^a-z]+", spaced.lower()) if part]
    whole = words.split("|")
    stems = tuple(word for word in whole if len(word) > 3)
    joined = "".join(parts)
    return joined in whole or any(p in whole or p.startswith(stems or ("\0",)) for p in parts)


def plain_name(name: str, taken: set[str]) -> str:
    """A plain name that is not taken yet."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    base = re.sub(r"[^a-z0-9]+", "_", spaced.lower()).strip("_") or "column"
    found = base = base if base[0].isalpha() else f"c_{base}"
    number = 2
    while found in taken:
        found, number = f"{base}_{number}", number + 1
    taken.add(found)
    return found


def quoted(text: str) -> str:
    """The text as YAML writes it: plain where that is safe."""
    plain = re.fullmatch(r"[A-Za-z][A-Za-z0-9_.]*(?: [A-Za-z0-9_.]+)*", text)
    reserved = text.lower() in ("true", "false", "null")
    return text if plain and not reserved else json.dumps(text, ensure_ascii=False)


def _is_sign(text: str) -> bool:
    letters, digits = sum(map(str.isalpha, text)), sum(map(str.isdigit, text))
    return letters <= 1 and digits <= 2 and len(text) <= 12


def odd_words(text: pd.Series) -> list[str]:
    """Markers of "no value": the usual ones, and short signs among what are else numbers.

    A sign has one letter and two digits at most: a longer one may be a name, which is not told.

    >>> odd_words(pd.Series(["7,5", "8", "n < 5", "9,1"], dtype="str"))
    ['n < 5']
    """
    usual = text.map(folded).isin(MARKERS)
    plain = text.str.removesuffix("%").str.strip()
    odd = ~plain.str.fullmatch(f"{_NUMBER}|{_THOUSANDS}|{_CLOCK}") & ~usual
    few = 0 < int(odd.sum()) <= 3 and len(text) > 3 * int(odd.sum())
    short = few and bool(text[odd].map(_is_sign).all())
    return text[usual | (odd if short else False)].tolist()
