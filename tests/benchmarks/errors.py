"""Errors that take peers long: jackknife, wild cluster bootstrap, Driscoll-Kraay.

The panel is that of `panels`: 1,000 units x 60 periods, unit and period effects, 5 exposures.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd

from benchmarks.panels import EXPOSURES, FORMULA, ex_cx_panel, ex_cx_spec, rows
from benchmarks.timing import Job, Line, compared, interleave

GROUPS = 20
"""Groups of units of which pyfixest's refits are timed; it refits once for each cluster."""
LAGS = 3  # of the Bartlett kernel at 60 periods: floor(4 (60/100)^(2/9))
TERM = EXPOSURES[0]
SIZE = "1,000 x 60, two-way"


def errors() -> list[Line]:
    """All three; period effects are estimated again in each refit and draw of ours."""
    frame = rows(1000, 1.0)
    return [*jackknife(frame), *wild(frame), *wild_of_few(), *driscoll_kraay(frame)]


def fit(panel, vcov: str) -> np.ndarray:
    """Rows: estimate and standard error of each exposure."""
    from ex_cx import fit_panel

    result = fit_panel(panel, replace(ex_cx_spec(), vcov=vcov))
    return result.tidy()[["estimate", "std_error"]].to_numpy()


def wild_row(panel, draws: int) -> pd.Series:
    """The wild cluster bootstrap test of the first exposure, as one row of `tidy`."""
    from ex_cx import wild_cluster_test

    rng = np.random.default_rng(1)
    return wild_cluster_test(panel, ex_cx_spec(), TERM, n_boot=draws, rng=rng).tidy().iloc[0]


def fresh(frame: pd.DataFrame, work: Callable[[object], object]) -> Callable[[], Job]:
    """A new panel each round: nothing remembered may help."""

    def prepare() -> Job:
        panel = ex_cx_panel(frame)
        return lambda: work(panel)

    return prepare


def check_same(
    ours: np.ndarray, theirs: np.ndarray, factor: float = 1.0, close: float = 1e-6
) -> None:
    """Estimates to 1e-6, and standard errors times the ratio of the conventions to `close`."""
    np.testing.assert_allclose(theirs[:, 0], ours[:, 0], rtol=1e-6)
    np.testing.assert_allclose(factor * theirs[:, 1], ours[:, 1], rtol=close)


def jackknife(frame: pd.DataFrame, rounds: int = 7) -> list[Line]:
    """CR3: each unit left out once."""
    import statspai as sp

    def statspai() -> np.ndarray:
        fitted = sp.feols(FORMULA, frame, vce="CR3", cluster="unit")
        return np.c_[fitted.params, fitted.std_errors]

    # StatsPAI keeps the period effects where we estimate them again, and has another factor
    check_same(fit(ex_cx_panel(frame), "jackknife"), statspai(), close=1e-3)
    ours = fresh(frame, lambda panel: fit(panel, "jackknife"))
    median = interleave({"StatsPAI": statspai}, rounds, {"ex_cx": ours})
    task = f"`fit_panel`, jackknife (CR3), {SIZE}"
    pyfixest = pyfixest_crv3(frame)
    note = f"its CRV3 refits without each cluster: {GROUPS} refits timed, times {1000 // GROUPS}"
    return [
        compared(task, "StatsPAI", median["ex_cx"], median["StatsPAI"], wanted=3.0),
        compared(task, "pyfixest", median["ex_cx"], pyfixest, wanted=100.0, note=note),
    ]


def pyfixest_crv3(frame: pd.DataFrame) -> float:
    """Seconds of pyfixest's CRV3 with 1,000 clusters, from that with `GROUPS` groups of units."""
    import pyfixest as pf

    from ex_cx import Panel

    grouped = frame.assign(group=frame["unit"] % GROUPS)
    exact = {"ssc": pf.ssc(k_adj=False, G_adj=False), "fixef_tol": 1e-10}

    def fitted(vcov: str) -> np.ndarray:
        made = pf.feols(FORMULA, grouped, vcov={vcov: "group"}, **exact)
        return made.tidy()[["Estimate", "Std. Error"]].to_numpy()

    panel = Panel.from_frame(grouped, unit="unit", period="period", cluster="group")
    factor = np.sqrt((GROUPS - 1) / GROUPS)  # ours has it, and theirs not
    check_same(fit(panel, "jackknife"), fitted("CRV3"), factor)
    start = time.perf_counter()
    fitted("CRV1")
    alone = time.perf_counter() - start
    start = time.perf_counter()
    fitted("CRV3")
    refits = time.perf_counter() - start - alone
    return alone + refits / GROUPS * frame["unit"].nunique()


