"""Serial chains, several exposures, every interval, contrasts: oracles, identities, brute force.

Oracles: tests/oracles/mediation.R and mediation_peers.py; conventions in mediation_README.md.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from numpy.testing import assert_allclose
from scipy import stats
from scipy.stats import bootstrap
from statsmodels.stats.mediation import Mediation

from ex_cx.errors import InferenceError, RankError, SpecError
from ex_cx.estimation.design import DesignTerm, build_design
from ex_cx.estimation.inference import bootstrap_counts, cluster_factor, expanded_level
from ex_cx.estimation.moments import ClusterMoments
from ex_cx.estimation.path_intervals import (
    acceleration,
    bca_interval,
    bca_p_values,
    joint_covariance,
    left_out_terms,
)
from ex_cx.estimation.paths import linear_paths, serial_routes
from ex_cx.linkage.panel import Panel
from ex_cx.models.mediation import MediationSpec, fit_mediation
from ex_cx.models.regress import PanelSpec, fit_panel
from ex_cx.results import TIDY

ORACLES = Path(__file__).resolve().parents[1] / "oracles"
R = json.loads((ORACLES / "mediation.json").read_text(encoding="utf-8"))
PEERS = json.loads((ORACLES / "mediation_peers.json").read_text(encoding="utf-8"))
CHAIN = MediationSpec(
    outcome="y", exposure="x", mediators=("m", "k", "h"), controls=("z",), structure="serial"
)


def _rows(n_units=14, n_periods=6, share=1.0, seed=1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    n = n_units * n_periods
    unit, period = np.divmod(np.arange(n), n_periods)
    effect = 2 * rng.normal(size=n_units)[unit] + rng.normal(size=n_periods)[period]
    frame = pd.DataFrame({"unit": unit, "period": period, "site": unit // 2})
    for name in ("x", "v", "z"):
        frame[name] = effect / 2 + rng.normal(size=n)
    frame["m"] = 0.5 * frame["x"] - 0.3 * frame["v"] + effect / 2 + rng.normal(size=n)
    frame["k"] = 0.4 * frame["m"] + 0.2 * frame["x"] + rng.normal(size=n)
    frame["h"] = 0.5 * frame["k"] + 0.3 * frame["v"] + rng.normal(size=n)
    frame["y"] = 0.3 * frame["h"] + 0.4 * frame["m"] + 0.2 * frame["x"] - 0.1 * frame["z"]
    frame["y"] += effect + rng.normal(size=n)
    frame["w"] = rng.uniform(0.3, 3, size=n)
    return frame[rng.uniform(size=n) < share].reset_index(drop=True)


def _panel(rows, **roles) -> Panel:
    return Panel.from_frame(rows, unit="unit", period="period", **roles)


def _fit(rows, spec=CHAIN, n_boot=99, seed=0, interval="percentile", **roles):
    rng = np.random.default_rng(seed)
    return fit_mediation(_panel(rows, **roles), spec, n_boot=n_boot, interval=interval, rng=rng)


def _named(result) -> dict[str, float]:
    return dict(zip(result.terms, result.estimates, strict=True))


def _ols(rows, outcome, regressors, absorb, weights) -> dict[str, float]:
    """Least squares with dummies: none of the package's algebra."""
    parts = [rows[list(regressors)].reset_index(drop=True)]
    for effect in absorb:
        codes = pd.get_dummies(rows[effect], prefix=effect, dtype=float).reset_index(drop=True)
        parts.append(codes if effect == "unit" or "unit" not in absorb else codes.iloc[:, 1:])
    if not absorb:
        parts.append(pd.Series(1.0, index=parts[0].index, name="one"))
    x = pd.concat(parts, axis=1).to_numpy()
    root = np.ones(len(rows)) if weights is None else np.sqrt(rows[weights].to_numpy())
    y = rows[outcome].to_numpy()
    coef = np.linalg.lstsq(x * root[:, None], y * root, rcond=None)[0]
    return dict(zip(regressors, coef, strict=False))


