"""Do intervals and tests keep their level when clusters are few? By number of clusters.

Run by `make calibrate`; writes docs/calibration_clusters.md.
"""

from __future__ import annotations

import argparse
import datetime as dt
import importlib.metadata
import platform
import sys
import textwrap
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from ex_cx.linkage.panel import Panel
from ex_cx.models.regress import FEW_CLUSTERS, PanelSpec, fit_panel
from ex_cx.models.wild import wild_cluster_test

SEED = 20231109
SIZES = (6, 12, 25, 50, 200)
DESIGNS = ("balanced", "unbalanced")
ERRORS = {
    "cluster": "cluster (CR1)",
    "bias_reduced": "bias-reduced (CR2)",
    "jackknife": "jackknife (CR3)",
    "wild": "wild",
}
LEVELS = (0.93, 0.97)
"""Where the coverage of a 95 % interval must lie."""
FROM_CLUSTERS = 12
"""From so many clusters on the advice must keep it."""
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
    given.write.write_text(
        _text(pd.DataFrame(rows), given.panels, (time.perf_counter() - started) / 60)
    )
    return 0


def advised(clusters: int) -> tuple[str, ...]:
    """What the package tells users to take: its warnings below `FEW_CLUSTERS`, else its default."""
    return ("jackknife", "wild") if clusters < FEW_CLUSTERS else ("cluster",)


def _misses(table: pd.DataFrame, names: Iterable[str] | None = None) -> list[str]:
    """The cells outside `LEVELS` from `FROM_CLUSTERS` on: of `names`, or of what is advised."""
    return [
        f"`{name}` {100 * getattr(row, name):.1f} % ({row.design}, {row.clusters} clusters)"
        for row in table.itertuples()
        for name in (advised(row.clusters) if names is None else names)
        if row.clusters >= FROM_CLUSTERS and not LEVELS[0] <= getattr(row, name) <= LEVELS[1]
    ]


def _verdict(table: pd.DataFrame) -> str:
    """Whether the advice keeps its level, and what goes wrong without it."""
    low, high = (f"{100 * level:.0f}" for level in LEVELS)
    advice = (
        f"Advice: `cluster` from {FEW_CLUSTERS} clusters on, which is the default; below, "
        f"`jackknife` or the wild bootstrap, as the warnings of `fit_panel` say."
    )
    misses = _misses(table)
    kept = f"it keeps 95 % intervals between {low} and {high} %"
    verdict = (
        f"From {FROM_CLUSTERS} clusters on {kept} but not here: {'; '.join(misses)}."
        if misses
        else f"From {FROM_CLUSTERS} clusters on {kept} in every row."
    )
    default = _misses(table, ["cluster"])
    without = (
        f"The default alone, `cluster` against that warning, does not: {'; '.join(default)}."
        if default
        else "So does the default, `cluster`, at every number of clusters."
    )
    few = table[table["clusters"] < FROM_CLUSTERS]
    below = "; ".join(
        f"`{name}` {100 * few[name].min():.1f} to {100 * few[name].max():.1f} %" for name in ERRORS
    )
    end = f"Below {FROM_CLUSTERS} clusters nothing is promised; here: {below}." if len(few) else ""
    said = filter(None, [advice, verdict, without, end])
    return "\n\n".join(textwrap.fill(text, 98, break_on_hyphens=False) for text in said)


def _text(table: pd.DataFrame, n_panels: int, minutes: float) -> str:
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in ("ex-cx", "numpy", "scipy")
    )
    lines = [
        f"| {row.design} | {row.clusters} | "
        + " | ".join(
            f"{100 * getattr(row, e):.1f} ({100 - 100 * getattr(row, e):.1f})" for e in ERRORS
        )
        + " |"
        for row in table.itertuples()
    ]
    error = 100 * np.sqrt(0.95 * 0.05 / n_panels)
    return f"""# Intervals and tests from few clusters

Written by `make calibrate` on {dt.date.today().isoformat()} with Python
{platform.python_version()}, {versions}; seed {SEED}, {minutes:.0f} minutes on one core.

Coverage of 95 % intervals of a two-way within estimate and, in brackets, size of the 5 % test of
a true null value, in % of {n_panels:,} panels (Monte Carlo error {error:.1f} points). An interval
holds the values that its test does not reject, so that the two add up to 100.

{N_PERIODS} periods; exposure and errors are first-order autoregressive ({RHO}); a cluster is a
unit. Unbalanced: half of the units are seen for 4 to 8 periods, and exposures vary up to three
times as much in some units as in others. Wild: null imposed, Rademacher signs, {N_BOOT} draws (all
sign vectors at 6 clusters). Bias-reduced: t on Satterthwaite's degrees of freedom.

| panel | clusters | {" | ".join(ERRORS.values())} |
| --- | ---: |{" ---: |" * len(ERRORS)}
{chr(10).join(lines)}

{_verdict(table)}
"""


if __name__ == "__main__":
    raise SystemExit(main())
