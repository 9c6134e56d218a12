"""What every answer looks like: tidy rows, one glance row, text and HTML made from those two."""

from __future__ import annotations

import abc
import html
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import pandas as pd

__all__ = ["TIDY", "Result", "intervals_svg", "sample_counts"]

TIDY = (
    "term",
    "estimate",
    "std_error",
    "statistic",
    "p_value",
    "conf_low",
    "conf_high",
    "conf_level",
)
"""The columns of every `tidy()`, in this order; NaN where a quantity does not exist."""


class _Sample(Protocol):
    """What an answer that rests on a unit x period panel says of its rows."""

    @property
    def n_obs(self) -> int: ...
    @property
    def n_units(self) -> int: ...
    @property
    def n_periods(self) -> int: ...
    @property
    def n_clusters(self) -> int: ...
    @property
    def rows_in(self) -> int: ...
    @property
    def lost(self) -> Mapping[str, int]: ...


def sample_counts(sample: _Sample) -> dict[str, Any]:
    """The columns of a glance row that count rows used, and lost with the reason."""
    return {
        "n_obs": sample.n_obs,
        "n_units": sample.n_units,
        "n_periods": sample.n_periods,
        "n_clusters": sample.n_clusters,
        "rows_in": sample.rows_in,
        "rows_lost": sum(sample.lost.values()),
        "lost": "; ".join(f"{n} {reason}" for reason, n in sample.lost.items()),
    }


class Result(abc.ABC):
    """Base of every model's answer: what it stores is presented the same way everywhere."""

    __slots__ = ()

    @abc.abstractmethod
    def tidy(self, conf_level: float = 0.95) -> pd.DataFrame:
        """One row per term, exactly the columns of `TIDY`."""

    @abc.abstractmethod
    def glance(self) -> pd.DataFrame:
        """One row per model: counts, rows lost and why, fit, conventions, warnings."""

    @abc.abstractmethod
    def _headline(self) -> str:
        """One line that says what was estimated."""

    def summary(self, conf_level: float = 0.95) -> str:
        """The tidy and glance frames as text; nothing is recomputed."""
        tidy = self.tidy(conf_level).drop(columns="conf_level")
        glance = self.glance().iloc[0]
        facts = "\n".join(f"  {name}: {value}" for name, value in glance.items())
        level = f"{100 * conf_level:g} % intervals"
        return f"{self._headline()}\n{tidy.to_string(index=False)}\n({level})\n{facts}"

    def __repr__(self) -> str:
        """One line; the dataclasses that derive from this leave theirs out (`repr=False`)."""
        return f"<{type(self).__name__} {self._headline()}; .tidy(), .glance(), .summary()>"

    def _repr_html_(self) -> str:
        tidy = self.tidy()
        table = tidy.to_html(index=False, escape=True, float_format=lambda v: f"{v:.4g}")
        glance = self.glance().T.to_html(header=False, escape=True)
        return (
            f"<p><strong>{html.escape(self._headline())}</strong></p>"
            f"{intervals_svg(tidy)}{table}"
            f"<details><summary>Counts and conventions</summary>{glance}</details>"
        )


def intervals_svg(tidy: pd.DataFrame, most: int = 24) -> str:
    """Terms with their intervals, as a picture made of text: no plotting library is loaded.

    Each line has a scale of its own, to the end of its interval that is further from zero, because
    terms are in different units. A filled point: the interval excludes zero. Rows without an
    interval are left out; empty if none is left.

    Parameters
    ----------
    tidy : as `Result.tidy()` returns it. most : lines drawn; how many more there are is told.

    >>> row = {"term": "x", "estimate": 2.0, "conf_low": 1.0, "conf_high": 3.0, "conf_level": 0.95}
    >>> 'aria-label="95 % intervals. x 2 (1 to 3)."' in intervals_svg(pd.DataFrame([row]))
    True
    """
    ends = tidy[["estimate", "conf_low", "conf_high"]].astype(float)
    drawn = tidy.iloc[np.flatnonzero(np.isfinite(ends).all(axis=1))]
    if not len(drawn):
        return ""
    level = f"{100 * float(drawn['conf_level'].iloc[0]):g} % intervals"
    lines, said = [], []
    for at, row in enumerate(drawn.head(most).to_dict("records")):
        lines.append(_line(row, 26 * at + 20))
        numbers = [f"{row[name]:.3g}" for name in ("estimate", "conf_low", "conf_high")]
        said.append(f"{row['term']} {numbers[0]} ({numbers[1]} to {numbers[2]})")
    more = f"; {len(drawn) - most} further terms in the table" if len(drawn) > most else ""
    foot = 26 * len(lines) + 22
    note = (
        f"{level}; left of the line negative, right positive; each on its own scale; filled: "
        f"excludes zero{more}"
    )
    lines.append(f'<text x="0" y="{foot}" font-size="11" opacity="0.75">{html.escape(note)}</text>')
    alt = html.escape(f"{level}. {'; '.join(said)}{more}.", quote=True)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{alt}" '
        f'viewBox="0 0 560 {foot + 8}" width="560" height="{foot + 8}" fill="currentColor" '
        'stroke="none" font-family="sans-serif" font-size="12" style="max-width:100%;height:auto">'
        f"{''.join(lines)}</svg>"
    )


def _line(row: Mapping[Any, Any], y: int) -> str:
    """One term at height `y`: its name, the line of zero, the interval and the point."""
    low, high = float(row["conf_low"]), float(row["conf_high"])
    far = max(abs(low), abs(high), np.finfo(float).tiny)
    start, end, point = (390 + 150 * (value / far) for value in (low, high, float(row["estimate"])))
    name = str(row["term"])
    name = name if len(name) <= 32 else name[:31] + "…"
    fill = "currentColor" if low > 0 or high < 0 else "none"
    return (
        f'<text x="0" y="{y + 4}">{html.escape(name)}</text>'
        f'<g stroke="currentColor"><path d="M390 {y - 13}V{y + 13}" stroke-opacity="0.4"/>'
        f'<path d="M{start:.1f} {y}H{end:.1f}" stroke-width="2.5"/></g>'
        f'<circle cx="{point:.1f}" cy="{y}" r="4.5" fill="{fill}" stroke="currentColor" '
        'stroke-width="1.5"/>'
    )
