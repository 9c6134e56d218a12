"""From a panel to the rows and instruments of dynamic GMM, laid out as units x periods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from ex_cx.errors import SpecError
from ex_cx.estimation.design import DesignTerm, term_values
from ex_cx.estimation.gmm import EVERY, GmmRows, Instrument
from ex_cx.linkage.panel import Panel

__all__ = ["GmmTerm", "RowCounts", "build_gmm_rows"]

Equation = Literal["difference", "level"]


class GmmTerm(NamedTuple):
    """A term, the lags at which it is a regressor, and those at which its levels are instruments.

    No instrument lags: it is strictly exogenous, and its changes instrument themselves.
    """

    term: str
    lags: tuple[int, ...]
    instrument_lags: range

    def name(self, lag: int) -> str:
        """Name of the coefficient at a lag: `x`, or `x_lag2`."""
        return f"{self.term}_lag{lag}" if lag else self.term


class RowCounts(NamedTuple):
    """Rows used, periods they are in, and rows lost by reason, each counted once."""

    n_obs: int
    n_periods: int
    lost: dict[str, int]


def build_gmm_rows(
    panel: Panel,
    outcome: str,
    terms: Sequence[GmmTerm],
    *,
    system: bool,
    collapse: bool,
    period_effects: bool,
) -> tuple[GmmRows, RowCounts]:
    """Rows complete in every regressor by calendar, with their instruments.

    Parameters
    ----------
    terms : the outcome's own lags first.
    system : whether levels are rows beside the changes.
    collapse : one instrument a lag instead of one for each lag and period.
    period_effects : one coefficient a period, or one constant in levels.

    Raises
    ------
    SpecError : no usable row, or a column that is not numeric.
    """
    wanted = [DesignTerm(outcome)]
    wanted += [DesignTerm(term.term, lag) for term in terms for lag in term.lags]
    grids = [_grid(panel, term_values(panel, term)) for term in wanted]
    present = np.zeros((panel.n_units, panel.n_periods), dtype=bool)
    present[panel.unit_codes, panel.period_codes] = True
    lost: dict[str, int] = {}
    level, difference = _complete(present, wanted, grids, system, period_effects, lost)
    _check_any(level if system else difference, len(panel), lost)

    used = (level if system else difference).any(axis=1)
    complete, difference = (level | _before(difference))[used], difference[used]
    level = level[used] if system else np.zeros_like(difference)
    clean = [np.where(complete, grid[used], 0) for grid in grids]
    effects = _effects(complete.shape, difference, level, period_effects=period_effects)
    instruments = _effect_instruments(difference, level, period_effects=period_effects)
    for term in terms:
        values = _grid(panel, term_values(panel, DesignTerm(term.term)))[used]
        instruments += _term_instruments(term, values, difference, level, collapse=collapse)
    rows = GmmRows(
        y=clean[0],
        x=np.stack([*clean[1:], *effects], axis=2),
        difference=difference,
        level=level,
        instruments=tuple(i for i in instruments if _serves(i, difference, level)),
        names=tuple(term.name(lag) for term in terms for lag in term.lags),
    )
    served = level if system else difference
    return rows, RowCounts(int(served.sum()), int(served.any(axis=0).sum()), lost)


def _grid(panel: Panel, values: np.ndarray) -> np.ndarray:
    """Values by row of the panel as units x periods of its calendar, NaN where there is no row."""
    grid = np.full((panel.n_units, panel.n_periods), np.nan)
    grid[panel.unit_codes, panel.period_codes] = values
    return grid


def _before(seen: np.ndarray) -> np.ndarray:
    """Rows of changes and the rows one period before them."""
    back = seen.copy()
    back[:, :-1] |= seen[:, 1:]
    return back


def _complete(
    present: np.ndarray,
    wanted: Sequence[DesignTerm],
    grids: Sequence[np.ndarray],
    system: bool,
    period_effects: bool,
    lost: dict[str, int],
) -> tuple[np.ndarray, np.ndarray]:
    """Which levels and which changes are rows; counts by reason the rows that are neither."""
    level = present.copy()
    for term, grid in zip(wanted, grids, strict=True):
        _drop(level, ~np.isnan(grid), f"missing {term.label}", lost)
    difference = _follows(level)
    if not system:
        kept = level.copy()
        _drop(kept, difference, "no complete row one period earlier", lost)
    while period_effects:
        rows = level if system else difference
        many = rows & (rows.sum(axis=0) > 1)
        if np.array_equal(many, rows):
            break
        _drop(rows, many, "only row of its period", lost)
        if system:
            difference = _follows(level)
    return level, difference


def _follows(level: np.ndarray) -> np.ndarray:
    """Levels whose period before is a level too."""
    difference = np.zeros_like(level)
    difference[:, 1:] = level[:, 1:] & level[:, :-1]
    return difference


def _drop(keep: np.ndarray, good: np.ndarray, reason: str, lost: dict[str, int]) -> None:
    """Mark rows that are not `good` as lost to `reason`, once each."""
    gone = int((keep & ~good).sum())
    if gone:
        lost[reason] = lost.get(reason, 0) + gone
        keep &= good


def _check_any(rows: np.ndarray, rows_in: int, lost: dict[str, int]) -> None:
    if rows.any():
        return
    reasons = "; ".join(f"{count} {reason}" for reason, count in lost.items())
    raise SpecError(
        f"None of the {rows_in} rows of the panel can be used ({reasons}). Check that the columns "
        "overlap in consecutive periods, and use fewer or shorter lags."
    )


def _effects(
    shape: tuple[int, ...], difference: np.ndarray, level: np.ndarray, *, period_effects: bool
) -> list[np.ndarray]:
    """Nuisance regressors in levels: dummies; steps whose changes are dummies; or a constant."""
    period = np.arange(shape[1])
    if level.any():
        if not period_effects:
            return [np.ones(shape)]
        marks = [period == p for p in np.flatnonzero(level.any(axis=0))]
    else:
        if not period_effects:
            return []
        marks = [period >= p for p in np.flatnonzero(difference.any(axis=0))]
    return [np.broadcast_to(mark.astype(float), shape) for mark in marks]


def _effect_instruments(
    difference: np.ndarray, level: np.ndarray, *, period_effects: bool
) -> list[Instrument]:
    """The nuisance regressors instrument themselves, in levels where levels are rows."""
    equation: Equation = "level" if level.any() else "difference"
    rows, ones = (level if level.any() else difference), np.ones(difference.shape)
    if not period_effects:
        return [Instrument(ones, 0, "level", EVERY)] if level.any() else []
    return [Instrument(ones, 0, equation, int(p)) for p in np.flatnonzero(rows.any(axis=0))]


def _term_instruments(
    term: GmmTerm,
    values: np.ndarray,
    difference: np.ndarray,
    level: np.ndarray,
    *,
    collapse: bool,
) -> list[Instrument]:
    """Levels for the changes, one change for the levels; or the changes of a strict term."""
    change = np.zeros(values.shape)
    change[:, 1:] = np.nan_to_num(values[:, 1:] - values[:, :-1])
    if not term.instrument_lags:
        return [Instrument(change, lag, "difference", EVERY) for lag in term.lags]
    first = term.instrument_lags[0]
    sources: list[tuple[np.ndarray, int, Equation]] = [
        (np.nan_to_num(values), lag, "difference") for lag in term.instrument_lags
    ]
    if level.any():
        sources.append((change, first - 1, "level"))
    found = []
    for source, lag, equation in sources:
        rows = level if equation == "level" else difference
        periods = [EVERY] if collapse else np.flatnonzero(rows.any(axis=0)).tolist()
        found += [Instrument(source, lag, equation, p) for p in periods if p == EVERY or p >= lag]
    return found


def _serves(instrument: Instrument, difference: np.ndarray, level: np.ndarray) -> bool:
    """Whether the instrument is anything but zero on the rows of its equation."""
    values, lag, equation, period = instrument
    rows = level if equation == "level" else difference
    if period == EVERY:
        return bool((values[:, : values.shape[1] - lag] * rows[:, lag:]).any())
    return bool((values[:, period - lag] * rows[:, period]).any())
