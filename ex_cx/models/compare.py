"""Panel regressions side by side, and the rows behind a slope."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from ex_cx.errors import SpecError, nearest
from ex_cx.estimation.inference import check_rank, solve_equation
from ex_cx.linkage.panel import Panel
from ex_cx.models.regress import compress_panel, fit_panel
from ex_cx.models.spec import Estimator, PanelSpec, term_name

__all__ = ["compare_estimators", "within_bins"]


def compare_estimators(
    panel: Panel,
    spec: PanelSpec,
    estimators: Sequence[Estimator] = ("pooled", "between", "within"),
    conf_level: float = 0.95,
) -> pd.DataFrame:
    """The same terms by several estimators, side by side.

    Returns
    -------
    The tidy columns, then estimator, n_obs, n_clusters; one row per estimator and term. Each uses
    the rows that it can: within drops units and periods seen once, first_difference gaps.
    """
    frames = []
    for estimator in estimators:
        result = fit_panel(panel, replace(spec, estimator=estimator))
        counts = {"n_obs": result.n_obs, "n_clusters": result.n_clusters}
        frames.append(result.tidy(conf_level).assign(estimator=estimator, **counts))
    return pd.concat(frames, ignore_index=True)


def within_bins(
    panel: Panel, spec: PanelSpec, exposure: str | None = None, n_bins: int = 20
) -> pd.DataFrame:
    """Bin means of outcome and exposure, net of the effects and of all other terms.

    Parameters
    ----------
    exposure : a term of the spec; None means the first exposure.
    n_bins : bins of equal size by exposure; fewer where rows are few.

    Returns
    -------
    exposure, outcome (bin means, moved to the means of the rows used, natural units), n (rows). The
    least-squares line through the rows has the slope that `fit_panel` reports.
    """
    if spec.estimator in ("random", "correlated_random"):
        raise SpecError(
            f"estimator={spec.estimator!r} moves rows by part of their unit's mean, so its bins "
            "have no natural units. Draw them for estimator='within'."
        )
    compressed = compress_panel(panel, spec)
    design, moments, names = compressed.design, compressed.moments, compressed.terms
    label = term_name(exposure or spec.exposures[0], spec)
    if label not in names:
        raise SpecError(
            f"{exposure!r} is not a term of the spec ({', '.join(names)}).{nearest(label, names)}"
        )
    wanted = names.index(label) + 1
    others = [j for j in range(1, len(names) + 1) if j != wanted]
    rows = np.concatenate([block.copy() for block in moments.demeaned()], axis=1)
    x, y = rows[wanted].copy(), rows[0].copy()
    if others:
        check_rank(
            moments.total[np.ix_(others, others)],
            moments.before[others],
            [names[j - 1] for j in others],
            compressed.absorbed,
        )
        x -= solve_equation(moments.total, wanted, others) @ rows[others]
        y -= solve_equation(moments.total, 0, others) @ rows[others]
    size = np.argsort(np.argsort(x, kind="stable"), kind="stable")
    bins = size * min(n_bins, len(x)) // len(x)
    count = np.bincount(bins)
    return pd.DataFrame(
        {
            "exposure": np.bincount(bins, weights=x) / count + design.columns[wanted].mean(),
            "outcome": np.bincount(bins, weights=y) / count + design.columns[0].mean(),
            "n": count,
        }
    )
