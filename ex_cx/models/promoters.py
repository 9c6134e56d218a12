"""Is it promoters or detractors? A net promoter score's equation split into its two shares."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from ex_cx.errors import SpecError, nearest
from ex_cx.linkage.panel import Panel
from ex_cx.models.regress import PanelResult, fit_panel
from ex_cx.models.spec import PanelSpec
from ex_cx.results import TIDY, Result

__all__ = ["PromoterResult", "split_nps"]

_AGREE = 1e-6
"""Points by which a score may differ from its shares' difference."""
_LINEAR = ("pooled", "between", "within", "first_difference", "fama_macbeth")
"""Estimators in which the equations of the shares add up to that of the score."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class PromoterResult(Result):
    """The equations of promoters, detractors and their difference, on the same rows.

    Attributes
    ----------
    spec : the request, verbatim.
    promoters, detractors, nps : regressions of the two shares and of the score, all in points.
    both : regression of promoters plus detractors in points (100 less the passives).
    """

    spec: PanelSpec
    promoters: PanelResult
    detractors: PanelResult
    nps: PanelResult
    both: PanelResult

    def tidy(self, conf_level: float = 0.95) -> pd.DataFrame:
        """Rows promoters:<x>, detractors:<x>, nps:<x> for each term, in points per unit of it."""
        parts = {"promoters": self.promoters, "detractors": self.detractors, "nps": self.nps}
        return _interleaved({name: part.tidy(conf_level) for name, part in parts.items()})

    def contributions(self, conf_level: float = 0.95) -> pd.DataFrame:
        """What each side brings to the score, and the difference, with its own interval.

        Rows by_promoters:<x> (more promoters), by_detractors:<x> (fewer detractors), which add up
        to nps:<x>, and difference:<x>, the first less the second.
        """
        fewer = self.detractors.tidy(conf_level)
        low, high = -fewer["conf_high"], -fewer["conf_low"]
        fewer = fewer.assign(
            estimate=-fewer["estimate"], statistic=-fewer["statistic"], conf_low=low, conf_high=high
        )
        return _interleaved(
            {
                "by_promoters": self.promoters.tidy(conf_level),
                "by_detractors": fewer,
                "difference": self.both.tidy(conf_level),
            }
        )

    def covariances(self) -> np.ndarray:
        """Covariance between each term's two coefficients, shape (k,), squared points per unit.

        From Var(p - d) = Var(p) + Var(d) - 2 Cov(p, d): where errors are clustered, that of the
        stacked scores of the two equations.
        """
        variances = [np.diag(part.vcov) for part in (self.promoters, self.detractors, self.nps)]
        return np.asarray((variances[0] + variances[1] - variances[2]) / 2)

    def glance(self) -> pd.DataFrame:
        """One row: counts, rows lost and why, conventions, warnings; `r2` is the score's."""
        return self.nps.glance().assign(outcome=self.spec.outcome)

    def _headline(self) -> str:
        return f"{self.spec.outcome}: promoters and detractors, {self.nps.n_obs} rows"


