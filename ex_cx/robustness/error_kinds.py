"""The same estimates with several kinds of errors: what few clusters do to an interval."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from ex_cx.errors import ExCxError, InferenceError
from ex_cx.linkage.panel import Panel
from ex_cx.models.regress import PanelResult, PanelSpec, fit_panel
from ex_cx.models.spec import term_name
from ex_cx.models.wild import wild_cluster_test
from ex_cx.results import TIDY
from ex_cx.robustness.findings import check_conf_level, why

__all__ = ["compare_errors"]

MANY_CLUSTERS = 2000
"""Clusters above which the wild bootstrap, which has nothing to add there, is left out."""


def compare_errors(
    panel: Panel,
    spec: PanelSpec,
    *,
    n_boot: int = 1999,
    conf_level: float = 0.95,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """The exposures' intervals by CR1, jackknife and wild bootstrap, beside the errors asked for.

    Parameters
    ----------
    panel, spec : as given to `fit_panel`.
    n_boot : draws of the wild bootstrap, at least 99.
    conf_level : of the intervals.
    rng : source of the draws; exposures take theirs in turn.

    Returns
    -------
    The tidy columns, then errors (`spec.vcov`, cluster, jackknife, wild), n_clusters, note; one row
    per exposure and kind. Errors that the rows do not admit have no numbers, and `note` says why.
    The wild bootstrap reports CR1's standard error and statistic, with its own p and interval;
    above 2,000 clusters it is left out.

    Raises
    ------
    SpecError, RankError, InferenceError : as `fit_panel`; InferenceError for a level outside 0-1 or
        fewer than 99 draws.

    Notes
    -----
    Which to believe, see `docs/panel_regression.md`; MacKinnon, Nielsen and Webb (2023), Journal of
    Econometrics 232(2), 272-299, advise to report the jackknife and the wild bootstrap together.

    Examples
    --------
    >>> rng = np.random.default_rng(3)
    >>> rows = pd.DataFrame({"unit": np.arange(120) % 12, "period": np.arange(120) // 12,
    ...                      "x": rng.normal(size=120)})
    >>> rows["y"] = rows["x"] + rng.normal(size=120)
    >>> panel = Panel.from_frame(rows, unit="unit", period="period")
    >>> kinds = compare_errors(panel, PanelSpec(outcome="y", exposures=("x",)), rng=rng)
    >>> kinds["errors"].tolist(), bool((kinds["conf_low"] > 0).all())
    (['cluster', 'jackknife', 'wild'], True)
    """
    check_conf_level(conf_level)
    if n_boot < 99:
        raise InferenceError(f"n_boot={n_boot} draws cannot carry a test; use at least 99.")
    asked = fit_panel(panel, spec)
    frames = []
    house = replace(spec, match="fixest")  # which has every kind
    for kind in dict.fromkeys((spec.vcov, "cluster", "jackknife")):
        own = spec if kind == spec.vcov else replace(house, vcov=kind)
        frames.append(_analytic(panel, own, conf_level))
    frames += _wild(panel, house, asked, n_boot, conf_level, rng)
    rows = pd.concat(frames, ignore_index=True)
    order = {name: at for at, name in enumerate(asked.terms)}
    return rows.sort_values("term", key=lambda terms: terms.map(order), kind="stable").reset_index(
        drop=True
    )


def _analytic(panel: Panel, spec: PanelSpec, conf_level: float) -> pd.DataFrame:
    """The exposures' rows with one kind of errors that has a formula."""
    try:
        result = fit_panel(panel, spec)
    except ExCxError as error:
        return _empty(_terms(spec), spec.vcov, conf_level, why(error))
    rows = result.tidy(conf_level).head(len(spec.exposures))
    return rows.assign(errors=spec.vcov, n_clusters=result.n_clusters, note="")


def _wild(
    panel: Panel,
    spec: PanelSpec,
    asked: PanelResult,
    n_boot: int,
    conf_level: float,
    rng: np.random.Generator,
) -> list[pd.DataFrame]:
    """One row for each exposure."""
    if asked.n_clusters > MANY_CLUSTERS:
        reason = f"Not drawn for more than {MANY_CLUSTERS:,} clusters"
        return [_empty(_terms(spec), "wild", conf_level, reason)]
    frames = []
    for term in _terms(spec):
        try:
            test = wild_cluster_test(panel, spec, term, n_boot=n_boot, rng=rng)
        except ExCxError as error:
            frames.append(_empty([term], "wild", conf_level, why(error)))
        else:
            drawn = test.tidy(conf_level)
            frames.append(drawn.assign(errors="wild", n_clusters=test.n_clusters, note=""))
    return frames


def _terms(spec: PanelSpec) -> list[str]:
    return [term_name(exposure, spec) for exposure in spec.exposures]


def _empty(terms: list[str], kind: str, conf_level: float, reason: str) -> pd.DataFrame:
    return (
        pd.DataFrame({"term": terms})
        .assign(**dict.fromkeys(TIDY[1:-1], np.nan))
        .assign(conf_level=conf_level, errors=kind, n_clusters=0, note=reason)
    )
