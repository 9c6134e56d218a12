"""May the answers of a unit be averaged? Agreement, reliability of unit means, shrinkage.

Sources: James, Demaree and Wolf (1984), J. Applied Psychology 69, 85-98; Bliese (2000) in Klein
and Kozlowski, Multilevel Theory, Research, and Methods in Organizations; LeBreton and Senter
(2008), Organizational Research Methods 11, 815-852.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import pandas as pd

from ex_cx.errors import SchemaError, nearest, some
from ex_cx.linkage.scales import cronbach_alpha, score_scale
from ex_cx.linkage.schema import MIN_N
from ex_cx.linkage.wording import counted

__all__ = [
    "aggregation_report",
    "icc",
    "respondents_needed",
    "unit_means",
    "within_group_agreement",
]

GroupSize = Literal["mean", "k0"]
Null = Literal["uniform", "slight_skew"]

CUSTOMARY = 0.70
"""Agreement, and reliability of unit means, from which averaging is customary."""
_SLIGHT_SKEW = {5: 1.34, 6: 1.85, 7: 2.90, 8: 3.47, 9: 5.66, 10: 6.30, 11: 7.31}
"""Variance of a slightly skewed answer by number of options (LeBreton and Senter 2008)."""


def within_group_agreement(
    frame: pd.DataFrame,
    items: Sequence[str],
    unit: str,
    n_options: int,
    null: Null = "uniform",
    *,
    min_n: int = MIN_N,
) -> pd.DataFrame:
    """How far the respondents of each unit agree: r_wg(j), 0 (as by chance) to 1.

    J (1 - v) / (J (1 - v) + v) with v the mean item variance over that of the null distribution,
    at most 1; of one item, 1 - v. Respondents with a missing item are left out.

    Parameters
    ----------
    frame : one row per respondent; reverse-keyed items turned already.
    items, unit : columns. n_options : answer options of an item.
    null : uniform, (A^2 - 1) / 12; or slight_skew, for 5 to 11 options: people like to answer
        on the good side, so that chance alone looks like agreement.
    min_n : respondents below which a unit's index and its n are not shown.

    Returns
    -------
    One row per unit: unit, n (complete respondents), r_wg; both missing below `min_n`, where
    nobody answered n is 0.

    Raises
    ------
    SchemaError : unknown columns or null, no items, fewer than 2 options.

    Examples
    --------
    >>> answers = pd.DataFrame({"team": list("xxxxxyyyyy"), "a": [4, 4, 5, 4, 4, 1, 5, 1, 5, 3]})
    >>> within_group_agreement(answers, ["a"], "team", 5)["r_wg"].round(3).tolist()
    [0.9, 0.0]
    """
    _check_columns(frame, [unit, *items])
    _check_min_n(min_n)
    if not items:
        raise SchemaError("Agreement needs at least one item. List its columns in `items`.")
    chance = _null_variance(n_options, null)
    complete = frame[[unit, *items]].dropna()
    spread = complete.groupby(unit, sort=True)[list(items)].var(ddof=1).mean(axis=1, skipna=False)
    v = (spread / chance).clip(upper=1)
    j = len(items)
    index = 1 - v if j == 1 else j * (1 - v) / (j * (1 - v) + v)
    units = sorted(frame[unit].dropna().unique())
    n = complete.groupby(unit).size().reindex(units, fill_value=0)
    found = pd.DataFrame({"n": n, "r_wg": index.reindex(n.index)})
    found["r_wg"] = found["r_wg"].where(found["n"] >= min_n)
    return found.assign(n=_shown_n(found["n"], min_n)).reset_index(names="unit")


def _shown_n(n: pd.Series, min_n: int) -> pd.Series:
    """Numbers of respondents without those that are few; nobody is not."""
    return n.astype(float).where((n >= min_n) | (n == 0))


def _null_variance(n_options: int, null: str) -> float:
    if null not in get_args(Null):
        raise SchemaError(f"null={null!r} is not one of {', '.join(get_args(Null))}.")
    if n_options < 2:
        raise SchemaError(f"n_options={n_options}: an item needs at least 2 answer options.")
    if null == "uniform":
        return (n_options**2 - 1) / 12
    if n_options not in _SLIGHT_SKEW:
        raise SchemaError(
            f"The slightly skewed null is tabled for {min(_SLIGHT_SKEW)} to {max(_SLIGHT_SKEW)} "
            f"answer options, not {n_options}. Use null='uniform'."
        )
    return _SLIGHT_SKEW[n_options]


def icc(frame: pd.DataFrame, score: str, unit: str, group_size: GroupSize = "k0") -> pd.DataFrame:
    """Intraclass correlations of one-way groups, by analysis of variance.

    ICC(1) = (MSB - MSW) / (MSB + (k - 1) MSW): share of an answer's variance between units.
    ICC(2) = (MSB - MSW) / MSB: reliability of the mean of a unit of size k.

    Parameters
    ----------
    frame : one row per respondent; rows without score or unit are left out.
    score, unit : columns.
    group_size : k0 = (N - sum n^2 / N) / (J - 1), exact for unequal units; or mean, N / J, as R's
        multilevel takes it.

    Returns
    -------
    One row: icc1, icc2, f_statistic, p_value, k, n, n_units; missing where there is a single unit
    or no unit has two respondents. A negative ICC(1) says that units differ less than by chance.

    Examples
    --------
    >>> answers = pd.DataFrame({"team": list("aabb"), "x": [1.0, 2, 4, 5]})
    >>> icc(answers, "x", "team")[["icc1", "icc2", "f_statistic"]].round(4).values.tolist()
    [[0.8947, 0.9444, 18.0]]
    """
    _check_columns(frame, [score, unit])
    if group_size not in get_args(GroupSize):
        raise SchemaError(
            f"group_size={group_size!r} is not one of {', '.join(get_args(GroupSize))}."
        )
    between, within, sizes = _mean_squares(frame, score, unit)
    n, j = int(sizes.sum()), len(sizes)
    out = {"icc1": np.nan, "icc2": np.nan, "f_statistic": np.nan, "p_value": np.nan}
    k = np.nan if j < 2 else n / j if group_size == "mean" else (n - (sizes**2).sum() / n) / (j - 1)
    if np.isfinite(within) and between > 0:
        from scipy.special import fdtrc

        out["icc1"] = (between - within) / (between + (k - 1) * within)
        out["icc2"] = (between - within) / between
        if within > 0:
            out["f_statistic"] = between / within
            out["p_value"] = float(fdtrc(j - 1, n - j, between / within))
    return pd.DataFrame([out | {"k": k, "n": n, "n_units": j}])


def _mean_squares(frame: pd.DataFrame, score: str, unit: str) -> tuple[float, float, np.ndarray]:
    """Mean squares between and within units, NaN where undefined, and respondents by unit."""
    known = frame[[score, unit]].dropna()
    values, codes = known[score].to_numpy(float), pd.factorize(known[unit], sort=True)[0]
    sizes = np.bincount(codes).astype(float)
    n, j = len(values), len(sizes)
    if j < 2 or n <= j:
        return np.nan, np.nan, sizes
    means = np.bincount(codes, weights=values) / sizes
    between = (sizes * (means - values.mean()) ** 2).sum() / (j - 1)
    within = ((values - means[codes]) ** 2).sum() / (n - j)
    return float(between), float(within), sizes


def unit_means(frame: pd.DataFrame, score: str, unit: str, *, min_n: int = MIN_N) -> pd.DataFrame:
    """Mean of every unit with its error, its reliability, and its shrunken mean.

    The reliability of a unit of n respondents is t / (t + w / n), w the variance within units and
    t = (MSB - MSW) / k0 that between them, at least 0. The shrunken mean takes the unit's own mean
    as far as it is reliable and the precision-weighted mean of all for the rest (empirical Bayes).

    Parameters
    ----------
    frame : one row per respondent; rows without score or unit are left out.
    score, unit : columns.
    min_n : respondents below which a unit's numbers are not shown; they are in the estimates of w
        and t.

    Returns
    -------
    One row per unit: unit, n, mean, std_error (sqrt(w / n), in score units), reliability, shrunken;
    all missing below `min_n`.

    Notes
    -----
    Source: Efron and Morris (1975), JASA 70, 311-319; Bliese (2000).

    Examples
    --------
    >>> answers = pd.DataFrame({"team": list("aaaaabbbbb"), "x": [1.0, 2, 3, 2, 2, 5, 4, 6, 5, 5]})
    >>> unit_means(answers, "x", "team")[["mean", "shrunken"]].round(3).values.tolist()
    [[2.0, 2.033], [5.0, 4.967]]
    """
    _check_columns(frame, [score, unit])
    _check_min_n(min_n)
    between, within, sizes = _mean_squares(frame, score, unit)
    n, j = sizes.sum(), len(sizes)
    k0 = (n - (sizes**2).sum() / n) / (j - 1) if j > 1 else np.nan
    spread = max((between - within) / k0, 0.0)
    grouped = frame[[score, unit]].dropna().groupby(unit, sort=True)[score]
    means = grouped.mean()
    noise = within / sizes
    # units alike to the last digit have neither spread nor noise: each mean stands for all
    reliability = np.divide(spread, spread + noise, out=np.zeros(j), where=spread + noise > 0)
    precision = 1 / np.where(spread + noise > 0, spread + noise, 1.0)
    centre = float((precision * means).sum() / precision.sum()) if j else np.nan
    found = pd.DataFrame(
        {
            "unit": means.index,
            "n": sizes.astype(int),
            "mean": means.to_numpy(),
            "std_error": np.sqrt(noise),
            "reliability": reliability,
            "shrunken": centre + reliability * (means.to_numpy() - centre),
        }
    )
    numbers = ["mean", "std_error", "reliability", "shrunken"]
    found.loc[found["n"] < min_n, numbers] = np.nan
    return found.assign(n=_shown_n(found["n"], min_n))


def respondents_needed(icc1: float, reliability: float = CUSTOMARY) -> int:
    """Fewest respondents a unit for which its mean has that reliability (Spearman-Brown).

    >>> [respondents_needed(share) for share in (0.05, 0.10, 0.15, 0.20)]
    [45, 21, 14, 10]
    """
    if not 0 < icc1 < 1 or not 0 < reliability < 1:
        raise SchemaError(
            f"ICC(1) {icc1:g} and reliability {reliability:g} must lie between 0 and 1. Without "
            "variance between units no number of respondents makes their means reliable."
        )
    needed = reliability * (1 - icc1) / (icc1 * (1 - reliability))
    return int(np.ceil(round(needed, 9)))


def aggregation_report(
    frame: pd.DataFrame,
    items: Sequence[str],
    unit: str,
    n_options: int | None,
    *,
    min_share: float = 1.0,
    noun: str = "unit",
) -> pd.DataFrame:
    """The evidence for averaging a scale to units, beside the customary cut-offs.

    Parameters
    ----------
    frame : one row per respondent; items reverse-keyed already.
    items, unit : columns. n_options : answer options of an item; None where answers are no whole
        numbers, so that agreement has no null to be held against.
    min_share : share of the items that a respondent must have answered for the score behind the
        intraclass correlations; alpha and agreement take complete respondents only.
    noun : what a unit is called in the readings.

    Returns
    -------
    One row per index: index, value, customary (the cut-off, if there is one), met, reading (in
    plain words; for ICC(2) the respondents a unit would need).

    Examples
    --------
    >>> rng = np.random.default_rng(4)
    >>> team = np.repeat(np.arange(30), 12)
    >>> mood = rng.normal(size=30)[team] + rng.normal(size=360)
    >>> answers = pd.DataFrame({name: np.clip(np.round(3 + 0.6 * mood + rng.normal(size=360) / 2),
    ...                                       1, 5) for name in "abc"}).assign(team=team)
    >>> aggregation_report(answers, list("abc"), "team", 5)[["index", "met"]].values.tolist()[-1]
    ['ICC(2), reliability of unit means', True]
    """
    _check_columns(frame, [unit, *items])
    score = score_scale(frame, items=items, low=0, high=0, min_share=min_share)
    scored = pd.DataFrame({"score": score, "unit": frame[unit]})
    shares = icc(scored, "score", "unit").iloc[0]
    alpha = cronbach_alpha(frame[list(items)])
    rows = [_row("alpha", alpha, CUSTOMARY, _longer(alpha, len(items)))]
    rows += [] if n_options is None else _agreement_rows(frame, items, unit, n_options, noun)
    share = f"{100 * shares['icc1']:.0f} % of an answer's variance is between {noun}s"
    rows.append(_row("ICC(1)", shares["icc1"], np.nan, share if shares["icc1"] > 0 else "none"))
    reading = f"{noun}s do not differ: their means hold no information"
    if 0 < shares["icc1"] < 1:
        needed = respondents_needed(shares["icc1"])
        reading = (
            f"{CUSTOMARY:.2f} needs {needed} respondents a {noun}; there are {shares['k']:.0f}"
        )
    rows.append(_row("ICC(2), reliability of unit means", shares["icc2"], CUSTOMARY, reading))
    return pd.DataFrame(rows)


def _agreement_rows(
    frame: pd.DataFrame, items: Sequence[str], unit: str, n_options: int, noun: str
) -> list[dict[str, object]]:
    nulls: dict[Null, str] = {"uniform": "uniform null"}
    if n_options in _SLIGHT_SKEW:
        nulls["slight_skew"] = "slightly skewed null"
    rows = []
    for null, words in nulls.items():
        agreement = within_group_agreement(frame, items, unit, n_options, null)["r_wg"].dropna()
        high = int((agreement >= CUSTOMARY).sum())
        reading = f"{high} of {counted(len(agreement), noun)} reach {CUSTOMARY:.2f}"
        median = float(agreement.median()) if len(agreement) else np.nan
        rows.append(_row(f"median r_wg(j), {words}", median, CUSTOMARY, reading))
    return rows


def _longer(alpha: float, k: int) -> str:
    """How many items like these the customary alpha would need (Spearman-Brown)."""
    if k < 2 or not np.isfinite(alpha):
        return "needs two items that vary"
    if alpha <= 0:
        return "items do not go together: look for one that was not turned"
    needed = np.ceil(round(k * CUSTOMARY * (1 - alpha) / (alpha * (1 - CUSTOMARY)), 9))
    return f"{CUSTOMARY:.2f} needs {counted(int(max(needed, 2)), 'item')} like these; there are {k}"


def _row(index: str, value: float, customary: float, reading: str) -> dict[str, object]:
    met = bool(value >= customary) if np.isfinite(value) and np.isfinite(customary) else None
    return {
        "index": index,
        "value": value,
        "customary": customary,
        "met": met,
        "reading": reading,
    }


def _check_columns(frame: pd.DataFrame, columns: Sequence[str]) -> None:
    for name in columns:
        if name not in frame.columns:
            raise SchemaError(
                f"The responses have no column {name!r}.{nearest(name, frame.columns)} They have: "
                f"{some(list(frame.columns), 6)}."
            )


def _check_min_n(min_n: int) -> None:
    if min_n < MIN_N:
        raise SchemaError(f"min_n={min_n} is below {MIN_N}, the least that is shown. Raise it.")