def _by_rows(rows, spec, weights=None) -> dict[str, float]:
    """Every term from least squares on the rows, paths by walking the arrows."""
    xs, ms, out = list(spec.exposures), list(spec.mediators), {}
    held = [*xs, *spec.controls]
    serial, one = spec.structure == "serial", len(xs) == 1
    arrows: dict[tuple[str, str], float] = {}
    for at, m in enumerate(ms):
        before = ms[:at] if serial else []
        found = _ols(rows, m, [*held, *before], spec.absorb, weights)
        arrows |= {(source, m): found[source] for source in (*xs, *before)}
    last = _ols(rows, spec.outcome, [*held, *ms], spec.absorb, weights)
    total = _ols(rows, spec.outcome, held, spec.absorb, weights)
    for x in xs:
        start, end = ("", "") if one else (f"{x}->", f":{x}")
        out |= {f"a:{start}{m}": arrows[x, m] for m in ms}
        paths = {}
        for size in range(1, len(ms) + 1 if serial else 2):
            for route in combinations(ms, size):
                effect = arrows[x, route[0]] * last[route[-1]]
                for source, target in pairwise(route):
                    effect *= arrows[source, target]
                paths[f"indirect:{start}{'->'.join(route)}"] = effect
        indirect = sum(paths.values())
        out |= paths | {
            f"direct{end}": last[x],
            f"indirect{end}": indirect,
            f"total{end}": total[x],
        }
    out |= {f"b:{m}": last[m] for m in ms}
    if serial:
        out |= {f"d:{p}->{q}": arrows[p, q] for p, q in combinations(ms, 2)}
    return out


def _assert_terms(values, terms, expected, **tolerance):
    found = {t: v for t, v in zip(terms, values, strict=True) if not t.startswith("proportion")}
    assert found.keys() == expected.keys()
    assert_allclose([found[t] for t in expected], list(expected.values()), **tolerance)


# By hand


def test_a_chain_by_hand():
    # x, u, v, w sum to zero in each unit and are orthogonal to each other: nothing but the factors
    x = np.array([-1.0, 0, 1, -1, 0, 1])
    u = np.array([1.0, -2, 1, -1, 2, -1])
    v = np.array([1.0, -2, 1, 1, -2, 1])
    w = np.array([1.0, 0, -1, -1, 0, 1])
    m = 2 * x + u
    k = 3 * m + x + v
    y = 5 * k - m + 0.5 * x + w
    two = pd.DataFrame({"unit": list("AAABBB"), "period": [1, 2, 3] * 2})
    two = two.assign(x=x, m=m, k=k, y=y)
    rows = pd.concat([two.assign(unit=two["unit"] + str(copy)) for copy in range(4)])
    spec = replace(CHAIN, mediators=("m", "k"), controls=(), absorb=("unit",))
    result = _fit(rows, spec)
    expected = {
        "a:m": 2,
        "a:k": 1,
        "b:m": -1,
        "b:k": 5,
        "d:m->k": 3,
        "direct": 0.5,
        "indirect:m": -2,
        "indirect:k": 5,
        "indirect:m->k": 30,
        "indirect": 33,
        "total": 33.5,
        "proportion_mediated": 33 / 33.5,
    }
    assert list(result.terms) == list(expected)
    assert_allclose(result.estimates, list(expected.values()), rtol=1e-12)
    table = result.contrasts().set_index("term")["estimate"]
    assert table.to_dict() == pytest.approx(
        {"contrast:m-k": -7, "contrast:m-m->k": -32, "contrast:k-m->k": -25}
    )


def test_routes_are_all_ordered_subsets():
    for n in range(1, 7):
        routes = serial_routes(n)
        assert len(routes) == len(set(routes)) == 2**n - 1
        assert all(list(route) == sorted(route) for route in routes)


# Outside oracles


def _tal() -> pd.DataFrame:
    tal = pd.read_csv(ORACLES / "mediation_talor.csv")
    return tal.assign(unit=np.arange(len(tal)), period=0)


TAL = MediationSpec(outcome="reaction", exposure="cond", mediators=("pmi",), absorb=())


def test_simple_mediation_is_that_of_lavaan():
    found, oracle = _named(_fit(_tal(), TAL)), R["simple"]
    names = {"a": "a:pmi", "b": "b:pmi", "direct": "direct", "indirect": "indirect"}
    for theirs, ours in (names | {"total": "total"}).items():
        assert_allclose(found[ours], oracle[theirs], rtol=1e-6)  # lavaan iterates


def test_parallel_mediation_is_that_of_lavaan_and_pingouin():
    spec = replace(TAL, mediators=("pmi", "import"), controls=("age", "gender"))
    result = _fit(_tal(), spec)
    found, oracle = _named(result), R["parallel"]
    names = {
        "a1": "a:pmi",
        "a2": "a:import",
        "b1": "b:pmi",
        "b2": "b:import",
        "direct": "direct",
        "i1": "indirect:pmi",
        "i2": "indirect:import",
        "indirect": "indirect",
        "total": "total",
    }
    for theirs, ours in names.items():
        assert_allclose(found[ours], oracle[theirs], rtol=1e-5)
    contrast = result.contrasts().set_index("term").loc["contrast:pmi-import", "estimate"]
    assert_allclose(contrast, oracle["contrast"], rtol=1e-4)
    for term, value in PEERS["pingouin"].items():
        assert_allclose(found[term], value, rtol=1e-6)


