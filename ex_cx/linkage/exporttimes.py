"""Times of an export on to one clock: zones, daylight saving, shifts over midnight.

No time is moved in silence: an hour that comes twice, or never, is an error until a mapping says
what it means, and every change is counted.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from ex_cx.errors import SchemaError, some
from ex_cx.linkage.exportcolumn import ColumnMapping
from ex_cx.linkage.exportspec import TimeRules
from ex_cx.linkage.exportvalues import Converted, bad_values, distinct_text, named_values
from ex_cx.linkage.parsing import parse_dates
from ex_cx.linkage.wording import counted, some_rows

__all__ = ["convert_times"]

_OFFSET = r"\d{2}:?\d{2}(?::?\d{2}(?:\.\d+)?)?\s?(?:Z|[+-]\d{2}:?\d{2})$"
_CLOCK = r"(\d{1,2})[:.](\d{2})(?:[:.](\d{2})(?:\.\d+)?)?(?:\s*([AaPp])\.?[Mm]\.?)?"
_BARE_CLOCK = r"(\d{1,2})(\d{2})"
_DAY = 86_400
_CLOCK_DIRECTIVES = re.compile(r"%[HIMScXzs]")
NO_TIME = np.iinfo(np.int64).min


def convert_times(
    cells: Mapping[str, pd.Series],
    name: str,
    each: ColumnMapping,
    rules: TimeRules,
    *,
    missing: tuple[str, ...],
    rows: np.ndarray,
) -> Converted:
    """Times on the clock wanted, or the part of them that is asked for.

    Parameters
    ----------
    cells : columns of the export by their names there, the rows that are taken.
    name : of the column of dates or times.
    missing : markers of "no value".
    rows : shape (rows,), numbers of the rows in the file, for messages.
    """
    markers = (*missing, *each.missing)
    column = cells[name]
    if column.dtype.kind == "M":
        parsed = _typed(column, each, rules)
    else:
        parsed = _parsed(column, each, rules, markers, rows)
    notes, problems = dict(parsed.notes), list(parsed.problems)
    values = parsed.column
    is_local, has_clock = parsed.form != "utc", _has_clock(column, each, values)
    if each.clock and not problems:
        clock = _clock_seconds(cells[each.clock], each, markers, rows)
        problems += clock.problems
        values, moved = _with_clock(values, clock.column, cells, each, markers, rows)
        notes |= moved.notes
        problems += moved.problems
    lost: dict[str, np.ndarray] = {}
    if rules.to and has_clock and not each.local and not problems:
        if is_local and rules.zone == "written":
            problems.append("times without an offset such as +01:00; state `zone` of their clock.")
        elif is_local:
            values, done = _to_utc(values, cells, rules, rows, each)
            notes |= done.notes
            problems += done.problems
            lost = dict(done.lost)
        values = values.dt.tz_localize("UTC").dt.tz_convert(rules.to).dt.tz_localize(None)
        n = int(values.notna().sum())
        written = "offset as written" if rules.zone == "written" else rules.zone
        notes |= {f"clock of {written} to {rules.to}": n} if n else {}
    if each.day_starts:
        values = (values - pd.Timedelta(f"{each.day_starts}:00")).dt.normalize()
        notes[f"date of the working day, from {each.day_starts}"] = int(values.notna().sum())
    if each.part:
        values = _part(values, each.part)
    return Converted(
        column=values,
        notes={what: n for what, n in notes.items() if n},
        problems=tuple(problems),
        lost=lost,
        form=parsed.form if each.clock == "" else f"{parsed.form} and a clock",
    )


def _typed(column: pd.Series, each: ColumnMapping, rules: TimeRules) -> Converted:
    """Times of a typed file: an instant, if it knows its zone, else the clock of the export."""
    if column.dt.tz is None:
        return Converted(column=column.astype("datetime64[us]"), form="typed")
    if each.local or not rules.to:
        problem = "times carry a zone; state `times`, with `zone: written` and `to`."
        return Converted(column=column, problems=(problem,))
    plain = column.dt.tz_convert("UTC").dt.tz_localize(None).astype("datetime64[us]")
    return Converted(column=plain, form="utc")


def _parsed(
    column: pd.Series,
    each: ColumnMapping,
    rules: TimeRules,
    markers: tuple[str, ...],
    rows: np.ndarray,
) -> Converted:
    """Text to times, on the distinct values; with an offset in UTC, else as written."""
    codes, text, size = distinct_text(column)
    marked = text.isin(markers).to_numpy(dtype=bool)
    present = text.mask(marked)
    offset = present.str.contains(_OFFSET, regex=True).fillna(False).to_numpy(dtype=bool)
    written = rules.zone == "written" and not each.local and bool(offset.any())
    wrong: dict[str, np.ndarray] = {}
    form = each.format
    if written:
        wrong["without an offset such as +01:00"] = present.notna().to_numpy() & ~offset
        instants = pd.to_datetime(
            present.where(offset), utc=True, format="ISO8601", errors="coerce"
        )
        found, form = instants.dt.tz_localize(None), "utc"
    elif offset.any():
        wrong["with an offset from UTC; state `times`, with `zone: written` and `to`"] = offset
        found = pd.Series(pd.NaT, index=text.index, dtype="datetime64[us]")
    elif each.format:
        found = pd.to_datetime(present, format=_checked(each.format), errors="coerce")
    else:
        if rules.to and not each.local and not each.clock:
            dated = present.notna() & ~present.str.contains(":", regex=False).fillna(False)
            some_clock = bool((present.notna() & ~dated).any())
            wrong["without a time of day"] = dated.to_numpy(dtype=bool) & some_clock
        try:
            found, form = parse_dates(present)
        except SchemaError as error:
            words = str(error).partition(": ")[2].replace("date_format", "format")
            return Converted(column=column, problems=(words,))
    if form != "utc" and not offset.any():
        what = f"not a time of the form {form}"
        wrong[what] = (found.isna() & present.notna()).to_numpy(dtype=bool)
    problems, blank = bad_values(wrong, each.invalid, codes, text, rows)
    notes = {f"{what}, made missing": n for what, n in blank.items()}
    notes |= {"no value by its marker": int(size[marked].sum())}
    for flags in wrong.values():
        found = found.mask(flags)
    stamps = np.append(found.to_numpy("datetime64[us]"), np.datetime64("NaT"))[codes]
    values = pd.Series(stamps, index=column.index, name=column.name)
    return Converted(column=values, notes=notes, problems=problems, form=form)


def _checked(form: str) -> str:
    try:
        pd.to_datetime(pd.Series(["x"]), format=form, errors="coerce")
    except (ValueError, re.error) as error:
        raise SchemaError(
            f"`format` is {form!r}, which is no strptime form ({str(error)[:100]}). State one such "
            "as '%d/%m/%Y %H:%M'."
        ) from error
    return form


def _has_clock(column: pd.Series, each: ColumnMapping, values: pd.Series) -> bool:
    """Does the column hold times of day? A mere date is the same in every zone."""
    if each.clock:
        return True
    if each.format:
        return bool(_CLOCK_DIRECTIVES.search(each.format))
    if column.dtype.kind == "M":
        known = values.dropna()
        return column.dt.tz is not None or bool((known != known.dt.normalize()).any())
    _, text, _ = distinct_text(column)
    return bool(text.str.contains(":", regex=False).fillna(False).any())


def _clock_seconds(
    column: pd.Series, each: ColumnMapping, markers: tuple[str, ...], rows: np.ndarray
) -> Converted:
    """Seconds since midnight of 09:30, 0930, 9:30:00 or 9:30 PM; up to 48 hours."""
    codes, text, _ = distinct_text(column)
    present = text.mask(text.isin(markers))
    parts = present.str.extract(rf"^{_CLOCK}$")
    bare = (
        present.str.zfill(4)
        .where(present.str.fullmatch(r"\d{1,4}"))
        .str.extract(rf"^{_BARE_CLOCK}$")
    )
    hours = pd.to_numeric(parts[0].fillna(bare[0]), errors="coerce")
    minutes = pd.to_numeric(parts[1].fillna(bare[1]), errors="coerce")
    seconds = pd.to_numeric(parts[2], errors="coerce").fillna(0)
    half = parts[3].str.lower()
    twelve = half.notna()
    wrong_half = twelve & ~hours.between(1, 12)
    hours = hours.where(~twelve, hours % 12 + 12 * (half == "p"))
    found = hours * 3600 + minutes * 60 + seconds
    odd = (minutes > 59) | (seconds > 59) | (hours > 47) | wrong_half | found.isna()
    wrong = {"not a time of day such as 09:30": (odd & present.notna()).to_numpy(dtype=bool)}
    problems, _ = bad_values(wrong, each.invalid, codes, text, rows)
    spread = np.append(found.mask(odd).to_numpy(dtype=float), np.nan)[codes]
    return Converted(column=pd.Series(spread, index=column.index), problems=problems)


def _with_clock(
    dates: pd.Series,
    clock: pd.Series,
    cells: Mapping[str, pd.Series],
    each: ColumnMapping,
    markers: tuple[str, ...],
    rows: np.ndarray,
) -> tuple[pd.Series, Converted]:
    """Date and time of day as one; past 24:00, or after midnight in a shift, on the day after."""
    late = (clock >= _DAY).to_numpy()
    after = np.zeros(len(clock), dtype=bool)
    problems: tuple[str, ...] = ()
    if each.next_day_before:
        hours, minutes = each.next_day_before.split(":")
        after = (clock < int(hours) * 3600 + int(minutes) * 60).to_numpy()
    elif each.shift_start:
        start = _clock_seconds(cells[each.shift_start], each, markers, rows)
        problems = start.problems
        after = (clock < start.column).to_numpy()
    has_day = dates.notna().to_numpy() & clock.notna().to_numpy()
    notes = {
        "clock past 24:00, on the day after": int((late & has_day).sum()),
        "after midnight in a shift, on the day after": int((after & has_day).sum()),
        "date without a time of day, left out": int((dates.notna() & clock.isna()).sum()),
    }
    days = dates.dt.normalize() + pd.to_timedelta(after.astype(int), unit="D")
    whole = (days + pd.to_timedelta(clock, unit="s")).astype("datetime64[us]")
    return whole, Converted(column=whole, notes=notes, problems=problems)


def _to_utc(
    local: pd.Series,
    cells: Mapping[str, pd.Series],
    rules: TimeRules,
    rows: np.ndarray,
    each: ColumnMapping,
) -> tuple[pd.Series, Converted]:
    """Clock times of `rules.zone` in UTC; what the clock shows twice, or never, as ruled."""
    far = local[(local.dt.year < 1900) | (local.dt.year > 2200)]
    if len(far):
        at = np.flatnonzero(local.index.isin(far.index))
        line = f"{counted(len(far), 'time')} before 1900 or after 2200 ({some_rows(rows[at])})."
        return local, Converted(column=local, problems=(line,))
    zone = rules.zone
    probe = local.dt.tz_localize(zone, ambiguous="NaT", nonexistent="shift_forward")
    twice = (probe.isna() & local.notna()).to_numpy()
    probe = local.dt.tz_localize(zone, ambiguous=np.ones(len(local), bool), nonexistent="NaT")
    never = (probe.isna() & local.notna()).to_numpy()
    problems, notes = list[str](), dict[str, int]()
    lost: dict[str, np.ndarray] = {}
    first = np.ones(len(local), dtype=bool)
    if twice.any():
        first, problem = _which_hour(local, twice, cells, rules, rows)
        problems += problem
        how = {"in_order": "told apart by their order", "lose": ""}.get(
            rules.repeated, f"taken as the {rules.repeated}"
        )
        notes |= {f"repeated hour, {how}": int(twice.sum())} if how else {}
        if rules.repeated == "lose":
            lost["in the hour that the clock repeats"] = twice
    if never.any():
        if rules.skipped == "refuse":
            problems.append(
                f"{counted(int(never.sum()), 'time')} that the clock of {zone} never shows "
                f"({_shown(local, never)}; {some_rows(rows[never])}). State `times: skipped` as "
                "`forward` or `lose`, or the right zone."
            )
        if rules.skipped == "lose":
            lost["in the hour that the clock skips"] = never
        else:
            notes["skipped hour, moved forward"] = int(never.sum())
    plain = local.mask(never)
    utc = plain.dt.tz_localize(zone, ambiguous=first, nonexistent="NaT").dt.tz_convert("UTC")
    utc = utc.dt.tz_localize(None).astype("datetime64[us]")
    if never.any():
        moved = [_forward(stamp, zone) for stamp in local[never]]
        utc = utc.mask(never)
        utc.loc[never] = pd.to_datetime(pd.Series(moved, index=utc.index[never]))
    return utc, Converted(column=utc, notes=notes, problems=tuple(problems), lost=lost)


def _forward(stamp: pd.Timestamp, zone: str) -> datetime.datetime:
    """A time that the clock skipped, as one that was not put forward would have shown it; UTC."""
    plain = stamp.to_pydatetime().replace(tzinfo=ZoneInfo(zone), fold=0)
    return plain.astimezone(datetime.UTC).replace(tzinfo=None)


def _which_hour(
    local: pd.Series,
    twice: np.ndarray,
    cells: Mapping[str, pd.Series],
    rules: TimeRules,
    rows: np.ndarray,
) -> tuple[np.ndarray, list[str]]:
    """Is a time that the clock shows twice the first of the two, shape (rows,)?"""
    first = np.full(len(local), rules.repeated != "second")
    if rules.repeated == "refuse":
        line = (
            f"{counted(int(twice.sum()), 'time')} that the clock of {rules.zone} shows twice "
            f"({_shown(local, twice)}; {some_rows(rows[twice])}). State `times: repeated` as "
            "`first`, `second`, `in_order` or `lose`."
        )
        return first, [line]
    if rules.repeated != "in_order":
        return first, []
    times = local[twice].reset_index(drop=True)
    keys = [
        cells[name][twice].reset_index(drop=True).astype("str").fillna("") for name in rules.per
    ]
    by = [*keys, times.dt.normalize()]
    before = times.groupby(by, sort=False).shift()
    again = (times <= before).astype(int)
    passes = again.groupby(by, sort=False).cumsum()
    once = passes.groupby(by, sort=False).transform("max").to_numpy() == 0
    more = passes.to_numpy() > 1
    at = rows[twice]
    lines = []
    if more.any():
        lines.append(
            f"{counted(int(more.sum()), 'time')} of the repeated hour, per {some(rules.per)}, are "
            f"there more than twice ({some_rows(at[more])}). State all columns that tell series of "
            "rows apart in `times: per`."
        )
    if once.any():
        lines.append(
            f"{counted(int(once.sum()), 'time')} of the repeated hour, per {some(rules.per)}, come "
            f"once ({some_rows(at[once])}), so that their order does not tell which they are. "
            "State `repeated` as `first`, `second` or `lose`."
        )
    first[twice] = passes.to_numpy() == 0
    return first, lines


def _shown(local: pd.Series, where: np.ndarray) -> str:
    return named_values(local[where].drop_duplicates().dt.strftime("%Y-%m-%d %H:%M"))


def _part(values: pd.Series, part: str) -> pd.Series:
    if part in ("date", "month", "weekday"):
        form = {"date": "%Y-%m-%d", "month": "%Y-%m", "weekday": "%A"}[part]
        return values.dt.strftime(form).astype("str").where(values.notna())
    if part == "half_hour":
        return (values.dt.hour * 2 + values.dt.minute // 30).astype(float)
    return (values.dt.year if part == "year" else values.dt.hour).astype(float)
