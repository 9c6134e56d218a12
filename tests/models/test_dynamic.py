"""Dynamic panels: by hand, against a plain loop, by identities, invariances, recovery, messages."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from ex_cx.errors import InferenceError, RankError, SpecError
from ex_cx.estimation import gmm
from ex_cx.linkage.panel import Panel
from ex_cx.models.dynamic import DynamicSpec, DynamicTerm, fit_dynamic
from ex_cx.models.regress import fit_panel
from ex_cx.models.spec import PanelSpec
from ex_cx.results import TIDY

PREDETERMINED = DynamicTerm(term="x", exogeneity="predetermined")
SPEC = DynamicSpec(outcome="y", terms=(PREDETERMINED,))
ALONE = DynamicSpec(outcome="y", period_effects=False, steps=1)


def _rows(n_units=120, n_periods=6, share=1.0, seed=1) -> pd.DataFrame:
    """y depends on its past by 0.5 and on x by 0.3; x reacts to last period's error.

    Both have been running for 12 periods, so that changes are unrelated to the unit effects.
    """
    rng = np.random.default_rng(seed)
    effect = rng.normal(size=n_units)
    y, x, error = 2 * effect, np.zeros(n_units), np.zeros(n_units)
    found = []
    for period in range(-12, n_periods):
        x = 0.5 * x + 0.4 * effect + 0.3 * error + rng.normal(size=n_units)
        error = rng.normal(size=n_units)
        y = 0.5 * y + 0.3 * x + effect + error
        z = rng.normal(size=n_units) + 0.3 * effect
        found.append(
            pd.DataFrame({"unit": range(n_units), "period": period, "y": y, "x": x, "z": z})
        )
    rows = pd.concat(found[12:], ignore_index=True)
    return rows[rng.uniform(size=len(rows)) < share].reset_index(drop=True)


def _panel(rows, **roles) -> Panel:
    return Panel.from_frame(rows, unit="unit", period="period", **roles)


def _fit(rows, spec=SPEC):
    return fit_dynamic(_panel(rows), spec)


def _same(one, other, rtol=1e-8):
    assert_allclose(one.coef, other.coef, rtol=rtol)
    assert_allclose(one.vcov, other.vcov, rtol=100 * rtol, atol=rtol * other.vcov.max())
    assert_allclose([*one.ar, one.hansen], [*other.ar, other.hansen], rtol=1e3 * rtol)


# By hand

TWO_UNITS = pd.DataFrame(
    {"unit": list("AAABBB"), "period": [1, 2, 3] * 2, "y": [1.0, 2, 4, 2, 3, 3]}
)


def test_anderson_and_hsiao_by_hand():
    # The only instrument of the change at 3 is y1: r = (1*2 + 2*0) / (1*1 + 2*1)
    result = _fit(TWO_UNITS, ALONE)
    assert_allclose(result.coef, [2 / 3])
    # residuals 2 - 2/3 and 0 - 2/3, scores 1 * 4/3 and 2 * -2/3; variance sum of squares / 3^2
    assert_allclose(result.vcov, [[2 * (4 / 3) ** 2 / 9]])
    assert (result.n_obs, result.n_units, result.n_periods, result.overid_df) == (2, 2, 1, 0)
    assert result.names == ("y_lag1",)
    assert result.lost == {"missing y (lag 1)": 2, "no complete row one period earlier": 2}
    assert np.isnan(result.ar).all()  # one change a unit has no earlier one


def test_a_gap_is_a_gap():
    # C is seen in 1, 2, 4, 5: it has no change whose lag is a change; rows are not periods
    gap = pd.DataFrame({"unit": "C", "period": [1, 2, 4, 5], "y": [3.0, 1, 9, 2]})
    result = _fit(pd.concat([TWO_UNITS, gap]), ALONE)
    assert_allclose(result.coef, [2 / 3])
    assert result.n_units == 2
    assert result.lost == {"missing y (lag 1)": 4, "no complete row one period earlier": 4}
    assert result.rows_in == result.n_obs + sum(result.lost.values())


# Against a plain loop over units, with every kind of term, holes, and both equations


def _plain(rows, spec, gmm_lags):
    """Two-step estimates with the textbook's matrices: Z and M unit by unit, collapsed."""
    t = rows["period"].max() + 1
    wide = {c: rows.pivot_table(index="unit", columns="period", values=c) for c in "yxz"}
    wide = {c: w.reindex(columns=range(t)).to_numpy() for c, w in wide.items()}
    units = []
    for i in range(len(wide["y"])):
        y, x, z = (wide[c][i] for c in "yxz")
        lagged = np.r_[np.nan, y[:-1]]
        regressors = np.c_[lagged, x, z]
        seen = np.isfinite(np.c_[y, regressors]).all(axis=1)
        both = seen & np.r_[False, seen[:-1]]
        columns = []
        for values, lags in ((y, gmm_lags["y"]), (x, gmm_lags["x"])):
            for lag in lags:
                at = np.r_[np.zeros(lag), np.nan_to_num(values)[: t - lag]]
                columns.append(np.r_[at * both, np.zeros(t)])
            if spec.estimator == "system":
                change = np.r_[0, np.nan_to_num(np.diff(values))]
                at = np.r_[np.zeros(lags[0] - 1), change[: t - lags[0] + 1]]
                columns.append(np.r_[np.zeros(t), at * seen])
        columns.append(np.r_[np.nan_to_num(np.r_[0, np.diff(z)]) * both, np.zeros(t)])
        if spec.estimator == "system":
            regressors = np.c_[regressors, np.ones(t)]
            columns.append(np.r_[np.zeros(t), seen])
        m = np.r_[np.eye(t) - np.eye(t, k=-1), np.eye(t)]
        m[:t][~both], m[t:][~seen] = 0, 0
        if spec.estimator == "difference":
            m[t:] = 0
        units.append(
            (
                np.array(columns).T,
                m,
                np.nan_to_num(y) * seen,
                np.where(seen[:, None], regressors, 0),
            )
        )
    zx = sum(z.T @ m @ x for z, m, _, x in units)
    zy = sum(z.T @ m @ y for z, m, y, _ in units)
    plain = spec.first_step == "identity"
    weights = sum(z.T @ (np.eye(2 * t) if plain else m @ m.T) @ z for z, m, _, _ in units)
    weights = np.linalg.inv(weights)
    for _ in range(spec.steps):
        bread = np.linalg.inv(zx.T @ weights @ zx)
        coef = bread @ zx.T @ weights @ zy
        scores = np.array([z.T @ m @ (y - x @ coef) for z, m, y, x in units])
        used, weights = weights, np.linalg.inv(scores.T @ scores)
    total = scores.sum(axis=0)
    return coef, bread, float(total @ used @ total)


