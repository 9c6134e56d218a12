"""Estimates of several segments pooled into one, with how much they differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from ex_cx.errors import InferenceError, SpecError, some
from ex_cx.results import TIDY, Result

__all__ = ["PooledResult", "pool_estimates"]

Method = Literal["reml", "paule_mandel", "common"]

_METHODS = ("reml", "paule_mandel", "common")
_ALIKE = ("model", "outcome", "exposure", "term", "conf_level")
_SHARED = (
    "segments of one panel share its periods, so that their estimates are not fully independent: "
    "the interval may be too short"
)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class PooledResult(Result):
    """Estimates pooled by the inverse of their variances.

    Attributes
    ----------
    labels : what was pooled, in the order given. method : see `pool_estimates`.
    estimate : in the unit of the estimates.
    std_error : Hartung and Knapp's; the conventional one for `common`.
    plain_error : the conventional standard error, from the sum of the weights.
    tau : standard deviation of the true effects between segments; 0 for `common`.
    i2 : share of the estimates' variance that is not sampling error, in percent.
    q, q_p : Cochran's Q and its p (chi-squared, k - 1): are the effects alike?
    """

    labels: tuple[str, ...]
    method: Method
    estimate: float
    std_error: float
    plain_error: float
    tau: float
    i2: float
    q: float
    q_p: float

    @property
    def k(self) -> int:
        """Number of estimates."""
        return len(self.labels)

    def tidy(self, conf_level: float = 0.95) -> pd.DataFrame:
        """Rows pooled and prediction; the latter has no interval below 3 or for `common`."""
        from scipy import stats

        if not 0 < conf_level < 1:
            raise InferenceError(f"conf_level={conf_level} is not a share between 0 and 1.")
        common = self.method == "common"
        law = stats.norm() if common else stats.t(self.k - 1)
        tail = (1 + conf_level) / 2
        statistic = self.estimate / self.std_error
        half = law.ppf(tail) * self.std_error
        predicted = np.nan
        if self.k >= 3 and not common:
            predicted = stats.t(self.k - 2).ppf(tail) * np.hypot(self.tau, self.plain_error)
        p = 2 * law.sf(abs(statistic))
        rows = [
            ("pooled", self.estimate, self.std_error, statistic, p, half),
            ("prediction", self.estimate, np.nan, np.nan, np.nan, predicted),
        ]
        return pd.DataFrame(
            [(*row, at - wide, at + wide, conf_level) for *row, wide in rows for at in row[1:2]],
            columns=list(TIDY),
        )

    def glance(self) -> pd.DataFrame:
        """One row: k, tau, I2 in percent, Q and its p, conventions, warnings."""
        common = self.method == "common"
        return pd.DataFrame(
            [
                {
                    "k": self.k,
                    "labels": ", ".join(self.labels),
                    "method": self.method,
                    "tau": self.tau,
                    "i2": self.i2,
                    "q": self.q,
                    "q_p": self.q_p,
                    "interval": "normal" if common else "Hartung-Knapp, t with k - 1",
                    "prediction": "none"
                    if common or self.k < 3
                    else "Higgins, Thompson and Spiegelhalter (2009), t with k - 2",
                    "warnings": _SHARED,
                }
            ]
        )

    def _headline(self) -> str:
        return f"{self.k} estimates pooled ({self.method}): {self.estimate:.4g}, tau {self.tau:.3g}"


def pool_estimates(frame: pd.DataFrame, *, method: Method = "reml") -> PooledResult:
    """Pool the estimates of several segments of the same effect.

    Parameters
    ----------
    frame : one row a segment: estimate, std_error, label. Columns model, outcome, exposure, term
        and conf_level, where there are any, hold one value each.
    method : how tau is estimated: restricted likelihood (`reml`) or Paule and Mandel's moments;
        `common` takes the segments to have one and the same effect.

    Raises
    ------
    SpecError : fewer than 2 rows, columns missing, a label twice, an estimate that is not finite, a
        standard error that is missing or not positive, rows of different effects, another method.

    Notes
    -----
    The interval is Hartung and Knapp's (2001; t with k - 1, not widened where the estimates lie
    closer than their errors say); that of `common` is normal. The prediction interval, where the
    effect of one more segment is expected, is that of Higgins, Thompson and Spiegelhalter (2009),
    Journal of the Royal Statistical Society A 172(1), 137-159: t with k - 2 and the conventional
    error. I2 is Higgins and Thompson's (2002), by tau; of `common` by Q. Segments must not hold
    the same units; that they share periods is warned of. With few segments tau is hardly known.

    Examples
    --------
    >>> frame = pd.DataFrame({"label": ["north", "south", "west"],
    ...                       "estimate": [-0.2, -0.5, -0.1], "std_error": [0.1, 0.1, 0.2]})
    >>> pool_estimates(frame).tidy()[["term", "estimate", "conf_low", "conf_high"]].round(2)
             term  estimate  conf_low  conf_high
    0      pooled      -0.3     -0.81       0.22
    1  prediction      -0.3     -2.93       2.33
    """
    _check(frame, method)
    y, v = frame["estimate"].to_numpy(float), frame["std_error"].to_numpy(float) ** 2
    scale = float(np.median(v))
    tau2 = scale * _TAU[method](y / np.sqrt(scale), v / scale)
    w = 1 / (v + tau2)
    mean, plain = float(w @ y / w.sum()), float(w.sum() ** -0.5)
    spread = float(w @ (y - mean) ** 2) / (len(y) - 1)
    q, i2 = _heterogeneity(y, v, tau2, method)
    return PooledResult(
        labels=tuple(map(str, frame["label"])),
        method=method,
        estimate=mean,
        std_error=plain if method == "common" else plain * spread**0.5,
        plain_error=plain,
        tau=tau2**0.5,
        i2=i2,
        q=q,
        q_p=_chi2_tail(q, len(y) - 1),
    )


def _check(frame: pd.DataFrame, method: str) -> None:
    if method not in _METHODS:
        raise SpecError(f"method={method!r} is none of {some(_METHODS)}.")
    missing = [name for name in ("label", "estimate", "std_error") if name not in frame]
    if missing:
        raise SpecError(f"The frame lacks {some(missing)}; it has {some(frame.columns, 9)}.")
    if len(frame) < 2:
        raise SpecError(
            f"{len(frame)} estimate cannot be pooled; give those of 2 segments or more."
        )
    for name in _ALIKE:
        found = frame[name].unique() if name in frame else ()
        if len(found) > 1:
            raise SpecError(
                f"The rows are of {len(found)} values of {name} ({some(found)}). Pool the "
                "estimates of one effect at a time."
            )
    twice = frame.loc[frame["label"].duplicated(), "label"].unique()
    if len(twice):
        raise SpecError(f"{some(twice)} occurs more than once; pool each segment once.")
    values, errors = frame["estimate"].to_numpy(float), frame["std_error"].to_numpy(float)
    wrong = ~(np.isfinite(values) & np.isfinite(errors) & (errors > 0))
    if wrong.any():
        raise SpecError(
            f"{wrong.sum()} of {len(frame)} rows ({some(frame.loc[wrong, 'label'])}) have no "
            "finite estimate or no positive standard error. Leave them out, and say so."
        )
    if (values == values[0]).all() and method != "common":
        raise SpecError("All estimates are equal, so that Hartung and Knapp's error is zero.")


def _heterogeneity(y: np.ndarray, v: np.ndarray, tau2: float, method: str) -> tuple[float, float]:
    """Cochran's Q, and I2 in percent."""
    w, df = 1 / v, len(y) - 1
    q = float(w @ (y - w @ y / w.sum()) ** 2)
    if method == "common":
        return q, 100 * max(q - df, 0.0) / q if q else 0.0
    typical = df * w.sum() / (w.sum() ** 2 - w @ w)
    return q, float(100 * tau2 / (tau2 + typical))


