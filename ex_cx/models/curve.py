"""Any smooth shape: a restricted cubic spline of one exposure, its curve and its bands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pandas as pd

from ex_cx.errors import RankError, SpecError, some
from ex_cx.estimation.contrasts import (
    JointTest,
    band_quantile,
    combine,
    joint_test,
    joint_test_table,
)
from ex_cx.estimation.design import DesignTerm, term_values
from ex_cx.linkage.panel import Panel
from ex_cx.models.regress import PanelResult, fit_panel
from ex_cx.models.shape import rows_used
from ex_cx.models.spec import PanelSpec, check_lone_exposure, check_spec, refuse_instruments
from ex_cx.results import Result

__all__ = ["CurveResult", "fit_curve", "spline_basis"]

FEW_VALUES = 10
"""Below this many distinct values a spline draws curves between points that nobody has."""
NARROW = 0.25
"""Share of the range drawn below which a unit's own values tell little of the shape."""
_GRID = 101
_FINE = 401
_DRAWN = (0.01, 0.99)
_NEAR = 40


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class CurveResult(Result):
    """A restricted cubic spline of one exposure.

    Attributes
    ----------
    fit : the regression of the outcome on the spline's terms, other exposures and controls.
    exposure : the column; `terms` : names of its coefficients in `fit`, the linear one first.
    knots : shape (K,), in units of the exposure; the curve is a straight line beyond the ends.
    reference : value of the exposure with which the others are compared.
    values : the exposure on the rows used, ascending, shape (rows,).
    linearity : test that the curve is a straight line (K - 2 coefficients are zero).
    association : test that it is flat (K - 1 coefficients are zero).
    warnings : those of the fit, and of the curve.
    """

    fit: PanelResult
    exposure: str
    terms: tuple[str, ...]
    knots: np.ndarray
    reference: float
    values: np.ndarray
    linearity: JointTest
    association: JointTest
    warnings: tuple[str, ...]

    def tidy(self, conf_level: float = 0.95) -> pd.DataFrame:
        """One row per term of the regression; single terms of a spline mean little alone."""
        return self.fit.tidy(conf_level)

    def glance(self) -> pd.DataFrame:
        """One row: the fit's, then exposure, knots, reference, distinct values and both tests."""
        return self.fit.glance().assign(
            warnings="; ".join(self.warnings),
            exposure=self.exposure,
            knots=", ".join(f"{knot:.6g}" for knot in self.knots),
            reference=self.reference,
            distinct_values=len(np.unique(self.values)),
            p_linearity=self.linearity.p_value,
            p_association=self.association.p_value,
        )

    def tests(self) -> pd.DataFrame:
        """Two rows: is it a straight line, and is there any association? F, clusters less one."""
        return joint_test_table(
            {"straight line": self.linearity, "no association": self.association}
        )

    def curve(
        self, at: Sequence[float] | np.ndarray | None = None, *, conf_level: float = 0.95
    ) -> pd.DataFrame:
        """Difference in the outcome between values of the exposure and the reference.

        Parameters
        ----------
        at : values of the exposure; None means 101 values from the 1st to the 99th percentile of
            the rows used (all of their range where these are equal), and the reference.

        Returns
        -------
        exposure, difference, std_error (outcome units), conf_low, conf_high (t interval, each value
        by itself), band_low, band_high (hold at all values drawn at once), n_near (rows whose
        exposure is within 1/40 of the range from the 1st to the 99th percentile), conf_level.

        Notes
        -----
        The band is that of `estimation.contrasts.band_quantile`, along the range drawn.
        """
        ends = _ends(self.values)
        points = np.append(np.linspace(*ends, _GRID), self.reference) if at is None else at
        x = np.unique(np.asarray(points, dtype=float)) if at is None else _points(points)
        frame = combine(*self._moments(), self._contrast(x), self.fit.df_t, conf_level)
        fine = np.linspace(min(ends[0], x.min()), max(ends[1], x.max()), _FINE)
        path = self._contrast(np.union1d(fine, x))
        half = band_quantile(path, self._moments()[1], self.fit.df_t, conf_level)
        width = (ends[1] - ends[0]) / _NEAR
        near = np.searchsorted(self.values, x + width, "right")
        near -= np.searchsorted(self.values, x - width, "left")
        return pd.DataFrame(
            {
                "exposure": x,
                "difference": frame["estimate"],
                "std_error": frame["std_error"],
                "conf_low": frame["conf_low"],
                "conf_high": frame["conf_high"],
                "band_low": frame["estimate"] - half * frame["std_error"],
                "band_high": frame["estimate"] + half * frame["std_error"],
                "n_near": near,
                "conf_level": conf_level,
            }
        )

    def _moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients of the spline's terms, and their covariance."""
        at = [self.fit.terms.index(term) for term in self.terms]
        return self.fit.coef[at], self.fit.vcov[np.ix_(at, at)]

    def _contrast(self, x: np.ndarray) -> np.ndarray:
        reference = spline_basis(np.array([self.reference]), self.knots)
        return spline_basis(x, self.knots) - reference

    def _headline(self) -> str:
        return (
            f"{self.fit.spec.outcome} along {self.exposure}: restricted cubic spline, "
            f"{len(self.knots)} knots, {self.fit.n_obs} rows"
        )


