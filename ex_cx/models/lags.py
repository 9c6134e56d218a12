"""What follows a change, period by period: distributed lags and their running sum."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from ex_cx.errors import RankError, SpecError, some
from ex_cx.estimation.contrasts import JointTest, combine, joint_test, joint_test_table
from ex_cx.estimation.equation import fit_equation
from ex_cx.estimation.inference import solve_equation
from ex_cx.linkage.panel import Panel
from ex_cx.models.regress import CompressedPanel, PanelResult, compress_panel, fit_panel
from ex_cx.models.spec import (
    PanelSpec,
    check_lone_exposure,
    check_spec,
    refuse_instruments,
    term_name,
)
from ex_cx.results import Result

__all__ = ["LagResult", "fit_lags"]

COLLINEAR = 10.0
"""Condition number from which dependencies among regressors begin to matter (Belsley et al.)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class LagResult(Result):
    """One exposure at several lags.

    Attributes
    ----------
    fit : the regression of the outcome on all lags and leads, other exposures and controls.
    exposure : the column. lags : periods by which it precedes the outcome, ascending; leads are
        negative. terms : names of their coefficients in `fit`.
    lag_test : joint test that no lag (0 and later) is associated with the outcome.
    lead_test : the same of the leads, which a cause that precedes its effect leaves at zero; None
        without leads.
    condition_number : of the lags and leads, net of the effects and of all other terms, each
        scaled to unit length.
    rows_without_lags : rows that the spec would use with the exposure in the outcome's period
        alone, and that have no value at one of the lags.
    lengths : frame of the equations that end earlier, all on the rows of the longest.
    warnings : those of the fit, and of the lags.
    """

    fit: PanelResult
    exposure: str
    lags: tuple[int, ...]
    terms: tuple[str, ...]
    lag_test: JointTest
    lead_test: JointTest | None
    condition_number: float
    rows_without_lags: int
    lengths: pd.DataFrame
    warnings: tuple[str, ...]

    def tidy(self, conf_level: float = 0.95) -> pd.DataFrame:
        """One row per term: the lags, in outcome units per unit of the exposure, then the rest."""
        return self.fit.tidy(conf_level)

    def cumulative(self, *, conf_level: float = 0.95) -> pd.DataFrame:
        """Running sums of the lags: what goes with one unit more, held from then on.

        Returns
        -------
        lag, estimate, std_error, statistic, p_value, conf_low, conf_high, conf_level; one row per
        lag, leads left out. The last row is the long run, as far as the lags reach.
        """
        at = [self.fit.terms.index(t) for t in self.terms]
        lags = np.array([lag for lag in self.lags if lag >= 0])
        later = np.array(self.lags)
        contrast = ((later >= 0) & (later <= lags[:, None])).astype(float)
        coef, vcov = self.fit.coef[at], self.fit.vcov[np.ix_(at, at)]
        frame = combine(coef, vcov, contrast, self.fit.df_t, conf_level)
        frame.insert(0, "lag", lags)
        return frame

    def by_lag(self, *, conf_level: float = 0.95) -> pd.DataFrame:
        """The lags and leads alone: lag (negative: lead), then the tidy columns."""
        tidy = self.tidy(conf_level).set_index("term").loc[list(self.terms)].reset_index()
        tidy.insert(0, "lag", self.lags)
        return tidy

    def tests(self) -> pd.DataFrame:
        """Joint tests: no lag matters; no lead does. F, denominator as the fit's t."""
        return joint_test_table({"no lag": self.lag_test, "no lead": self.lead_test})

    def glance(self) -> pd.DataFrame:
        """One row: the fit's, then exposure, lags, long-run sum, rows lost to lags, both tests."""
        total = self.cumulative().iloc[-1]
        return self.fit.glance().assign(
            warnings="; ".join(self.warnings),
            exposure=self.exposure,
            lags=", ".join(map(str, self.lags)),
            long_run=total["estimate"],
            long_run_std_error=total["std_error"],
            rows_without_lags=self.rows_without_lags,
            p_lags=self.lag_test.p_value,
            p_leads=np.nan if self.lead_test is None else self.lead_test.p_value,
            lags_condition_number=self.condition_number,
        )

    def _headline(self) -> str:
        return (
            f"{self.fit.spec.outcome} on {self.exposure} at lags {', '.join(map(str, self.lags))}: "
            f"{self.fit.n_obs} rows"
        )


