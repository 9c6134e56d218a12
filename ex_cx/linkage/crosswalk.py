"""Units that merge, split, are renamed or close: which one a row belongs to on its day."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from ex_cx.errors import LinkError, SchemaError, nearest, some
from ex_cx.linkage.alignspec import CrosswalkSpec
from ex_cx.linkage.confidentiality.identifiers import hash_columns
from ex_cx.linkage.parsing import as_text, parse_dates, to_numbers
from ex_cx.linkage.sources import ReadReport, TableRead, read_table
from ex_cx.linkage.wording import counted, some_rows, written_like

__all__ = ["LOST", "Crosswalk", "Mapped", "read_crosswalk"]

LOST = ("", "not in the crosswalk", "outside the dates of the crosswalk")
"""Why a row has no unit of the panel, by `Mapped.reason`; the first means that it has one."""
OPEN = 10**12
"""End of a line without an end, past every day and every whole number of a calendar."""
_EXACT = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mapped:
    """Rows with their unit in the panel; a row of a unit that is split occurs once per part.

    Attributes
    ----------
    row : shape (parts,), position of the row that the part comes from.
    target : shape (parts,), its unit in the panel. share : the part of the row, 1 for whole ones.
    reason : shape (rows,), 0 where the row is mapped, else the position of its reason in `LOST`.
    """

    row: np.ndarray
    target: np.ndarray
    share: np.ndarray
    reason: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Crosswalk:
    """Which unit of a source is which unit of the panel, checked; `from_frame` makes one.

    Attributes
    ----------
    spec : names of columns, and what becomes of units that are not listed.
    lines : unit, target, start, end, share; the line holds from `start` up to but without `end`,
        in days since January 1970, or in whole numbers where the source counts its periods so.
    pieces : code (of the unit in `units`), start, end, target, share; in each stretch of time of a
        unit the same lines hold. Sorted by code and start.
    units : the units listed, sorted.
    report : how the file was read, if it was.
    """

    spec: CrosswalkSpec
    lines: pd.DataFrame
    pieces: pd.DataFrame
    units: np.ndarray
    report: ReadReport | None = None

    @classmethod
    def from_frame(
        cls, table: TableRead | pd.DataFrame, spec: CrosswalkSpec, *, dated: bool = True
    ) -> Crosswalk:
        """Check a table of mappings.

        Parameters
        ----------
        table : a file as read, or a frame with the columns that `spec` names.
        dated : are `valid_from` and `valid_to` dates, or whole numbers?

        Raises
        ------
        SchemaError : missing columns, units or dates, lines that end before they start, shares
            that are not above 0 to 1.
        LinkError : two lines of a unit at one time without shares, or shares that do not sum to 1.

        Examples
        --------
        >>> lines = pd.DataFrame({"source_unit": ["A", "A"], "target_unit": ["A", "X"],
        ...                       "valid_from": ["2023-01", "2024-03"],
        ...                       "valid_to": ["2024-02", ""]})
        >>> crosswalk = Crosswalk.from_frame(lines, CrosswalkSpec(path="units.csv"))
        >>> days = np.array(["2024-02-29", "2024-03-01"], dtype="datetime64[D]").astype(int)
        >>> crosswalk.map_rows(pd.Series(["A", "A"]), days).target.tolist()
        ['A', 'X']
        """
        frame = table.frame if isinstance(table, TableRead) else table
        numbers = table.rows if isinstance(table, TableRead) else None
        at = pd.RangeIndex(len(frame)) if numbers is None else pd.Index(numbers - 2)
        lines = _lines(frame.set_axis(at), spec, dated)
        codes, units = pd.factorize(lines["unit"], sort=True)
        pieces = _pieces(lines.assign(code=codes), spec.path)
        return cls(
            spec=spec,
            lines=lines,
            pieces=pieces,
            units=np.asarray(units, dtype=object),
            report=table.report if isinstance(table, TableRead) else None,
        )

    @property
    def splits(self) -> bool:
        """Is any unit split into parts?"""
        return bool((self.pieces["share"] < 1).any())

    def map_rows(self, units: pd.Series, when: np.ndarray | None) -> Mapped:
        """The unit in the panel of each row; nothing is dropped without a reason.

        Parameters
        ----------
        units : shape (rows,), units of the source.
        when : shape (rows,), day (or number) of each row; None for rows without one day, such as
            employments: each of their units must then have a single target at all times.
        """
        code = pd.Index(self.units).get_indexer(pd.Index(units.astype(object)))
        if when is None:
            when = self._single_day(code)
        stretches = self.pieces.drop_duplicates(["code", "start"])
        first = stretches.index.to_numpy()
        at = _stretch(stretches, code, when)
        inside = (at >= 0) & (when < stretches["end"].to_numpy()[at])
        reason = np.where(code < 0, 1, np.where(inside, 0, 2))
        size = np.diff(np.append(first, len(self.pieces)))[at]
        keeps = (code < 0) & (self.spec.unlisted == "keep")
        reason[keeps] = 0
        parts = np.where(keeps, 1, np.where(inside, size, 0))
        row = np.repeat(np.arange(len(code)), parts)
        within = np.arange(len(row)) - np.repeat(np.cumsum(parts) - parts, parts)
        piece = np.where(keeps[row], 0, first[at][row] + within)
        own = units.to_numpy(dtype=object)[row]
        target = np.where(keeps[row], own, self.pieces["target"].to_numpy(dtype=object)[piece])
        share = np.where(keeps[row], 1.0, self.pieces["share"].to_numpy()[piece])
        return Mapped(row=row, target=target, share=share, reason=reason)

    def record(
        self, units: pd.Series, mapped: Mapped, sizes: np.ndarray | None = None
    ) -> pd.DataFrame:
        """What became of the rows of each unit: unit, target, share, rows, outcome.

        `sizes`, shape (rows,): how many rows each of them stands for; None: one.
        """
        size = np.ones(len(units), dtype=np.int64) if sizes is None else sizes
        own = units.to_numpy(dtype=object)
        listed = np.isin(own.astype(str), self.units.astype(str))
        kept = pd.DataFrame(
            {
                "unit": own[mapped.row],
                "target": mapped.target,
                "share": mapped.share,
                "outcome": np.where(listed[mapped.row], "mapped", "not listed, kept as it is"),
                "rows": size[mapped.row],
            }
        )
        gone = np.flatnonzero(mapped.reason)
        lost = pd.DataFrame(
            {
                "unit": own[gone],
                "target": "",
                "share": 0.0,
                "outcome": [f"lost: {LOST[reason]}" for reason in mapped.reason[gone]],
                "rows": size[gone],
            }
        )
        idle = [unit for unit in self.units if unit not in set(own)]
        unused = pd.DataFrame({"unit": idle, "target": "", "share": 0.0, "rows": 0})
        keys = ["unit", "target", "share", "outcome"]
        counts = [part.groupby(keys)["rows"].sum().reset_index() for part in (kept, lost)]
        whole = [*counts, unused.assign(outcome="in the crosswalk only")]
        found = pd.concat([part for part in whole if len(part)], ignore_index=True)
        return found[["unit", "target", "share", "rows", "outcome"]].sort_values(
            ["unit", "target", "outcome"], ignore_index=True
        )

    def _single_day(self, code: np.ndarray) -> np.ndarray:
        """A day on which each row's unit is listed; units with several targets are refused."""
        targets = self.pieces.groupby("code")["target"].nunique().to_numpy()
        used = np.unique(code[code >= 0])
        several = self.units[used[targets[used] > 1]]
        if len(several):
            raise LinkError(
                f"{counted(len(several), 'unit')} of the crosswalk {self.spec.path!r} "
                f"({some(several)}) {'has' if len(several) == 1 else 'have'} more than one target, "
                "but a row of this source lasts from a start to an end, so that no single day "
                "says which. Give such units one target, or end and begin the rows themselves on "
                "the day of the change."
            )
        start = self.pieces.groupby("code")["start"].min().to_numpy()
        return np.where(code >= 0, start[code], 0)


