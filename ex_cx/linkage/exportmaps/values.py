"""The values of one column of an export, as its mapping says; every change is counted.

Work is done on the distinct values of a column, so that a million answers cost what five cost.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from ex_cx.linkage.exportmaps.column import MILLISECONDS_IN, ColumnMapping, folded
from ex_cx.linkage.parsing import as_text, parse_numbers
from ex_cx.linkage.wording import counted, some_rows, written_like

__all__ = [
    "Converted",
    "bad_values",
    "bare_text",
    "convert_values",
    "distinct_text",
]

_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?"
_CLOCK = r"([+-]?)(\d{1,4}):([0-5]\d):([0-5]\d(?:\.\d+)?)"
_SHORT_CLOCK = r"([+-]?)()(\d{1,4}):([0-5]\d(?:\.\d+)?)"
EXACT = 2**53
"""Past it, floats leave whole numbers out."""
_MINUS = "\u2212"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Converted:
    """A column of the clean table.

    Attributes
    ----------
    column : its values as they are now.
    notes : what was done -> to how many values.
    problems : lines about values that cannot be taken; with any, the values are of no use.
    lost : reason -> rows, shape (rows,), that have to be left out.
    form : how dates were written.
    """

    column: pd.Series
    notes: Mapping[str, int] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    lost: Mapping[str, np.ndarray] = field(default_factory=dict)
    form: str = ""


@dataclass(slots=True)
class _Work:
    """Distinct values on their way: text, how often each occurs, and what is wrong with it."""

    text: pd.Series
    size: np.ndarray
    notes: dict[str, int] = field(default_factory=dict)
    wrong: dict[str, np.ndarray] = field(default_factory=dict)

    def note(self, what: str, where: np.ndarray | pd.Series) -> None:
        """Count the values of `where`; none are not mentioned."""
        n = int(self.size[np.asarray(where, dtype=bool)].sum())
        if n:
            self.notes[what] = self.notes.get(what, 0) + n


def distinct_text(cells: pd.Series) -> tuple[np.ndarray, pd.Series, np.ndarray]:
    """Codes of shape (rows,), -1 for a blank; the distinct values as text; how often each occurs.

    >>> codes, text, size = distinct_text(pd.Series(["a", None, " a"], dtype="str"))
    >>> codes.tolist(), text.tolist(), size.tolist()
    ([0, -1, 0], ['a'], [2])
    """
    first, labels = pd.factorize(cells)
    found = pd.Series(labels)
    text = _durations(found) if found.dtype.kind == "m" else as_text(found).astype("str")
    text = text.str.strip()
    second, kept = pd.factorize(text.mask(text == ""))
    codes = np.append(second, -1)[first]
    plain = pd.Series(np.asarray(kept, dtype=object), dtype="str")
    return codes, plain, np.bincount(codes[codes >= 0], minlength=len(plain))


def _durations(found: pd.Series) -> pd.Series:
    """Excel's durations as h:mm:ss."""
    seconds = found.dt.total_seconds().round().astype("int64")
    parts = (seconds // 3600, seconds // 60 % 60, seconds % 60)
    hours, minutes, rest = (part.astype("str") for part in parts)
    return hours + ":" + minutes.str.zfill(2) + ":" + rest.str.zfill(2)


def convert_values(
    cells: pd.Series,
    each: ColumnMapping,
    *,
    missing: tuple[str, ...],
    point: str,
    rows: np.ndarray,
) -> Converted:
    """Text, numbers or codes of choices.

    Parameters
    ----------
    cells : of the export, of any type.
    missing : markers of "no value" in the whole export.
    point : decimal point or comma.
    rows : shape (rows,), numbers of the rows in the file, for messages.
    """
    codes, text, size = distinct_text(cells)
    work = _Work(text=text, size=size)
    _strip(work, each)
    _mark_missing(work, {*missing, *each.missing})
    if each.filled:
        filled = np.append(work.text.notna().to_numpy(dtype=float), 0.0)[codes]
        note = {"1 where there is a value, else 0": len(codes)}
        return Converted(column=pd.Series(filled, index=cells.index), notes=work.notes | note)
    if each.choices:
        values = _coded(work, each)
    elif each.is_number:
        values = _numbers(work, each, point)
    else:
        values = _text(work, each)
    if each.is_number:
        values = _scaled(work, each, values)
    elif not each.kind and not each.choices and not each.stated(("case", "pad")):
        values = _guessed(cells, values, point)
    problems, blank = bad_values(work.wrong, each.invalid, codes, text, rows)
    for what, n in blank.items():
        work.notes[f"{what}, made missing"] = n
    wrong = np.zeros(len(text), dtype=bool)
    for flags in work.wrong.values():
        wrong |= flags
    values = values.mask(wrong)
    spread = values.reindex(np.where(codes < 0, len(values), codes))
    return Converted(
        column=spread.set_axis(cells.index),
        notes=work.notes,
        problems=problems,
    )


def bad_values(
    wrong: Mapping[str, np.ndarray],
    invalid: str,
    codes: np.ndarray,
    text: pd.Series,
    rows: np.ndarray,
) -> tuple[tuple[str, ...], dict[str, int]]:
    """Lines about values that are refused; or, where they become missing, how many they are.

    Parameters
    ----------
    wrong : what is wrong -> which of the distinct values, shape (values,).
    codes, text : position of each row's value among the distinct ones, -1 for none; those values.
    """
    lines, counts = [], {}
    for what, flags in wrong.items():
        hit = np.append(flags, False)[codes]
        if not hit.any():
            continue
        if invalid == "missing":
            counts[what] = int(hit.sum())
            continue
        lines.append(
            f"{counted(int(hit.sum()), 'value')} of {len(codes):,}: {what} "
            f"({some_rows(rows[hit])}; written like {written_like(text[flags])})."
        )
    return tuple(lines), counts


def bare_text(text: pd.Series, each: ColumnMapping, missing: tuple[str, ...]) -> pd.Series:
    """Text without the pieces and the markers that a mapping takes out."""
    for piece in _pieces(each):
        text = text.str.strip().str.removeprefix(piece).str.removesuffix(piece)
    text = text.str.strip()
    return text.mask(text.isin([*missing, *each.missing, ""]))


def _pieces(each: ColumnMapping) -> tuple[str, ...]:
    return (*each.strip, "%") if each.unit == "percent" else each.strip


def _strip(work: _Work, each: ColumnMapping) -> None:
    """Take the stated pieces from both ends of every value."""
    pieces = _pieces(each)
    if not pieces:
        return
    before = work.text
    for piece in pieces:
        work.text = work.text.str.removeprefix(piece).str.removesuffix(piece).str.strip()
    work.note(f"{' or '.join(map(repr, pieces))} taken off", (work.text != before) & before.notna())
    work.text = work.text.mask(work.text == "")


def _mark_missing(work: _Work, markers: set[str]) -> None:
    hit = work.text.isin(markers).to_numpy(dtype=bool)
    work.note("no value by its marker", hit)
    work.text = work.text.mask(hit)


def _coded(work: _Work, each: ColumnMapping) -> pd.Series:
    """The code of each choice; a value that is none is looked for among the codes."""
    known = {folded(text): code for text, code in each.choices.items()}
    present = work.text.notna()
    plain = work.text.where(present, "").map(folded)
    is_choice = present & plain.isin(list(known))
    values = plain.map(known).where(is_choice)
    codes = {str(code) for code in each.choices.values() if isinstance(code, str)}
    numbers = [float(code) for code in each.choices.values() if isinstance(code, int | float)]
    if codes:
        is_code = present & ~is_choice & work.text.isin(codes)
        values = values.where(~is_code, work.text)
    else:
        as_number = pd.to_numeric(plain.where(plain.str.fullmatch(_NUMBER)), errors="coerce")
        low, high = each.range
        fits = as_number.isin(numbers)
        if low is not None and high is not None:
            fits = as_number.between(low, high)
        allowed = fits & _stand_for_themselves(known)
        is_code = present & ~is_choice & allowed
        values = values.where(~is_code, as_number)
    work.note("choice text to its code", is_choice & values.notna())
    work.note("choice that means no answer", is_choice & values.isna())
    work.note("code as it is", is_code)
    work.wrong["not among the choices"] = (present & ~is_choice & ~is_code).to_numpy(dtype=bool)
    return values.astype("str") if codes else values.astype(float)


def _stand_for_themselves(known: Mapping[str, object]) -> bool:
    """Are numbers among the choice texts their own codes? If one is not, a bare 5 tells nothing."""
    return all(
        isinstance(code, int | float) and float(text) == code
        for text, code in known.items()
        if re.fullmatch(_NUMBER, text)
    )


def _numbers(work: _Work, each: ColumnMapping, point: str) -> pd.Series:
    """Floats; `work.wrong` notes what is none."""
    if each.unit in ("clock", "minutes_clock"):
        return _clock_minutes(work, each)
    signed = work.text.str.startswith(_MINUS).fillna(False).astype(bool)
    work.note("minus sign of its own", signed)
    text = work.text.mask(signed, work.text.str.replace(_MINUS, "-"))
    if each.thousands:
        group = re.escape(each.thousands)
        grouped = text.str.fullmatch(rf"[+-]?\d{{1,3}}(?:{group}\d{{3}})+(?:[.,]\d+)?").fillna(
            False
        )
        text = text.mask(grouped, text.str.replace(each.thousands, "", regex=False))
        work.note("mark between thousands taken out", grouped)
    if point == ",":
        has_point = text.str.contains(".", regex=False).fillna(False).astype(bool)
        text = text.mask(has_point, "no number").str.replace(",", ".", regex=False)
    fits = text.str.fullmatch(_NUMBER).fillna(False).astype(bool)
    numbers = pd.to_numeric(text.where(fits), errors="coerce").astype(float)
    finite = np.isfinite(numbers.to_numpy(dtype=float))
    work.wrong["not a number"] = (work.text.notna() & ~finite).to_numpy(dtype=bool)
    return numbers.where(finite)


def _clock_minutes(work: _Work, each: ColumnMapping) -> pd.Series:
    """h:mm:ss, or mm:ss, in minutes."""
    form = _CLOCK if each.unit == "clock" else _SHORT_CLOCK
    parts = work.text.str.extract(rf"^{form}$")
    hours, minutes, seconds = (pd.to_numeric(parts[at], errors="coerce") for at in (1, 2, 3))
    length = hours.fillna(0) * 60 + minutes + seconds / 60
    found = length.where(parts[0] != "-", -length)
    written = "h:mm:ss" if each.unit == "clock" else "mm:ss"
    work.wrong[f"not a duration written as {written}"] = (
        work.text.notna() & found.isna()
    ).to_numpy(dtype=bool)
    return found.astype(float)


def _scaled(work: _Work, each: ColumnMapping, values: pd.Series) -> pd.Series:
    """Checked against the range, then turned round, stretched or brought to the unit wanted."""
    low, high = each.range
    if low is not None or high is not None:
        bottom, top = -np.inf if low is None else low, np.inf if high is None else high
        within = values.between(bottom, top) | values.isna()
        span = (
            f"{bottom:g} to {top:g}"
            if np.isfinite([bottom, top]).all()
            else (f"at least {bottom:g}" if np.isfinite(bottom) else f"at most {top:g}")
        )
        work.wrong[f"not {span}"] = (~within).to_numpy(dtype=bool)
    if each.reverse and low is not None and high is not None:
        work.note(f"turned round on {low:g} to {high:g}", values.notna())
        values = low + high - values
    if each.rescale and low is not None and high is not None:
        start, end = each.rescale
        work.note(f"{low:g} to {high:g} stretched to {start:g} to {end:g}", values.notna())
        values = start + (values - low) * (end - start) / (high - low)
    if each.to and (each.to != each.unit):
        written = {"clock": "h:mm:ss", "minutes_clock": "mm:ss"}.get(each.unit, each.unit)
        work.note(f"{written} to {each.to}", values.notna())
        if each.to in ("percent", "share"):
            return values * 100 if each.to == "percent" else values / 100
        return _in_unit(values, each)
    return values


def _in_unit(values: pd.Series, each: ColumnMapping) -> pd.Series:
    """By whole factors, so that 90 minutes are 5,400 seconds and nothing beside it."""
    if each.unit not in MILLISECONDS_IN:  # a clock, in minutes; its seconds are whole or decimal
        return (values * 60).round(6) / (MILLISECONDS_IN[each.to] // 1000)
    have, want = MILLISECONDS_IN[each.unit], MILLISECONDS_IN[each.to]
    return values * (have // want) if have >= want else values / (want // have)


def _text(work: _Work, each: ColumnMapping) -> pd.Series:
    text = work.text
    if each.case:
        text = text.str.upper() if each.case == "upper" else text.str.lower()
        work.note(f"written in {each.case} case", text.ne(work.text) & text.notna())
    if each.pad:
        digits = text.str.fullmatch(r"\d+").fillna(False).astype(bool)
        short = digits & (text.str.len() < each.pad)
        work.note(f"filled up with zeros to {each.pad}", short)
        text = text.mask(short, text.str.zfill(each.pad))
    return text


def _guessed(cells: pd.Series, values: pd.Series, point: str) -> pd.Series:
    """Without a kind: numbers if all values are, as where there is no mapping; else text.

    Whole numbers that floats cannot tell apart are names of something, and stay text.
    """
    if pd.api.types.is_numeric_dtype(cells) and not pd.api.types.is_bool_dtype(cells):
        numbers: pd.Series | None = pd.to_numeric(values, errors="coerce")
    else:
        numbers = parse_numbers(values, point)
    if numbers is None or (numbers.dtype.kind == "i" and (numbers.abs() > EXACT).any()):
        return values
    return numbers.astype(float)
