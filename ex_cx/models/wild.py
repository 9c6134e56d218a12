"""The wild cluster bootstrap test: honest p-values and intervals from few clusters."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import pandas as pd

from ex_cx.errors import InferenceError, SpecError, nearest
from ex_cx.estimation.equation import check_resampling
from ex_cx.estimation.wild import WildDraws, draw_wild, wild_interval, wild_signs
from ex_cx.linkage.panel import Panel
from ex_cx.models.regress import PERFECT, PanelSpec, compress_panel, fit_panel
from ex_cx.results import Result

__all__ = ["TestResult", "wild_cluster_test"]

Signs = Literal["rademacher", "webb"]
MOST_DRAWS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class TestResult(Result):
    """A wild cluster bootstrap test of one coefficient.

    Attributes
    ----------
    spec, term : what was tested.
    std_error, statistic : CR1, as `fit_panel` reports them.
    draws : the bootstrap distribution, as functions of the null value.
    signs : rademacher or webb.
    n_clusters, n_boot : clusters, and draws used (all sign vectors where `draws.enumerated`).
    """

    __test__ = False

    spec: PanelSpec
    term: str
    std_error: float
    draws: WildDraws
    signs: Signs
    n_clusters: int
    n_boot: int

    def tidy(self, conf_level: float = 0.95) -> pd.DataFrame:
        """One row: CR1 statistic, bootstrap p-value of zero, interval by inversion of the test."""
        low, high = wild_interval(self.draws, conf_level)
        return pd.DataFrame(
            {
                "term": [self.term],
                "estimate": self.draws.coef,
                "std_error": self.std_error,
                "statistic": self.draws.coef / self.std_error,
                "p_value": self.draws.p_value(0.0),
                "conf_low": low,
                "conf_high": high,
                "conf_level": conf_level,
            }
        )

    def glance(self) -> pd.DataFrame:
        """One row: what was tested, clusters, draws, convention."""
        drawn = "every sign vector" if self.draws.enumerated else f"{self.n_boot} draws"
        return pd.DataFrame(
            {
                "outcome": [self.spec.outcome],
                "term": self.term,
                "n_clusters": self.n_clusters,
                "n_boot": self.n_boot,
                "convention": "wild cluster bootstrap-t, null imposed, "
                f"{self.signs} signs, {drawn}",
            }
        )

    def _headline(self) -> str:
        return f"{self.spec.outcome}: wild cluster bootstrap test of {self.term}"


def wild_cluster_test(
    panel: Panel,
    spec: PanelSpec,
    term: str,
    *,
    n_boot: int = 9999,
    signs: Signs = "rademacher",
    rng: np.random.Generator,
) -> TestResult:
    """Test one coefficient by the wild cluster bootstrap, the null imposed.

    Parameters
    ----------
    panel, spec : as for `fit_panel`; errors are clustered whatever `spec.vcov` says.
    term : name of the coefficient, as in `fit_panel(...).tidy()`.
    n_boot : draws, at least 99 and at most a million. With Rademacher signs and at most 12
        clusters all sign vectors are taken if they are no more than `n_boot`.
    signs : rademacher, or webb (six values; better below about 10 clusters).
    rng : source of the draws.

    Raises
    ------
    SpecError : a term or kind of signs that does not exist, `rng` no generator.
    InferenceError : fewer than two clusters, too few or too many draws, nearly dependent
        regressors, residuals that are rounding.

    Notes
    -----
    Period effects are re-estimated in every draw; the small-sample factor cancels.
    Source: Cameron, Gelbach and Miller (2008), REStat 90(3), 414-427; Webb (2023), CJE 56(3),
    839-858.

    Examples
    --------
    >>> rng = np.random.default_rng(3)
    >>> rows = pd.DataFrame({"unit": np.arange(80) % 8, "period": np.arange(80) // 8,
    ...                      "x": rng.normal(size=80)})
    >>> rows["y"] = rows["x"] + rng.normal(size=80)
    >>> panel = Panel.from_frame(rows, unit="unit", period="period")
    >>> test = wild_cluster_test(panel, PanelSpec(outcome="y", exposures=("x",)), "x", rng=rng)
    >>> test.n_boot, bool(test.tidy()["p_value"][0] < 0.05)
    (256, True)
    """
    _check_choices(n_boot, signs, rng)
    fitted = fit_panel(panel, replace(spec, vcov="cluster", match="fixest"))
    if term not in fitted.terms:
        raise SpecError(
            f"There is no coefficient {term!r} among {', '.join(fitted.terms)}."
            f"{nearest(term, fitted.terms)}"
        )
    position = fitted.terms.index(term)
    compressed = compress_panel(panel, spec)
    moments, equation = compressed.moments, compressed.equation()
    check_resampling(equation)
    if equation.rss < PERFECT * equation.tss:
        raise InferenceError(
            f"The terms reproduce {spec.outcome!r} exactly, so that there are no residuals to draw "
            "from. Is one of the terms the outcome itself?"
        )
    vectors, enumerated = wild_signs(moments.n_clusters, n_boot, signs, rng)
    return TestResult(
        spec=spec,
        term=term,
        std_error=float(np.sqrt(fitted.vcov[position, position])),
        draws=draw_wild(moments, equation, position, vectors, enumerated=enumerated),
        signs=signs,
        n_clusters=moments.n_clusters,
        n_boot=len(vectors),
    )


def _check_choices(n_boot: int, signs: str, rng: np.random.Generator) -> None:
    if not isinstance(rng, np.random.Generator):
        raise SpecError(
            f"rng={rng!r} is no source of draws. Write rng=np.random.default_rng(7), with a number "
            "of your own."
        )
    if signs not in get_args(Signs):
        raise SpecError(
            f"signs={signs!r} is not one of {', '.join(get_args(Signs))}."
            f"{nearest(signs, get_args(Signs))}"
        )
    if not isinstance(n_boot, int | np.integer) or isinstance(n_boot, bool):
        raise SpecError(f"n_boot={n_boot!r} is not a whole number of draws, such as 9999.")
    if n_boot < 99:
        raise InferenceError(f"n_boot={n_boot} draws cannot carry a test; use at least 99.")
    if n_boot > MOST_DRAWS:
        raise InferenceError(f"n_boot={n_boot:,}: at most {MOST_DRAWS:,} draws are kept.")
