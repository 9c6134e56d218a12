"""The answer of a mediation: paths, their effects, their contrasts, and how sure they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from ex_cx.errors import SpecError
from ex_cx.estimation.inference import expanded_level
from ex_cx.estimation.path_intervals import Interval, blank_shares, interval_columns
from ex_cx.estimation.path_levels import (
    FOUR_WAY,
    PathLevels,
    conditional_effects,
    exposure_ends,
    four_way,
    mediator_points,
    moderator_points,
    path_bands,
)
from ex_cx.models.mediation_spec import MediationSpec
from ex_cx.results import Result, sample_counts

__all__ = ["MediationResult"]

CONTRAST_BLOCK = 256
"""Contrasts whose draws are held at a time."""
CONVENTIONS: dict[str, str] = {
    "percentile": (
        "cluster bootstrap, effects re-estimated in every draw; percentile interval and p-value "
        "expanded for the number of clusters"
    ),
    "bca": (
        "cluster bootstrap, effects re-estimated in every draw; BCa interval and p-value, "
        "acceleration from the jackknife of clusters, expanded for the number of clusters"
    ),
    "monte_carlo": (
        "Monte Carlo from the joint CR1 covariance of all equations; percentile interval and "
        "p-value expanded for the number of clusters"
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class MediationResult(Result):
    """Paths, indirect, direct and total effects with cluster bootstrap intervals.

    An indirect effect is causal only if there is no unmeasured confounding of exposure and
    mediator, exposure and outcome, or mediator and outcome, and no such confounder is itself moved
    by the exposure. It is a product of associations otherwise.

    Attributes
    ----------
    spec : the request, verbatim.
    terms : a:<m>, b:<m> (all mediators), in a serial model d:<m1>-><m2>, then direct,
        indirect:<path>, indirect, total, proportion_mediated; a path is a mediator or, in a serial
        model, <m1>-><m2> and so on. With several exposures a:<x>-><m>, b, d, and then for each
        exposure direct:<x>, indirect:<x>-><path>, indirect:<x>, total:<x>,
        proportion_mediated:<x>. With a moderator, or interaction, those of
        `estimation.conditional_paths`, at the means of `levels`.
    estimates : shape (terms,), outcome units per unit of exposure; a in mediator units per unit of
        exposure, b in outcome units per unit of mediator; the proportion has none.
    draws : shape (sound draws, terms), the bootstrap or Monte Carlo distribution.
    n_boot, draws_failed : draws asked for, and those in which a path was not identified.
    interval : kind of interval.
    factor : small-sample factor of CR1 errors, by which bootstrap intervals are expanded; 1 for
        Monte Carlo intervals, whose covariance holds it already.
    n_obs, n_units, n_periods, n_clusters, rows_in, lost : counts as in `PanelResult`.
    warnings : what makes a right number fragile.
    left_out : shape (G, terms), the terms without each cluster in turn; None unless bca.
    steps : path -> the terms of its steps, e.g. indirect:m -> (a:m, b:m).
    rivals : groups of paths that `contrasts` compares, one group an exposure.
    levels : the values at which the terms hold, where paths depend on a value.
    spreads : term of the spec -> root of its sum of squares on the rows used, net of the absorbed
        effects; ratios of two are those of their standard deviations.
    """

    spec: MediationSpec
    terms: tuple[str, ...]
    estimates: np.ndarray
    draws: np.ndarray
    n_boot: int
    draws_failed: int
    interval: Interval
    factor: float
    n_obs: int
    n_units: int
    n_periods: int
    n_clusters: int
    rows_in: int
    lost: dict[str, int]
    warnings: tuple[str, ...]
    left_out: np.ndarray | None = None
    steps: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    rivals: tuple[tuple[str, ...], ...] = ()
    levels: PathLevels | None = None
    spreads: Mapping[str, float] = field(default_factory=dict)

    def tidy(self, conf_level: float = 0.95) -> pd.DataFrame:
        """One row per term: the standard error is the standard deviation of the draws.

        Tails are expanded for the number of clusters. There is no test statistic; p-values are
        (1 + hits) / (1 + draws) in the smaller tail, doubled, corrected (bca) and expanded alike:
        below 1 - conf_level the interval excludes zero. The proportion mediated is missing where
        the interval of the total holds zero, and where direct and indirect have opposite signs:
        then they are no shares of the total.
        """
        return blank_shares(
            self._columns(self.terms, self.estimates, self.draws, self.left_out, conf_level)
        )

    def contrasts(self, conf_level: float = 0.95) -> pd.DataFrame:
        """Every difference between two paths of one exposure: contrast:<path 1>-<path 2>.

        The tidy columns, in outcome units per unit of exposure; intervals as in `tidy`, from the
        same draws. Effects keep their signs: of two opposite ones the difference is the larger.
        No row where there is one path; a chain of 4 mediators has 105, one of 8 has 32,385.
        """
        where = {term: at for at, term in enumerate(self.terms)}
        pairs = [pair for group in self.rivals for pair in combinations(group, 2)]
        frames: list[pd.DataFrame] = []
        for at in range(0, len(pairs), CONTRAST_BLOCK):
            block = pairs[at : at + CONTRAST_BLOCK]
            one, other = ([where[pair[side]] for pair in block] for side in (0, 1))
            names = tuple(f"contrast:{_path(p)}-{_path(q)}" for p, q in block)
            left = self.left_out
            columns = self._columns(
                names,
                self.estimates[one] - self.estimates[other],
                self.draws[:, one] - self.draws[:, other],
                None if left is None else left[:, one] - left[:, other],
                conf_level,
            )
            frames.append(pd.DataFrame(columns))
        if not frames:
            return self.tidy(conf_level).iloc[:0]
        return pd.concat(frames, ignore_index=True)

    def conditional(
        self, at: Sequence[float] | np.ndarray | None = None, *, conf_level: float = 0.95
    ) -> pd.DataFrame:
        """Paths and effects where the moderator has given values, with intervals and a band.

        Parameters
        ----------
        at : values of the moderator (deviations from the unit's own mean with products='within');
            None means its 10th, 25th, 50th, 75th and 90th percentile on the rows used, or each of
            its values where there are no more than five.

        Returns
        -------
        The tidy columns, then moderator (its value), band_low and band_high (percentiles of the
        draws that hold at all values shown at once); terms a:<m>, b:<m>, direct, indirect:<m>,
        indirect, total, one row for each value. Intervals as in `tidy`, from the same draws.

        Raises
        ------
        SpecError : a mediation without moderator, or values beyond those of the rows used.
        """
        levels = self.levels
        if levels is None or self.spec.moderator is None:
            raise SpecError(
                "This mediation has no moderator. Name one in the spec, e.g. moderator='w', "
                "moderated=('a',)."
            )
        points = moderator_points(levels, at, self.spec.moderator)
        keys, estimates = conditional_effects(levels, self.estimates[None], points)
        draws = conditional_effects(levels, self.draws, points)[1]
        left = self.left_out
        left = None if left is None else conditional_effects(levels, left, points)[1]
        terms = tuple(term for term, _ in keys)
        frame = pd.DataFrame(self._columns(terms, estimates[0], draws, left, conf_level))
        level = expanded_level(conf_level, self.n_clusters, self.factor)
        low, high = path_bands(draws, len(points), level)
        values = [value for _, value in keys]
        return frame.assign(moderator=values, band_low=low, band_high=high)

    def decomposition(
        self,
        exposure: tuple[float, float] | None = None,
        mediators: Sequence[float] | None = None,
        *,
        conf_level: float = 0.95,
    ) -> pd.DataFrame:
        """The total effect in four parts, by mediation and interaction, and their sums.

        Parameters
        ----------
        exposure : from, to; None means one unit up from its mean on the rows used, or from the
            lower to the higher of two values.
        mediators : a value for each at which the controlled direct effect holds; None means their
            means. At both means the reference interaction is zero by construction.

        Returns
        -------
        The tidy columns; terms controlled_direct, reference_interaction, mediated_interaction,
        pure_indirect, pure_direct, total_indirect, total, in outcome units for this change of the
        exposure (`estimation.path_levels.four_way` has the formulae and their source).

        Raises
        ------
        SpecError : a mediation without interaction, an exposure beyond the rows used, or not one
            value for each mediator.
        """
        levels = self.levels
        if levels is None or not self.spec.interaction:
            raise SpecError(
                "This mediation has no exposure-mediator interaction. Ask for it in the spec: "
                "interaction=True."
            )
        ends = exposure_ends(levels, exposure, self.spec.single_exposure)
        held = mediator_points(levels, mediators)
        left = self.left_out
        columns = self._columns(
            FOUR_WAY,
            four_way(levels, self.estimates[None], ends, held)[0],
            four_way(levels, self.draws, ends, held),
            None if left is None else four_way(levels, left, ends, held),
            conf_level,
        )
        return pd.DataFrame(columns)

    def _columns(
        self,
        terms: tuple[str, ...],
        estimates: np.ndarray,
        draws: np.ndarray,
        left_out: np.ndarray | None,
        conf_level: float,
    ) -> dict[str, Any]:
        return interval_columns(
            terms,
            estimates,
            draws,
            kind=self.interval,
            conf_level=conf_level,
            n_clusters=self.n_clusters,
            factor=self.factor,
            left_out=left_out,
        )

    def glance(self) -> pd.DataFrame:
        """One row: counts, rows lost and why, draws, conventions, warnings."""
        spec = self.spec
        return pd.DataFrame(
            {
                "outcome": [spec.outcome],
                "exposure": ", ".join(spec.exposures),
                "mediators": ", ".join(spec.mediators),
                "structure": spec.structure,
                "depends_on": self._depends_on(),
                "absorbed": " + ".join(spec.absorb) or "constant",
                "interval": self.interval,
                "n_boot": self.n_boot,
                "draws_failed": self.draws_failed,
                **sample_counts(self),
                "convention": CONVENTIONS[self.interval],
                "warnings": "; ".join(self.warnings),
            }
        )

    def _depends_on(self) -> str:
        """What paths depend on, and of what products are made; nothing where they do not."""
        spec = self.spec
        if spec.moderator is None and not spec.interaction:
            return ""
        made = "as they are" if spec.products == "raw" else "net of unit means"
        if spec.interaction:
            return f"exposure-mediator interaction (factors {made})"
        return f"{', '.join(spec.moderated)} moderated by {spec.moderator} (factors {made})"

    def _headline(self) -> str:
        arrow = " -> " if self.spec.structure == "serial" else ", "
        through = arrow.join(self.spec.mediators)
        exposures = ", ".join(self.spec.exposures)
        return f"{exposures} -> {through} -> {self.spec.outcome}, {self.n_obs} rows"


def _path(term: str) -> str:
    return term.removeprefix("indirect:")