LAGS = {"y": [2, 3, 4, 5], "x": [1, 2, 3]}


@pytest.mark.parametrize("first_step", ["differenced", "identity"])
@pytest.mark.parametrize("estimator", ["difference", "system"])
@pytest.mark.parametrize("share", [1.0, 0.85])
def test_plain_loop(estimator, share, first_step):
    rows = _rows(share=share)
    terms = (
        DynamicTerm(term="x", exogeneity="predetermined", instrument_lags=(1, 3)),
        DynamicTerm(term="z", exogeneity="strict"),
    )
    spec = DynamicSpec(
        outcome="y",
        terms=terms,
        estimator=estimator,
        period_effects=False,
        vcov="unadjusted",
        first_step=first_step,
    )
    result = _fit(rows, spec)
    coef, bread, hansen = _plain(rows, spec, LAGS)
    assert_allclose(result.coef, coef[:3], rtol=1e-9)
    assert_allclose(result.vcov, bread[:3, :3], rtol=1e-8, atol=1e-12)
    assert_allclose(result.hansen, hansen, rtol=1e-9)
    one = _fit(rows, replace(spec, steps=1, vcov="robust"))
    coef, _, _ = _plain(rows, replace(spec, steps=1), LAGS)
    assert_allclose(one.coef, coef[:3], rtol=1e-9)


# Identities


def test_as_many_instruments_as_coefficients_leave_nothing_to_weigh():
    spec = replace(
        SPEC,
        outcome_instrument_lags=(2, 2),
        terms=(replace(PREDETERMINED, instrument_lags=(1, 1)),),
    )
    one, two = _fit(_rows(), replace(spec, steps=1)), _fit(_rows(), spec)
    assert two.overid_df == 0
    assert_allclose(two.hansen, 0, atol=1e-18)
    assert np.isnan(two.glance()["hansen_p"].iloc[0])
    assert_allclose(one.coef, two.coef, rtol=1e-9)
    assert_allclose(one.vcov, two.vcov, rtol=1e-8)