def fit_lags(
    panel: Panel, spec: PanelSpec, exposure: str, *, lags: Iterable[int] = range(4)
) -> LagResult:
    """Fit one exposure at several lags at once, all else as in the spec.

    Parameters
    ----------
    panel, spec : as for `fit_panel`; `exposure` is one of the spec's exposures. The spec's own lag
        must be 0, since the lags are named here; give other exposures a lag by `Panel.with_lag`.
    lags : periods by which the exposure precedes the outcome, by calendar. Negative ones are
        leads: a placebo, since what comes later should not be associated with what came before.

    Returns
    -------
    One term per lag (`x`, `x_lag1`, ..., `x_lead1`); `.cumulative()` gives running sums,
    `.lengths` what shorter choices of lags would say on the same rows.

    Raises
    ------
    SpecError : an exposure that the spec does not name, no lag of 0 or more, lags named twice, an
        exposure that also enters as a product or power, a spec with a lag of its own.
    RankError, InferenceError : as `fit_panel`.

    Notes
    -----
    Rows need every lag, so long lags cost the first periods of each unit. Errors of the sums come
    from the joint covariance of the lags. `lengths` holds, for each longest lag (leads always
    included), the sum of the lags and BIC = n log(RSS / n) + k log n, k regressors; the effects
    are the same for all. Source: Stock and Watson (2020), Introduction to Econometrics, 4th ed.,
    ch. 16; for the condition number Belsley, Kuh and Welsch (1980), Regression Diagnostics, ch. 3.

    Examples
    --------
    >>> rng = np.random.default_rng(4)
    >>> rows = pd.DataFrame({"unit": np.arange(800) // 20, "period": np.arange(800) % 20})
    >>> rows["x"] = rng.normal(size=800)
    >>> before = rows.groupby("unit")["x"].shift(1).fillna(0)
    >>> rows["y"] = rows["x"] + 2 * before + 0.1 * rng.normal(size=800)
    >>> panel = Panel.from_frame(rows, unit="unit", period="period")
    >>> result = fit_lags(panel, PanelSpec(outcome="y", exposures=("x",)), "x", lags=range(3))
    >>> result.cumulative()["estimate"].round(1).tolist()
    [1.0, 3.0, 3.0]
    """
    check_spec(panel, spec)
    refuse_instruments(spec, "A fit of lags")
    chosen = _lags(lags)
    _check_exposure(panel, spec, exposure)
    wide, longer, terms = _with_lags(panel, spec, exposure, chosen)
    try:
        fit = fit_panel(wide, longer)
    except RankError as found:
        raise RankError(
            f"{exposure!r} at lags {', '.join(map(str, chosen))} is not identified: {found} "
            "Fewer lags ask less of the data."
        ) from found
    at = {lag: fit.terms.index(term) for lag, term in zip(chosen, terms, strict=True)}
    compressed = compress_panel(wide, longer)
    condition = _condition(compressed, list(at.values()))
    after = joint_test(*_part(fit, [j for lag, j in at.items() if lag >= 0]), fit.df_t)
    leads = [j for lag, j in at.items() if lag < 0]
    lead_test = joint_test(*_part(fit, leads), fit.df_t) if leads else None
    return LagResult(
        fit=fit,
        exposure=exposure,
        lags=chosen,
        terms=terms,
        lag_test=after,
        lead_test=lead_test,
        condition_number=condition,
        rows_without_lags=compress_panel(panel, spec).design.n_obs - fit.n_obs,
        lengths=_lengths(compressed, at),
        warnings=(*fit.warnings, *_warnings(chosen, condition, after)),
    )


def _lags(lags: Iterable[int]) -> tuple[int, ...]:
    if not isinstance(lags, Iterable):
        raise SpecError(f"lags={lags!r} is no row of lags: write range(4) for 0 to 3, or (0, 3).")
    named = list(lags)
    wrong = [lag for lag in named if not isinstance(lag, int | np.integer)]
    if wrong:
        raise SpecError(f"Lags are whole numbers of periods; {some(wrong)} are not.")
    twice = sorted({lag for lag in named if named.count(lag) > 1})
    if twice:
        raise SpecError(f"Lags {some(twice)} are named more than once. Name each once.")
    if not any(lag >= 0 for lag in named):
        raise SpecError(
            f"lags={tuple(named)} hold no lag of 0 or more, so there is nothing to add up. "
            "Negative lags are leads; name at least one that is not."
        )
    return tuple(sorted(int(lag) for lag in named))