def fit_curve(
    panel: Panel,
    spec: PanelSpec,
    exposure: str,
    *,
    knots: int | Sequence[float] | np.ndarray = 4,
    reference: float | None = None,
) -> CurveResult:
    """Fit the outcome as a smooth curve of one exposure, all else as in the spec.

    Parameters
    ----------
    panel, spec : as for `fit_panel`; `exposure` is one of the spec's exposures and is taken
        `spec.lag` periods earlier.
    knots : how many, 3 to 7, at equally spaced percentiles of the exposure on the rows used: from
        the 10th to the 90th for 3, the 5th to the 95th for 4 to 6, the 2.5th to the 97.5th for 7;
        or their places.
    reference : value with which others are compared; None means the median of the rows used.

    Returns
    -------
    The curve, of which `.curve()` gives values and bands, `.tests()` the test of a straight line.

    Raises
    ------
    SpecError : an exposure that the spec does not name or that it also multiplies, knots that
        coincide or are out of order, too few distinct values, a reference outside the data.
    RankError, InferenceError : as `fit_panel`.

    Notes
    -----
    The terms are computed from the exposure's own values, before any effect is taken out: the
    curve is one for all units, each of which may lie higher or lower. Harrell's basis, in units of
    the exposure: `<exposure>` is the slope left of the first knot. Source: Harrell (2015),
    Regression Modeling Strategies, 2nd ed., section 2.4.5 and table 2.3; percentiles are
    interpolated linearly, for any number of rows.

    Examples
    --------
    >>> rng = np.random.default_rng(4)
    >>> rows = pd.DataFrame({"unit": np.arange(600) // 12, "period": np.arange(600) % 12})
    >>> rows["x"] = rng.uniform(0, 10, size=600)
    >>> rows["y"] = (rows["x"] - 5) ** 2 / 5 + rng.normal(size=600)
    >>> panel = Panel.from_frame(rows, unit="unit", period="period")
    >>> curve = fit_curve(panel, PanelSpec(outcome="y", exposures=("x",)), "x", reference=5)
    >>> curve.curve([0, 5, 10])["difference"].round(0).tolist()
    [5.0, 0.0, 5.0]
    >>> bool(curve.linearity.p_value < 0.001)
    True
    """
    check_spec(panel, spec)
    refuse_instruments(spec, "A curve")
    _check_exposure(panel, spec, exposure)
    source = rows_used(panel, spec)
    lagged = term_values(panel, DesignTerm(exposure, spec.lag))[source]
    values = np.sort(lagged)
    places = _knots(values, exposure, knots)
    middle = float(np.median(values)) if reference is None else float(reference)
    if not values[0] <= middle <= values[-1]:
        raise SpecError(
            f"reference={middle:g} lies outside the values of {exposure!r} on the rows used "
            f"({values[0]:g} to {values[-1]:g}). Choose one within."
        )
    wide, bent, names = _with_basis(panel, spec, exposure, places)
    try:
        fit = fit_panel(wide, bent)
    except RankError as found:
        raise RankError(
            f"A curve of {exposure!r} through {len(places)} knots is not identified: {found} "
            "Fewer knots ask less of the data."
        ) from found
    at = [fit.terms.index(name) for name in names]
    coef, vcov = fit.coef[at], fit.vcov[np.ix_(at, at)]
    linearity = joint_test(coef[1:], vcov[1:, 1:], fit.df_t)
    association = joint_test(coef, vcov, fit.df_t)
    return CurveResult(
        fit=replace(fit, spec=bent),
        exposure=exposure,
        terms=names,
        knots=places,
        reference=middle,
        values=values,
        linearity=linearity,
        association=association,
        warnings=(*fit.warnings, *_warnings(panel, spec, lagged, source, association)),
    )