def test_dependent_instruments_are_left_out():
    rows = _rows()
    lags = replace(PREDETERMINED, lags=(0, 1), exogeneity="endogenous")
    once = _fit(rows, replace(SPEC, terms=(lags,)))
    panel = _panel(rows).with_lag("x")
    twice = fit_dynamic(panel, replace(SPEC, terms=("x", "x_lag1")))  # levels of x_lag1 are x's
    assert (once.n_dependent, twice.n_dependent) == (0, 3)
    assert once.n_instruments == twice.n_instruments
    assert once.names == twice.names == ("y_lag1", "x", "x_lag1")
    _same(once, twice)


def test_collapsing_one_period_changes_nothing():
    rows = _rows(n_periods=3)
    spec = replace(SPEC, terms=(DynamicTerm(term="z", exogeneity="strict"),))
    _same(_fit(rows, replace(spec, collapse=False)), _fit(rows, spec))


def test_windmeijer_correction_widens_errors():
    plain = _fit(_rows(), replace(SPEC, collapse=False, vcov="unadjusted"))
    corrected = _fit(_rows(), replace(SPEC, collapse=False))
    assert_allclose(plain.coef, corrected.coef)
    assert (np.diag(corrected.vcov) > np.diag(plain.vcov)).all()


def test_a_row_of_missing_values_is_a_row_that_is_not_there():
    rows = _rows()
    hole = np.arange(len(rows)) % 13 == 5
    one = _fit(rows.assign(y=rows["y"].where(~hole)))
    other = _fit(rows[~hole])
    assert one.n_obs == other.n_obs
    # the hole's x is still an instrument where only its y is missing
    one = _fit(rows.assign(y=rows["y"].where(~hole), x=rows["x"].where(~hole)))
    _same(one, other)
    assert one.lost["missing y"] == hole.sum()


# Invariances


@pytest.mark.parametrize("estimator", ["difference", "system"])
def test_order_labels_calendar_and_blocks_do_not_matter(estimator, monkeypatch):
    rows = _rows(share=0.9)
    spec = replace(SPEC, estimator=estimator)
    result = _fit(rows, spec)
    _same(_fit(rows.sample(frac=1, random_state=3), spec), result)
    _same(_fit(rows.assign(unit="u" + (999 - rows["unit"]).astype(str)), spec), result)
    _same(_fit(rows.assign(period=rows["period"] + 2000), spec), result)
    monkeypatch.setattr(gmm, "BLOCK", 1)
    _same(_fit(rows, spec), result)


def test_units_of_measurement():
    rows = _rows()
    result = _fit(rows)
    scaled = _fit(rows.assign(x=1e4 * rows["x"], y=1e-3 * rows["y"]))
    assert_allclose(scaled.coef, result.coef * [1, 1e-7], rtol=1e-7)
    assert_allclose(np.diag(scaled.vcov), np.diag(result.vcov) * [1, 1e-14], rtol=1e-6)


# Recovery


def test_recovery_where_within_is_biased():
    within, found, reject = [], {"difference": [], "system": []}, []
    spec = replace(
        SPEC,
        outcome_instrument_lags=(2, 3),
        terms=(replace(PREDETERMINED, instrument_lags=(1, 2)),),
    )
    draws = 160
    for seed in range(draws):
        panel = _panel(_rows(n_units=400, n_periods=7, seed=seed))
        lagged = panel.with_lag("y")
        within.append(fit_panel(lagged, PanelSpec(outcome="y", exposures=("y_lag1", "x"))).coef)
        for estimator, fits in found.items():
            result = fit_dynamic(panel, replace(spec, estimator=estimator))
            fits.append([*result.coef, *np.sqrt(np.diag(result.vcov))])
            glance = result.glance().iloc[0]
            reject.append(
                [estimator == "system", glance["ar1_p"], glance["ar2_p"], glance["hansen_p"]]
            )
    # Nickell's bias of the lag, at T = 6 about -(1 + r) / (T - 1)
    assert -0.35 < np.mean(within, axis=0)[0] - 0.5 < -0.2
    for fits in found.values():
        coef, error = np.split(np.array(fits), 2, axis=1)
        noise = coef.std(axis=0, ddof=1) / np.sqrt(draws)
        assert (np.abs(coef.mean(axis=0) - [0.5, 0.3]) < 3 * noise + 0.005).all()
        assert_allclose(error.mean(axis=0), coef.std(axis=0), rtol=0.2)
        covered = (np.abs(coef - [0.5, 0.3]) < 1.96 * error).mean(axis=0)
        assert (np.abs(covered - 0.95) < 3 * np.sqrt(0.95 * 0.05 / draws)).all()
    level = np.array(reject)[:, 1:] < 0.05
    assert level[:, 0].all()  # changes of independent errors are correlated by construction
    assert (np.abs(level[:, 1:].mean(axis=0) - 0.05) < 3 * np.sqrt(0.05 * 0.95 / draws)).all()


