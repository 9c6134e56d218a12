"""Linear GMM on a panel in first differences, or in differences and levels together.

Levels are laid out as units x periods. Every moment condition is Z'M u, with u the errors in levels
and M the stacked differencing and identity matrices, so that all products below are those of the
instruments carried back to the levels, V = M'Z, with levels: Z'X = V'x and Z'HZ = V'V for H = MM'.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from ex_cx.errors import InferenceError, RankError
from ex_cx.estimation.inference import check_rank

__all__ = ["FirstStep", "GmmFit", "GmmRows", "Instrument", "fit_gmm"]

FirstStep = Literal["differenced", "identity"]
EVERY = -1
"""The period of an instrument that serves all rows in one column (collapsed)."""
DEPENDENT = 1e-11
"""Share of an instrument that must survive the others, and of a moment's variance likewise."""
BLOCK = 1 << 22
"""Most numbers of instruments laid out at a time."""


class Instrument(NamedTuple):
    """One column of instruments: `values` taken `lag` periods before the row it serves.

    `values` has shape (units, periods), zero where missing; `equation` is the rows it serves;
    `period` the one period among them, or -1 for all.
    """

    values: np.ndarray
    lag: int
    equation: Literal["difference", "level"]
    period: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GmmRows:
    """What GMM is computed from; N units, T periods of the calendar, K regressors.

    Attributes
    ----------
    y : shape (N, T), outcome in levels, zero where its row is incomplete.
    x : shape (N, T, K), regressors in levels, the terms first; zero where incomplete.
    difference : shape (N, T), whether the change from the period before is a row.
    level : shape (N, T), whether the level is a row; all false for GMM in differences alone.
    instruments : the columns, of which earlier ones are kept when some are dependent.
    names : of the terms, the first of the K regressors; the others are period effects.
    """

    y: np.ndarray
    x: np.ndarray
    difference: np.ndarray
    level: np.ndarray
    instruments: tuple[Instrument, ...]
    names: tuple[str, ...]


class GmmFit(NamedTuple):
    """Estimates of K coefficients and the tests of their moment conditions.

    `hansen` and `sargan` are chi-squared on `df` degrees of freedom under valid instruments, `ar`
    the normal statistics of serial correlation of order 1 and 2 in the differenced residuals; NaN
    where one cannot be computed. `n_dependent` instruments were combinations of others.
    """

    coef: np.ndarray
    vcov: np.ndarray
    sargan: float
    hansen: float
    df: int
    ar: tuple[float, float]
    n_instruments: int
    n_dependent: int
    condition_number: float


class _Step(NamedTuple):
    """One step: weights A, bread (P'AP)^-1, coefficients, residuals in levels, unit scores."""

    weights: np.ndarray
    bread: np.ndarray
    coef: np.ndarray
    residuals: np.ndarray
    scores: np.ndarray


def fit_gmm(
    rows: GmmRows, *, steps: Literal[1, 2], corrected: bool, first_step: FirstStep
) -> GmmFit:
    """One- or two-step GMM with errors clustered by unit.

    Parameters
    ----------
    steps : 1 takes the weights (Z'HZ)^-1; 2 the inverse of the unit scores' cross-products.
    corrected : whether two-step errors carry Windmeijer's correction; one-step errors are robust.
    first_step : H is MM', for which plain errors would be independent with one variance
        (xtabond2's h(3), plm's 'full'), or the identity (h(1), as in Blundell and Bond 1998).

    Raises
    ------
    RankError : a coefficient that the instruments do not identify.
    InferenceError : two-step weights that do not exist: more instruments than units, or dependent
        moments.

    Notes
    -----
    No small-sample factor. The AR statistic takes the covariance that is reported.
    Source: Arellano and Bond (1991), Rev. Econ. Studies 58(2), 277-297; Windmeijer (2005),
    J. Econometrics 126(1), 25-51; Roodman (2009), Stata Journal 9(1), 86-136.
    """
    zx, zy, zhz = _products(rows, first_step)
    kept = _independent(zhz if first_step == "differenced" else _products(rows, "differenced")[2])
    n_dependent = len(rows.instruments) - len(kept)
    if n_dependent:
        rows = replace(rows, instruments=tuple(rows.instruments[j] for j in kept))
        zx, zy, zhz = zx[kept], zy[kept], zhz[np.ix_(kept, kept)]
    condition_number = _check_identified(rows, zx, zhz)
    one = _step(rows, zx, zy, _inverse(zhz))
    spread = one.scores.T @ one.scores
    reason = _why_no_second_step(rows, spread)
    if reason and steps == 2:
        raise InferenceError(reason)
    two = None if reason else _step(rows, zx, zy, _inverse(spread))
    robust = one.bread @ zx.T @ one.weights @ spread @ one.weights @ zx @ one.bread
    final, vcov = one, robust
    if two is not None and steps == 2:
        final = two
        vcov = _windmeijer(rows, zx, one, two, robust) if corrected else two.bread
    return GmmFit(
        coef=final.coef,
        vcov=vcov,
        sargan=_sargan(rows, one) if first_step == "differenced" else np.nan,
        hansen=np.nan if two is None else _criterion(two),
        df=len(kept) - zx.shape[1],
        ar=(_serial(rows, zx, final, vcov, 1), _serial(rows, zx, final, vcov, 2)),
        n_instruments=len(kept),
        n_dependent=n_dependent,
        condition_number=condition_number,
    )


