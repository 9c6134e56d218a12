"""Small-sample conventions of the packages that readers compare with, each by its own formula.

One matrix, several factors: packages agree on the sandwich and differ on what they multiply it by
and on the degrees of freedom of t. With n rows, k terms, G clusters, T periods, and absorbed
effects of L levels in all (the constant counted), of which errors by unit charge K:

| match | cluster | cluster_two_way | driscoll_kraay | jackknife |
| --- | --- | --- | --- | --- |
| fixest | G/(G-1) (n-1)/(n-k-K), t(G-1) | same, G the smaller, K = 1 | the same, T for G | - |
| stata | as fixest | - | - | (G-1)/G, about the mean of the refits |
| linearmodels | n/(n-k-L), t(n-k-L) | the same | the same | - |
| clubsandwich | G/(G-1), t(G-1) | - | - | 1 (CR3) |

`unadjusted` is rss/(n-k-L) and `robust` n/(n-k-L) in all that have them. The jackknife under
"fixest", which has none, is MacKinnon, Nielsen and Webb's CV3: (G-1)/G about the estimate;
Driscoll-Kraay takes floor(4 (T/100)^(2/9)) lags, linearmodels' rule and not that of fixest.
`bias_reduced` (CR2) is clubSandwich's and has no factor, so `small_sample` does not know it.
fixest: R fixest 0.12 and later, `ssc()` as it comes (K.fixef "nonnested", G.df "min").
stata: `xtreg, fe` of Stata 17, period effects as dummies, and `regress` without unit effects;
`xtreg, fe vce(robust)` is `vce(cluster)`, and jackknife is `vce(jackknife)` by cluster.
linearmodels: PanelOLS, PooledOLS and FirstDifferenceOLS as they come (debiased, group_debias off);
unit effects alone, with errors by cluster, charge nothing (auto_df).
clubsandwich: `vcovCR` on the fit with all dummies, types CR1, CR2 and CR3; t(G-1) is "naive-t".
Sources: Berge (2018), CREA Discussion Paper 13, and the fixest vignette on standard errors;
StataCorp (2021), [XT] xtreg and [R] jackknife, Methods and formulas; Sheppard, linearmodels 7,
`linearmodels.panel.covariance`; Pustejovsky and Tipton (2018), JBES 36(4), 672-683.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

from ex_cx.errors import InferenceError, SpecError, nearest
from ex_cx.estimation.inference import cluster_factor

__all__ = ["MATCHED", "Match", "Sizes", "SmallSample", "Vcov", "check_match", "small_sample"]

Vcov = Literal[
    "unadjusted",
    "robust",
    "cluster",
    "cluster_two_way",
    "driscoll_kraay",
    "jackknife",
    "bias_reduced",
]
Match = Literal["fixest", "stata", "linearmodels", "clubsandwich"]

_HAS: dict[Match, tuple[str, tuple[str, ...]]] = {
    "fixest": ("", get_args(Vcov)),
    "stata": ("xtreg, fe of Stata 17", ("unadjusted", "robust", "cluster", "jackknife")),
    "linearmodels": (
        "linearmodels",
        ("unadjusted", "robust", "cluster", "cluster_two_way", "driscoll_kraay"),
    ),
    "clubsandwich": ("clubSandwich", ("cluster", "jackknife", "bias_reduced")),
}
MATCHED = ("pooled", "within", "first_difference")
"""Estimators for which a package can be matched; others keep the convention of "fixest"."""


class Sizes(NamedTuple):
    """What small-sample factors are made of.

    Attributes
    ----------
    n, p : rows and regressors.
    nested : absorbed parameters that errors clustered by unit charge (effects nested in clusters
        cost 1), levels : all absorbed levels, of which `period_levels` are due to period effects.
    n_clusters, n_periods : G and T.
    """

    n: int
    p: int
    nested: int
    levels: int
    period_levels: int
    n_clusters: int
    n_periods: int

    @property
    def residual(self) -> int:
        """Rows less coefficients and absorbed levels."""
        df = self.n - self.p - self.levels
        if df < 1:
            raise InferenceError(
                f"{self.n} rows cannot carry {self.p} coefficients and {self.levels} absorbed "
                "levels. Add rows, or absorb fewer effects."
            )
        return df


class SmallSample(NamedTuple):
    """By what a covariance is multiplied, the degrees of freedom of t, and both in words."""

    factor: float
    df_t: int
    text: str


def check_match(match: str, vcov: str, estimator: str, *, absorbs_unit: bool) -> None:
    """Refuse errors that the package to be matched does not have.

    Raises
    ------
    SpecError : naming what it has.

    >>> check_match("linearmodels", "cluster", "within", absorbs_unit=True)
    """
    if match not in _HAS:
        raise SpecError(f"match={match!r} is not one of {', '.join(_HAS)}.{nearest(match, _HAS)}")
    if match == "fixest":
        return
    package, kinds = _HAS[match]
    if vcov not in kinds:
        raise SpecError(
            f"{package} has no vcov={vcov!r} to match; it has {', '.join(kinds)}. Use one of "
            "these, or match='fixest', which all errors have a convention for."
        )
    if estimator not in MATCHED:
        raise SpecError(
            f"match={match!r} is defined for the estimators {', '.join(MATCHED)}, not for "
            f"{estimator!r}. Use match='fixest', whose convention is stated in the result."
        )
    if match == "stata" and vcov == "robust" and absorbs_unit:
        raise SpecError(
            "xtreg, fe vce(robust) clusters by unit: it has no errors that are robust to unequal "
            "variances only. Use vcov='cluster', which is the same, or match='fixest' for HC1."
        )


def small_sample(kind: Vcov, match: Match, sizes: Sizes) -> SmallSample:
    """The factor of `kind` as the package `match` has it; see the module for the table.

    Raises
    ------
    InferenceError : fewer than two clusters, or more parameters than rows.

    >>> sizes = Sizes(n=84, p=2, nested=7, levels=18, period_levels=6, n_clusters=12, n_periods=7)
    >>> round(small_sample("cluster", "linearmodels", sizes).factor, 6)  # 84 / 64
    1.3125
    >>> round(small_sample("cluster", "fixest", sizes).factor, 6)  # 12/11 * 83/75
    1.207273
    """
    if kind == "unadjusted":
        df = sizes.residual
        return SmallSample(1 / df, df, "unadjusted: rss / (n - k - absorbed levels); t on the same")
    if kind == "robust":
        df = sizes.residual
        return SmallSample(sizes.n / df, df, "HC1: n / (n - k - absorbed levels); t on the same")
    if kind == "jackknife":
        return _jackknife(match, sizes)
    if match == "linearmodels":
        return _linearmodels(kind, sizes)
    if match == "clubsandwich":
        factor = cluster_factor(sizes.n_clusters, sizes.n, 1, 0)  # (n-1)/(n-1): G/(G-1) alone
        return SmallSample(factor, sizes.n_clusters - 1, "CR1: G/(G-1) alone; t(G-1)")
    return _fixest(kind, sizes)


def _fixest(kind: Vcov, sizes: Sizes) -> SmallSample:
    if kind == "cluster":
        groups, charged = sizes.n_clusters, sizes.nested
        text = (
            "CR1: G/(G-1) * (n-1)/(n - k - k_absorbed), effects nested in clusters cost 1; t(G-1)"
        )
    elif kind == "cluster_two_way":
        groups, charged = min(sizes.n_clusters, sizes.n_periods), int(sizes.levels > 0)
        text = (
            "two-way CR1 by cluster and period: G the smaller number, (n-1)/(n - k - k_absorbed), "
            "effects nested in either cost 1 together; t(G-1)"
        )
    else:
        groups, charged = sizes.n_periods, sizes.levels - sizes.period_levels
        text = (
            "T/(T-1) * (n-1)/(n - k - k_absorbed), period effects nested; t(T-1)"  # after bandwidth
        )
    return SmallSample(cluster_factor(groups, sizes.n, sizes.p, charged), groups - 1, text)


def _linearmodels(kind: Vcov, sizes: Sizes) -> SmallSample:
    df = sizes.residual
    unit_alone = sizes.levels > sizes.nested == 1
    charged = 0 if kind == "cluster" and unit_alone else sizes.levels
    label = {"cluster": "clustered: ", "cluster_two_way": "two-way clustered: "}.get(kind, "")
    free = "" if charged or not sizes.levels else ", unit effects not charged"
    text = f"{label}n / (n - k - absorbed levels){free}; t(n - k - absorbed levels)"
    return SmallSample(sizes.n / (sizes.n - sizes.p - charged), df, text)


def _jackknife(match: Match, sizes: Sizes) -> SmallSample:
    g = sizes.n_clusters
    if match == "clubsandwich":
        text = "CR3: leave one cluster out, no factor (G-1)/G, all effects re-estimated; t(G-1)"
        return SmallSample(1.0, g - 1, text)
    if match == "stata":
        text = (
            "jackknife: leave one cluster out, (G-1)/G about the mean of the refits, all effects "
            "re-estimated; t(G-1)"
        )
    else:
        text = "CR3: leave one cluster out, (G-1)/G, all effects re-estimated; t(G-1)"
    return SmallSample((g - 1) / g, g - 1, text)
