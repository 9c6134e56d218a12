"""Do the intervals of indirect effects keep their level? Coverage by effect, units and errors.

Run by `make calibrate`; writes docs/calibration_mediation.md.
"""

from __future__ import annotations

import argparse
import datetime as dt
import importlib.metadata
import os
import platform
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from ex_cx.estimation.path_intervals import interval_columns
from ex_cx.linkage.panel import Panel
from ex_cx.models.mediation import MediationResult, MediationSpec, fit_mediation

SEED = 20231110
SIZES = (12, 50, 200)
DESIGNS = ("balanced", "unbalanced", "skewed")
EFFECTS = {  # a, b
    "null on both legs": (0.0, 0.0),
    "null on one leg": (0.4, 0.0),
    "small": (0.14, 0.14),
    "large": (0.6, 0.6),
}
INTERVALS = ("percentile", "bca", "monte_carlo")
N_PERIODS, N_BOOT, DIRECT, RHO = 10, 1999, 0.2, 0.5
TARGET = Path(__file__).resolve().parents[2] / "docs" / "calibration_mediation.md"
SPEC = MediationSpec(outcome="y", exposure="x", mediators=("m",))

Cell = tuple[str, int, str]


def draw_panel(
    n_units: int, design: str, legs: tuple[float, float], rng: np.random.Generator
) -> Panel:
    """x moves m moves y within units; lasting differences, common periods, errors with memory.

    Unbalanced: half of the units are seen for 3 to 6 periods. Skewed: the innovations of exposure
    and errors are exponential less their mean, skewness 2.
    """
    shape = (3, n_units, N_PERIODS)
    noise = rng.exponential(size=shape) - 1 if design == "skewed" else rng.normal(size=shape)
    series = np.empty_like(noise)
    series[..., 0] = noise[..., 0]
    for t in range(1, N_PERIODS):
        series[..., t] = RHO * series[..., t - 1] + np.sqrt(1 - RHO**2) * noise[..., t]
    effect = rng.normal(size=(n_units, 1)) + rng.normal(size=(1, N_PERIODS))
    x = series[0] + effect
    m = legs[0] * x + effect + series[1]
    y = DIRECT * x + legs[1] * m + effect + series[2]
    unit, period = np.divmod(np.arange(n_units * N_PERIODS), N_PERIODS)
    frame = pd.DataFrame({"unit": unit, "period": period})
    frame = frame.assign(x=x.ravel(), m=m.ravel(), y=y.ravel())
    if design == "unbalanced":
        length = np.where(np.arange(n_units) % 2, N_PERIODS, rng.integers(3, 7, size=n_units))
        first = rng.integers(0, N_PERIODS - length + 1)
        frame = frame[(period >= first[unit]) & (period < (first + length)[unit])]
    return Panel.from_frame(frame, unit="unit", period="period")


def misses(panel: Panel, truth: float, rng: np.random.Generator) -> np.ndarray:
    """Does each kind of 95 % interval lie wholly above, or wholly below the truth? Shape (3, 2)."""
    bca = fit_mediation(panel, SPEC, n_boot=N_BOOT, interval="bca", rng=rng)
    results = {
        "percentile": replace(bca, interval="percentile"),  # of the same draws
        "bca": bca,
        "monte_carlo": fit_mediation(panel, SPEC, n_boot=N_BOOT, interval="monte_carlo", rng=rng),
    }
    found = []
    for kind in INTERVALS:
        low, high = ends(results[kind])
        found.append((low > truth, high < truth))
    return np.array(found)


def ends(result: MediationResult) -> tuple[float, float]:
    """Of the 95 % interval that `tidy` gives the indirect effect; other terms are not computed."""
    at = [result.terms.index("indirect")]
    columns = interval_columns(
        ("indirect",),
        result.estimates[at],
        result.draws[:, at],
        kind=result.interval,
        conf_level=0.95,
        n_clusters=result.n_clusters,
        factor=result.factor,
        left_out=None if result.left_out is None else result.left_out[:, at],
    )
    return float(columns["conf_low"][0]), float(columns["conf_high"][0])