def _blocks(rows: GmmRows) -> Iterator[tuple[slice, np.ndarray]]:
    """Parts of the units with their instruments by row of either equation, (part, T, L)."""
    n, t = rows.y.shape
    width = max(len(rows.instruments), 1)
    size = max(BLOCK // (t * width), 1)
    masks = {"difference": rows.difference, "level": rows.level}
    for start in range(0, n, size):
        part = slice(start, min(start + size, n))
        z = np.zeros((part.stop - start, t, width))
        for j, (values, lag, equation, period) in enumerate(rows.instruments):
            if period == EVERY:
                z[:, lag:, j] = values[part, : t - lag] * masks[equation][part, lag:]
            else:
                z[:, period, j] = values[part, period - lag] * masks[equation][part, period]
        yield part, z


def _to_levels(rows: GmmRows, z: np.ndarray) -> np.ndarray:
    """Instruments carried back to the levels, M'Z: a difference takes from the period before."""
    moved = np.array([i.equation == "difference" for i in rows.instruments])
    back = z.copy()
    back[:, :-1] -= z[:, 1:] * moved
    return back


def _products(rows: GmmRows, first_step: FirstStep) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Z'X (L, K), Z'y (L,) and Z'HZ (L, L)."""
    width, k = len(rows.instruments), rows.x.shape[2]
    zx, zy, zhz = np.zeros((width, k)), np.zeros(width), np.zeros((width, width))
    for part, z in _blocks(rows):
        v = _to_levels(rows, z).reshape(-1, width)
        zx += v.T @ rows.x[part].reshape(-1, k)
        zy += v.T @ rows.y[part].ravel()
        if first_step == "identity":
            # a column serves one equation, and products across equations are zero under H = I
            serves = np.array([i.equation == "level" for i in rows.instruments])
            flat = z.reshape(-1, width)
            zhz += (flat.T @ flat) * (serves[:, None] == serves)
        else:
            zhz += v.T @ v
    return zx, zy, zhz


def _independent(cross: np.ndarray) -> np.ndarray:
    """Positions of columns that are no combination of those before them."""
    size = np.diag(cross)
    live = np.flatnonzero(size > 0)
    scale = np.sqrt(size[live])
    left = cross[np.ix_(live, live)] / np.outer(scale, scale)
    if np.linalg.eigvalsh(left)[0] > len(live) * DEPENDENT:
        return live
    kept = []
    for j in range(len(live)):
        if left[j, j] > DEPENDENT:
            kept.append(j)
            left = left - np.outer(left[:, j], left[j]) / left[j, j]
    return live[kept]


def _inverse(cross: np.ndarray) -> np.ndarray:
    scale = np.sqrt(np.diag(cross))
    return np.linalg.inv(cross / np.outer(scale, scale)) / np.outer(scale, scale)


def _check_identified(rows: GmmRows, zx: np.ndarray, zhz: np.ndarray) -> float:
    """Refuse coefficients that the instruments do not identify; the terms' condition number."""
    terms, (width, k) = len(rows.names), zx.shape
    if width < k:
        raise RankError(
            f"{width} independent instruments cannot identify {k} coefficients ({terms} terms and "
            f"{k - terms} for periods). Allow more instrument lags, or name fewer terms."
        )
    size = _check_change(rows)
    cross = zx.T @ np.linalg.solve(zhz, zx)
    if k > terms:
        hidden = np.linalg.lstsq(cross[terms:, terms:], cross[terms:, :terms], rcond=None)[0]
        cross = cross[:terms, :terms] - cross[:terms, terms:] @ hidden
    moved = np.diag(cross) > DEPENDENT * size
    still = [name for name, free in zip(rows.names, moved, strict=True) if not free]
    if still:
        raise RankError(
            f"No instrument moves {still[0]!r} once period effects are taken out, so its "
            "coefficient is not identified. Allow more instrument lags, or drop it."
        )
    return check_rank(cross, np.diag(cross), list(rows.names), ("unit", "period"))


def _check_change(rows: GmmRows) -> np.ndarray:
    """Squared changes of the terms; refuses those that do not change within units on their own."""
    change = _change(rows.x[:, :, : len(rows.names)], rows.difference)
    periods = rows.x.shape[2] - len(rows.names) > 1
    mean = change.sum(axis=0) / np.maximum(rows.difference.sum(axis=0), 1)[:, None]
    apart = ((change - mean) * rows.difference[:, :, None]) ** 2
    size = (change**2).sum(axis=(0, 1))
    for name, total, own in zip(rows.names, size, apart.sum(axis=(0, 1)), strict=True):
        if not total > 0:
            raise RankError(
                f"{name!r} does not change within any unit, so it cannot be told from the unit "
                "effects. Drop it from the spec, or use fit_panel with estimator='pooled'."
            )
        if periods and own <= DEPENDENT * total:
            raise RankError(
                f"{name!r} changes by the same amount in every unit, so it cannot be told from the "
                "period effects. Drop it from the spec, or set period_effects=False."
            )
    return size


def _step(rows: GmmRows, zx: np.ndarray, zy: np.ndarray, weights: np.ndarray) -> _Step:
    bread = _inverse(zx.T @ weights @ zx)
    coef = bread @ (zx.T @ (weights @ zy))
    residuals = rows.y - rows.x @ coef
    width = len(rows.instruments)
    scores = np.empty((len(rows.y), width))
    for part, z in _blocks(rows):
        scores[part] = np.einsum("itl,it->il", _to_levels(rows, z), residuals[part])
    return _Step(weights, bread, coef, residuals, scores)


def _why_no_second_step(rows: GmmRows, spread: np.ndarray) -> str:
    n, width = len(rows.y), len(spread)
    remedy = "Limit instrument lags, set collapse=True or period_effects=False, or report steps=1."
    if width > n:
        return (
            f"{width} instruments and {n} units: two-step weights need at least as many units as "
            f"instruments. {remedy}"
        )
    size = np.diag(spread)
    if size.min() > 0:
        scale = np.sqrt(size)
        if np.linalg.eigvalsh(spread / np.outer(scale, scale))[0] > DEPENDENT:
            return ""
    return (
        f"The moments of {width} instruments are dependent across {n} units, so two-step weights "
        f"do not exist: some instruments serve too few units. {remedy}"
    )


def _windmeijer(
    rows: GmmRows, zx: np.ndarray, one: _Step, two: _Step, robust: np.ndarray
) -> np.ndarray:
    """Two-step covariance with the variance that comes from estimated weights.

    The weights' inverse has derivative -sum(Z'x_k u'Z + Z'u x_k'Z) in coefficient k.
    """
    direction = two.weights @ two.scores.sum(axis=0)
    along = one.scores @ direction
    width, k = zx.shape
    turned = np.zeros((width, k))
    for part, z in _blocks(rows):
        v, x = _to_levels(rows, z), rows.x[part]
        weighted = (along[part, None, None] * x).reshape(-1, k)
        turned += v.reshape(-1, width).T @ weighted
        turned += one.scores[part].T @ np.einsum("itk,it->ik", x, v @ direction)
    d = two.bread @ zx.T @ two.weights @ turned
    return two.bread + d @ two.bread + two.bread @ d.T + d @ robust @ d.T


def _criterion(step: _Step) -> float:
    total = step.scores.sum(axis=0)
    return float(total @ step.weights @ total)


def _sargan(rows: GmmRows, one: _Step) -> float:
    """The one-step criterion over the error variance, half that of the changes on n - K.

    In levels, residuals hold the unit effects, so that with level rows it has no known law: NaN.
    """
    n, k = int(rows.difference.sum()), rows.x.shape[2]
    if rows.level.any() or n <= k:
        return np.nan
    change = _change(one.residuals[:, :, None], rows.difference)
    return _criterion(one) / (float((change**2).sum()) / (n - k) / 2)


def _change(levels: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Change of each column (N, T, c) from the period before, zero where it is not a row."""
    change = np.zeros(levels.shape)
    change[:, 1:] = levels[:, 1:] - levels[:, :-1]
    return change * seen[:, :, None]


def _serial(rows: GmmRows, zx: np.ndarray, step: _Step, vcov: np.ndarray, order: int) -> float:
    """Arellano and Bond's m statistic of the given order; NaN where no pair of rows is apart so."""
    change = _change(step.residuals[:, :, None], rows.difference)[:, :, 0]
    earlier = np.zeros(change.shape)
    earlier[:, order:] = change[:, : change.shape[1] - order] * rows.difference[:, order:]
    own = (change * earlier).sum(axis=1)
    slope = np.einsum("it,itk->k", earlier, _change(rows.x, rows.difference))
    cross = slope @ step.bread @ zx.T @ step.weights @ (step.scores.T @ own)
    variance = float(own @ own - 2 * cross + slope @ vcov @ slope)
    return float(own.sum() / np.sqrt(variance)) if variance > 0 else np.nan
