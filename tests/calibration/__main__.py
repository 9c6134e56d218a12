"""`make calibrate`: bias and coverage over 1,000 simulated panels, written to docs/calibration.md.

Ends with 1 if a within estimate fails, or if a pooled one passes.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import sys
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from tests.calibration.recovery import (
    COVERAGE,
    ESTIMATORS,
    MC_ERRORS,
    Plan,
    failing,
    is_pooled,
    score,
    simulate_estimates,
)

SEED = 20261122  # fixed before it was run; 20230108 before it gave the same verdicts
N_UNITS = 96
N_BOOT = 1999
FEW_UNITS = (12, 48)
TARGET = Path(__file__).resolve().parents[2] / "docs" / "calibration.md"
PACKAGES = ("ex-cx", "numpy", "pandas", "scipy")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--panels", type=int, default=1000)
    parser.add_argument("--units", type=int, default=N_UNITS)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--write", type=Path, default=TARGET)
    given = parser.parse_args()
    started = time.perf_counter()
    plan = Plan(n_panels=given.panels, n_units=given.units, n_boot=N_BOOT)
    table = score(_estimates(plan, given.seed))
    few = {
        n: score(_estimates(replace(plan, n_units=n, estimators=ESTIMATORS[:2]), given.seed))
        for n in FEW_UNITS
    }
    pooled = is_pooled(table)
    wrong, honest = failing(table[~pooled]), failing(table[pooled])
    given.write.parent.mkdir(parents=True, exist_ok=True)
    minutes = (time.perf_counter() - started) / 60
    given.write.write_text(_page(plan, table, few, minutes, given.seed), encoding="utf-8")
    unseen = int(pooled.sum()) - len(honest)
    print(f"{len(wrong)} of {int((~pooled).sum())} within estimates fail; ", end="")
    print(f"{unseen} of {int(pooled.sum())} pooled estimates pass. Written: {given.write}")
    if len(wrong):
        print(wrong.to_string(index=False))
    return int(bool(len(wrong) or unseen))


def _estimates(plan: Plan, seed: int) -> pd.DataFrame:
    def report(done: int) -> None:
        if done % 50 == 0 or done == plan.n_panels:
            print(f"{plan.n_units} teams: {done} of {plan.n_panels} panels", file=sys.stderr)

    return simulate_estimates(
        plan, rng=np.random.default_rng([seed, plan.n_units]), progress=report
    )


def _page(
    plan: Plan, table: pd.DataFrame, few: dict[int, pd.DataFrame], minutes: float, seed: int
) -> str:
    pooled = is_pooled(table)
    within, confounded = table[~pooled], table[pooled]
    bootstrap = within["estimator"] == "within, bootstrap"
    passed = len(within) - len(failing(within))
    median = 100 * confounded["coverage"].median()
    error = 100 * np.sqrt(0.95 * 0.05 / plan.n_panels)
    low, high = (f"{100 * bound:.0f}" for bound in COVERAGE)
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    return f"""# Calibration

Written by `make calibrate` on {today} with Python {platform.python_version()},
{versions}; seed {seed}, {minutes:.0f} minutes on one core.

{plan.n_panels:,} error-free panels of {plan.n_units} teams x {plan.n_periods} months were drawn
from the causal model of `ex_cx/linkage/simulator/causal.py`, whose effects are known, and
every model was fitted to each. An estimate passes if its mean lies within {MC_ERRORS:.0f} Monte
Carlo errors (sd / sqrt(panels)) of the truth and its 95 % interval covers the truth in {low} to
{high} % of the panels. Coverage itself has a Monte Carlo error of {error:.1f} points.

* **Effects absorbed:** {passed} of {len(within)} estimates pass.
* **Pooled** (nothing absorbed, same data): {len(failing(confounded))} of {len(confounded)} fail;
  half of the intervals cover the truth in {median:.0f} % of the panels or fewer.

## Panel regressions, effects absorbed

{_markdown(within[~bootstrap])}

## Mediation, effects absorbed

Percentile intervals of a bootstrap of whole teams, expanded for their number,
{plan.n_boot:,} draws.

{_markdown(within[bootstrap])}

## Pooled: what goes wrong

{_markdown(confounded)}

## With fewer teams

Coverage of the 95 % intervals over {plan.n_panels:,} panels, mean (lowest) over all terms, in %.
Jackknife and expanded percentile intervals hold their level with 12 teams too.

{_few_units({plan.n_units: table} | few)}
"""


def _markdown(table: pd.DataFrame) -> str:
    lines = [
        "| model | term | estimator | truth | mean | bias, MC errors | coverage, % |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {row.model} | {row.term} | {row.estimator} | {row.truth:.4g} | {row.mean:.4g} | "
        f"{row.bias_mc:+.1f} | {100 * row.coverage:.1f} |"
        for row in table.itertuples()
    ]
    return "\n".join(lines)


def _few_units(tables: dict[int, pd.DataFrame]) -> str:
    shown = ("within, cluster", "within, jackknife", "within, bootstrap")
    lines = [f"| teams | {' | '.join(shown)} |", "| ---: | ---: | ---: | ---: |"]
    for n_units, table in sorted(tables.items()):
        cells = [table.loc[table["estimator"] == name, "coverage"] * 100 for name in shown]
        parts = " | ".join(f"{cell.mean():.1f} ({cell.min():.1f})" for cell in cells)
        lines.append(f"| {n_units} | {parts} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