def read_crosswalk(
    spec: CrosswalkSpec, root: str | Path = ".", *, dated: bool = True, people: bool = False
) -> Crosswalk:
    """Read and check the file of a crosswalk; units stay text, or are hashed if they are `people`.

    Raises
    ------
    SourceError, SchemaError, LinkError : as `read_table` and `Crosswalk.from_frame`.
    """
    path = Path(root) / spec.path
    columns = read_table(path, sheet=spec.sheet).frame.columns
    wanted = (spec.unit, spec.target, spec.valid_from, spec.valid_to)
    text = [name for name in wanted if name in columns]
    table = read_table(path, text=text, sheet=spec.sheet)
    if people and spec.unit in columns:
        table = replace(table, frame=hash_columns(table.frame, (spec.unit,), spec.path))
    return Crosswalk.from_frame(table, spec, dated=dated)


def _stretch(stretches: pd.DataFrame, code: np.ndarray, when: np.ndarray) -> np.ndarray:
    """Position of the last stretch of each row's unit that has begun, -1 where there is none."""
    start = stretches["start"].to_numpy()
    low = int(min(start.min(), when.min(initial=0)))
    span = int(max(start.max(), when.max(initial=0))) - low + 2
    keys = stretches["code"].to_numpy() * span + (start - low)
    at = np.searchsorted(keys, code * span + (when - low), side="right") - 1
    return np.where((at >= 0) & (stretches["code"].to_numpy()[at] == code), at, -1)


