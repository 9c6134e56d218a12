"""`fit_panel` beside StatsPAI, pyfixest and linearmodels: two-way within, clustered by unit."""

from __future__ import annotations

import ctypes
import gc
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.timing import Job, Line, compared, interleave

EXPOSURES = tuple(f"x{number}" for number in range(1, 6))
FORMULA = f"y ~ {' + '.join(EXPOSURES)} | unit + period"
PERIODS, OBSERVED = 60, 0.85
LARGE = {  # about 4.5 million rows each
    "units that open and close": {"n_units": 183_000, "observed": 0.95, "spells": True},
    "15 % missing at random": {"n_units": 88_235, "observed": 0.85},
}
TOOLS = ("ex_cx", "StatsPAI", "pyfixest")


def rows(n_units: int, observed: float, *, spells: bool = False, seed: int = 1) -> pd.DataFrame:
    """Unit x period rows with unit and period effects, each observed with that probability.

    With `spells`, half of the units open at a random period and each closes after a random time,
    as teams and sites do; without, rows are missing at random only.
    """
    rng = np.random.default_rng(seed)
    unit, period = np.divmod(np.arange(n_units * PERIODS), PERIODS)
    keep = rng.random(len(unit)) < observed
    if spells:
        opened = rng.integers(0, PERIODS, n_units) * (rng.random(n_units) < 0.5)
        closed = opened + 1 + rng.geometric(1 / 40, n_units)
        keep &= (period >= opened[unit]) & (period < closed[unit])
    unit, period = unit[keep], period[keep]
    level, season = rng.normal(size=n_units)[unit], rng.normal(size=PERIODS)[period]
    noise = rng.normal(size=(len(EXPOSURES) + 1, len(unit)))
    x = dict(zip(EXPOSURES, noise[1:] + 0.5 * level + 0.3 * season, strict=True))
    y = 0.1 * sum(x.values()) + level + season + noise[0]
    return pd.DataFrame({"unit": unit, "period": period, "y": y, **x})


def ex_cx_spec():
    from ex_cx import PanelSpec

    return PanelSpec(outcome="y", exposures=EXPOSURES, vcov="cluster")


def ex_cx_panel(frame: pd.DataFrame):
    from ex_cx import Panel

    return Panel.from_frame(frame, unit="unit", period="period")


def fit_ex_cx(panel) -> np.ndarray:
    """Rows: estimate and standard error of each exposure; so for every tool."""
    from ex_cx import fit_panel

    return fit_panel(panel, ex_cx_spec()).tidy()[["estimate", "std_error"]].to_numpy()


def fit_statspai(frame: pd.DataFrame) -> np.ndarray:
    import statspai as sp

    fitted = sp.feols(FORMULA, frame, vcov={"CRV1": "unit"})
    return np.c_[fitted.params, fitted.std_errors]


def fit_pyfixest(frame: pd.DataFrame) -> np.ndarray:
    """With the options that save it time and memory."""
    import pyfixest as pf

    fitted = pf.feols(
        FORMULA, frame, vcov={"CRV1": "unit"}, copy_data=False, store_data=False, lean=True
    )
    return fitted.tidy()[["Estimate", "Std. Error"]].to_numpy()


def fit_linearmodels(indexed: pd.DataFrame) -> np.ndarray:
    from linearmodels.panel import PanelOLS

    model = PanelOLS(indexed["y"], indexed[list(EXPOSURES)], entity_effects=True, time_effects=True)
    fitted = model.fit(cov_type="clustered", cluster_entity=True)
    return np.c_[fitted.params, fitted.std_errors]


def check_same(answers: dict[str, np.ndarray]) -> None:
    """The tools must agree before their times are worth comparing."""
    ours = answers["ex_cx"]
    for name, theirs in answers.items():
        np.testing.assert_allclose(theirs[:, 0], ours[:, 0], rtol=1e-6, err_msg=name)
        np.testing.assert_allclose(theirs[:, 1], ours[:, 1], rtol=2e-2, err_msg=name)


