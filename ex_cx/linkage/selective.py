"""Are the rows that were lost different from those that were kept?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd

from ex_cx.linkage.link import Linked
from ex_cx.linkage.panel import Panel

__all__ = ["FEWEST_UNITS", "LARGE", "SMALL", "compare_lost"]

FEWEST_UNITS = 5
"""Fewer units on one side, and its mean is not shown."""
_HIDDEN = f"fewer than {FEWEST_UNITS} units on one side: means are not shown."
SMALL, LARGE = 0.1, 0.25
"""Standardised differences from which a loss is a caution, and limits the claim (Austin 2009;
Stuart 2010)."""
_SHIFT = 0.02
"""A loss that moves the mean of all rows by fewer standard deviations is too small to matter."""


def compare_lost(
    linked: Linked,
    columns: Sequence[str],
    *,
    kept: Literal["complete", "linked"] = "complete",
    conf_level: float = 0.95,
) -> pd.DataFrame:
    """Each column's mean in the unit-periods that are kept and in those that are lost.

    Parameters
    ----------
    linked : the panel and its audit.
    columns : outcome and exposures.
    kept : "complete" keeps rows with a value in all `columns`, "linked" those seen in every source.

    Returns
    -------
    One row per column and reason: column, side (the source it comes from), lost_by, kept, lost,
    kept_units, lost_units, kept_mean, lost_mean, difference (lost less kept), std_error, conf_low,
    conf_high, standardised, verdict, reading. Only rows with a value of the column can be compared.

    Notes
    -----
    The error is that of the slope of a least-squares line on "lost", clustered by the panel's
    clusters: CR1, factor G/(G-1) (n-1)/(n-2), t with G - 1 degrees of freedom. The standardised
    difference divides by the root of the mean of the two variances (n - 1). Means of fewer than
    five units on a side are missing. A loss that moves the mean by less than 0.02 standard
    deviations is clear whatever its kind.

    Raises
    ------
    PanelError : a column that does not exist.
    """
    panel = linked.panel
    values = {name: panel.column(name).to_numpy(dtype=float) for name in columns}
    seen = _seen(panel)
    complete = np.all([~np.isnan(v) for v in values.values()], axis=0)
    stays = seen if kept == "linked" else complete
    sides = _sides(linked)
    rows = []
    for name, y in values.items():
        reasons = {"all": ~stays}
        if kept == "complete" and (~seen & ~stays).any() and (seen & ~stays).any():
            reasons["not seen in every source"] = ~seen & ~stays
            reasons["a column without a value"] = seen & ~stays
        found = {
            reason: _compare(panel, y, stays, lost, conf_level) for reason, lost in reasons.items()
        }
        rows += [
            {"column": name, "side": sides.get(name, ""), "lost_by": reason, **values}
            for reason, values in _not_told_apart(found).items()
        ]
    return pd.DataFrame(rows)


def _not_told_apart(found: dict[str, dict[str, object]]) -> dict[str, dict[str, object]]:
    """All less one reason is the other: where one is withheld, both are."""
    parts = [reason for reason in found if reason != "all"]
    if not any(found[reason]["reading"] == _HIDDEN for reason in parts):
        return found
    hidden = {**dict.fromkeys(_NUMBERS, np.nan), "verdict": "clear", "reading": _HIDDEN}
    return {
        reason: {**values, **hidden} if reason in parts and values["lost"] else values
        for reason, values in found.items()
    }


def _seen(panel: Panel) -> np.ndarray:
    if "linked" not in panel.frame:
        return np.ones(len(panel), dtype=bool)
    return panel.frame["linked"].to_numpy(dtype=bool)


def _sides(linked: Linked) -> dict[str, str]:
    known = linked.audit.definitions
    return dict(zip(known["column"], known["source"], strict=True)) if len(known) else {}


def _compare(
    panel: Panel, y: np.ndarray, stays: np.ndarray, lost: np.ndarray, conf_level: float
) -> dict[str, object]:
    use = ~np.isnan(y)
    sides = (use & stays, use & lost)
    units = [len(np.unique(panel.unit_codes[side])) for side in sides]
    counts = {
        "kept": int(sides[0].sum()),
        "lost": int(sides[1].sum()),
        "kept_units": units[0],
        "lost_units": units[1],
    }
    blank = dict.fromkeys(_NUMBERS, np.nan)
    if counts["lost"] == 0:
        reading = "no row with a value was lost: nothing to compare."
        return {**counts, **blank, "verdict": "clear", "reading": reading}
    if min(units) < FEWEST_UNITS:
        return {**counts, **blank, "verdict": "clear", "reading": _HIDDEN}
    means = [float(y[side].mean()) for side in sides]
    either = sides[0] | sides[1]
    error, df = _clustered_error(y[either], sides[1][either], _clusters(panel)[either])
    difference = means[1] - means[0]
    half = _quantile(df, conf_level) * error
    spread = float(np.sqrt(np.mean([y[side].var(ddof=1) for side in sides])))
    standardised = difference / spread if spread > 0 else np.nan
    numbers = (*means, difference, error, difference - half, difference + half, standardised)
    verdict = _verdict(standardised, abs(difference) > half, counts["lost"] / either.sum())
    reading = _reading(standardised, abs(difference) > half, counts["lost"] / either.sum())
    shown = dict(zip(_NUMBERS, numbers, strict=True))
    return {**counts, **shown, "verdict": verdict, "reading": reading}


_NUMBERS = (
    *("kept_mean", "lost_mean", "difference", "std_error"),
    *("conf_low", "conf_high", "standardised"),
)


def _clusters(panel: Panel) -> np.ndarray:
    if panel.cluster is None:
        return panel.unit_codes
    return pd.factorize(panel.frame[panel.cluster])[0]


def _clustered_error(y: np.ndarray, lost: np.ndarray, clusters: np.ndarray) -> tuple[float, int]:
    """CR1 error of the difference of two means, and its degrees of freedom."""
    x = np.column_stack([np.ones(len(y)), lost.astype(float)])
    codes, labels = pd.factorize(clusters)
    g, n = len(labels), len(y)
    bread = np.linalg.inv(x.T @ x)
    residuals = y - x @ (bread @ (x.T @ y))
    scores = np.zeros((g, 2))
    np.add.at(scores, codes, x * residuals[:, None])
    if g < 2:
        return np.nan, 0
    vcov = g / (g - 1) * (n - 1) / (n - 2) * bread @ (scores.T @ scores) @ bread
    return float(np.sqrt(vcov[1, 1])), g - 1


def _quantile(df: int, conf_level: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(df, (1 + conf_level) / 2)) if df else np.nan


def _verdict(standardised: float, is_clear: bool, share: float) -> str:
    size = abs(standardised)
    if np.isnan(size) or size < SMALL or size * share < _SHIFT:
        return "clear"
    if size >= LARGE and is_clear:
        return "limits"
    return "caution" if is_clear or size >= LARGE else "clear"


def _reading(standardised: float, is_clear: bool, share: float) -> str:
    if np.isnan(standardised):
        return "the column does not vary: nothing to compare."
    higher = "higher" if standardised > 0 else "lower"
    size = f"{abs(standardised):.2f} standard deviations {higher}"
    part = f"the {100 * share:.1f} % of rows that were lost are"
    if abs(standardised) < SMALL:
        return f"{part} much like those kept ({size})."
    if not is_clear:
        return f"{part} {size}, which chance alone could bring: neither shown nor ruled out."
    few = ", though too few to move the mean much" if abs(standardised) * share < _SHIFT else ""
    return f"{part} {size} than those kept: the loss is selective{few}."