def _lines(frame: pd.DataFrame, spec: CrosswalkSpec, dated: bool) -> pd.DataFrame:
    defaults = CrosswalkSpec(path=spec.path)
    optional = {name for name in ("valid_to", "share") if getattr(spec, name) not in frame}
    optional = {n for n in optional if getattr(spec, n) == getattr(defaults, n)}
    wanted = [n for n in ("unit", "target", "valid_from", "valid_to", "share") if n not in optional]
    absent = [getattr(spec, n) for n in wanted if getattr(spec, n) not in frame]
    if absent:
        raise SchemaError(
            f"The crosswalk {spec.path!r} lacks {counted(len(absent), 'column')} ({some(absent)})."
            f"{nearest(absent[0], frame.columns)} It has: {some(frame.columns, 12)}."
        )
    if not len(frame):
        raise SchemaError(f"The crosswalk {spec.path!r} has no lines. Leave it out, or fill it.")
    lines = pd.DataFrame({n: as_text(frame[getattr(spec, n)]) for n in ("unit", "target")})
    for name in ("unit", "target", "valid_from"):
        _refuse_blank(frame[getattr(spec, name)], spec)
    lines["start"], _ = _span(frame[spec.valid_from], spec, dated)
    lines["end"] = OPEN
    if "valid_to" not in optional:
        given = ~_blank(frame[spec.valid_to])
        lines.loc[given, "end"] = _span(frame.loc[given, spec.valid_to], spec, dated)[1]
    lines["share"] = 1.0 if "share" in optional else _shares(frame[spec.share], spec)
    wrong = np.flatnonzero(lines["end"] <= lines["start"])
    if len(wrong):
        raise SchemaError(
            f"The crosswalk {spec.path!r}: {counted(len(wrong), 'line')} of {len(lines):,} end "
            f"before they start ({some_rows(lines.index.to_numpy()[wrong] + 2)}). "
            f"Correct {spec.valid_to!r}."
        )
    return lines


def _blank(column: pd.Series) -> np.ndarray:
    if pd.api.types.is_datetime64_any_dtype(column):
        return column.isna().to_numpy()
    text = as_text(column)
    return (text.isna() | (text.astype(object) == "")).to_numpy(dtype=bool)


def _refuse_blank(column: pd.Series, spec: CrosswalkSpec) -> None:
    blank = np.flatnonzero(_blank(column))
    if len(blank):
        raise SchemaError(
            f"The crosswalk {spec.path!r}: {counted(len(blank), 'line')} of {len(column):,} have "
            f"no {column.name!r} ({some_rows(column.index.to_numpy()[blank] + 2)}). "
            "Fill them; a person decides what is mapped, and from when."
        )


def _shares(column: pd.Series, spec: CrosswalkSpec) -> np.ndarray:
    share = to_numbers(column).to_numpy()
    wrong = np.flatnonzero(~_blank(column) & ~((share > 0) & (share <= 1)))
    if len(wrong):
        raise SchemaError(
            f"The crosswalk {spec.path!r}: {counted(len(wrong), 'share')} "
            f"{'is' if len(wrong) == 1 else 'are'} not above 0 to 1 "
            f"({some_rows(column.index.to_numpy()[wrong] + 2)}). Write 0.4 for 40 %."
        )
    return np.where(np.isnan(share), 1.0, share)