def wild(frame: pd.DataFrame, draws: int = 999, rounds: int = 7) -> list[Line]:
    """1,000 clusters, the null imposed; the peer in one round, as it takes long."""
    import statspai as sp

    start = time.perf_counter()
    fitted = sp.feols(FORMULA, frame, vcov={"CRV1": "unit"})
    theirs = sp.wild_cluster_boot(
        fitted, frame, cluster="unit", variable=TERM, n_boot=draws, seed=1
    )
    seconds = time.perf_counter() - start
    ours = wild_row(ex_cx_panel(frame), draws)
    same = [ours["estimate"], ours["std_error"]]
    check_same(np.array([same]), np.array([[theirs["beta_hat"], theirs["se_cluster"]]]), close=1e-2)
    ends = (np.array(theirs["ci_boot"]) - ours[["conf_low", "conf_high"]]) / ours["std_error"]
    if np.abs(ends.astype(float)).max() > 0.3:  # 999 draws leave each end uncertain by about 0.1
        raise AssertionError(f"intervals differ by {ends.to_list()} standard errors")
    median = interleave({}, rounds, {"ex_cx": fresh(frame, lambda panel: wild_row(panel, draws))})
    task = f"`wild_cluster_test`, {draws} draws, {SIZE}"
    note = "one round of the peer, which keeps the period effects in its draws"
    return [compared(task, "StatsPAI", median["ex_cx"], seconds, wanted=15.0, note=note)]


def wild_of_few(draws: int = 9999, rounds: int = 11) -> list[Line]:
    """20 clusters, where pyfixest is compiled and warm."""
    import pyfixest as pf

    frame = rows(20, 1.0, seed=2)
    frame["y"] -= 0.05 * frame[TERM]  # a p-value that can be compared

    def pyfixest() -> float:
        fitted = pf.feols(FORMULA, frame, vcov={"CRV1": "unit"})
        test = fitted.wildboottest(param=TERM, reps=draws, cluster="unit", seed=1)
        return float(test["Pr(>|t|)"])

    ours, theirs = wild_row(ex_cx_panel(frame), draws)["p_value"], pyfixest()
    if abs(ours - theirs) > 5 * np.sqrt(2 * ours * (1 - ours) / draws):
        raise AssertionError(f"p-values {ours} and {theirs} differ by more than chance")
    work = fresh(frame, lambda panel: wild_row(panel, draws))
    median = interleave({"pyfixest": pyfixest}, rounds, {"ex_cx": work})
    task = f"`wild_cluster_test`, {draws:,} draws, 20 x 60, two-way"
    note = "ours with the interval by inversion, which the peer does not give"
    return [compared(task, "pyfixest", median["ex_cx"], median["pyfixest"], wanted=1.0, note=note)]


def driscoll_kraay(frame: pd.DataFrame, rounds: int = 15) -> list[Line]:
    """Numbers as ids, then text, which pyfixest does not take."""
    import pyfixest as pf
    from linearmodels.panel import PanelOLS

    def pyfixest(data: pd.DataFrame = frame, **options: object) -> np.ndarray:
        ids = {"time_id": "period", "panel_id": "unit", "lag": LAGS}
        fitted = pf.feols(FORMULA, data, vcov="DK", vcov_kwargs=ids, **options)
        return fitted.tidy()[["Estimate", "Std. Error"]].to_numpy()

    n, k, units, periods = len(frame), len(EXPOSURES), 1000, 60
    plain = pyfixest(ssc=pf.ssc(k_adj=False, G_adj=False))
    factor = np.sqrt(periods / (periods - 1) * (n - 1) / (n - k - units))
    check_same(fit(ex_cx_panel(frame), "driscoll_kraay"), plain, factor)
    text = frame.assign(unit="team " + frame["unit"].astype(str))
    try:
        pyfixest(text)
    except TypeError as error:
        note = f"pyfixest: TypeError ({error})"
    else:
        raise AssertionError("pyfixest takes text ids by now: time it on them")

    def work(panel) -> np.ndarray:
        return fit(panel, "driscoll_kraay")

    numbers = interleave({"pyfixest": pyfixest}, rounds, {"ex_cx": fresh(frame, work)})
    indexed = text.set_index(["unit", "period"])

    def linearmodels() -> np.ndarray:
        model = PanelOLS(
            indexed["y"], indexed[list(EXPOSURES)], entity_effects=True, time_effects=True
        )
        fitted = model.fit(cov_type="kernel", kernel="bartlett", bandwidth=LAGS)
        return np.c_[fitted.params, fitted.std_errors]

    check_same(fit(ex_cx_panel(text), "driscoll_kraay"), linearmodels(), close=2e-2)
    words = interleave({"linearmodels": linearmodels}, 5, {"ex_cx": fresh(text, work)})
    task = f"`fit_panel`, Driscoll-Kraay, {SIZE}"
    return [
        compared(
            f"{task}, numbers as ids",
            "pyfixest",
            numbers["ex_cx"],
            numbers["pyfixest"],
            wanted=1 / 1.3,
            note="at most 1.3 times the peer is wanted: a ratio of 0.769",
        ),
        compared(
            f"{task}, text as ids",
            "linearmodels",
            words["ex_cx"],
            words["linearmodels"],
            note=note,
        ),
    ]