def small(rounds: int = 15) -> list[Line]:
    """1,000 units x 60 periods, 5 exposures; balanced, then 85 % observed."""
    lines = []
    for label, observed in (("balanced", 1.0), ("85 % unbalanced", OBSERVED)):
        frame = rows(1000, observed)
        indexed = frame.set_index(["unit", "period"])
        peers: dict[str, Job] = {
            "StatsPAI": lambda frame=frame: fit_statspai(frame),
            "pyfixest": lambda frame=frame: fit_pyfixest(frame),
            "linearmodels": lambda indexed=indexed: fit_linearmodels(indexed),
        }
        check_same(
            {"ex_cx": fit_ex_cx(ex_cx_panel(frame))} | {k: job() for k, job in peers.items()}
        )
        peers["ex_cx with Panel.from_frame"] = lambda frame=frame: fit_ex_cx(ex_cx_panel(frame))

        def fresh(frame: pd.DataFrame = frame) -> Job:
            panel = ex_cx_panel(frame)  # a new one each round: nothing remembered may help
            return lambda: fit_ex_cx(panel)

        median = interleave(peers, rounds, {"ex_cx": fresh})
        wanted = {"StatsPAI": 1.0, "pyfixest": 2.0, "linearmodels": 15.0}
        task = f"`fit_panel`, 1,000 x 60, {label}"
        lines += [
            compared(task, peer, median["ex_cx"], median[peer], wanted=wanted[peer])
            for peer in wanted
        ]
        whole = median["ex_cx with Panel.from_frame"]
        task = f"`Panel.from_frame` + `fit_panel`, 1,000 x 60, {label}"
        lines.append(compared(task, "StatsPAI", whole, median["StatsPAI"]))
    return lines


def large(rounds: int = 5) -> list[Line]:
    """4.5 million rows in two shapes, each tool in fresh processes that take turns."""
    return [line for shape in LARGE for line in large_of_shape(shape, rounds)]


def large_of_shape(shape: str, rounds: int) -> list[Line]:
    """Time and peak memory of one shape of missing rows."""
    measured: dict[str, list[dict]] = {tool: [] for tool in TOOLS}
    for turn in range(rounds):
        for tool in TOOLS[turn % len(TOOLS) :] + TOOLS[: turn % len(TOOLS)]:
            command = [sys.executable, "-m", "benchmarks.panels", tool, shape]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            measured[tool].append(json.loads(done.stdout.splitlines()[-1]))
    check_same({tool: np.array(measured[tool][0]["answer"]) for tool in TOOLS})

    def median(tool: str, what: str) -> float:
        return statistics.median(one[what] for one in measured[tool])

    task = f"`fit_panel`, {measured['ex_cx'][0]['rows'] / 1e6:.2f} million rows, {shape}"
    wanted = {"StatsPAI": 3.0, "pyfixest": 8.0}
    lines = [
        compared(task, peer, median("ex_cx", "seconds"), median(peer, "seconds"), wanted=least)
        for peer, least in wanted.items()
    ]
    whole, theirs = median("ex_cx", "with_preparation"), median("StatsPAI", "seconds")
    lines.append(compared(f"`Panel.from_frame` + {task}", "StatsPAI", whole, theirs))
    memory = {tool: median(tool, "added_mb") for tool in TOOLS}
    lines += [
        Line(
            task=f"{task}: peak memory added",
            peer=peer,
            ours=f"{memory['ex_cx']:.0f} MB",
            theirs=f"{memory[peer]:.0f} MB",
            ratio=memory[peer] / memory["ex_cx"],
            wanted=least,
        )
        for peer, least in (("StatsPAI", 3.0), ("pyfixest", None))
    ]
    return lines


def memory_mb(field: str) -> float:
    """VmRSS (now) or VmHWM (highest since the last reset), from the kernel."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(re.search(rf"{field}:\s+(\d+) kB", status).group(1)) / 1024


def reset_peak() -> float:
    """Give back what is free, forget the highest mark; the memory in use now, in MB."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return memory_mb("VmRSS")


def measure_large(tool: str, shape: str) -> dict:
    """One fit in this process: seconds, seconds with preparation, MB added at the peak."""
    fit: dict[str, Callable[[object], np.ndarray]] = {
        "ex_cx": fit_ex_cx,
        "StatsPAI": fit_statspai,
        "pyfixest": fit_pyfixest,
    }
    prepare = ex_cx_panel if tool == "ex_cx" else (lambda frame: frame)
    fit[tool](prepare(rows(1000, OBSERVED)))  # warm
    frame = rows(**LARGE[shape])
    begin = time.perf_counter()
    prepared = prepare(frame)
    preparation = time.perf_counter() - begin
    base = reset_peak()
    start = time.perf_counter()
    answer = fit[tool](prepared)
    seconds = time.perf_counter() - start
    return {
        "rows": len(frame),
        "seconds": seconds,
        "with_preparation": seconds + preparation,
        "added_mb": memory_mb("VmHWM") - base,
        "answer": answer.tolist(),
    }


if __name__ == "__main__":
    print(json.dumps(measure_large(*sys.argv[1:])))
