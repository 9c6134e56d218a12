"""On how many units does an estimate rest? Leave each cluster out, and count them by leverage."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from ex_cx.estimation.design import Design
from ex_cx.estimation.equation import Equation, check_resampling
from ex_cx.estimation.inference import solve_equation
from ex_cx.estimation.moments import ClusterMoments
from ex_cx.linkage.panel import Panel
from ex_cx.models.regress import PanelSpec, compress_panel, fit_panel

__all__ = ["effective_clusters", "influence", "leave_one_out"]


def leave_one_out(panel: Panel, spec: PanelSpec) -> pd.DataFrame:
    """Every coefficient without each cluster in turn, effects re-estimated, no row touched again.

    Returns
    -------
    cluster (its label), n_obs (rows it holds), term, estimate (without it), change (estimate
    without it minus estimate with all); one row per cluster and term, NaN where the coefficient
    is not identified without the cluster.

    Raises
    ------
    SpecError, RankError : as `fit_panel`.
    InferenceError : fewer than two clusters, or regressors too nearly dependent to refit.

    Examples
    --------
    >>> rows = pd.DataFrame({"unit": list("AAABBBCCC"), "period": [1, 2, 3] * 3,
    ...                      "x": [1.0, 2, 3, 1, 4, 5, 0, 1, 3]})
    >>> rows["y"] = 2 * rows["x"]
    >>> panel = Panel.from_frame(rows, unit="unit", period="period")
    >>> spec = PanelSpec(outcome="y", exposures=("x",), absorb=("unit",))
    >>> leave_one_out(panel, spec)["estimate"].round(6).tolist()
    [2.0, 2.0, 2.0]
    """
    design, moments, equation, names = _fitted(panel, spec)
    check_resampling(equation)
    k = len(names)
    regressors = list(range(1, len(equation.coef) + 1))
    every = solve_equation(moments.leave_one_out(), 0, regressors, moments.before)
    left_out = every[:, :k]
    size = np.diff(design.cluster_starts, append=design.n_obs)
    return pd.DataFrame(
        {
            "cluster": np.repeat(_labels(panel, spec, design), k),
            "n_obs": np.repeat(size, k),
            "term": list(names) * len(size),
            "estimate": left_out.ravel(),
            "change": (left_out - equation.coef[:k]).ravel(),
        }
    )


def influence(panel: Panel, spec: PanelSpec) -> pd.DataFrame:
    """What leaving single clusters out does to each coefficient.

    Returns
    -------
    One row per term: term, estimate, std_error (CR1), lowest and highest (of the estimates
    without one cluster), most_influential (label of the cluster that moves the estimate most),
    change (what leaving it out adds), change_in_se (its size in standard errors), sign_changes
    (clusters without which the sign turns), not_identified (clusters without which there is no
    estimate), n_clusters, n_effective (see `effective_clusters`).

    Raises
    ------
    SpecError, RankError, InferenceError : as `leave_one_out`.
    """
    result = fit_panel(panel, replace(spec, vcov="cluster"))
    left_out = leave_one_out(panel, spec)
    k, std_error = len(result.terms), np.sqrt(np.diag(result.vcov))
    estimates = left_out["estimate"].to_numpy().reshape(-1, k)
    change = estimates - result.coef
    top = np.where(np.isnan(change), -1.0, np.abs(change)).argmax(axis=0)
    largest = change[top, np.arange(k)]
    with np.errstate(divide="ignore", invalid="ignore"):
        in_errors = np.abs(largest) / std_error
    return pd.DataFrame(
        {
            "term": list(result.terms),
            "estimate": result.coef,
            "std_error": std_error,
            "lowest": np.fmin.reduce(estimates),
            "highest": np.fmax.reduce(estimates),
            "most_influential": left_out["cluster"].to_numpy()[::k][top],
            "change": largest,
            "change_in_se": in_errors,
            "sign_changes": (np.sign(estimates) == -np.sign(result.coef)).sum(axis=0),
            "not_identified": np.isnan(estimates).sum(axis=0),
            "n_clusters": len(estimates),
            "n_effective": effective_clusters(panel, spec)["n_effective"],
        }
    )


def effective_clusters(panel: Panel, spec: PanelSpec) -> pd.DataFrame:
    """How many equally informative clusters each coefficient amounts to.

    Returns
    -------
    term, n_clusters (G), n_effective (G*, between 1 and G).

    Notes
    -----
    G* = G / (1 + V), V the mean of (h_g / mean h - 1)^2 over clusters, and h_g the share of
    cluster g in the variance of the coefficient were errors independent and equally large:
    q'X_g'X_g q, X net of effects, q the coefficient's row of (X'X)^-1. This is the measure of
    Carter, Schnepel and Steigerwald with their within-cluster error correlation set to 0, the
    choice that exists with unit effects absorbed (theirs at 1 is zero there); with weights,
    X_g'W_g X_g. G* far below G warns that CR1 errors behave as if from G* clusters.
    Source: Carter, Schnepel and Steigerwald (2017), Rev. Economics and Statistics 99(4), 698-709;
    MacKinnon, Nielsen and Webb (2023), Stata Journal 23(4), 942-982, for the choice of 0.

    Examples
    --------
    >>> rows = pd.DataFrame({"unit": list("AABBCC"), "period": [1, 2] * 3,
    ...                      "x": [0.0, 2, 1, 3, 5, 7], "y": [1.0, 2, 3, 5, 4, 4]})
    >>> panel = Panel.from_frame(rows, unit="unit", period="period")
    >>> spec = PanelSpec(outcome="y", exposures=("x",), absorb=("unit",))
    >>> effective_clusters(panel, spec)["n_effective"].round(6).tolist()
    [3.0]
    """
    design, moments, equation, names = _fitted(panel, spec)
    k, g = len(names), design.n_clusters
    effective = []
    for row in equation.bread[:k]:
        contrast = np.concatenate([[0.0], row])
        share = moments.scores(contrast)[0][:, 1 : len(row) + 1] @ row
        effective.append(g / (1 + float(((share / share.mean() - 1) ** 2).mean())))
    return pd.DataFrame({"term": list(names), "n_clusters": g, "n_effective": effective})


def _fitted(
    panel: Panel, spec: PanelSpec
) -> tuple[Design, ClusterMoments, Equation, tuple[str, ...]]:
    compressed = compress_panel(panel, spec)
    return compressed.design, compressed.moments, compressed.equation(), compressed.terms


def _labels(panel: Panel, spec: PanelSpec, design: Design) -> np.ndarray:
    """The label of each cluster, in row order."""
    name = spec.cluster or panel.cluster or panel.unit
    first = design.source[design.cluster_starts]
    return panel.frame[name].iloc[first].to_numpy(dtype=object)