def _span(column: pd.Series, spec: CrosswalkSpec, dated: bool) -> tuple[np.ndarray, np.ndarray]:
    """First day of what each value names, and the day after its last; of whole numbers alike."""
    if not dated:
        number = to_numbers(column).to_numpy()
        if not (number % 1 == 0).all():
            raise SchemaError(
                f"The crosswalk {spec.path!r}: {column.name!r} must hold whole numbers, like the "
                f"periods of the source (written like {written_like(column.astype(str))})."
            )
        return number.astype(np.int64), number.astype(np.int64) + 1
    text = column if pd.api.types.is_datetime64_any_dtype(column) else as_text(column)
    written = not pd.api.types.is_datetime64_any_dtype(text)
    if written and len(text) and text.str.fullmatch(r"\d{4}").all():
        text, unit = text + "-01-01", "Y"
        dates, _ = parse_dates(text, table=spec.path)
    else:
        dates, form = parse_dates(text, spec.date_format, table=f"{spec.path}")
        unit = _resolution(form)
    start = dates.to_numpy("datetime64[D]")
    step = 3 if unit == "Q" else 1
    coarse = start.astype(f"datetime64[{'M' if unit == 'Q' else unit}]")
    after = (coarse + step).astype("datetime64[D]")
    return start.astype(np.int64), after.astype(np.int64)


def _resolution(form: str) -> str:
    """What a date written in this form names: a day, month, quarter or year.

    >>> _resolution("2024-03"), _resolution("%d.%m.%Y"), _resolution("2024Q1")
    ('M', 'D', 'Q')
    """
    if form in ("2024-03", "202403"):
        return "M"
    if form == "2024Q1":
        return "Q"
    if "%" not in form or any(sign in form for sign in ("%d", "%j", "%x", "%D", "%c", "%U", "%W")):
        return "D"
    return "M" if any(sign in form for sign in ("%m", "%b", "%B")) else "Y"


def _pieces(lines: pd.DataFrame, path: str) -> pd.DataFrame:
    """In each stretch of time of a unit, the lines that hold; wrong ones are all told at once."""
    keys = ["code", "start", "end", "target", "share"]
    simple = _one_after_the_other(lines)
    rows, problems = [], list[str]()
    for code, own in lines[~simple].groupby("code", sort=True):
        for start, end, held in _stretches(own):
            wrong = _complaint(held)
            if wrong:
                problems.append(f"- {held['unit'].iloc[0]!r}: {wrong}")
            rows += [
                (code, start, end, target, share)
                for target, share in zip(held["target"], held["share"], strict=True)
            ]
    if problems:
        told = list(dict.fromkeys(problems))
        more = f"\n- and {len(told) - 8} more" if len(told) > 8 else ""
        raise LinkError(
            f"The crosswalk {path!r} does not say where {counted(len(told), 'unit')} belong.\n"
            + "\n".join(told[:8])
            + more
        )
    if not rows:
        return lines[keys].sort_values(["code", "start"], ignore_index=True)
    whole = pd.concat([lines.loc[simple, keys], pd.DataFrame(rows, columns=keys)])
    return whole.sort_values(["code", "start"], ignore_index=True, kind="stable")


def _one_after_the_other(lines: pd.DataFrame) -> np.ndarray:
    """Lines of units that have one whole target at a time; of such a unit nothing can be wrong."""
    order = lines.sort_values(["code", "start"], kind="stable")
    overlaps = order.groupby("code")["end"].shift(1) > order["start"]
    odd = order.loc[overlaps | (order["share"] != 1), "code"].unique()
    return ~lines["code"].isin(odd).to_numpy()


def _stretches(own: pd.DataFrame) -> Iterator[tuple[int, int, pd.DataFrame]]:
    edges = np.unique(own[["start", "end"]].to_numpy())
    for start, end in pairwise(edges):
        held = own[(own["start"] <= start) & (own["end"] >= end)]
        if len(held):
            yield int(start), int(end), held


def _complaint(held: pd.DataFrame) -> str:
    where = f"({some_rows(held.index.to_numpy() + 2)})"
    total = float(held["share"].sum())
    if len(held) == 1:
        if abs(total - 1) < _EXACT:
            return ""
        return f"one line with the share {total:g} {where}; add the other parts."
    if held["target"].duplicated().any():
        return f"two lines name the same target at one time {where}; end one before the other."
    if abs(total - 1) < _EXACT:
        return ""
    if (held["share"] == 1).all():
        return (
            f"{len(held)} targets at one time without shares {where}; end one line before the "
            "other begins, or state a share for each."
        )
    return f"its shares at one time sum to {total:g}, not 1 {where}; correct them."
