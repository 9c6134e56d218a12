"""Do intervals keep their level when clusters are few? Coverage by number of clusters.

Run by `make calibrate`; writes docs/calibration_clusters.md.
"""

from __future__ import annotations

import argparse
import datetime as dt
import importlib.metadata
import platform
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

from ex_cx.linkage.panel import Panel
from ex_cx.models.regress import PanelSpec, fit_panel
from ex_cx.models.wild import wild_cluster_test

SEED = 20231109
SIZES = (6, 12, 25, 50, 200)
DESIGNS = ("balanced", "unbalanced")
ERRORS = ("cluster", "jackknife", "wild")
N_PERIODS, N_BOOT, TRUTH, RHO = 20, 999, 1.0, 0.7
TARGET = Path(__file__).resolve().parents[2] / "docs" / "calibration_clusters.md"
SPEC = PanelSpec(outcome="y", exposures=("x",))


def draw_panel(n_units: int, design: str, rng: np.random.Generator) -> Panel:
    """Units with lasting differences, common periods, exposure and errors that remember themselves.

    Unbalanced: half of the units are seen for 4 to 8 periods, the others for all; and exposures
    vary up to 3 times as much in some units as in others.
    """
    noise = rng.normal(size=(2, n_units, N_PERIODS))
    series = np.empty_like(noise)
    series[..., 0] = noise[..., 0]
    for t in range(1, N_PERIODS):
        series[..., t] = RHO * series[..., t - 1] + np.sqrt(1 - RHO**2) * noise[..., t]
    x, e = series
    if design == "unbalanced":
        x = x * rng.uniform(0.5, 1.5, size=(n_units, 1))
    effect = rng.normal(size=(n_units, 1)) + rng.normal(size=(1, N_PERIODS))
    x = x + effect
    frame = pd.DataFrame(
        {
            "unit": np.repeat(np.arange(n_units), N_PERIODS),
            "period": np.tile(np.arange(N_PERIODS), n_units),
            "x": x.ravel(),
            "y": (TRUTH * x + 2 * effect + e).ravel(),
        }
    )
    if design == "unbalanced":
        length = np.where(np.arange(n_units) % 2, N_PERIODS, rng.integers(4, 9, size=n_units))
        first = rng.integers(0, N_PERIODS - length + 1)
        at = frame["period"].to_numpy()
        start, stop = first[frame["unit"]], (first + length)[frame["unit"]]
        frame = frame[(at >= start) & (at < stop)]
    return Panel.from_frame(frame, unit="unit", period="period")


def covers(panel: Panel, errors: str, rng: np.random.Generator) -> bool:
    """Does the 95 % interval hold the truth? For wild: is the truth not rejected at 5 %?"""
    if errors == "wild":
        test = wild_cluster_test(panel, SPEC, "x", n_boot=N_BOOT, rng=rng)
        return test.draws.p_value(TRUTH) > 0.05
    kind = PanelSpec(outcome="y", exposures=("x",), vcov=errors)  # type: ignore[arg-type]
    row = fit_panel(panel, kind).tidy().iloc[0]
    return bool(row["conf_low"] <= TRUTH <= row["conf_high"])


def coverage(
    n_units: int, design: str, n_panels: int, rng: np.random.Generator
) -> dict[str, float]:
    """Share of panels in which each kind of interval holds the truth."""
    hits = dict.fromkeys(ERRORS, 0)
    for _ in range(n_panels):
        panel = draw_panel(n_units, design, rng)
        for errors in ERRORS:
            hits[errors] += covers(panel, errors, rng)
    return {errors: count / n_panels for errors, count in hits.items()}


def main() -> int:
    """Draw the panels, write the table, and say whether the advice keeps its level."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--panels", type=int, default=2000)
    parser.add_argument("--write", type=Path, default=TARGET)
    given = parser.parse_args()
    rng, started = np.random.default_rng(SEED), time.perf_counter()
    rows = []
    for design in DESIGNS:
        for size in SIZES:
            found = coverage(size, design, given.panels, rng)
            rows.append({"design": design, "clusters": size, **found})
            sys.stdout.write(f"{design}, {size} clusters: {found}\n")
            sys.stdout.flush()
    given.write.write_text(_text(pd.DataFrame(rows), given.panels, time.perf_counter() - started))
    return 0


def _text(table: pd.DataFrame, n_panels: int, seconds: float) -> str:
    held = table[table["clusters"] >= 12]
    within = "; ".join(
        f"`{name}` {100 * held[name].min():.1f} to {100 * held[name].max():.1f} %"
        for name in ERRORS
    )
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in ("ex-cx", "numpy", "scipy")
    )
    lines = [
        f"| {row.design} | {row.clusters} | {100 * row.cluster:.1f} | {100 * row.jackknife:.1f} | "
        f"{100 * row.wild:.1f} |"
        for row in table.itertuples()
    ]
    error = 100 * np.sqrt(0.95 * 0.05 / n_panels)
    return f"""# Intervals from few clusters

Written by `make calibrate` on {dt.date.today().isoformat()} with Python
{platform.python_version()}, {versions}; seed {SEED}, {seconds / 60:.0f} minutes on one core.

Coverage of 95 % intervals of a two-way within estimate, in % of {n_panels:,} panels (Monte Carlo
error {error:.1f} points): {N_PERIODS} periods, exposure and errors first-order
autoregressive ({RHO}), a cluster is a unit. Unbalanced: half of the units are seen for 4 to 8
periods, and exposures vary up to three times as much in some units as in others. Wild: null
imposed, Rademacher signs, {N_BOOT} draws (all sign vectors at 6 clusters).

| panel | clusters | cluster (CR1) | jackknife (CR3) | wild |
| --- | ---: | ---: | ---: | ---: |
{chr(10).join(lines)}

From 12 clusters on: {within}.
"""


if __name__ == "__main__":
    raise SystemExit(main())
