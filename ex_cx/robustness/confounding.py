"""How strong must an unmeasured confounder of mediator and outcome be to undo a mediation?

The errors of the mediator and of the outcome equation are uncorrelated if nothing unmeasured moves
both. With a correlation rho between them the indirect effect is

    a s (r - rho sqrt((1 - r^2) / (1 - rho^2)))

where, net of exposure, controls, the other mediators and the absorbed effects, r is the correlation
of mediator and outcome and s the ratio of the outcome's to the mediator's standard deviation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ex_cx.errors import InferenceError, SpecError
from ex_cx.estimation.inference import (
    bootstrap_counts,
    bootstrap_p_values,
    expanded_level,
    expanded_p_values,
    percentile_interval,
    sweep_columns,
)
from ex_cx.estimation.path_intervals import check_draws, short_of_draws
from ex_cx.linkage.panel import Panel
from ex_cx.models.mediation import MediationSpec
from ex_cx.results import Result, sample_counts
from ex_cx.robustness.mediation_rows import MediationRows, mediation_rows

__all__ = ["MediationSensitivity", "mediation_sensitivity"]

FEWEST_SOUND = 0.9
"""Share of draws that must identify every path."""
DRAW_BLOCK = 512
"""Draws held as cross-products at a time."""
FARTHEST = 0.9999
"""Correlation up to which a crossing is looked for."""
ASSUMED = (
    "about unmeasured mediator-outcome confounders that the exposure does not move; "
    "the exposure is taken as unconfounded"
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class MediationSensitivity(Result):
    """Indirect effects as a function of the correlation of mediator and outcome errors.

    Attributes
    ----------
    spec : the request, verbatim.
    rho : shape (m,), the correlations of the curve.
    parts : shape (mediators, 3), a, r and s of the module's formula.
    draws : shape (sound draws, mediators, 3), their cluster bootstrap distribution.
    unexplained : shape (mediators,), (1 - R2 of the mediator's) (1 - R2 of the outcome's equation),
        net of the absorbed effects.
    n_boot, draws_failed : draws asked for, and those in which a path was not identified.
    factor : small-sample factor of CR1 errors, by which percentile intervals are expanded.
    n_obs, n_units, n_periods, n_clusters, rows_in, lost : counts as in `PanelResult`.
    """

    spec: MediationSpec
    rho: np.ndarray
    parts: np.ndarray
    draws: np.ndarray
    unexplained: np.ndarray
    n_boot: int
    draws_failed: int
    factor: float
    n_obs: int
    n_units: int
    n_periods: int
    n_clusters: int
    rows_in: int
    lost: dict[str, int]

    def tidy(self, conf_level: float = 0.95) -> pd.DataFrame:
        """One row per indirect path, as if nothing were unmeasured, and what undoes it.

        After the tidy columns: `rho_zero`, the correlation at which the estimate is zero;
        `rho_interval`, that at which the nearer end of the interval is (0: it holds zero already);
        `r2_residual`, rho_zero squared: the product of the shares of the two errors' variances that
        a confounder must explain; `r2_total`, the same as shares of the whole variances (net of the
        absorbed effects).
        """
        level = expanded_level(conf_level, self.n_clusters, self.factor)
        plain = np.stack([self._draws_at(j, np.zeros(1))[:, 0] for j in range(len(self.parts))], 1)
        low, high = percentile_interval(plain, level)
        zero = self.parts[:, 1]
        return pd.DataFrame(
            {
                "term": [f"indirect:{m}" for m in self.spec.mediators],
                "estimate": [float(_indirect(part, np.zeros(1))[0]) for part in self.parts],
                "std_error": plain.std(axis=0, ddof=1),
                "statistic": np.nan,
                "p_value": expanded_p_values(
                    bootstrap_p_values(plain), self.n_clusters, self.factor
                ),
                "conf_low": low,
                "conf_high": high,
                "conf_level": conf_level,
                "rho_zero": zero,
                "rho_interval": [
                    self._crossing(j, level, (low[j], high[j])) for j in range(len(self.parts))
                ],
                "r2_residual": zero**2,
                "r2_total": zero**2 * self.unexplained,
            }
        )

    def curve(self, conf_level: float = 0.95) -> pd.DataFrame:
        """Columns term, rho, estimate, conf_low, conf_high, conf_level: the whole curve."""
        level = expanded_level(conf_level, self.n_clusters, self.factor)
        frames = []
        for j, mediator in enumerate(self.spec.mediators):
            low, high = percentile_interval(self._draws_at(j, self.rho), level)
            frames.append(
                pd.DataFrame(
                    {
                        "term": f"indirect:{mediator}",
                        "rho": self.rho,
                        "estimate": _indirect(self.parts[j], self.rho),
                        "conf_low": low,
                        "conf_high": high,
                        "conf_level": conf_level,
                    }
                )
            )
        return pd.concat(frames, ignore_index=True)

    def glance(self) -> pd.DataFrame:
        """One row: counts, rows lost and why, draws, conventions, warnings."""
        spec = self.spec
        return pd.DataFrame(
            {
                "outcome": [spec.outcome],
                "exposure": spec.single_exposure,
                "mediators": ", ".join(spec.mediators),
                "absorbed": " + ".join(spec.absorb) or "constant",
                "n_boot": self.n_boot,
                "draws_failed": self.draws_failed,
                **sample_counts(self),
                "convention": (
                    "Imai, Keele and Yamamoto (2010), linear; one mediator at a time, the others "
                    "held in its error too; cluster bootstrap, expanded percentile intervals"
                ),
                "warnings": "; ".join((ASSUMED, *self._short_of_draws())),
            }
        )

    def _headline(self) -> str:
        through = ", ".join(self.spec.mediators)
        return f"{self.spec.single_exposure} -> {through} -> {self.spec.outcome}: sensitivity"

    def _short_of_draws(self) -> list[str]:
        tail = (1 - expanded_level(0.95, self.n_clusters, self.factor)) / 2
        return short_of_draws(len(self.draws), tail, self.n_clusters)

    def _draws_at(self, mediator: int, rho: np.ndarray) -> np.ndarray:
        """Draws of the indirect effect, shape (draws, correlations)."""
        return _indirect(self.draws[:, mediator, :, None].swapaxes(0, 1), rho)

    def _crossing(self, mediator: int, level: float, ends: tuple[float, float]) -> float:
        """The correlation nearest to 0 at which the end of the interval that is nearer to 0 is 0.

        It lies on the side of r; NaN where no correlation below 0.9999 does it.
        """
        from scipy.optimize import brentq

        if not (ends[0] > 0 or ends[1] < 0):
            return 0.0
        side = 0 if ends[0] > 0 else 1

        def bound(rho: float) -> float:
            draws = self._draws_at(mediator, np.array([rho]))
            return float(percentile_interval(draws, level)[side][0])

        grid = np.linspace(0, FARTHEST * np.sign(self.parts[mediator, 1]), 51)
        values = [bound(rho) for rho in grid]
        crossed = np.flatnonzero(np.sign(values) != np.sign(values[0]))
        if not len(crossed):
            return float("nan")
        return float(brentq(bound, grid[crossed[0] - 1], grid[crossed[0]], xtol=1e-12))


def mediation_sensitivity(
    panel: Panel,
    spec: MediationSpec,
    *,
    rho: np.ndarray | None = None,
    n_boot: int = 4999,
    rng: np.random.Generator,
) -> MediationSensitivity:
    """The indirect effect under any correlation of mediator and outcome errors, with intervals.

    Parameters
    ----------
    panel, spec : as for `fit_mediation`; one exposure, parallel mediators. Of several mediators
        each is looked at alone, the others held as the outcome equation holds them: the
        correlation is that of the outcome's error with the part of the mediator that they and the
        exposure leave.
    rho : shape (m,), correlations of the curve, each between -1 and 1; by default -0.9 to 0.9.
    n_boot : draws of clusters; at least 99. With the same state of `rng` and rho = 0, the numbers
        of `fit_mediation`.

    Raises
    ------
    SpecError : as `fit_mediation`; several exposures, a chain of mediators, or a correlation that
        is none.
    RankError, InferenceError : as `fit_mediation`.

    Notes
    -----
    Nothing is refitted: estimate and draws come from the cross-products of the clusters, the
    absorbed effects re-estimated in each draw. A confounder that acts on mediator and outcome in
    the same direction makes rho positive. That there is none cannot be seen in the data.
    Source: Imai, Keele and Yamamoto (2010), Statistical Science 25(1), 51-71, theorem 4 and
    section 5.2 for the products of R2.

    Examples
    --------
    >>> rng = np.random.default_rng(7)
    >>> x = rng.normal(size=400)
    >>> m = 0.5 * x + rng.normal(size=400)
    >>> units, periods = np.divmod(np.arange(400), 8)
    >>> rows = pd.DataFrame({"unit": units, "period": periods,
    ...                      "x": x, "m": m, "y": 0.4 * m + rng.normal(size=400)})
    >>> panel = Panel.from_frame(rows, unit="unit", period="period")
    >>> spec = MediationSpec(outcome="y", exposure="x", mediators=("m",))
    >>> row = mediation_sensitivity(panel, spec, n_boot=999, rng=rng).tidy().iloc[0]
    >>> bool(0 < row["rho_interval"] < row["rho_zero"] < 0.5)
    True
    """
    grid = _grid(rho)
    _check_chain(spec)
    check_draws(n_boot, "percentile", rng)
    rows = mediation_rows(panel, spec)
    cross, before = rows.moments.total[None], rows.moments.before
    blocks = []
    for at in range(0, n_boot, DRAW_BLOCK):
        counts = bootstrap_counts(rows.moments.n_clusters, min(DRAW_BLOCK, n_boot - at), rng)
        blocks.append(_parts(rows, rows.moments.cross_products(counts), before))
    draws = np.concatenate(blocks)
    sound = np.isfinite(draws).all(axis=(1, 2))
    if sound.mean() < FEWEST_SOUND:
        raise InferenceError(
            f"In {int((~sound).sum())} of {n_boot} draws of {rows.design.n_clusters} clusters a "
            "path is not identified: too few clusters carry the variation. Use fewer terms, or "
            "more clusters."
        )
    richest = max(len(equation.regressors) for equation in rows.model.equations)
    return MediationSensitivity(
        spec=spec,
        rho=grid,
        parts=_parts(rows, cross, before)[0],
        draws=draws[sound],
        unexplained=_unexplained(rows),
        n_boot=n_boot,
        draws_failed=int((~sound).sum()),
        factor=rows.factor(richest),
        **rows.design.counts(),
    )


def _indirect(parts: np.ndarray, rho: np.ndarray) -> np.ndarray:
    """The module's formula for parts a, r, s along the first axis."""
    a, r, s = parts
    return np.asarray(a * s * (r - rho * np.sqrt((1 - r**2) / (1 - rho**2))))


