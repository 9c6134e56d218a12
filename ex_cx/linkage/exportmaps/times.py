"""Times of an export on to one clock: zones, daylight saving, shifts over midnight.

No time is moved in silence: an hour that comes twice, or never, is an error until a mapping says
what it means, and every change is counted.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from dataclasses import replace
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from ex_cx.errors import SchemaError, some
from ex_cx.linkage.exportmaps.column import ColumnMapping
from ex_cx.linkage.exportmaps.spec import TimeRules
from ex_cx.linkage.exportmaps.values import Converted, bad_values, distinct_text
from ex_cx.linkage.parsing import parse_distinct
from ex_cx.linkage.wording import counted, some_rows

__all__ = ["convert_times"]

_OFFSET = r"\d{2}:?\d{2}(?::?\d{2}(?:\.\d+)?)?\s?(?:Z|[+-]\d{2}:?\d{2})$"
_CLOCK = r"(\d{1,2})[:.](\d{2})(?:[:.](\d{2})(?:\.\d+)?)?(?:\s*([AaPp])\.?[Mm]\.?)?"
_BARE_CLOCK = r"(\d{1,2})(\d{2})"
_DAY = 86_400
_CLOCK_DIRECTIVES = re.compile(r"%[HIMScXzs]")


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
        done = _typed(column, each, rules)
    else:
        done = _parsed(column, each, rules, markers, rows)
    form = f"{done.form} and a clock" if each.clock else done.form
    has_clock = not done.problems and _has_clock(column, each, done.column)
    if each.clock and not done.problems:
        done = _after(done, _with_clock(done.column, cells, each, markers, rows))
    if rules.to and has_clock and not each.local and not done.problems:
        if form != "utc":
            done = _after(done, _to_utc(done.column, cells, rules, rows))
        done = _after(done, _from_utc(done.column, rules))
    if done.problems:
        return done
    values = done.column
    notes = dict(done.notes)
    if each.day_starts:
        values = (values - pd.Timedelta(f"{each.day_starts}:00")).dt.normalize()
        notes[f"date of the working day, from {each.day_starts}"] = int(values.notna().sum())
    if each.part:
        values = _part(values, each.part)
    return replace(done, column=values, notes=notes, form=form)


def _after(before: Converted, step: Converted) -> Converted:
    """One step after another: what both have noted."""
    return Converted(
        column=step.column,
        notes={**before.notes, **step.notes},
        problems=(*before.problems, *step.problems),
        lost={**before.lost, **step.lost},
        form=before.form,
    )


def _from_utc(instants: pd.Series, rules: TimeRules) -> Converted:
    """The clock of `rules.to`."""
    local = instants.dt.tz_localize("UTC").dt.tz_convert(rules.to).dt.tz_localize(None)
    written = "offset as written" if rules.zone == "written" else rules.zone
    n = int(local.notna().sum())
    return Converted(column=local, notes={f"clock of {written} to {rules.to}": n} if n else {})


def _typed(column: pd.Series, each: ColumnMapping, rules: TimeRules) -> Converted:
    """Times of a typed file: an instant, if it knows its zone, else the clock of the export."""
    if column.dt.tz is None:
        try:
            return Converted(column=column.astype("datetime64[us]"), form="typed")
        except pd.errors.OutOfBoundsDatetime:  # its message quotes the date
            raise SchemaError(
                f"{column.name!r} holds dates beyond the year 290,000, which no calendar here has. "
                "Correct them where they come from."
            ) from None
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
    try:
        found, form, wrong = _stamps(present, each, rules)
    except SchemaError as error:
        words = str(error).partition(": ")[2].replace("date_format=", "format: ")
        return Converted(column=column, problems=(words,))
    problems, blank = bad_values(wrong, each.invalid, codes, text, rows)
    notes = {f"{what}, made missing": n for what, n in blank.items()}
    if marked.any():
        notes["no value by its marker"] = int(size[marked].sum())
    for flags in wrong.values():
        found = found.mask(flags)
    stamps = np.append(found.to_numpy("datetime64[us]"), np.datetime64("NaT"))[codes]
    values = pd.Series(stamps, index=column.index, name=column.name)
    return Converted(column=values, notes=notes, problems=problems, form=form)


def _stamps(
    present: pd.Series, each: ColumnMapping, rules: TimeRules
) -> tuple[pd.Series, str, dict[str, np.ndarray]]:
    """Distinct times, the form they are written in, and what is wrong -> with which of them."""
    known = present.notna().to_numpy()
    none = pd.Series(pd.NaT, index=present.index, dtype="datetime64[us]")
    if not known.any():
        return none, each.format, {}
    offset = present.str.contains(_OFFSET, regex=True).fillna(False).to_numpy(dtype=bool)
    if offset.any() and (rules.zone != "written" or each.local):
        return (
            none,
            "",
            {"with an offset from UTC; state `times`, `zone: written` and `to`": offset},
        )
    if offset.any():
        plain = present.where(offset)
        instants = pd.to_datetime(plain, utc=True, format="ISO8601", errors="coerce")
        found = instants.dt.tz_localize(None)
        return (
            found,
            "utc",
            {
                "without an offset such as +01:00": known & ~offset,
                "not a time such as 2024-03-31T09:30+01:00": offset & found.isna().to_numpy(),
            },
        )
    wrong = dict[str, np.ndarray]()
    if each.format:
        found, form = pd.to_datetime(present, format=_checked(each.format), errors="coerce"), ""
    else:
        found, form = parse_distinct(present, None, "times")
        timed = present.str.contains(":", regex=False).fillna(False).to_numpy(dtype=bool)
        if rules.to and timed.any() and not each.local and not each.clock:
            wrong["without a time of day"] = known & ~timed
    form = each.format or form
    wrong[f"not a time of the form {form}"] = known & found.isna().to_numpy()
    return found, form, wrong


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
    problems, blank = bad_values(wrong, each.invalid, codes, text, rows)
    notes = {f"{what}, made missing": n for what, n in blank.items()}
    spread = np.append(found.mask(odd).to_numpy(dtype=float), np.nan)[codes]
    return Converted(column=pd.Series(spread, index=column.index), notes=notes, problems=problems)


def _with_clock(
    dates: pd.Series,
    cells: Mapping[str, pd.Series],
    each: ColumnMapping,
    markers: tuple[str, ...],
    rows: np.ndarray,
) -> Converted:
    """Date and time of day as one; past 24:00, or after midnight in a shift, on the day after."""
    read = _clock_seconds(cells[each.clock], each, markers, rows)
    clock, problems = read.column, read.problems
    late = (clock >= _DAY).to_numpy()
    after = np.zeros(len(clock), dtype=bool)
    if each.next_day_before:
        hours, minutes = each.next_day_before.split(":")
        after = (clock < int(hours) * 3600 + int(minutes) * 60).to_numpy()
    elif each.shift_start:
        start = _clock_seconds(cells[each.shift_start], each, markers, rows)
        problems = (*problems, *start.problems)
        after = (clock < start.column).to_numpy()
    has_day = dates.notna().to_numpy() & clock.notna().to_numpy()
    counts = {
        "clock past 24:00, on the day after": int((late & has_day).sum()),
        "after midnight in a shift, on the day after": int((after & has_day).sum()),
        "date without a time of day, made missing": int((dates.notna() & clock.isna()).sum()),
    }
    notes = {**read.notes, **{what: n for what, n in counts.items() if n}}
    days = dates.dt.normalize() + pd.to_timedelta(after.astype(int), unit="D")
    whole = (days + pd.to_timedelta(clock, unit="s")).astype("datetime64[us]")
    return Converted(column=whole, notes=notes, problems=problems)


def _to_utc(
    local: pd.Series, cells: Mapping[str, pd.Series], rules: TimeRules, rows: np.ndarray
) -> Converted:
    """Clock times of `rules.zone` in UTC; what the clock shows twice, or never, as ruled."""
    far = ((local.dt.year < 1900) | (local.dt.year > 2200)).to_numpy()
    if rules.zone == "written" or far.any():
        line = "times without an offset such as +01:00; state the `zone` of their clock."
        if far.any():
            n = counted(int(far.sum()), "time")
            line = f"{n} before 1900 or after 2200 ({some_rows(rows[far])})."
        return Converted(column=local, problems=(line,))
    zone = rules.zone
    probe = local.dt.tz_localize(zone, ambiguous="NaT", nonexistent="shift_forward")
    twice = (probe.isna() & local.notna()).to_numpy()
    probe = local.dt.tz_localize(zone, ambiguous=np.ones(len(local), bool), nonexistent="NaT")
    never = (probe.isna() & local.notna()).to_numpy()
    first, problems = _which_hour(local, twice, cells, rules, rows)
    notes, lost = dict[str, int](), dict[str, np.ndarray]()
    if twice.any() and rules.repeated == "lose":
        lost["in the hour that the clock repeats"] = twice
    elif twice.any():
        order = rules.repeated == "in_order"
        how = "told apart by their order" if order else f"taken as the {rules.repeated}"
        notes[f"repeated hour, {how}"] = int(twice.sum())
    if never.any() and rules.skipped == "refuse":
        problems.append(
            f"{counted(int(never.sum()), 'time')} that the clock of {zone} never shows "
            f"({some_rows(rows[never])}). State `times: skipped` as "
            "`forward` or `lose`, or the right zone."
        )
    elif never.any() and rules.skipped == "lose":
        lost["in the hour that the clock skips"] = never
    elif never.any():
        notes["skipped hour, moved forward"] = int(never.sum())
    whole = local.mask(never).dt.tz_localize(zone, ambiguous=first, nonexistent="NaT")
    utc = whole.dt.tz_convert("UTC").dt.tz_localize(None).astype("datetime64[us]")
    utc[never] = [_forward(stamp, zone) for stamp in local[never]]
    return Converted(column=utc, notes=notes, problems=tuple(problems), lost=lost)


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
    if not twice.any():
        return first, []
    if rules.repeated == "refuse":
        line = (
            f"{counted(int(twice.sum()), 'time')} that the clock of {rules.zone} shows twice "
            f"({some_rows(rows[twice])}). State `times: repeated` as "
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


def _part(values: pd.Series, part: str) -> pd.Series:
    if part in ("date", "month", "weekday"):
        form = {"date": "%Y-%m-%d", "month": "%Y-%m", "weekday": "%A"}[part]
        return values.dt.strftime(form).astype("str").where(values.notna())
    if part == "half_hour":
        return (values.dt.hour * 2 + values.dt.minute // 30).astype(float)
    return (values.dt.year if part == "year" else values.dt.hour).astype(float)