def spline_basis(values: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """The terms of a restricted cubic spline: the value, and K - 2 curved ones.

    Parameters
    ----------
    values : shape (n,), NaN where missing. knots : shape (K,), ascending.

    Returns
    -------
    shape (n, K - 1), in units of the values; linear left of the first and right of the last knot.

    Notes
    -----
    Curved term j is [(x - k_j)+^3 - (x - k_K-1)+^3 (k_K - k_j) / (k_K - k_K-1) + (x - k_K)+^3
    (k_K-1 - k_j) / (k_K - k_K-1)] / (k_K - k_1)^2. Right of k_K it is written as the line that it
    is there, so that a value far out loses no digits. Source: as `fit_curve`.

    >>> spline_basis(np.array([0.0, 1.0, 4.0]), np.array([0.0, 1.0, 2.0])).tolist()
    [[0.0, 0.0], [1.0, 0.25], [4.0, 4.5]]
    """
    x = np.asarray(values, dtype=float)
    last, before = knots[-1], knots[-2]
    inside = np.minimum(x, last)
    beyond = x - inside
    columns = [x]
    for knot in knots[:-2]:
        ratio = (last - knot) / (last - before)
        bend = np.maximum(inside - knot, 0) ** 3 - ratio * np.maximum(inside - before, 0) ** 3
        slope = 3 * ((last - knot) ** 2 - ratio * (last - before) ** 2)
        columns.append((bend + slope * beyond) / (last - knots[0]) ** 2)
    return np.stack(columns, axis=1)


def _with_basis(
    panel: Panel, spec: PanelSpec, exposure: str, knots: np.ndarray
) -> tuple[Panel, PanelSpec, tuple[str, ...]]:
    """The panel with the curved terms as columns, the spec that uses them, and their names."""
    basis = spline_basis(term_values(panel, DesignTerm(exposure)), knots)
    names = [f"{exposure}_spline{j}" for j in range(2, len(knots))]
    taken = [name for name in names if name in panel.frame.columns]
    if taken:
        raise SpecError(
            f"The panel has the column {some(taken)}, whose name the spline needs. Rename it."
        )
    frame = panel.frame.assign(**{name: basis[:, j + 1] for j, name in enumerate(names)})
    exposures = [
        part for term in spec.exposures for part in ([term, *names] if term == exposure else [term])
    ]
    bent = replace(spec, exposures=tuple(exposures))
    mark = "" if not spec.lag else f"_lag{spec.lag}" if spec.lag > 0 else f"_lead{-spec.lag}"
    terms = tuple(f"{name}{mark}" for name in (exposure, *names))
    return replace(panel, frame=frame), bent, terms


def _knots(
    values: np.ndarray, exposure: str, knots: int | Sequence[float] | np.ndarray
) -> np.ndarray:
    if isinstance(knots, str) or not isinstance(knots, Sequence | np.ndarray):
        if not isinstance(knots, int | np.integer) or knots not in range(3, 8):
            raise SpecError(f"knots={knots!r} is not a whole number from 3 to 7, or their places.")
        outer = 0.1 if knots == 3 else 0.025 if knots == 7 else 0.05
        places = np.quantile(values, np.linspace(outer, 1 - outer, knots))
        advice = "Ask for fewer knots, or name their places: knots=(low, middle, high)."
    else:
        places = np.asarray(knots, dtype=float)
        if not (places.ndim == 1 and 3 <= len(places) <= 7 and np.isfinite(places).all()):
            raise SpecError(f"knots={knots!r} are not 3 to 7 finite places.")
        advice = "Name distinct places in ascending order."
    if not (np.diff(places) > 0).all():
        wrong = [
            f"{j + 1} and {j + 2} at {a:g} and {b:g}"
            for j, (a, b) in enumerate(pairwise(places))
            if not b > a
        ]
        raise SpecError(
            f"Knots of {exposure!r} do not ascend: {some(wrong)}. "
            f"The rows used have {len(np.unique(values))} distinct values. {advice}"
        )
    distinct = len(np.unique(values))
    if distinct < len(places):
        raise SpecError(
            f"{exposure!r} has {distinct} distinct values on the rows used, too few for "
            f"{len(places)} knots. Ask for fewer, or enter it as a straight line."
        )
    if not (values[0] < places[1] and places[-2] < values[-1]):
        raise SpecError(
            f"The knots {places.tolist()} do not lie among the values of {exposure!r} on the rows "
            f"used ({values[0]:g} to {values[-1]:g}). Place them within."
        )
    return places


def _check_exposure(panel: Panel, spec: PanelSpec, exposure: str) -> None:
    if spec.estimator == "fama_macbeth":
        raise SpecError(
            "estimator='fama_macbeth' is a mean of many equations, each with rows of its own, so "
            "its curve has no joint test. Use estimator='within'."
        )
    check_lone_exposure(panel, spec, exposure, "its curve is")


def _warnings(
    panel: Panel, spec: PanelSpec, values: np.ndarray, source: np.ndarray, association: JointTest
) -> list[str]:
    found = []
    distinct = len(np.unique(values))
    if distinct < FEW_VALUES:
        found.append(
            f"{distinct} distinct values of the exposure, fewer than {FEW_VALUES}: between them "
            "the curve is drawn, not seen"
        )
    low, high = _ends(np.sort(values))
    by_unit = pd.Series(values).groupby(panel.unit_codes[source])
    own = float((by_unit.max() - by_unit.min()).median() / (high - low)) if high > low else np.nan
    if spec.estimator not in ("pooled", "between") and own < NARROW:
        found.append(
            f"the median unit's own values span {100 * own:.0f} % of the range drawn: the shape is "
            "pieced together from units that each saw a part of it"
        )
    if np.isnan(association.p_value):
        found.append(
            f"{association.df_den:g} degrees of freedom cannot carry a joint test of "
            f"{association.df_num} terms: use fewer knots"
        )
    return found


def _ends(values: np.ndarray) -> tuple[float, float]:
    """The range that is drawn, of ascending values; all of it where 98 % of them are equal."""
    low, high = np.quantile(values, _DRAWN)
    if not low < high:
        low, high = values[0], values[-1]
    return float(low), float(high)


def _points(at: Sequence[float] | np.ndarray) -> np.ndarray:
    x = np.atleast_1d(np.asarray(at, dtype=float))
    if x.ndim != 1 or len(x) == 0 or not np.isfinite(x).all():
        raise SpecError("`at` must be one or more finite values of the exposure, in one row.")
    return x