def test_order_2_and_hansen_find_errors_that_remember():
    rng = np.random.default_rng(5)
    shock, y, found = rng.normal(size=1500), np.zeros(1500), []
    for period in range(-9, 7):
        before, shock = shock, rng.normal(size=1500)
        y = 0.5 * y + shock + 0.6 * before
        found.append(pd.DataFrame({"unit": range(1500), "period": period, "y": y}))
    early = _fit(pd.concat(found[9:]), replace(SPEC, terms=()))
    assert "Hansen test rejects the instruments (p = " in early.glance()["warnings"].iloc[0]
    late = _fit(pd.concat(found[9:]), replace(SPEC, terms=(), outcome_instrument_lags=(3, None)))
    assert late.glance()["hansen_p"].iloc[0] > 0.05
    assert "serial correlation of order 2 (p = " in late.glance()["warnings"].iloc[0]


# What it says


def test_tidy_glance_and_summary():
    result = _fit(_rows(share=0.9), replace(SPEC, estimator="system"))
    assert tuple(result.tidy().columns) == TIDY
    row = result.tidy(0.9).iloc[0]
    assert_allclose(row["conf_high"] - row["estimate"], 1.6448536 * row["std_error"], rtol=1e-7)
    glance = result.glance().iloc[0]
    assert glance["rows_in"] == glance["n_obs"] + glance["rows_lost"]
    assert np.isnan(glance["sargan"])
    assert glance["convention"] == (
        "system GMM, two-step, first weights (Z'MM'Z)^-1, collapsed instruments; "
        "Windmeijer-corrected errors by unit, no small-sample factor; normal"
    )
    assert result.summary().startswith("y: system GMM, two-step, ")
    assert "<table" in result._repr_html_()


def test_many_instruments_are_said_or_refused():
    rows = _rows(n_units=24)
    one = _fit(rows, replace(SPEC, collapse=False, steps=1))
    assert one.n_instruments == 28
    warnings = one.glance()["warnings"].iloc[0]
    assert "28 instruments for 24 units: they overfit the outcome's past" in warnings
    assert "24 units, fewer than 40: normal and chi-squared limits are doubtful" in warnings
    assert "no Hansen test: its weights do not exist" in warnings
    assert np.isnan(one.hansen)
    message = (
        "28 instruments and 24 units: two-step weights need at least as many units as "
        "instruments. Limit instrument lags, set collapse=True or period_effects=False, or report "
        "steps=1."
    )
    with pytest.raises(InferenceError, match=f"^{message}$"):
        _fit(rows, replace(SPEC, collapse=False))
    assert "instruments for" in _fit(_rows(n_units=28), replace(SPEC, collapse=False)).warnings[0]


def test_a_period_that_only_one_unit_sees_is_left_out():
    rows = _rows()
    rows = rows[(rows["period"] < 5) | (rows["unit"] == 7)]
    result = _fit(rows)
    assert result.lost["only row of its period"] == 1
    assert result.n_periods == 3