def split_nps(panel: Panel, spec: PanelSpec) -> PromoterResult:
    """Fit the same spec to promoters, detractors and the score, on the same rows.

    Parameters
    ----------
    panel : unit x period rows with `<outcome>_promoter_share` and `<outcome>_detractor_share`
        (0-1), as linking makes them for a net promoter score.
    spec : what to estimate; its outcome is the score.

    Returns
    -------
    Coefficients in points: promoters:<x> less detractors:<x> is nps:<x>. Rows whose shares are
    withheld (few answers) are counted, also where the score itself is shown.

    Raises
    ------
    SpecError : no such shares, shares outside 0 to 1, a score that is not their difference, or
        an estimator whose equations do not add up (random effects). Else as `fit_panel`.

    Notes
    -----
    With the same regressors, the equations estimated together are those estimated apart; only
    their joint covariance is needed. Source: Zellner (1962), JASA 57, 348-368, section 3.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> rows = pd.DataFrame({"unit": np.arange(80) // 8, "period": np.arange(80) % 8})
    >>> rows["x"] = rng.normal(size=80)
    >>> rows["nps_promoter_share"] = 0.5 + 0.01 * rows["x"] + 0.001 * rng.normal(size=80)
    >>> rows["nps_detractor_share"] = 0.2 - 0.03 * rows["x"] + 0.001 * rng.normal(size=80)
    >>> rows["nps"] = 100 * (rows["nps_promoter_share"] - rows["nps_detractor_share"])
    >>> panel = Panel.from_frame(rows, unit="unit", period="period")
    >>> found = split_nps(panel, PanelSpec(outcome="nps", exposures=("x",)))
    >>> found.tidy().set_index("term")["estimate"].round(1).to_dict()
    {'promoters:x': 1.0, 'detractors:x': -3.0, 'nps:x': 4.0}
    """
    if spec.estimator not in _LINEAR:
        raise SpecError(
            f"estimator={spec.estimator!r} weighs the rows of each outcome differently, so that "
            "promoters less detractors would not be the score. Use estimator='within'."
        )
    promoters, detractors = _shares(panel, spec.outcome)
    columns = {
        "promoters": 100 * promoters,
        "detractors": 100 * detractors,
        "nps": 100 * (promoters - detractors),
        "both": 100 * (promoters + detractors),
    }
    named = {part: f"{spec.outcome} ({part}, points)" for part in columns}
    source = panel.provenance.get(spec.outcome)
    measured = {name: source for name in named.values() if source is not None}
    rows = replace(
        panel,
        frame=panel.frame.assign(**{named[part]: values for part, values in columns.items()}),
        provenance={**panel.provenance, **measured},
    )
    fits = {
        part: _renamed(fit_panel(rows, replace(spec, outcome=name)), name, spec.outcome)
        for part, name in named.items()
    }
    return PromoterResult(
        spec=spec,
        promoters=fits["promoters"],
        detractors=fits["detractors"],
        nps=fits["nps"],
        both=fits["both"],
    )


def _shares(panel: Panel, outcome: str) -> tuple[np.ndarray, np.ndarray]:
    """Promoters' and detractors' shares, (rows,), checked against the score."""
    names = [outcome, f"{outcome}_promoter_share", f"{outcome}_detractor_share"]
    for name in names:
        if name not in panel.frame.columns:
            raise SpecError(
                f"There is no column {name!r} in the panel.{nearest(name, panel.frame.columns)} "
                "Linking makes the shares for measures with metric: nps."
            )
    score, promoters, detractors = (
        panel.frame[name].to_numpy(dtype=float, na_value=np.nan) for name in names
    )
    total = promoters + detractors
    wrong = (promoters < 0) | (detractors < 0) | (total > 1 + 1e-9)
    if wrong.any():
        raise SpecError(
            f"{int(wrong.sum())} rows have shares of promoters and detractors that are negative or "
            "more than 1 together. They are shares from 0 to 1: divide per cent by 100."
        )
    differ = np.abs(score - 100 * (promoters - detractors)) > _AGREE
    if differ.any():
        at = int(np.flatnonzero(differ)[0])
        raise SpecError(
            f"In {int(differ.sum())} rows {outcome!r} is not 100 times promoters less detractors "
            f"(first: {score[at]:g} beside {100 * (promoters[at] - detractors[at]):g}). Name the "
            "score that these shares belong to, in points from -100 to 100."
        )
    return np.where(np.isnan(score), np.nan, promoters), detractors


def _renamed(result: PanelResult, name: str, outcome: str) -> PanelResult:
    """The result with its outcome's working name replaced by what a reader knows."""
    told = {f"missing {name}": f"missing {outcome} or its shares (few answers)"}
    return replace(
        result,
        lost={told.get(why, why): n for why, n in result.lost.items()},
        warnings=tuple(text.replace(name, outcome) for text in result.warnings),
    )


def _interleaved(parts: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Rows of several tidy frames, term by term, each named after its part."""
    named = [
        frame.assign(term=[f"{part}:{term}" for term in frame["term"]], at=np.arange(len(frame)))
        for part, frame in parts.items()
    ]
    stacked = pd.concat(named).sort_values("at", kind="stable", ignore_index=True)
    return stacked[list(TIDY)]