def _check_exposure(panel: Panel, spec: PanelSpec, exposure: str) -> None:
    if spec.estimator in ("fama_macbeth", "between"):
        raise SpecError(
            f"estimator={spec.estimator!r} does not follow units over time, so it has no lags to "
            "tell apart. Use estimator='within'."
        )
    check_lone_exposure(panel, spec, exposure, "its lags are")
    if spec.lag:
        raise SpecError(
            f"The spec has lag={spec.lag} beside the lags named here. Set it to 0; give other "
            "exposures their lag by `panel.with_lag`."
        )


def _with_lags(
    panel: Panel, spec: PanelSpec, exposure: str, lags: tuple[int, ...]
) -> tuple[Panel, PanelSpec, tuple[str, ...]]:
    """The panel with the lagged columns, the spec that uses them, and their names."""
    wide, names = panel, []
    for lag in lags:
        name = term_name(exposure, replace(spec, lag=lag))
        wide = wide.with_lag(exposure, lag) if lag else wide
        names.append(name)
        if lag and name in panel.frame.columns:
            ours, theirs = (p.frame[name].to_numpy(float, na_value=np.nan) for p in (wide, panel))
            if not np.array_equal(ours, theirs, equal_nan=True):
                raise SpecError(
                    f"The panel's column {name!r} is not {exposure!r} {abs(lag)} periods away by "
                    "the calendar, as made by `panel.with_lag`. Rename or drop it."
                )
    exposures = [
        part for term in spec.exposures for part in (names if term == exposure else [term])
    ]
    return wide, replace(spec, exposures=tuple(exposures)), tuple(names)


def _part(fit: PanelResult, at: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients at these positions, and their covariance."""
    return fit.coef[at], fit.vcov[np.ix_(at, at)]


def _condition(compressed: CompressedPanel, at: list[int]) -> float:
    """Condition number of the lags net of effects and all other terms, scaled to unit length."""
    lags = [j + 1 for j in at]
    others = [j for j in compressed.regressors if j not in lags]
    total = compressed.moments.total
    cross = total[np.ix_(lags, lags)]
    if others:
        cross = cross - np.array(
            [solve_equation(total, j, others) @ total[np.ix_(others, lags)] for j in lags]
        )
    scale = np.sqrt(np.diag(cross))
    values = np.linalg.eigvalsh(cross / np.outer(scale, scale))
    return float(np.sqrt(values[-1] / max(values[0], np.finfo(float).tiny)))


def _lengths(compressed: CompressedPanel, at: dict[int, int]) -> pd.DataFrame:
    """The sum of the lags and BIC for each longest lag, on the rows of the longest of all."""
    rows = []
    names = [*compressed.terms, *compressed.nuisance]
    n = compressed.design.n_obs
    for longest in (lag for lag in at if lag >= 0):
        later = {j + 1 for lag, j in at.items() if lag > longest}
        kept = [j for j in compressed.regressors if j not in later]
        labels = [names[j - 1] for j in kept]
        equation = fit_equation(compressed.moments, 0, kept, labels, compressed.absorbed)
        sums = [kept.index(j + 1) for lag, j in at.items() if 0 <= lag <= longest]
        rss = equation.rss
        rows.append(
            {
                "longest_lag": longest,
                "long_run": float(equation.coef[sums].sum()),
                "n_obs": n,
                "rss": rss,
                "bic": float(n * np.log(rss / n) + len(kept) * np.log(n)),
            }
        )
    return pd.DataFrame(rows)


def _warnings(lags: tuple[int, ...], condition: float, test: JointTest) -> list[str]:
    found = []
    after = [lag for lag in lags if lag >= 0]
    gaps = sorted(set(range(after[-1] + 1)) - set(after))
    if gaps:
        one = len(gaps) == 1
        found.append(
            f"lag{'' if one else 's'} {', '.join(map(str, gaps))} {'is' if one else 'are'} left "
            f"out: the sums take {'it' if one else 'them'} to be zero, and the lags named carry "
            "part of what is left out"
        )
    if condition > COLLINEAR:
        found.append(
            f"the lags move together (condition number {condition:.1f}, above {COLLINEAR:g}): "
            "their sum is told better than any single one"
        )
    if np.isnan(test.p_value):
        found.append(
            f"{test.df_den:g} degrees of freedom cannot carry a joint test of {test.df_num} lags: "
            "use fewer"
        )
    return found