def test_one_source_for_both_sides():
    panel = _panel(_rows(), provenance={"x": "survey", "y": "survey"})
    warnings = fit_dynamic(panel, SPEC).warnings
    assert warnings[0].startswith("x and y have one source (survey)")


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"outcome": "yy"}, SpecError, "There is no column 'yy' in the panel. Did you mean 'y'?"),
        ({"terms": "x"}, SpecError, "terms is a tuple of names or DynamicTerms: write"),
        ({"terms": ("x", "x")}, SpecError, "The terms name 'x' more than once, or also as the"),
        ({"terms": ("y",)}, SpecError, "The terms name 'y' more than once, or also as the"),
        ({"steps": 3}, SpecError, "steps=3 is not one of 1, 2."),
        ({"estimator": "systm"}, SpecError, "one of difference, system. Did you mean 'system'?"),
        ({"steps": 1, "vcov": "unadjusted"}, SpecError, "One-step GMM has robust errors only."),
        ({"outcome_lags": 0}, SpecError, "a dynamic model has at least one lag of its outcome."),
        (
            {"outcome_lags": 5},
            SpecError,
            "A change with lag 5 spans 7 periods; the panel's calendar has 6. Use shorter lags,",
        ),
        (
            {"outcome_instrument_lags": (1, None)},
            SpecError,
            "Instrument lags (1, None) of the outcome 'y': the first must be 2 or more and the",
        ),
        (
            {"outcome_instrument_lags": (6, None)},
            SpecError,
            "Instrument lag 6 of 'y' reaches before the panel's first period; its calendar has 6.",
        ),
        (
            {"terms": (DynamicTerm(term="x", instrument_lags=(3, 2)),)},
            SpecError,
            "Instrument lags (3, 2) of the endogenous 'x': the first must be 2 or more and the",
        ),
        (
            {"terms": (DynamicTerm(term="x", exogeneity="strict", instrument_lags=(1, 2)),)},
            SpecError,
            "'x' is strictly exogenous, so that its changes instrument themselves. Leave",
        ),
        (
            {"terms": (DynamicTerm(term="x", exogeneity="exogenous"),)},
            SpecError,
            "exogeneity='exogenous' of 'x' is not one of strict, predetermined, endogenous. Did",
        ),
        (
            {"terms": (DynamicTerm(term="x", lags=(-1,)),)},
            SpecError,
            "lags=(-1,) of 'x' must name one or more different lags from 0 on, such as (0, 1).",
        ),
        ({"terms": ("fixed",)}, RankError, "'fixed' does not change within any unit, so it cannot"),
        ({"terms": ("trend",)}, RankError, "'trend' changes by the same amount in every unit, so"),
        ({"terms": ("x", "twice")}, RankError, "'twice' is a combination of 'x' once the effects"),
        (
            {"outcome_lags": 2, "outcome_instrument_lags": (2, 2), "terms": ()},
            RankError,
            "4 independent instruments cannot identify 5 coefficients (2 terms and 3 for periods).",
        ),
        (
            {"terms": ("never",)},
            SpecError,
            "None of the 720 rows of the panel can be used (120 missing y (lag 1); 600 missing",
        ),
        ({"terms": ("site",)}, SpecError, "Column 'site' must be numeric to enter a model;"),
    ],
)
def test_refusals(changes, error, message):
    rows = _rows()
    rows = rows.assign(
        fixed=rows["unit"] * 1.0,
        trend=rows["period"] * 2.0,
        twice=2 * rows["x"],
        never=np.nan,
        site="north",
    )
    with pytest.raises(error) as caught:
        _fit(rows, replace(SPEC, **changes))
    assert message in str(caught.value)


def test_panels_that_are_refused():
    rows = _rows()
    with pytest.raises(InferenceError, match="GMM compares units, and the panel has one"):
        _fit(rows[rows["unit"] == 3])
    lonely = rows[(rows["unit"] == 3) | (rows["period"] == 2)]
    with pytest.raises(InferenceError, match="GMM compares units, and only 1 of 120 has usable"):
        _fit(lonely, replace(ALONE, terms=()))
    for role in ("weights", "cluster"):
        with pytest.raises(SpecError, match=f"the panel has {role}='site'. Make a panel without"):
            fit_dynamic(_panel(rows.assign(site=1), **{role: "site"}), SPEC)


def test_a_term_that_no_instrument_moves():
    rows = _rows(n_units=40)
    mirrored = pd.concat([rows, rows.assign(unit=rows["unit"] + 40)])
    sign = np.where(mirrored["unit"] < 40, 1.0, -1.0)
    mirrored["late"] = np.where(mirrored["period"] == 5, sign, 0.0)  # its own past is zero
    with pytest.raises(RankError, match="No instrument moves 'late' once period effects are taken"):
        _fit(mirrored, replace(SPEC, terms=("late",)))


def test_moments_that_are_dependent_across_units_are_refused():
    rows = _rows(n_units=30)
    for period in (2, 4):  # two dummies of one and the same unit
        own = (rows["unit"] == 4) & (rows["period"] == period)
        rows[f"pulse{period}"] = own.astype(float)
    terms = tuple(DynamicTerm(term=f"pulse{p}", exogeneity="strict") for p in (2, 4))
    with pytest.raises(InferenceError, match="are dependent across 30 units, so two-step weights"):
        _fit(rows, replace(SPEC, terms=terms))