def score_cell(cell: Cell, n_panels: int, seed: int) -> dict[str, object]:
    """Shares of panels, by interval, in which it covers, lies above and lies below the truth.

    The generator depends on the cell alone, so that cells can be computed anywhere in any order.
    """
    design, size, effect = cell
    at = (DESIGNS.index(design), size, list(EFFECTS).index(effect))
    rng = np.random.default_rng([seed, *at])
    a, b = EFFECTS[effect]
    found = sum(
        misses(draw_panel(size, design, (a, b), rng), a * b, rng).astype(int)
        for _ in range(n_panels)
    )
    row: dict[str, object] = {"panel": design, "units": size, "effect": effect}
    for kind, (above, below) in zip(INTERVALS, np.asarray(found) / n_panels, strict=True):
        row |= {kind: float(1 - above - below)}
        row |= {f"{kind}_above": float(above), f"{kind}_below": float(below)}
    return row


def main() -> int:
    """Draw the panels, on as many cores as there are, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--panels", type=int, default=800)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--write", type=Path, default=TARGET)
    given = parser.parse_args()
    started = time.perf_counter()
    cells = list(product(DESIGNS, SIZES[::-1], EFFECTS))  # the longest first
    work = partial(score_cell, n_panels=given.panels, seed=given.seed)
    rows = []
    with ProcessPoolExecutor(given.jobs) as pool:
        for row in pool.map(work, cells):
            rows.append(row)
            sys.stdout.write(f"{row}\n")
            sys.stdout.flush()
    table = pd.DataFrame(rows)
    minutes = (time.perf_counter() - started) / 60
    given.write.write_text(_text(table, given.panels, given.seed, minutes, given.jobs))
    return 0


def _text(table: pd.DataFrame, n_panels: int, seed: int, minutes: float, jobs: int) -> str:
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in ("ex-cx", "numpy", "scipy")
    )
    order = {"panel": DESIGNS, "units": SIZES, "effect": tuple(EFFECTS)}
    at = [table[name].map(list(values).index) for name, values in order.items()]
    lines = [
        f"| {row['panel']} | {row['units']} | {row['effect']} | "
        + " | ".join(
            f"{100 * row[k]:.1f} ({100 * row[k + '_above']:.1f} / {100 * row[k + '_below']:.1f})"
            for k in INTERVALS
        )
        + " |"
        for _, row in table.iloc[np.lexsort(at[::-1])].iterrows()
    ]
    held = table[table["effect"] != "null on both legs"]
    safest = max(INTERVALS, key=lambda name: held[name].min())
    within = "; ".join(
        f"`{name}` {100 * held[name].min():.1f} to {100 * held[name].max():.1f} %"
        for name in INTERVALS
    )
    error = 100 * np.sqrt(0.95 * 0.05 / n_panels)
    legs = "; ".join(f"{name}: a = {a:g}, b = {b:g}" for name, (a, b) in EFFECTS.items())
    return f"""# Intervals of indirect effects

Written by `make calibrate` on {dt.date.today().isoformat()} with Python
{platform.python_version()}, {versions}; seed {seed}, {minutes:.0f} minutes on {jobs} cores.

Coverage of 95 % intervals of a two-way within indirect effect, in % of {n_panels:,} panels (Monte
Carlo error {error:.1f} points); in brackets the share of panels whose interval lies wholly above /
below the truth. {N_PERIODS} periods, {N_BOOT:,} draws, a cluster is a unit; exposure and errors are
first-order autoregressive ({RHO}) beside effects of units and periods. Unbalanced: half of the
units are seen for 3 to 6 periods. Skewed: innovations are exponential, skewness 2. Legs:
{legs}; direct effect {DIRECT:g}.

| panel | units | indirect effect | percentile | bca | monte_carlo |
| --- | ---: | --- | ---: | ---: | ---: |
{chr(10).join(lines)}

Unless both legs are null: {within}.
`percentile` is the default; the highest of the three lowest figures is that of `{safest}`.
Where both legs are null the estimate is a product of two errors, far closer to zero than either:
every interval then covers too often.
"""


if __name__ == "__main__":
    raise SystemExit(main())