def test_serial_mediation_is_that_of_lavaan_and_semopy():
    spec = replace(TAL, mediators=("import", "pmi"), controls=("age",), structure="serial")
    result = _fit(_tal(), spec)
    found, oracle = _named(result), R["serial"]
    names = {
        "a1": "a:import",
        "a2": "a:pmi",
        "d": "d:import->pmi",
        "b1": "b:import",
        "b2": "b:pmi",
        "direct": "direct",
        "i1": "indirect:import",
        "i2": "indirect:pmi",
        "i12": "indirect:import->pmi",
        "indirect": "indirect",
        "total": "total",
    }
    for theirs, ours in names.items():
        assert_allclose(found[ours], oracle[theirs], rtol=1e-5)
    contrasts = result.contrasts().set_index("term")["estimate"]
    expected = {
        "contrast:import-pmi": oracle["c1"],
        "contrast:import-import->pmi": oracle["c2"],
        "contrast:pmi-import->pmi": oracle["c3"],
    }
    assert contrasts.to_dict() == pytest.approx(expected, rel=1e-4)
    for term, value in PEERS["semopy"].items():
        assert_allclose(found[term], value, rtol=5e-3)  # its optimiser stops early


def _bh() -> pd.DataFrame:
    rows = pd.read_csv(ORACLES / "mediation_bh1996.csv")
    return rows.assign(period=rows.groupby("GRP").cumcount()).rename(columns={"GRP": "unit"})


@pytest.mark.parametrize("oracle", ["stacked", "clustered"])
def test_joint_covariance_is_that_of_stacked_rows_and_of_lavaan(oracle):
    # sandwich: all equations as one regression, clusters across it, no factor; lavaan MLR with
    # cluster=: the same, times G / (G - 1)
    terms = [DesignTerm(t) for t in ("WBEING", "HRS", "COHES", "LEAD")]
    model = linear_paths(
        outcome=terms[0], exposures=terms[1:2], mediators=terms[2:], controls=[], serial=True
    )
    rows = _bh()
    design = build_design(_panel(rows), model.columns, absorb=(), cluster=None, weights=None)
    coef, covariance = joint_covariance([(ClusterMoments(design.moment_rows(())), ())], model)
    g, n = rows["unit"].nunique(), len(rows)
    factors = [cluster_factor(g, n, k, 1) for k in (1, 2, 3)]
    root = np.sqrt(np.repeat(factors, [1, 2, 3]))
    mine = covariance / np.outer(root, root)
    theirs = np.array(R[oracle]["vcov"])
    tolerance = 1e-8
    if oracle == "clustered":
        theirs, tolerance = theirs * (g - 1) / g, 1e-5
    assert_allclose(coef, R[oracle]["coef"], atol=1e-7, rtol=tolerance)
    scale = np.sqrt(np.diag(theirs))
    assert_allclose(mine / np.outer(scale, scale), theirs / np.outer(scale, scale), atol=tolerance)


def test_blocks_of_the_joint_covariance_are_those_of_the_panel_regressions():
    rows = _rows(share=0.8)
    panel = _panel(rows, weights="w", cluster="site")
    result = fit_mediation(
        panel, CHAIN, interval="monte_carlo", n_boot=20_000, rng=np.random.default_rng(3)
    )
    error = dict(zip(result.terms, result.draws.std(axis=0), strict=True))
    last = fit_panel(
        panel, PanelSpec(outcome="y", exposures=("x", "m", "k", "h"), controls=("z",))
    ).tidy()
    third = fit_panel(
        panel, PanelSpec(outcome="h", exposures=("x", "m", "k"), controls=("z",))
    ).tidy()
    expected = dict(zip(("direct", "b:m", "b:k", "b:h"), last["std_error"], strict=False))
    expected |= dict(zip(("a:h", "d:m->h", "d:k->h"), third["std_error"], strict=False))
    for term, value in expected.items():
        # Monte Carlo error of a standard deviation: 1 / sqrt(2 draws) = 0.5 %
        assert_allclose(error[term], value, rtol=0.02)


# Within units: the trap of pooled bootstraps


