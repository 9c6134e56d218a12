"""Is a scale measured the same way in every wave? Only then is a change of its mean a change.

Per wave: consistency, item-total correlations and one-factor loadings, with Tucker's congruence of
the loadings; over waves: three nested one-factor models in which loadings, then intercepts, are the
same. Steps are judged by the change of the comparative fit index (at most 0.01 lost: Cheung and
Rensvold 2002, Structural Equation Modeling 9, 233-255), not by p: answers are whole numbers and
people of one team, or the same people in two waves, are no independent draws, so that chi-squares
are too large. Congruence: Tucker (1951); .95 alike, .85 fair (Lorenzo-Seva and ten Berge 2006,
Methodology 2, 57-64); where all items go together it is high nearly always.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from ex_cx.errors import SchemaError, nearest, some
from ex_cx.linkage.onefactor import GroupFit, GroupMoments, fit_groups, moments_of
from ex_cx.linkage.schema import MIN_N_SHARES
from ex_cx.linkage.wording import counted

__all__ = ["WaveInvariance", "congruence", "wave_invariance"]

Level = Literal["scalar", "metric", "configural", "none", "untested"]

FEWEST = 50
"""Complete respondents below which a wave is not compared: its loadings would be chance."""
ALIKE, FAIR = 0.95, 0.85
ACCEPTABLE_CFI, LOST_CFI = 0.90, 0.01
_SHOWN = ("model", "chi2", "df", "cfi", "rmsea", "at_bound", "settled")
_LEVELS: dict[Level, str] = {
    "scalar": "means of waves may be compared.",
    "metric": "associations may be compared, changes of the mean only with care: an item stands "
    "higher or lower in some wave than the others lead to expect.",
    "configural": "items weigh differently in different waves; neither means nor associations are "
    "comparable without a reason for the change.",
    "none": "one factor does not describe the items in all waves, so that sameness of loadings "
    "has little to say; look at the item table.",
    "untested": "models need three items that vary in every wave, and a search that settles; alpha "
    "and item-total correlations are all there is to compare.",
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class WaveInvariance:
    """A scale compared over waves.

    Attributes
    ----------
    waves : wave, n (complete respondents), mean, alpha, congruence (of the loadings with those of
        the first wave compared).
    items : wave, item, mean, item_total (corrected), loading (standardised).
    models : model, chi2, df, cfi, rmsea, at_bound (unique variances at their least), settled (did
        the search end where the fit is best?), then for the step from the model above: chi2_step,
        df_step, p_step, cfi_step; holds.
    level : the strictest model that holds: scalar, metric, configural, none; or untested.
    left_out : waves with too few complete respondents to be compared.
    """

    waves: pd.DataFrame
    items: pd.DataFrame
    models: pd.DataFrame
    level: Level
    left_out: int

    @property
    def verdict(self) -> Literal["clear", "caution"]:
        """Clear where means of waves may be compared."""
        return "clear" if self.level == "scalar" else "caution"

    @property
    def reading(self) -> str:
        """What was found, in plain words."""
        fewest = self.waves["congruence"].min()
        words = f"{counted(len(self.waves), 'wave')} compared: {_LEVELS[self.level]}"
        if np.isfinite(fewest):
            kind = "alike" if fewest >= ALIKE else "fairly alike" if fewest >= FAIR else "unlike"
            words += f" Loadings are {kind} (least congruence {fewest:.2f})."
        if self.left_out:
            words += f" Left out for too few respondents: {counted(self.left_out, 'wave')}."
        return words

    def __repr__(self) -> str:
        """One line; `.waves`, `.items` and `.models` hold the rest."""
        return f"<WaveInvariance {self.level}: {self.reading}>"

    def _repr_html_(self) -> str:
        parts = [
            frame.to_html(index=False, escape=True, na_rep="", float_format=lambda v: f"{v:.3f}")
            for frame in (self.models, self.waves)
            if len(frame)
        ]
        return f"<p>{html.escape(self.reading)}</p>" + "".join(parts)


def wave_invariance(
    answers: pd.DataFrame, items: Sequence[str], wave: str, *, min_n: int = FEWEST
) -> WaveInvariance:
    """Compare how the items of a scale hang together in every wave.

    Parameters
    ----------
    answers : one row per respondent and wave; reverse-keyed items turned already. Respondents with
        a missing item are left out.
    items, wave : columns.
    min_n : complete respondents below which a wave is left out and counted; at least 10.

    Raises
    ------
    SchemaError : unknown columns, fewer than two items, answers without a wave, fewer than two
        waves that can be compared.

    Notes
    -----
    The models are those of R's lavaan (cfa with group.equal; normal likelihood, biased moments),
    with unique variances held above 0.005 of the item's variance.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> mood = rng.normal(size=(600, 1))
    >>> answers = pd.DataFrame(mood + rng.normal(size=(600, 4)), columns=list("abcd"))
    >>> found = wave_invariance(answers.assign(wave=np.arange(600) // 200), list("abcd"), "wave")
    >>> found.level, found.models["df"].tolist()
    ('scalar', [6, 12, 18])
    """
    _check(answers, items, wave, min_n)
    complete = answers[[wave, *items]].dropna()
    codes, labels = pd.factorize(complete[wave], sort=True)
    n = np.bincount(codes, minlength=len(labels))
    enough = n >= min_n
    if enough.sum() < 2:
        raise SchemaError(
            f"{counted(int(enough.sum()), 'wave')} of {len(labels)} in {wave!r} "
            f"{'has' if enough.sum() == 1 else 'have'} {min_n} complete respondents or more; two "
            "are needed. Pool waves, or compare fewer items."
        )
    use = enough[codes]
    position = np.cumsum(enough) - 1
    values = complete.loc[use, list(items)].to_numpy(dtype=float)
    moments = moments_of(values, position[codes[use]], int(enough.sum()))
    fits = _fits(moments)
    loadings = _standardised(fits, moments)
    names = [str(label) for label, kept in zip(labels, enough, strict=True) if kept]
    models = _model_table(fits)
    return WaveInvariance(
        waves=_wave_table(names, moments, loadings),
        items=_item_table(names, list(items), moments, loadings),
        models=models,
        level=_level(models),
        left_out=int((~enough).sum()),
    )


def congruence(first: np.ndarray, second: np.ndarray) -> float:
    """Tucker's congruence of two sets of loadings: sum xy / sqrt(sum x^2 sum y^2).

    >>> round(congruence(np.array([0.6, 0.8]), np.array([0.8, 0.6])), 4)
    0.96
    """
    return float(first @ second / np.sqrt((first @ first) * (second @ second)))


def _check(answers: pd.DataFrame, items: Sequence[str], wave: str, min_n: int) -> None:
    for name in (wave, *items):
        if name not in answers.columns:
            raise SchemaError(
                f"The answers have no column {name!r}.{nearest(name, answers.columns)} They have: "
                f"{some(list(answers.columns), 6)}."
            )
    if len(set(items)) < 2:
        raise SchemaError("A scale is compared by its items; at least 2 different ones are needed.")
    for name in items:
        values = pd.to_numeric(answers[name], errors="coerce").to_numpy(dtype=float)
        odd = int((np.isnan(values) & answers[name].notna().to_numpy()).sum())
        odd += int(np.isinf(values).sum())
        if odd:
            raise SchemaError(
                f"{counted(odd, 'answer')} of {len(answers):,} to {name!r} "
                f"{'is no finite number' if odd == 1 else 'are no finite numbers'}. Correct the "
                "column, or map its words to numbers."
            )
    missing = int(answers[wave].isna().sum())
    if missing:
        raise SchemaError(
            f"{counted(missing, 'row')} of {len(answers):,} have no {wave!r}. Fill it in, or leave "
            "them out."
        )
    if min_n < MIN_N_SHARES:
        raise SchemaError(f"min_n={min_n} is below {MIN_N_SHARES}, the least that is shown.")


def _fits(moments: GroupMoments) -> list[GroupFit]:
    """The three models; none where the items do not admit them."""
    k = moments.mean.shape[1]
    if k < 3 or (moments.n <= k).any():
        return []
    smallest = np.linalg.eigvalsh(moments.cov)[:, 0]
    scale = np.diagonal(moments.cov, axis1=1, axis2=2).max(axis=1)
    return [] if (smallest <= 1e-10 * scale).any() else fit_groups(moments)


def _standardised(fits: Sequence[GroupFit], moments: GroupMoments) -> np.ndarray:
    """Loadings of each wave's own factor on items of variance 1; NaN without models."""
    if not fits:
        return np.full(moments.mean.shape, np.nan)
    own = fits[0]
    return own.loadings / np.sqrt(own.loadings**2 + own.unique)


def _wave_table(names: Sequence[str], moments: GroupMoments, loadings: np.ndarray) -> pd.DataFrame:
    k = moments.mean.shape[1]
    trace, total = np.einsum("gii->g", moments.cov), moments.cov.sum(axis=(1, 2))
    alpha = k / (k - 1) * (1 - trace / np.where(total > 0, total, np.nan))
    return pd.DataFrame(
        {
            "wave": names,
            "n": moments.n.astype(int),
            "mean": moments.mean.mean(axis=1),
            "alpha": alpha,
            "congruence": [congruence(loadings[0], own) for own in loadings],
        }
    )


def _item_table(
    names: Sequence[str], items: list[str], moments: GroupMoments, loadings: np.ndarray
) -> pd.DataFrame:
    """The corrected item-total correlations are functions of the covariances alone."""
    own = np.einsum("gii->gi", moments.cov)
    with_all = moments.cov.sum(axis=2)
    rest = moments.cov.sum(axis=(1, 2))[:, None] - 2 * with_all + own
    product = own * rest
    correlation = (with_all - own) / np.sqrt(np.where(product > 0, product, np.nan))
    return pd.DataFrame(
        {
            "wave": np.repeat(names, len(items)),
            "item": items * len(names),
            "mean": moments.mean.ravel(),
            "item_total": correlation.ravel(),
            "loading": loadings.ravel(),
        }
    )


def _model_table(fits: Sequence[GroupFit]) -> pd.DataFrame:
    from scipy.special import chdtrc

    rows, held = [], True
    for at, fit in enumerate(fits):
        row: dict[str, object] = {name: getattr(fit, name) for name in _SHOWN}
        more = dict.fromkeys(("chi2_step", "df_step", "p_step", "cfi_step"), np.nan)
        if at == 0:
            held = fit.cfi >= ACCEPTABLE_CFI
        else:
            before = fits[at - 1]
            chi2, df = max(fit.chi2 - before.chi2, 0.0), fit.df - before.df
            lost = before.cfi - fit.cfi
            more = {"chi2_step": chi2, "df_step": df, "p_step": float(chdtrc(df, chi2))}
            more["cfi_step"] = -lost
            held = held and lost <= LOST_CFI
        rows.append(row | more | {"holds": held})
    return pd.DataFrame(rows)


def _level(models: pd.DataFrame) -> Level:
    if not len(models) or not models["settled"].all():
        return "untested"
    levels: tuple[Level, ...] = ("none", "configural", "metric", "scalar")
    return levels[int(models["holds"].sum())]
