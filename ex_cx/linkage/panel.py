"""The panel: unit x period rows, unique, sorted, on a regular calendar."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from ex_cx.errors import PanelError, nearest, some
from ex_cx.linkage.calendar import calendar_codes, regular_calendar
from ex_cx.linkage.schema import MIN_N

__all__ = ["Described", "Panel"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Panel:
    """Unit x period rows with their roles; make one with `Panel.from_frame`.

    Attributes
    ----------
    frame : the rows, sorted by unit and period; a private copy of what was given, with the
        period column as integers (integers, years) or pandas periods (all else).
    unit, period : names of the key columns.
    cluster : column whose values are drawn and left out whole; None means the unit.
    weights : column of row weights (positive), or None.
    provenance : column -> on whom or what it was measured. Equal labels on an exposure and an
        outcome mean one source for both sides, of which the models warn.
    unit_codes, period_codes : shape (rows,), integers; period codes are calendar positions from
        the panel's first period, so that a skipped survey leaves a gap.
    """

    frame: pd.DataFrame
    unit: str
    period: str
    cluster: str | None = None
    weights: str | None = None
    provenance: Mapping[str, str] = field(default_factory=dict)
    unit_codes: np.ndarray
    period_codes: np.ndarray

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        *,
        unit: str,
        period: str,
        cluster: str | None = None,
        weights: str | None = None,
        provenance: Mapping[str, str] | None = None,
    ) -> Panel:
        """Check the keys of `frame`, put its periods on a regular calendar, and sort it.

        Parameters
        ----------
        frame : one row per unit and period, in any order; it is not changed.
        unit : identifiers of any type; none may be missing.
        period : integers, dates, pandas periods, or text such as 2024-03, 2024Q1, 2024. Dates
            get the coarsest of year, quarter, month, day, hour that keeps them apart.
        cluster, weights : optional columns; weights must not be negative or infinite.

        Raises
        ------
        PanelError : unknown column, missing key, period that is not understood, or a unit and
            period that occurs more than once.

        Examples
        --------
        >>> rows = pd.DataFrame({"team": ["A", "A", "B"], "nps": [10.0, 20.0, 30.0],
        ...                      "month": ["2024-03", "2024-01", "2024-01"]})
        >>> panel = Panel.from_frame(rows, unit="team", period="month")
        >>> panel.n_units, panel.n_periods, panel.period_codes.tolist()
        (2, 3, [0, 2, 0])
        """
        _check_distinct(frame)
        _check_columns(frame, [unit, period, *(c for c in (cluster, weights) if c is not None)])
        _check_present(frame, [unit, period, *([cluster] if cluster else [])])
        if weights is not None:
            _check_weights(frame, weights)
        rows = frame.reset_index(drop=True)
        rows = rows.assign(**{period: regular_calendar(rows[period])})
        unit_codes = _sorted_codes(rows[unit])
        position = calendar_codes(rows[period])
        order = np.lexsort((position, unit_codes))
        if not np.array_equal(order, np.arange(len(order))):
            rows = rows.iloc[order].reset_index(drop=True)
            unit_codes, position = unit_codes[order], position[order]
        _check_unique(rows, unit, period, unit_codes, position)
        return cls(
            frame=rows,
            unit=unit,
            period=period,
            cluster=cluster,
            weights=weights,
            provenance=dict(provenance or {}),
            unit_codes=unit_codes,
            period_codes=position - position.min(),
        )

    @property
    def n_units(self) -> int:
        """Number of different units."""
        return int(self.unit_codes[-1]) + 1

    @property
    def n_periods(self) -> int:
        """Length of the calendar from the first to the last period, gaps included."""
        return int(self.period_codes.max()) + 1

    @property
    def extent(self) -> str:
        """Units, periods and rows in words; periods that nobody has are told apart from waves.

        >>> rows = pd.DataFrame({"unit": "A", "period": [2013, 2016, 2017]})
        >>> Panel.from_frame(rows, unit="unit", period="period").extent
        '1 unit x 3 periods (2013 to 2017, 2 between them without rows), 3 rows'
        """
        seen = len(np.unique(self.period_codes))
        ends = [int(find(self.period_codes)) for find in (np.argmin, np.argmax)]
        first, last = (str(self.frame[self.period].iloc[at]) for at in ends)
        span = first if seen == 1 else f"{first} to {last}"
        empty = self.n_periods - seen
        gaps = f", {empty} between them without rows" if empty else ""
        counts = [(self.n_units, "unit"), (seen, "period"), (len(self), "row")]
        told = [f"{n} {word}{'' if n == 1 else 's'}" for n, word in counts]
        return f"{told[0]} x {told[1]} ({span}{gaps}), {told[2]}"

    def __repr__(self) -> str:
        """One line; `.frame` holds the rows, `.describe()` their spread."""
        keys = {self.unit, self.period}
        names = [str(name) for name in self.frame.columns if name not in keys]
        return f"<Panel {self.extent}; columns: {some(names, 6)}>"

    def __len__(self) -> int:
        return len(self.frame)

    def column(self, name: str) -> pd.Series:
        """A column by name; a PanelError names the nearest one if there is none."""
        _check_columns(self.frame, [name])
        return self.frame[name]

    def with_lag(self, columns: str | Iterable[str], by: int = 1) -> Panel:
        """Add `<column>_lag<by>`: the value in the same unit exactly `by` periods earlier.

        The calendar decides, never the row order: after a gap the lag is missing. A negative
        `by` looks ahead and adds `<column>_lead<n>`.

        >>> rows = pd.DataFrame({"unit": "A", "period": [2018, 2019, 2021], "x": [6.0, 6.5, 7.5]})
        >>> panel = Panel.from_frame(rows, unit="unit", period="period").with_lag("x")
        >>> panel.frame["x_lag1"].tolist()
        [nan, 6.0, nan]
        """
        names = [columns] if isinstance(columns, str) else list(columns)
        _check_columns(self.frame, names)
        source = self.rows_at_lag(by)
        suffix = f"lag{by}" if by >= 0 else f"lead{-by}"
        earlier = self.frame[names].reindex(source).set_axis(self.frame.index)
        added = {f"{name}_{suffix}": earlier[name] for name in names}
        measured = {f"{name}_{suffix}": self.provenance.get(name) for name in names}
        return self._with(added, measured)

    def rows_at_lag(self, by: int) -> np.ndarray:
        """Row number of the same unit `by` periods earlier, shape (rows,); -1 where absent."""
        span = self.n_periods + abs(by)
        keys = self.unit_codes * (span + 1) + self.period_codes
        wanted = self.period_codes - by
        found = np.searchsorted(keys, keys - by)
        found = np.minimum(found, len(keys) - 1)
        hit = (keys[found] == keys - by) & (wanted >= 0) & (wanted <= span)
        hit &= self.unit_codes[found] == self.unit_codes
        return np.where(hit, found, -1)

    def with_within_between(self, columns: str | Iterable[str]) -> Panel:
        """Add `<column>_between` (mean over the unit's rows) and `<column>_within` (the rest)."""
        names = [columns] if isinstance(columns, str) else list(columns)
        added: dict[str, pd.Series] = {}
        measured: dict[str, str | None] = {}
        for name in names:
            values = self.column(name)
            between = values.groupby(self.unit_codes).transform("mean")
            parts = {f"{name}_within": values - between, f"{name}_between": between}
            added |= parts
            measured |= dict.fromkeys(parts, self.provenance.get(name))
        return self._with(added, measured)

    def _with(self, columns: Mapping[str, pd.Series], measured: Mapping[str, str | None]) -> Panel:
        """The panel with further columns, each measured on whom its original was."""
        known = {name: who for name, who in measured.items() if who is not None}
        return replace(
            self,
            frame=self.frame.assign(**columns),
            provenance={**self.provenance, **known},
        )

    def where(self, mask: pd.Series | np.ndarray) -> Panel:
        """The rows where `mask` (one boolean per row of `frame`) is true."""
        if isinstance(mask, pd.Series) and not mask.index.equals(self.frame.index):
            raise PanelError(
                "The mask's index is not that of `panel.frame`, whose rows are sorted: it may "
                "belong to other rows. Build it from `panel.frame`."
            )
        keep = np.asarray(mask)
        if keep.dtype != bool or keep.shape != (len(self.frame),):
            raise PanelError(
                f"A mask needs one true or false for each of the {len(self.frame)} rows; this one "
                f"has dtype {keep.dtype} and shape {keep.shape}. Build it from `panel.frame`."
            )
        if not keep.any():
            raise PanelError(
                f"The mask keeps none of the {len(self.frame)} rows. Loosen the condition."
            )
        units = pd.factorize(self.unit_codes[keep])[0]
        position = self.period_codes[keep]
        return replace(
            self,
            frame=self.frame.loc[keep].reset_index(drop=True),
            unit_codes=units,
            period_codes=position - position.min(),
        )

    def segments(self, by: str) -> dict[str, Panel]:
        """One panel per value of `by`, labels sorted; rows without a value are `(missing)`."""
        labels = self.column(by).astype("string").fillna("(missing)").astype(object)
        return {str(name): self.where((labels == name).to_numpy()) for name in sorted(set(labels))}

    def coverage(self, columns: Iterable[str]) -> pd.DataFrame:
        """Unit, period, observed: is every one of `columns` present? On the whole calendar."""
        names = list(columns)
        _check_columns(self.frame, names)
        grid = np.zeros((self.n_units, self.n_periods), dtype=bool)
        grid[self.unit_codes, self.period_codes] = self.frame[names].notna().all(axis=1)
        first = np.flatnonzero(np.diff(self.unit_codes, prepend=-1))
        start = self.frame[self.period].iloc[int(np.argmin(self.period_codes))]
        calendar = pd.Series([start + step for step in range(self.n_periods)])
        return pd.DataFrame(
            {
                "unit": self.frame[self.unit].iloc[first].repeat(self.n_periods).to_numpy(),
                "period": np.tile(calendar.to_numpy(dtype=object), self.n_units),
                "observed": grid.ravel(),
            }
        )

    def describe(self) -> Described:
        """One row per numeric column: counts, mean, spread between and within units, range.

        Returns
        -------
        column, n, missing, units, periods (with a value), mean, sd, sd_between (of the units'
        means), sd_within, min, max, within_share (of the variance, that within units: an exposure
        with little of it cannot be studied with unit effects absorbed). A range is the values of
        two single unit-periods: it is missing for fewer than five values, and where `<column>_n`
        tells the respondents, unit-periods of fewer than five are not in it.

        >>> rows = pd.DataFrame({"unit": list("aabb"), "period": [1, 2, 1, 2], "x": [1.0, 3, 5, 7]})
        >>> found = Panel.from_frame(rows, unit="unit", period="period").describe().iloc[0]
        >>> found["mean"], found["within_share"], found["units"], found["min"]
        (np.float64(4.0), np.float64(0.2), np.int64(2), np.float64(nan))
        """
        keys = {self.unit, self.period}
        names = [n for n in self.frame.select_dtypes("number").columns if n not in keys]
        rows = []
        for name in names:
            values = self.frame[name].to_numpy(dtype=float, na_value=np.nan)
            spread = _spread(values, self.unit_codes, self.period_codes, self._few_behind(name))
            rows.append({"column": name, **spread})
        return Described(rows)

    def _few_behind(self, name: str) -> np.ndarray:
        """Rows in which fewer than five respondents are known to stand behind a column."""
        given = self.frame.columns
        counts = f"{name}_n" if f"{name}_n" in given else name
        base = counts.removesuffix("_n") if isinstance(counts, str) else counts
        if base == counts or base not in given:
            return np.zeros(len(self.frame), dtype=bool)
        return self.frame[counts].to_numpy(dtype=float, na_value=np.nan) < MIN_N

    def _repr_html_(self) -> str:
        return f"<p><strong>{html.escape(self.extent)}</strong></p>{self.describe()._repr_html_()}"


class Described(pd.DataFrame):
    """A frame that a notebook shows with four digits; what is made of it is a plain one."""

    def _repr_html_(self) -> str:
        return self.to_html(index=False, escape=True, na_rep="", float_format=lambda v: f"{v:.4g}")


def _spread(
    values: np.ndarray, units: np.ndarray, periods: np.ndarray, few: np.ndarray
) -> dict[str, float]:
    present = np.isfinite(values)
    kept, codes = values[present], units[present]
    n = len(kept)
    seen_in = {"units": len(np.unique(codes)), "periods": len(np.unique(periods[present]))}
    if n == 0:
        absent = ("mean", "sd", "sd_between", "sd_within", "min", "max", "within_share")
        return {"n": 0, "missing": len(values), **seen_in, **dict.fromkeys(absent, np.nan)}
    ranged = values[present & ~few]
    ends = (ranged.min(), ranged.max()) if len(ranged) >= MIN_N else (np.nan, np.nan)
    counts = np.bincount(codes)
    means = np.bincount(codes, weights=kept) / np.maximum(counts, 1)
    within = kept - means[codes]
    sd = float(kept.std(ddof=1)) if n > 1 else np.nan
    total = float(((kept - kept.mean()) ** 2).sum())
    seen = means[counts > 0]
    return {
        "n": n,
        "missing": len(values) - n,
        **seen_in,
        "mean": float(kept.mean()),
        "sd": sd,
        "sd_between": float(seen.std(ddof=1)) if len(seen) > 1 else np.nan,
        "sd_within": float(np.sqrt((within**2).sum() / max(n - len(seen), 1))),
        "min": float(ends[0]),
        "max": float(ends[1]),
        "within_share": float((within**2).sum() / total) if total > 0 else np.nan,
    }


def _check_distinct(frame: pd.DataFrame) -> None:
    repeated = frame.columns[frame.columns.duplicated()].unique()
    if len(repeated):
        raise PanelError(
            f"{len(repeated)} column names occur more than once ({some(repeated)}). Rename or drop "
            "the repeats, so that a name means one column."
        )


def _check_columns(frame: pd.DataFrame, names: Iterable[str]) -> None:
    for name in names:
        if name not in frame.columns:
            raise PanelError(
                f"There is no column {name!r} among the {len(frame.columns)} columns."
                f"{nearest(name, frame.columns) or f' There are {some(frame.columns, 12)}.'}"
            )


def _check_present(frame: pd.DataFrame, names: Iterable[str]) -> None:
    if len(frame) == 0:
        raise PanelError("The frame has no rows, so there is no panel. Check the source or filter.")
    for name in names:
        missing = np.flatnonzero(frame[name].isna())
        if len(missing):
            raise PanelError(
                f"{len(missing)} of {len(frame)} rows have no value in {name!r} "
                f"(row positions {some(missing)}). Fill or drop them before making a panel."
            )


def _check_weights(frame: pd.DataFrame, name: str) -> None:
    if not pd.api.types.is_numeric_dtype(frame[name]):
        raise PanelError(f"Weights must be numbers; column {name!r} has dtype {frame[name].dtype}.")
    values = frame[name].to_numpy(dtype=float, na_value=np.nan)
    bad = np.flatnonzero((values < 0) | np.isinf(values))
    if len(bad):
        raise PanelError(
            f"{len(bad)} of {len(frame)} weights in {name!r} are negative or infinite (row "
            f"positions {some(bad)}). Weights must be positive; a missing one leaves its row out."
        )


def _sorted_codes(values: pd.Series) -> np.ndarray:
    """Codes in the order of the sorted labels; labels of mixed types are ordered as text."""
    try:
        codes, _ = pd.factorize(values, sort=True)
    except TypeError:
        found, labels = pd.factorize(values)
        order = np.argsort(np.array([f"{label} {type(label)}" for label in labels]))
        codes = np.argsort(order)[found]
    return codes.astype(np.int64)


def _check_unique(
    rows: pd.DataFrame, unit: str, period: str, unit_codes: np.ndarray, position: np.ndarray
) -> None:
    repeated = np.flatnonzero((np.diff(unit_codes) == 0) & (np.diff(position) == 0))
    if len(repeated):
        keys = rows[[unit, period]].iloc[repeated].drop_duplicates()
        where = [f"{who}, {when}" for who, when in keys.itertuples(index=False)]
        raise PanelError(
            f"{len(repeated)} of {len(rows)} rows repeat a {unit} and {period} already there "
            f"(first: {some(where)}). Aggregate them, or add what tells them apart to the unit."
        )