def _planted() -> pd.DataFrame:
    rng = np.random.default_rng(20261122)
    unit = np.repeat(np.arange(100), 50)
    level = 2 * rng.normal(size=100)[unit]
    x = rng.normal(size=5000)
    m = 0.5 * x + rng.normal(size=5000)
    y = 0.4 * m + 0.1 * x + rng.normal(size=5000)
    rows = pd.DataFrame({"unit": unit, "x": x, "m": m + level, "y": y + level})
    return rows.assign(period=np.tile(np.arange(50), 100))


def test_units_that_pyprocessmacro_ignores():
    # planted 0.5 * 0.4 = 0.20 within units; pyprocessmacro takes cluster= and does not use it
    process = PEERS["pyprocessmacro"]
    assert process["cluster"] == process["plain"]
    rows, spec = _planted(), MediationSpec(outcome="y", exposure="x", mediators=("m",))
    pooled = _fit(rows, replace(spec, absorb=()), n_boot=999).tidy().set_index("term")
    assert_allclose(pooled.loc["indirect", "estimate"], process["cluster"]["effect"], rtol=1e-6)
    assert pooled.loc["indirect", "estimate"] > 0.4
    assert process["cluster"]["effect"] - 5 * process["cluster"]["se"] > 0.2  # surely wrong
    within = _fit(rows, spec, n_boot=999).tidy().set_index("term").loc["indirect"]
    # 5,000 rows: standard error of a b about sqrt((0.4^2 + 0.5^2) / 4,850) = 0.009
    assert_allclose(within["estimate"], 0.2, atol=0.03)
    assert within["conf_low"] < 0.2 < within["conf_high"]


# Against least squares on the rows


