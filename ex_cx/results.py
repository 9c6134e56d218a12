"""What every answer looks like: tidy rows, one glance row, text and HTML made from those two."""

from __future__ import annotations

import abc
import html

import pandas as pd

__all__ = ["TIDY", "Result"]

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
        tidy = self.tidy().to_html(index=False, escape=True, float_format=lambda v: f"{v:.4g}")
        glance = self.glance().T.to_html(header=False, escape=True)
        return (
            f"<p><strong>{html.escape(self._headline())}</strong></p>{tidy}"
            f"<details><summary>Counts and conventions</summary>{glance}</details>"
        )