def _reml(y: np.ndarray, v: np.ndarray) -> float:
    """The variance between at the maximum of the restricted likelihood, zero included."""

    def parts(tau2: float) -> tuple[np.ndarray, np.ndarray]:
        w = 1 / (v + tau2)
        return w, (y - w @ y / w.sum()) ** 2

    def score(tau2: float) -> float:
        w, squares = parts(tau2)
        return float(w**2 @ squares - w.sum() + w @ w / w.sum())

    def likelihood(tau2: float) -> float:
        w, squares = parts(tau2)
        return float(np.log(w).sum() - np.log(w.sum()) - w @ squares)

    grid = np.r_[0, np.geomspace(1e-8 * v.min(), _above(y, v), 200)]
    signs = np.array([score(at) for at in grid])
    falls = np.flatnonzero((signs[:-1] > 0) & (signs[1:] <= 0))
    peaks = [_root(score, grid[at], grid[at + 1]) for at in falls]
    return max([0.0, *peaks] if signs[0] <= 0 else peaks, key=likelihood)


def _paule_mandel(y: np.ndarray, v: np.ndarray) -> float:
    """The variance between at which the weighted squares are what they should be, k - 1."""

    def excess(tau2: float) -> float:
        w = 1 / (v + tau2)
        return float(w @ (y - w @ y / w.sum()) ** 2) - (len(y) - 1)

    return 0.0 if excess(0.0) <= 0 else _root(excess, 0.0, _above(y, v))


def _one_effect(y: np.ndarray, v: np.ndarray) -> float:
    return 0.0


_TAU: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "reml": _reml,
    "paule_mandel": _paule_mandel,
    "common": _one_effect,
}


def _above(y: np.ndarray, v: np.ndarray) -> float:
    """A variance that exceeds any solution: more than all squares and all errors together."""
    return float(2 * (np.sum((y - y.mean()) ** 2) + v.sum()) * len(y))


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    from scipy.optimize import brentq

    return float(brentq(function, low, high, xtol=1e-15, rtol=1e-14))


def _chi2_tail(q: float, df: int) -> float:
    from scipy import stats

    return float(stats.chi2.sf(q, df))
