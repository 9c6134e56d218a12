"""Panels whose guards are known beforehand."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ex_cx.linkage.panel import Panel

SOURCES = {"x": "employees", "z": "telephone system", "m": "supervisors", "y": "customers"}


def draw_panel(
    *,
    n_units: int = 60,
    n_periods: int = 12,
    effect: float = 0.5,
    reverse: float = 0.0,
    carry_on: float = 0.5,
    seed: int | np.random.Generator = 7,
    keep: float = 1.0,
    between: float = 1.0,
    provenance: dict[str, str] | None = None,
) -> Panel:
    """y_t = effect x_t + 0.3 z_t + noise;  x_t = carry_on x_t-1 + reverse y_t-1 + noise.

    Lasting differences between units have the size `between` and no other association than the
    one within units; rows are kept at random with probability `keep`.
    """
    rng = np.random.default_rng(seed)
    shape = (n_units, n_periods + 20)
    noise, z = rng.normal(size=(2, *shape))
    x, y = np.zeros((2, *shape))
    start = between * rng.normal(size=n_units)
    for t in range(1, shape[1]):
        x[:, t] = carry_on * x[:, t - 1] + reverse * y[:, t - 1] + noise[:, t]
        y[:, t] = effect * (x[:, t] + start) + 0.3 * z[:, t] + rng.normal(size=n_units)
    x += start[:, None]
    frame = pd.DataFrame(
        {
            "unit": np.repeat([f"team {i:02d}" for i in range(n_units)], n_periods),
            "period": np.tile(np.arange(2001, 2001 + n_periods), n_units),
            "region": np.repeat(np.arange(n_units) % 10, n_periods),
            "x": x[:, 20:].ravel(),
            "z": z[:, 20:].ravel(),
            "y": y[:, 20:].ravel(),
        }
    )
    frame["m"] = 0.6 * frame["x"] + rng.normal(size=len(frame))
    frame = frame[rng.random(len(frame)) < keep]
    labels = SOURCES if provenance is None else provenance
    return Panel.from_frame(frame, unit="unit", period="period", provenance=labels)
