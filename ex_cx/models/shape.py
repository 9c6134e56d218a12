"""Is it a straight line? Turning points of quadratics, and slopes that depend on a moderator."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from ex_cx.errors import InferenceError, SpecError, nearest
from ex_cx.estimation.design import DesignTerm, term_values
from ex_cx.estimation.inference import check_level, t_interval, t_p_values
from ex_cx.linkage.panel import Panel
from ex_cx.models.regress import PanelResult, PanelSpec, compress_panel
from ex_cx.models.spec import term_name

__all__ = ["TurningPoint", "rows_used", "slope_regions", "slopes_over", "turning_point"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TurningPoint:
    """Where a quadratic turns, and whether the data show that it does.

    Attributes
    ----------
    term, point : the exposure, and the value of it at which the slope is zero.
    conf_low, conf_high : Fieller interval of the point; infinite ends where it is unbounded.
    kind : `u` or `inverse u`.
    low, high : ends of the exposure's range on the rows used.
    slope_low, slope_high : slopes at these ends.
    p_value : of no U shape (Lind and Mehlum): the larger of the one-sided p-values of the two
        slopes; 1 where they do not have the signs of a U.
    conf_level : level of the interval.
    """

    term: str
    point: float
    conf_low: float
    conf_high: float
    kind: str
    low: float
    high: float
    slope_low: float
    slope_high: float
    p_value: float
    conf_level: float


def turning_point(
    panel: Panel, result: PanelResult, exposure: str, *, conf_level: float = 0.95
) -> TurningPoint:
    """Test a quadratic for a turning point inside the range of the data.

    Parameters
    ----------
    panel : the rows that `result` was fitted to.
    result : from `fit_panel` with both `exposure` and `exposure^2` among its terms.
    exposure : the column, without the lag that the spec gives it.

    Raises
    ------
    SpecError : a term that the result does not have.

    Notes
    -----
    A significant square alone does not show a U: its slope must be of opposite signs at both ends
    of the data. Source: Lind and Mehlum (2010), Oxford Bulletin of Economics and Statistics 72(1),
    109-118; Fieller (1954), JRSS B 16(2), 175-185, for the interval.
    """
    check_level(conf_level)
    first, second = (_position(result, name) for name in (exposure, f"{exposure}^2"))
    spec = result.spec
    term = DesignTerm(exposure, spec.lag if exposure in spec.exposures else 0)
    values = term_values(panel, term)[rows_used(panel, spec)]
    low, high = float(values.min()), float(values.max())
    slopes = [_slope(result, first, second, 2 * end) for end in (low, high)]
    linear, square = result.coef[first], result.coef[second]
    sign = 1.0 if square > 0 else -1.0
    tails = [
        float(t_p_values(np.array([slope / error]), result.df_t)[0]) / 2
        if slope * direction > 0
        else 1.0
        for (slope, error), direction in zip(slopes, (-sign, sign), strict=True)
    ]
    ends = _fieller(result, exposure, float(-linear / (2 * square)), conf_level)
    return TurningPoint(
        term=exposure,
        point=float(-linear / (2 * square)),
        conf_low=ends[0],
        conf_high=ends[1],
        kind="u" if square > 0 else "inverse u",
        low=low,
        high=high,
        slope_low=slopes[0][0],
        slope_high=slopes[1][0],
        p_value=max(tails),
        conf_level=conf_level,
    )


def slopes_over(
    result: PanelResult,
    exposure: str,
    moderator: str,
    values: np.ndarray,
    *,
    conf_level: float = 0.95,
) -> pd.DataFrame:
    """The exposure's slope at values of a moderator with which it is multiplied.

    Parameters
    ----------
    result : from `fit_panel` with `exposure` and `exposure:moderator` (or the product the other
        way round) among its terms; for a quadratic, name the exposure itself as moderator.
    values : shape (m,), of the moderator.

    Returns
    -------
    The tidy columns, then moderator and value; one row per value.

    Raises
    ------
    SpecError : a term that the result does not have, or values that are not finite numbers.
    """
    at = _finite(values)
    first, second, factor = _moderated(result, exposure, moderator)
    slopes = np.array([_slope(result, first, second, factor * value) for value in at])
    low, high = t_interval(slopes[:, 0], slopes[:, 1], result.df_t, conf_level)
    statistic = slopes[:, 0] / slopes[:, 1]
    return pd.DataFrame(
        {
            "term": exposure,
            "estimate": slopes[:, 0],
            "std_error": slopes[:, 1],
            "statistic": statistic,
            "p_value": t_p_values(statistic, result.df_t),
            "conf_low": low,
            "conf_high": high,
            "conf_level": conf_level,
            "moderator": moderator,
            "value": at,
        }
    )


def slope_regions(
    result: PanelResult, exposure: str, moderator: str, *, conf_level: float = 0.95
) -> tuple[float, ...]:
    """Values of the moderator at which the interval of the slope begins or ceases to hold zero.

    Returns
    -------
    Two values, in order, or none where the slope is clear everywhere or nowhere.

    Notes
    -----
    Source: Johnson and Neyman (1936), Statistical Research Memoirs 1, 57-93.
    """
    from scipy.special import stdtrit

    check_level(conf_level)
    first, second, factor = _moderated(result, exposure, moderator)
    square = stdtrit(result.df_t, (1 + conf_level) / 2) ** 2
    b, v = result.coef, result.vcov
    a2 = b[second] ** 2 - square * v[second, second]
    a1 = 2 * (b[first] * b[second] - square * v[first, second])
    a0 = b[first] ** 2 - square * v[first, first]
    inside = a1**2 - 4 * a2 * a0
    if a2 == 0 or inside <= 0:
        return ()
    ends = np.sort((-a1 + np.array([-1, 1]) * np.sqrt(inside)) / (2 * a2))
    return tuple(float(end) / factor for end in ends)


def _finite(values: np.ndarray) -> np.ndarray:
    """Values of a moderator, shape (m,)."""
    try:
        at = np.asarray(values, dtype=float)
    except (TypeError, ValueError):
        at = np.empty(0)
    if at.ndim != 1 or not len(at) or not np.isfinite(at).all():
        raise SpecError(
            f"values={values!r} must be one or more finite values of the moderator, in one row."
        )
    return at


def _fieller(
    result: PanelResult, exposure: str, point: float, conf_level: float
) -> tuple[float, float]:
    """Values at which the slope's interval ends hold zero, if they bound the turning point."""
    ends = slope_regions(result, exposure, exposure, conf_level=conf_level)
    if len(ends) == 2 and ends[0] < point < ends[1]:
        return ends[0], ends[1]
    return -np.inf, np.inf


