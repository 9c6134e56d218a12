"""Mediation within and between units: bh1996 by lm, refits of drawn rows, identities."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from ex_cx.errors import InferenceError, RankError, SpecError
from ex_cx.estimation.inference import bootstrap_counts, cluster_factor, expanded_level
from ex_cx.linkage.panel import Panel
from ex_cx.models.levels import compare_levels
from ex_cx.models.mediation import MediationSpec, fit_mediation
from ex_cx.models.regress import PanelSpec, fit_panel
from ex_cx.results import TIDY

ORACLES = Path(__file__).resolve().parents[1] / "oracles"
SPEC = MediationSpec(outcome="y", exposure="x", mediators=("m",))
LEVELS = ["within", "between", "difference", "pooled"]


def _rows(n_units=30, n_periods=8, within=0.5, between=-0.5, seed=1, share=1.0) -> pd.DataFrame:
    """a = `within` inside units and `between` across them; b = 0.6 at both levels."""
    rng = np.random.default_rng(seed)
    n = n_units * n_periods
    unit, period = np.divmod(np.arange(n), n_periods)
    lasting, change = rng.normal(size=n_units)[unit], rng.normal(size=n)
    change -= pd.Series(change).groupby(unit).transform("mean").to_numpy()
    x = lasting + change
    m = between * lasting + within * change + 0.5 * rng.normal(size=n_units)[unit]
    m = m + rng.normal(size=n)
    y = 0.6 * m + 0.2 * x + rng.normal(size=n)
    frame = pd.DataFrame({"unit": unit, "period": period, "x": x, "m": m, "y": y})
    frame["z"], frame["w"] = rng.normal(size=n), rng.uniform(0.5, 2, size=n)
    frame["site"] = frame["unit"] // 2
    return frame[rng.uniform(size=n) < share].reset_index(drop=True)


def _panel(rows, **roles) -> Panel:
    return Panel.from_frame(rows, unit="unit", period="period", **roles)


def _compare(rows, spec=SPEC, seed=0, n_boot=199, interval="percentile", **roles) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return compare_levels(_panel(rows, **roles), spec, n_boot=n_boot, interval=interval, rng=rng)


def _estimates(table: pd.DataFrame, level: str) -> pd.Series:
    return table[table["level"] == level].set_index("term")["estimate"]


def test_levels_of_bh1996_are_those_of_lm():
    oracle = json.loads((ORACLES / "mediation.json").read_text(encoding="utf-8"))["levels"]
    rows = pd.read_csv(ORACLES / "mediation_bh1996.csv").rename(columns={"GRP": "unit"})
    rows = rows.assign(period=rows.groupby("unit").cumcount())
    spec = MediationSpec(outcome="WBEING", exposure="HRS", mediators=("LEAD",), absorb=("unit",))
    table = _compare(rows, spec)
    for level, numbers in oracle.items():
        found = _estimates(table, level)
        expected = [numbers[name] for name in ("a", "b", "direct", "total")]
        assert_allclose(found[["a:LEAD", "b:LEAD", "direct", "total"]], expected, rtol=1e-8)
        assert_allclose(found["indirect"], numbers["a"] * numbers["b"], rtol=1e-8)


@pytest.mark.parametrize("weights", [None, "w"])
@pytest.mark.parametrize("share", [1.0, 0.7])
def test_each_level_is_the_panel_regression_of_that_name(weights, share):
    rows = _rows(share=share)
    table = _compare(rows, replace(SPEC, controls=("z",)), weights=weights)
    panel = _panel(rows, weights=weights)
    for level in ("within", "between"):
        last = PanelSpec(outcome="y", exposures=("x", "m"), controls=("z",), estimator=level)
        first = replace(last, outcome="m", exposures=("x",))
        total = replace(last, exposures=("x",))
        direct, b, _ = fit_panel(panel, last).coef
        expected = [fit_panel(panel, first).coef[0], b, direct, fit_panel(panel, total).coef[0]]
        found = _estimates(table, level)[["a:m", "b:m", "direct", "total"]]
        assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("interval", ["percentile", "bca", "monte_carlo"])
def test_within_is_what_fit_mediation_says_and_the_difference_is_a_difference(interval):
    rows = _rows(share=0.8)
    table = _compare(rows, interval=interval, n_boot=399)
    assert tuple(table.columns[:8]) == TIDY
    assert list(dict.fromkeys(table["level"])) == LEVELS
    difference = _estimates(table, "difference")
    between, within = (_estimates(table, level)[difference.index] for level in LEVELS[1::-1])
    assert_allclose(difference, between - within, rtol=1e-12)
    assert not [t for t in difference.index if t.startswith("proportion")]
    alone = fit_mediation(
        _panel(rows), SPEC, n_boot=399, interval=interval, rng=np.random.default_rng(0)
    ).tidy()
    same = table[table["level"] == "within"][list(TIDY)].reset_index(drop=True)
    if interval == "monte_carlo":  # other normals: those of all levels at once
        assert_allclose(same["estimate"], alone["estimate"], rtol=1e-10)
    else:
        pd.testing.assert_frame_equal(same, alone)


def test_the_difference_by_refits_of_the_drawn_units():
    rows = _rows(n_units=12, share=0.8)
    table = _compare(rows, n_boot=99, seed=5, cluster="site")
    row = table[(table["level"] == "difference") & (table["term"] == "indirect")].iloc[0]
    counts = bootstrap_counts(6, 99, np.random.default_rng(5))
    drawn = []
    for count in counts:
        copies = [
            rows[rows["site"] == g].assign(unit=lambda f, c=c: f["unit"] + 100 * c)
            for g, times in enumerate(count.astype(int))
            for c in range(times)
        ]
        drawn.append(_indirect_difference(pd.concat(copies, ignore_index=True)))
    factors = [
        cluster_factor(6, len(rows), 2, 1 + rows["period"].nunique() - 1),
        cluster_factor(6, 12, 2, 1),
    ]
    level = expanded_level(0.95, 6, max(factors))
    ends = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    assert_allclose([row["conf_low"], row["conf_high"]], ends, rtol=1e-7)
    assert_allclose(row["std_error"], np.std(drawn, ddof=1), rtol=1e-7)


def _indirect_difference(rows: pd.DataFrame) -> float:
    columns = rows[["x", "m", "y"]].to_numpy()
    dummies = np.c_[
        pd.get_dummies(rows["unit"], dtype=float), pd.get_dummies(rows["period"], dtype=float)
    ]
    left = columns - dummies @ np.linalg.lstsq(dummies, columns, rcond=None)[0]
    means = rows.groupby("unit")[["x", "m", "y"]].mean().to_numpy()
    across = means - means.mean(axis=0)
    indirect = []
    for x, m, y in (left.T, across.T):
        a = x @ m / (x @ x)
        b = np.linalg.lstsq(np.c_[x, m], y, rcond=None)[0][1]
        indirect.append(a * b)
    return indirect[1] - indirect[0]


def test_opposite_effects_at_two_levels_are_told_apart():
    # a is 0.5 inside units and -0.5 between them; b is 0.6 at both: 0.3 and -0.3
    table = _compare(_rows(n_units=300, n_periods=10), n_boot=999)
    rows = table[table["term"] == "indirect"].set_index("level")
    for level, truth in (("within", 0.3), ("between", -0.3), ("difference", -0.6)):
        assert_allclose(rows.loc[level, "estimate"], truth, atol=5 * rows.loc[level, "std_error"])
        assert rows.loc[level, "conf_low"] * rows.loc[level, "conf_high"] > 0
    assert -0.3 < rows.loc["pooled", "estimate"] < 0.3
    assert rows.loc["pooled", "meaning"].startswith("a mixture")


def test_unit_effects_are_absorbed_even_if_the_spec_does_not_say_so():
    rows = _rows()
    one = _compare(rows, replace(SPEC, absorb=()))
    other = _compare(rows, replace(SPEC, absorb=("unit",)))
    pd.testing.assert_frame_equal(one, other)


def test_serial_paths_have_levels_too():
    rows = _rows().assign(k=lambda f: f["m"] + np.random.default_rng(1).normal(size=len(f)))
    table = _compare(rows, replace(SPEC, mediators=("m", "k"), structure="serial"))
    assert _estimates(table, "difference").index.str.contains("indirect:m->k").any()


def test_what_it_says_when_it_cannot():
    rows = _rows()
    fixed = rows.assign(x=rows["x"] - rows.groupby("unit")["x"].transform("mean"))
    with pytest.raises(RankError, match="Between units: 'x' is constant on the rows used"):
        _compare(fixed)
    with pytest.raises(RankError, match="Within units: 'x' is a combination of the absorbed"):
        _compare(rows.assign(x=rows["unit"] ** 2.0))
    with pytest.raises(InferenceError) as error:
        _compare(_rows(n_units=3))
    assert str(error.value) == (
        "The means of 3 units cannot carry 3 coefficients, so there are no paths between units. "
        "Use more units, or fewer terms."
    )
    with pytest.raises(InferenceError, match="the rows used have 1"):
        _compare(rows.assign(site=0), cluster="site")
    with pytest.raises(SpecError, match="Leave both out of the spec"):
        _compare(rows, replace(SPEC, moderator="z", moderated=("a",)))
    with pytest.raises(InferenceError, match="within or between units: too few clusters"):
        _compare(_rows(n_units=4), n_boot=199)
