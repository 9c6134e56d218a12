"""Dynamic panels against further printed figures on the Arellano-Bond firms.

The data and conventions are those of tests/oracles/dynamic_README.md.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.testing import assert_allclose

from ex_cx.linkage.panel import Panel
from ex_cx.models.dynamic import DynamicSpec, DynamicTerm, fit_dynamic

DATA = Path(__file__).resolve().parents[1] / "oracles" / "dynamic_empluk.csv"


def _panel(single: bool) -> Panel:
    firms = pd.read_csv(DATA)
    logs = {"n": "emp", "w": "wage", "k": "capital", "ys": "output"}
    firms = firms.assign(**{new: np.log(firms[old]) for new, old in logs.items()})
    if single:  # Stata's abdata holds logarithms in single precision
        firms[list(logs)] = firms[list(logs)].astype("float32").astype(float)
    return Panel.from_frame(firms, unit="firm", period="year")


def _spec(lags: dict[str, tuple[int, ...]], **options) -> DynamicSpec:
    terms = tuple(DynamicTerm(term=t, lags=at, exogeneity="strict") for t, at in lags.items())
    return DynamicSpec(outcome="n", outcome_lags=2, terms=terms, collapse=False, **options)


A = {"w": (0, 1), "k": (0, 1, 2), "ys": (0, 1, 2)}
B = {"w": (0, 1), "k": (0,), "ys": (0, 1)}


def test_stata_xtabond_two_step_with_windmeijers_errors():
    """Every term of Stata's [XT] xtabond, example 4: lags(2) twostep vce(robust) noconstant.

    Its columns are those of Arellano and Bond (1991), table 4, (a2), with 7 digits instead of 3.
    """
    result = fit_dynamic(_panel(single=True), _spec(A))
    coef = "6287089 -0651882 -5257597 3112899 2783619 0140994 -0402484 5919243 -5659863 1005433"
    error = "1934138 0450501 1546107 2030006 0728019 0924575 0432745 1730916 2611008 1610987"
    assert (result.n_obs, result.n_units, result.n_instruments) == (611, 140, 41)
    assert_allclose(result.coef, [float(c) / 1e7 for c in coef.split()], rtol=0, atol=2e-6)
    errors = np.sqrt(np.diag(result.vcov))
    assert_allclose(errors, [float(e) / 1e7 for e in error.split()], rtol=0, atol=1e-6)


def test_windmeijer_2005_table_2_serial_correlation_of_the_one_step_estimate():
    """m1 and m2 of column (b) by one step, robust, as the tests of R's plm quote them.

    The two-step statistics of the same table, and those of Arellano and Bond (1991), come from an
    earlier program (DPD98) with another variance, which neither plm, Stata nor we reproduce.
    """
    result = fit_dynamic(_panel(single=False), _spec(B, steps=1))
    assert_allclose(result.ar, [-2.493, -0.359], rtol=0, atol=0.00051)
