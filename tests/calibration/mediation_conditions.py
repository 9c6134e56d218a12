"""How often 95 % intervals of moderated mediation and of mediated rates hold the truth.

Run from the root of the repository: python tests/calibration/mediation_conditions.py
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.special import expit

from ex_cx import MediationSpec, Panel, RateMediationSpec, fit_mediation, fit_rate_mediation

PANELS, UNITS, PERIODS, SEED = 200, 50, 6, 1000
MODERATED = MediationSpec(
    outcome="y",
    exposure="x",
    mediators=("m",),
    moderator="w",
    moderated=("a", "b", "direct"),
)
RATE = RateMediationSpec(
    outcome="y", exposure="x", mediators=("m",), scale="share", denominator="n"
)


def company(rng, n_units):
    """Units, periods, exposure, and the mediator as a function of it; errors far from normal."""
    unit, period = np.divmod(np.arange(n_units * PERIODS), PERIODS)
    effect = rng.normal(size=n_units)[unit]
    x = 0.7 * effect + rng.normal(size=len(unit))
    error = rng.standard_exponential(len(unit)) - 1
    return unit, period, x, lambda x: 0.8 * x + effect + error


def rate(x, m):
    return expit(-1.5 + 0.5 * x + 0.9 * m)


def natural_effects():
    """Indirect and direct effect, in points, from the counterfactual worlds of 1.2 million rows."""
    _, _, x, mediator = company(np.random.default_rng(99), 200_000)
    y = {(i, j): 100 * rate(x + i, mediator(x + j)).mean() for i in (0, 1) for j in (0, 1)}
    indirect = (y[0, 1] - y[0, 0] + y[1, 1] - y[1, 0]) / 2
    return indirect, y[1, 1] - y[0, 0] - indirect


def holds(row, value) -> bool:
    return bool(row["conf_low"] <= value <= row["conf_high"])


def rate_hits(rng, truth):
    unit, period, x, mediator = company(rng, UNITS)
    m = mediator(x)
    rows = pd.DataFrame({"unit": unit, "period": period, "x": x, "m": m, "n": 20})
    rows["y"] = rng.binomial(20, rate(x, m)) / 20
    panel = Panel.from_frame(rows, unit="unit", period="period")
    tidy = fit_rate_mediation(panel, RATE, n_boot=399, rng=rng).tidy().set_index("term")
    return [holds(tidy.loc[t], v) for t, v in zip(("indirect", "direct"), truth, strict=True)]


def moderated_hits(rng):
    n = UNITS * PERIODS
    unit, period = np.divmod(np.arange(n), PERIODS)
    effect = rng.normal(size=UNITS)[unit]
    w = rng.normal(size=n) + effect
    x = effect + rng.normal(size=n)
    m = (0.5 + 0.3 * w) * x + effect + rng.normal(size=n) * (1 + 0.5 * abs(x))
    y = (0.4 + 0.2 * w) * m + 0.2 * x + 0.1 * x * w + effect + rng.normal(size=n)
    rows = pd.DataFrame({"unit": unit, "period": period, "x": x, "m": m, "y": y, "w": w})
    panel = Panel.from_frame(rows, unit="unit", period="period")
    result = fit_mediation(panel, MODERATED, n_boot=999, rng=rng)
    index = 0.3 * (0.4 + 0.2 * w.mean()) + 0.2 * (0.5 + 0.3 * w.mean())
    along = result.conditional().query("term == 'indirect'")
    truth = (0.5 + 0.3 * along["moderator"]) * (0.4 + 0.2 * along["moderator"])
    band = ((along["band_low"] <= truth) & (truth <= along["band_high"])).all()
    return [
        holds(result.tidy().set_index("term").loc["index:m"], index),
        holds(along.iloc[-1], truth.iloc[-1]),
        bool(band),
    ]


def main() -> None:
    truth, hits = natural_effects(), []
    for at in range(PANELS):
        rng = np.random.default_rng(SEED + at)
        hits.append([*rate_hits(rng, truth), *moderated_hits(rng)])
    names = ["rate indirect", "rate direct", "index", "indirect at the 90th percentile", "band"]
    print(pd.Series(100 * np.mean(hits, axis=0), index=names).to_string())


if __name__ == "__main__":
    main()