def _grid(rho: np.ndarray | None) -> np.ndarray:
    if rho is None:
        return np.linspace(-0.9, 0.9, 181)
    try:
        grid = np.atleast_1d(np.asarray(rho, dtype=float))
    except (TypeError, ValueError):
        grid = np.zeros(0)
    if grid.ndim != 1 or not len(grid) or not (np.abs(grid) < 1).all():
        raise SpecError(
            "rho holds correlations, each between -1 and 1 (exclusive), in one dimension: "
            "for example numpy.linspace(-0.9, 0.9, 181)."
        )
    return grid


def _check_chain(spec: MediationSpec) -> None:
    if spec.structure == "serial" and len(spec.mediators) > 1:
        raise SpecError(
            "In a chain of mediators each link may be confounded, and one correlation does not "
            "say how. Use structure='parallel', or one mediator with those before it as controls."
        )


def _parts(rows: MediationRows, cross: np.ndarray, before: np.ndarray) -> np.ndarray:
    """a, r and s of each mediator, shape (draws, mediators, 3)."""
    n = len(rows.spec.mediators)
    first = list(rows.model.equations[0].regressors)
    plain = sweep_columns(cross, first, before)
    out = np.empty((len(cross), n, 3))
    for j in range(n):
        at = 2 + j
        others = [2 + other for other in range(n) if other != j]
        left = sweep_columns(plain, others) if others else plain
        spread = left[:, at, at] * left[:, 0, 0]
        with np.errstate(divide="ignore", invalid="ignore"):
            out[:, j, 0] = plain[:, at, 1]
            out[:, j, 1] = np.clip(left[:, at, 0] / np.sqrt(spread), -1.0, 1.0)
            out[:, j, 2] = np.sqrt(left[:, 0, 0] / left[:, at, at])
    return out


def _unexplained(rows: MediationRows) -> np.ndarray:
    """(1 - R2) of each mediator's equation, others held, times that of the outcome's."""
    total = rows.moments.total
    outcome = rows.model.equations[len(rows.spec.mediators)]
    regressors = list(outcome.regressors)
    left_y = sweep_columns(total[None], regressors)[0][0, 0] / total[0, 0]
    out = []
    for j in range(len(rows.spec.mediators)):
        held = [at for at in regressors if at != 2 + j]
        left_m = sweep_columns(total[None], held)[0][2 + j, 2 + j] / total[2 + j, 2 + j]
        out.append(left_m * left_y)
    return np.array(out)
