"""Pooled estimates: metafor's to 1e-6, laws that hold for any rows, and what cannot be pooled."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ex_cx import pool_estimates
from ex_cx.errors import InferenceError, SpecError

ORACLE = json.loads(
    (Path(__file__).parents[1] / "oracles" / "pooling.json").read_text(encoding="utf-8")
)


def rows(estimates, errors):
    labels = [f"s{i}" for i in range(len(estimates))]
    return pd.DataFrame({"label": labels, "estimate": estimates, "std_error": errors})


@pytest.mark.parametrize("method", ["reml", "paule_mandel", "common"])
@pytest.mark.parametrize("name", sorted(ORACLE))
def test_metafor(name, method):
    case = ORACLE[name]
    expected = {k: np.nan if v in (None, "NA") else v for k, v in case[method].items()}
    found = pool_estimates(rows(case["yi"], case["sei"]), method=method)
    pooled, prediction = (row for _, row in found.tidy().iterrows())
    got = {
        "estimate": found.estimate,
        "se": found.std_error,
        "low": pooled["conf_low"],
        "high": pooled["conf_high"],
        "p": pooled["p_value"],
        "tau": found.tau,
        "i2": found.i2,
        "q": found.q,
        "q_p": found.q_p,
        "pred_low": prediction["conf_low"],
        "pred_high": prediction["conf_high"],
    }
    assert got == pytest.approx(expected, rel=1e-6, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("method", ["reml", "paule_mandel", "common"])
def test_the_unit_and_the_order_do_not_matter(method):
    case = ORACLE["bcg"]
    frame = rows(case["yi"], case["sei"])
    found = pool_estimates(frame, method=method)
    scaled = frame.assign(estimate=1e-5 * frame["estimate"], std_error=1e-5 * frame["std_error"])
    turned = pool_estimates(scaled[::-1], method=method)
    assert 1e5 * turned.estimate == pytest.approx(found.estimate, rel=1e-9)
    assert 1e5 * turned.tau == pytest.approx(found.tau, rel=1e-8)
    assert turned.i2 == pytest.approx(found.i2, rel=1e-8)


def test_two_estimates_have_no_prediction_interval_and_sharing_is_told():
    found = pool_estimates(rows([0.1, 0.5], [0.1, 0.1]))
    assert found.tidy().iloc[1][["conf_low", "conf_high"]].isna().all()
    assert found.glance()["prediction"].item() == "none"
    assert "share its periods" in found.glance()["warnings"].item()


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (rows([0.1], [0.1]), "1 estimate cannot"),
        (rows([0.1, 0.2], [0.1, 0.0]), r"1 of 2 rows \('s1'\)"),
        (rows([0.1, np.nan, 0.3], [0.1, 0.1, np.nan]), r"2 of 3 rows \('s1', 's2'\)"),
        (rows([0.1, 0.2], [0.1, 0.1]).assign(outcome=["a", "b"]), "2 values of outcome"),
        (rows([0.1, 0.2], [0.1, 0.1]).assign(term=["a", "b"]), "2 values of term"),
        (rows([0.1, 0.2], [0.1, 0.1]).assign(label="north"), "'north' occurs more than once"),
        (rows([0.2, 0.2], [0.1, 0.1]), "All estimates are equal"),
        (pd.DataFrame({"label": ["a", "b"], "estimate": [1.0, 2.0]}), "lacks 'std_error'"),
    ],
)
def test_what_cannot_be_pooled(frame, says):
    with pytest.raises(SpecError, match=says):
        pool_estimates(frame)


def test_unknown_methods_and_levels():
    frame = rows([0.1, 0.5], [0.1, 0.1])
    with pytest.raises(SpecError, match="method='dl'"):
        pool_estimates(frame, method="dl")
    with pytest.raises(InferenceError, match="conf_level=95"):
        pool_estimates(frame).tidy(95)