@pytest.mark.parametrize("absorb", [("unit", "period"), ("unit",), ()])
@pytest.mark.parametrize("weights", [None, "w"])
@pytest.mark.parametrize("structure", ["serial", "parallel"])
@pytest.mark.parametrize("exposure", ["x", ("x", "v")])
def test_estimates_are_those_of_least_squares_with_dummies(absorb, weights, structure, exposure):
    rows = _rows(share=0.8)
    spec = replace(CHAIN, absorb=absorb, structure=structure, exposure=exposure)
    result = _fit(rows, spec, weights=weights)
    expected = _by_rows(rows, spec, weights)
    _assert_terms(result.estimates, result.terms, expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("share", [1.0, 0.75])
@pytest.mark.parametrize("weights", [None, "w"])
@pytest.mark.parametrize("cluster", [None, "site"])
@pytest.mark.parametrize("structure", ["serial", "parallel"])
def test_every_draw_equals_a_refit_of_the_drawn_rows(share, weights, cluster, structure):
    rows = _rows(share=share, seed=5)
    spec = replace(CHAIN, structure=structure, exposure=("x", "v"))
    result = _fit(rows, spec, seed=8, weights=weights, cluster=cluster)
    labels = np.sort(rows[cluster or "unit"].unique())
    counts = bootstrap_counts(len(labels), 99, np.random.default_rng(8))
    assert result.draws_failed == 0
    for drawn, count in list(zip(result.draws, counts, strict=True))[:2]:
        copies = [
            rows[rows[cluster or "unit"] == g].assign(unit=lambda f, c=c: f["unit"] + 100 * c)
            for g, times in zip(labels, count.astype(int), strict=True)
            for c in range(times)
        ]
        expected = _by_rows(pd.concat(copies, ignore_index=True), spec, weights)
        _assert_terms(drawn, result.terms, expected, rtol=1e-7, atol=1e-9)


def test_terms_without_a_cluster_are_those_of_the_other_rows():
    rows = _rows(share=0.8)
    result = _fit(rows, interval="bca", weights="w")
    assert result.left_out.shape == (14, len(result.terms))
    for at in (0, 9):
        expected = _by_rows(rows[rows["unit"] != at], CHAIN, "w")
        _assert_terms(result.left_out[at], result.terms, expected, rtol=1e-8, atol=1e-9)


def test_a_chain_in_time_follows_the_calendar():
    # x, then m 2 periods later, k 1 after m, y 1 after k; gaps break the chain
    rows = _rows(n_units=30, n_periods=18, share=0.9)
    merged = rows[["unit", "period", "y", "z"]]
    for name, by in (("k", 1), ("m", 2), ("x", 4)):
        earlier = rows[["unit", "period", name]].assign(period=rows["period"] + by)
        merged = merged.merge(earlier, on=["unit", "period"])
    spec = replace(CHAIN, mediators=("m", "k"), lag_mediator=2, lag_serial=1, lag_outcome=1)
    result = _fit(rows, spec)
    alone = merged.groupby("unit")["y"].transform("size") == 1
    assert not alone.any()
    _assert_terms(result.estimates, result.terms, _by_rows(merged, spec), rtol=1e-9)
    assert set(result.lost) >= {"missing x (lag 4)", "missing m (lag 2)", "missing k (lag 1)"}
    assert result.n_obs == len(merged)


# Identities


@pytest.mark.parametrize("interval", ["percentile", "bca", "monte_carlo"])
@pytest.mark.parametrize("structure", ["serial", "parallel"])
@pytest.mark.parametrize("absorb", [("unit", "period"), ()])
def test_everything_adds_up_in_every_draw(interval, structure, absorb):
    spec = replace(CHAIN, exposure=("x", "v"), structure=structure, absorb=absorb)
    result = _fit(_rows(share=0.8), spec, n_boot=999, interval=interval, weights="w")
    for values in (result.estimates[None], result.draws):
        named = dict(zip(result.terms, values.T, strict=True))
        for x, paths in zip(("x", "v"), result.rivals, strict=True):
            total, direct = named[f"total:{x}"], named[f"direct:{x}"]
            assert_allclose(direct + named[f"indirect:{x}"], total, rtol=0, atol=1e-10)
            summed = sum(named[path] for path in paths)
            assert_allclose(summed, named[f"indirect:{x}"], rtol=0, atol=1e-12)
            for path in paths:
                product = np.prod([named[step] for step in result.steps[path]], axis=0)
                assert_allclose(product, named[path], rtol=1e-12)


def test_a_chain_whose_links_are_null_is_parallel():
    # mediators made orthogonal given exposures, controls and effects: d is 0, paths are parallel
    rows = _rows(n_units=20)
    held = sm.add_constant(
        pd.concat(
            [
                rows[["x", "z", "m"]],
                pd.get_dummies(rows["unit"], dtype=float).iloc[:, 1:],
                pd.get_dummies(rows["period"], prefix="t", dtype=float).iloc[:, 1:],
            ],
            axis=1,
        )
    )
    held.columns = [str(name) for name in held.columns]
    fit = sm.OLS(rows["k"], held).fit()
    rows = rows.assign(k=rows["k"] - fit.params["m"] * rows["m"])
    both = replace(CHAIN, mediators=("m", "k"))
    serial, parallel = (
        _named(_fit(rows, replace(both, structure=s))) for s in ("serial", "parallel")
    )
    assert_allclose(serial["d:m->k"], 0, atol=1e-10)
    assert_allclose(serial["indirect:m->k"], 0, atol=1e-10)
    for term, value in parallel.items():
        assert_allclose(serial[term], value, rtol=1e-9, atol=1e-10)


def test_one_mediator_is_either_structure():
    one = replace(CHAIN, mediators=("m",))
    serial, parallel = (
        _fit(_rows(), replace(one, structure=s), n_boot=199) for s in ("serial", "parallel")
    )
    assert serial.terms == parallel.terms
    assert np.array_equal(serial.draws, parallel.draws)
    assert serial.contrasts().empty
    assert tuple(serial.contrasts().columns) == TIDY


def test_totals_do_not_depend_on_the_structure_or_on_the_order_of_the_chain():
    rows = _rows(share=0.8)
    chain = _fit(rows)
    turned = _fit(rows, replace(CHAIN, mediators=("h", "m", "k")))
    parallel = _fit(rows, replace(CHAIN, structure="parallel"))
    for term in ("direct", "indirect", "total"):
        one = chain.draws[:, chain.terms.index(term)]
        for other in (turned, parallel):
            assert_allclose(other.draws[:, other.terms.index(term)], one, rtol=1e-7, atol=1e-9)


def test_another_exposure_is_a_control_whose_paths_are_asked_for():
    rows = _rows(share=0.8)
    both = _fit(rows, replace(CHAIN, exposure=("x", "v")))
    one = _fit(rows, replace(CHAIN, controls=("z", "v")))
    for at, term in enumerate(one.terms):
        kind, _, rest = term.partition(":")
        several = {
            "a": f"a:x->{rest}",
            "indirect": f"indirect:x->{rest}" if rest else "indirect:x",
        }.get(kind, term if rest else f"{kind}:x")
        found = both.draws[:, both.terms.index(several)]
        assert_allclose(found, one.draws[:, at], rtol=1e-7, atol=1e-9)


# Contrasts


@pytest.mark.parametrize("interval", ["percentile", "bca", "monte_carlo"])
def test_contrasts_are_differences_in_every_draw(interval, monkeypatch):
    from ex_cx.models import mediation_result

    monkeypatch.setattr(mediation_result, "CONTRAST_BLOCK", 4)
    result = _fit(_rows(), n_boot=499, interval=interval)
    table = result.contrasts(0.9).set_index("term")
    assert len(table) == 7 * 6 / 2
    one, other = "indirect:m->k", "indirect:m->k->h"
    row = table.loc["contrast:m->k-m->k->h"]
    at = [result.terms.index(term) for term in (one, other)]
    draws = result.draws[:, at[0]] - result.draws[:, at[1]]
    assert_allclose(row["estimate"], result.estimates[at[0]] - result.estimates[at[1]])
    assert_allclose(row["std_error"], draws.std(ddof=1))
    level = expanded_level(0.9, result.n_clusters, result.factor)
    if interval == "bca":
        left = result.left_out[:, at[0]] - result.left_out[:, at[1]]
        ends = bca_interval(
            draws[:, None], row[["estimate"]].to_numpy(float), acceleration(left[:, None]), level
        )
        expected = [ends[0][0], ends[1][0]]
    else:
        expected = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    assert_allclose(row[["conf_low", "conf_high"]].to_numpy(float), expected)


def test_exposures_are_not_contrasted_with_each_other():
    result = _fit(_rows(), replace(CHAIN, exposure=("x", "v"), mediators=("m", "k")))
    terms = result.contrasts()["term"].tolist()
    assert len(terms) == 6
    assert terms[0] == "contrast:x->m-x->k"
    assert not [t for t in terms if "x->" in t and "v->" in t]


# BCa


def test_bca_is_that_of_scipy():
    # scipy takes our draws of the total effect, and leaves out clusters by refitting rows
    rows = _rows(n_units=12, share=0.8)
    result = _fit(rows, n_boot=1999, interval="bca")
    at = result.terms.index("total")

    def total(units) -> float:
        kept = pd.concat(
            [rows[rows["unit"] == u].assign(unit=n) for n, u in enumerate(np.ravel(units))]
        )
        return _ols(kept, "y", ["x", "z"], CHAIN.absorb, None)["x"]

    level = expanded_level(0.95, result.n_clusters, result.factor)
    given = type("Given", (), {"bootstrap_distribution": result.draws[:, at]})()
    theirs = bootstrap(
        (np.arange(12),),
        total,
        n_resamples=0,
        bootstrap_result=given,
        vectorized=False,
        confidence_level=level,
        method="BCa",
    ).confidence_interval
    row = result.tidy().set_index("term").loc["total"]
    assert_allclose([row["conf_low"], row["conf_high"]], theirs, rtol=1e-7)


def test_bca_without_bias_and_acceleration_is_percentile():
    draws = np.linspace(-1, 3, 2001)[:, None]
    ends = bca_interval(draws, np.array([1.0]), np.array([0.0]), 0.9)
    assert_allclose(np.ravel(ends), np.quantile(draws, [0.05, 0.95]), rtol=1e-12)


@pytest.mark.parametrize("level", [0.8, 0.9, 0.95])
def test_bca_p_values_agree_with_bca_intervals(level):
    small, outside = 0, 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        draws = rng.gamma(3, size=(999, 8)) * rng.choice([-1, 1], 8) + rng.uniform(-4, 4, 8)
        estimates = np.median(draws, axis=0) + rng.normal(scale=0.2, size=8)
        shift = rng.uniform(-0.1, 0.1, 8)
        low, high = bca_interval(draws, estimates, shift, level)
        p = bca_p_values(draws, estimates, shift)
        excluded = (low > 0) | (high < 0)
        assert excluded[p < 1 - level].all()
        small, outside = small + (p < 1 - level).sum(), outside + excluded.sum()
    assert small >= 0.95 * outside > 0


def test_bca_of_draws_on_one_side_is_missing():
    low, high = bca_interval(np.ones((99, 1)), np.array([2.0]), np.array([0.0]), 0.95)
    assert np.isnan([low[0], high[0]]).all()
    assert np.isnan(bca_p_values(np.ones((99, 1)), np.array([2.0]), np.array([0.0]))).all()


def test_bca_needs_every_path_without_each_cluster():
    # m moves in two of the units that have other exposures: draws without either are few enough
    rows = _rows(n_units=12)
    parts = rows.assign(x=rows["x"].where(rows["unit"] == 3, rows["z"] * 2))
    model = replace(CHAIN, mediators=("m",))
    with pytest.raises(RankError, match="'z' is a combination of 'x'"):
        _fit(rows.assign(x=rows["z"] * 2), model, interval="bca")
    panel = _panel(parts)
    terms = [DesignTerm(t) for t in ("y", "x", "m", "z")]
    paths = linear_paths(
        outcome=terms[0], exposures=terms[1:2], mediators=terms[2:3], controls=terms[3:]
    )
    absorb = ("unit", "period")
    design = build_design(panel, paths.columns, absorb=absorb, cluster=None, weights=None)
    with pytest.raises(InferenceError) as error:
        left_out_terms(ClusterMoments(design.moment_rows(absorb)), paths)
    assert str(error.value) == (
        "Without 1 of 12 clusters, left out one at a time, a path is not identified, so that its "
        "acceleration is unknown. Use interval='percentile'."
    )


# Monte Carlo


def test_monte_carlo_interval_of_one_coefficient_is_that_of_cr1():
    # one coefficient is normal: its ends are the estimate plus and minus t on G - 1 errors
    rows = _rows(n_units=12)
    result = _fit(rows, n_boot=40_000, interval="monte_carlo")
    row = result.tidy().set_index("term").loc["direct"]
    spec = PanelSpec(outcome="y", exposures=("x", "m", "k", "h"), controls=("z",))
    theirs = fit_panel(_panel(rows), spec).tidy().iloc[0]
    # a quantile at tail 0.014 of 40,000 draws has an error of about 1.6 % of the half width
    half = theirs["conf_high"] - theirs["estimate"]
    assert_allclose(row["conf_low"], theirs["conf_low"], atol=0.05 * half)
    assert_allclose(row["conf_high"], theirs["conf_high"], atol=0.05 * half)
    assert_allclose(row["p_value"], theirs["p_value"], rtol=0.2)
    assert result.factor == 1.0


def test_monte_carlo_and_bootstrap_agree_where_clusters_are_many():
    rows = _rows(n_units=300, seed=4)
    errors = {
        kind: _fit(rows, n_boot=2999, interval=kind).tidy().set_index("term")["std_error"]
        for kind in ("percentile", "monte_carlo")
    }
    kept = [t for t in errors["percentile"].index if not t.startswith("proportion")]
    assert_allclose(errors["monte_carlo"][kept], errors["percentile"][kept], rtol=0.12)


def test_monte_carlo_moments_are_the_closed_form_of_a_product_of_normals():
    # E(ab) = a b + C, Var(ab) = a^2 Vb + b^2 Va + 2 a b C + Va Vb + C^2: Imai, Keele and Yamamoto
    # (2010), whose linear case R's mediation computes, keep the first two of the variance
    rows = _tal()
    result = _fit(rows, TAL, n_boot=200_000, interval="monte_carlo")
    terms = [DesignTerm(t) for t in ("reaction", "cond", "pmi")]
    model = linear_paths(outcome=terms[0], exposures=terms[1:2], mediators=terms[2:], controls=[])
    design = build_design(_panel(rows), model.columns, absorb=(), cluster=None, weights=None)
    coef, v = joint_covariance([(ClusterMoments(design.moment_rows(())), ())], model)
    (a, _, b), va, vb, c = coef, v[0, 0], v[2, 2], v[0, 2]
    draws = result.draws[:, result.terms.index("indirect")]
    variance = a**2 * vb + b**2 * va + 2 * a * b * c + va * vb + c**2
    assert_allclose(draws.mean(), a * b + c, atol=4 * np.sqrt(variance / 200_000))
    assert_allclose(draws.var(), variance, rtol=0.02)
    # two separate regressions, row by row: HC1 up to the factor for clusters of one row
    one = np.ones(len(rows))
    first = sm.OLS(rows["pmi"], np.c_[rows["cond"], one]).fit(cov_type="HC1")
    last = sm.OLS(rows["reaction"], np.c_[rows[["cond", "pmi"]], one]).fit(cov_type="HC1")
    assert_allclose([va, vb], [first.bse.iloc[0] ** 2, last.bse.iloc[1] ** 2], rtol=1e-9)


def test_linear_case_is_that_of_statsmodels_mediation():
    # the algorithm of R's mediation: simulated, so equal up to the error of its draws
    rows = _tal()
    outcome = sm.OLS.from_formula("reaction ~ cond + pmi", rows)
    mediator = sm.OLS.from_formula("pmi ~ cond", rows)
    fitted = Mediation(outcome, mediator, "cond", "pmi").fit(
        method="parametric", n_rep=60, rng=np.random.default_rng(1)
    )
    theirs = fitted.summary()["Estimate"]
    found = _named(_fit(rows, TAL))
    spread = np.array(fitted.ACME_avg).std() / np.sqrt(60)
    spread_direct = np.array(fitted.ADE_avg).std() / np.sqrt(60)
    assert_allclose(theirs["ACME (average)"], found["indirect"], atol=4 * spread)
    assert_allclose(theirs["ADE (average)"], found["direct"], atol=4 * spread_direct)


def test_monte_carlo_keeps_the_counting_convention():
    result = _fit(_rows(), n_boot=499, interval="monte_carlo")
    at = result.terms.index("indirect:m")
    hits = min((result.draws[:, at] <= 0).sum(), (result.draws[:, at] >= 0).sum())
    counted = 2 * (1 + hits) / 500
    expected = 2 * stats.t.sf(-stats.norm.ppf(counted / 2), result.n_clusters - 1)
    assert_allclose(result.tidy()["p_value"].iloc[at], expected)


# Draws


@pytest.mark.parametrize("interval", ["percentile", "bca", "monte_carlo"])
def test_the_number_of_threads_does_not_matter(interval, tmp_path):
    code = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
import numpy as np
from test_mediation_paths import _fit, _rows
result = _fit(_rows(n_units=300, n_periods=12, share=0.9), n_boot=1500, interval={interval!r})
np.savez(sys.argv[1], draws=result.draws, tidy=result.tidy().iloc[:, 1:].to_numpy(float))
"""
    found = []
    for threads in ("1", "2"):
        target = tmp_path / f"{threads}.npz"
        limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads)
        subprocess.run(
            [sys.executable, "-c", code, str(target)], check=True, env={**os.environ, **limits}
        )
        found.append(np.load(target))
    assert np.array_equal(found[0]["draws"], found[1]["draws"])
    assert np.array_equal(found[0]["tidy"], found[1]["tidy"], equal_nan=True)


@pytest.mark.parametrize("interval", ["percentile", "bca", "monte_carlo"])
def test_the_same_generator_gives_the_same_numbers(interval):
    one, same, other = (_fit(_rows(), seed=s, n_boot=999, interval=interval) for s in (3, 3, 4))
    assert np.array_equal(one.draws, same.draws)
    assert not np.array_equal(one.draws, other.draws)
    longer = _fit(_rows(), seed=3, n_boot=1500, interval=interval)
    assert np.array_equal(longer.draws[:999], one.draws)


# What it says


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"structure": "parallel", "lag_serial": 1},
            (
                "lag_serial is the time from one mediator of a chain to the next; parallel "
                "mediators, or a single one, form no chain. Use structure='serial' with several "
                "mediators, or leave it 0."
            ),
        ),
        ({"exposure": ()}, "The spec names no exposure. Give a column, or a tuple of columns."),
        (
            {"mediators": tuple(f"m{at}" for at in range(13))},
            (
                "A chain of 13 mediators has 8,191 paths; at most 12 mediators. Shorten the chain, "
                "or use parallel ones."
            ),
        ),
        (
            {"exposure": ("x", "m")},
            (
                "'m' has more than one role in the spec. Give each column one of outcome, "
                "exposure, mediator, control, moderator."
            ),
        ),
        (
            {"mediators": ("m", "m->k")},
            "'m->k' holds '->', which separates the steps of a path. Rename the column.",
        ),
    ],
)
def test_choices_that_do_not_exist(change, message):
    with pytest.raises(SpecError) as error:
        _fit(_rows(), replace(CHAIN, **change))
    assert str(error.value) == message


def test_what_it_warns_of_and_presents():
    rows = _rows(n_units=50, n_periods=8)
    order = "the mediators of the chain are from the same period: their order is assumed"
    assert _fit(rows, replace(CHAIN, lag_outcome=1), n_boot=499).warnings == (order,)
    in_time = replace(CHAIN, lag_outcome=1, lag_serial=1)
    assert _fit(rows, in_time, n_boot=499).warnings == ()
    few = _fit(_rows(), interval="monte_carlo", n_boot=999)
    assert few.warnings[0] == (
        "14 clusters, fewer than 40: Monte Carlo intervals rest on a correction for few clusters"
    )
    told = [w for w in _fit(_rows(n_units=8), interval="bca").warnings if "outermost" in w]
    assert len(told) == 1
    result = _fit(rows, replace(CHAIN, exposure=("x", "v")), interval="bca", n_boot=499)
    glance = result.glance().iloc[0]
    assert glance["exposure"] == "x, v"
    assert glance["interval"] == "bca"
    assert "acceleration from the jackknife" in glance["convention"]
    assert "x, v -> m -> k -> h -> y" in result.summary()


def test_a_mediator_that_another_determines_is_refused():
    rows = _rows().assign(k=lambda f: 2 * f["m"] + f["unit"])
    with pytest.raises(RankError, match="'k' is a combination of 'm'"):
        _fit(rows)