def _moderated(result: PanelResult, exposure: str, moderator: str) -> tuple[int, int, float]:
    """Positions of the exposure and of its product, and what multiplies the latter's slope."""
    first = _position(result, exposure)
    if moderator == exposure:
        return first, _position(result, f"{exposure}^2"), 2.0
    product = f"{exposure}:{moderator}"
    turned = f"{moderator}:{exposure}"
    if turned in (*result.spec.exposures, *result.spec.controls):
        product = turned
    return first, _position(result, product), 1.0


def _slope(result: PanelResult, first: int, second: int, factor: float) -> tuple[float, float]:
    """b1 + factor b2 and its standard error."""
    v = result.vcov
    variance = v[first, first] + 2 * factor * v[first, second] + factor**2 * v[second, second]
    if not variance > 0:
        raise InferenceError(
            f"The slope of {result.terms[first]!r} has no positive variance, so it has no "
            "interval. Use more clusters, or other errors."
        )
    slope = result.coef[first] + factor * result.coef[second]
    return float(slope), float(np.sqrt(variance))


def _position(result: PanelResult, term: str) -> int:
    """Of a term's coefficient, whichever lag the spec gives it."""
    named = term_name(term, result.spec)
    if named not in result.terms:
        raise SpecError(
            f"There is no coefficient {named!r} among {', '.join(result.terms)}."
            f"{nearest(named, result.terms)} Add it to the spec's exposures or controls."
        )
    return result.terms.index(named)


def rows_used(panel: Panel, spec: PanelSpec) -> np.ndarray:
    """Rows of the panel behind an estimate, shape (n,), whatever the estimator makes of them.

    Estimators that average or demean rows (between, random) use those of `pooled`; for
    first differences it is the later row of each pair.
    """
    if spec.estimator not in ("within", "first_difference"):
        spec = replace(spec, estimator="pooled")
    return compress_panel(panel, spec).design.source
