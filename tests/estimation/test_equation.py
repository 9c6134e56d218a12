"""One equation, to the digits the data allow: NIST problems, exact fractions, refusals."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from statsmodels.datasets import longley

from ex_cx.errors import RankError
from ex_cx.estimation.inference import check_rank
from ex_cx.linkage.panel import Panel
from ex_cx.models.regress import PanelSpec, compress_panel, fit_panel


def _one_unit(frame) -> Panel:
    rows = frame.assign(unit="A", period=np.arange(len(frame)))
    return Panel.from_frame(rows, unit="unit", period="period")


def test_longley_to_the_certified_digits():
    # NIST Statistical Reference Datasets, Longley: certified values, the constant left out
    frame = longley.load_pandas().data
    names = ("GNPDEFL", "GNP", "UNEMP", "ARMED", "POP", "YEAR")
    spec = PanelSpec(outcome="TOTEMP", exposures=names, estimator="pooled", vcov="unadjusted")
    result = fit_panel(_one_unit(frame), spec)
    certified = [
        15.0618722713733,
        -0.0358191792925910,
        -2.02022980381683,
        -1.03322686717359,
        -0.0511041056535807,
        1829.15146461355,
    ]
    errors = [
        84.9149257747669,
        0.0334910077722432,
        0.488399681651699,
        0.214274163161675,
        0.226073200069370,
        455.478499142212,
    ]
    assert_allclose(result.coef, certified, rtol=1e-10)
    assert_allclose(np.sqrt(np.diag(result.vcov)), errors, rtol=1e-10)
    assert_allclose(result.r2, 0.995479004577296, rtol=1e-12)


@pytest.mark.parametrize(("base", "rtol"), [(1.0, 1e-8), (0.1, 1e-8)])
def test_wampler_polynomials(base, rtol):
    # NIST Wampler1 (all coefficients 1) and Wampler2 (powers of 0.1), x from 0 to 20
    x = np.arange(21.0)
    frame = pd.DataFrame({"x": x, "y": sum((base * x) ** j for j in range(6))})
    terms = ("x", *(f"x^{j}" for j in range(2, 6)))
    spec = PanelSpec(outcome="y", exposures=terms, estimator="pooled", vcov="unadjusted")
    result = fit_panel(_one_unit(frame), spec)
    assert_allclose(result.coef, [base**j for j in range(1, 6)], rtol=rtol)
    assert result.condition_number > 1e3


def _exact(columns, y) -> tuple[list[Fraction], list[list[Fraction]], Fraction]:
    """Least squares in fractions: coefficients, inverse of the normal matrix, residual squares."""
    p = len(columns)
    normal = [[sum(a * b for a, b in zip(u, v, strict=True)) for v in columns] for u in columns]
    table = [[*row, *(Fraction(int(i == j)) for j in range(p))] for i, row in enumerate(normal)]
    for i in range(p):
        pivot = next(r for r in range(i, p) if table[r][i] != 0)
        table[i], table[pivot] = table[pivot], table[i]
        table[i] = [value / table[i][i] for value in table[i]]
        for r in range(p):
            if r != i and table[r][i] != 0:
                table[r] = [a - table[r][i] * b for a, b in zip(table[r], table[i], strict=True)]
    inverse = [row[p:] for row in table]
    right = [sum(a * b for a, b in zip(u, y, strict=True)) for u in columns]
    coef = [sum(a * b for a, b in zip(row, right, strict=True)) for row in inverse]
    fitted = [sum(b * u[i] for b, u in zip(coef, columns, strict=True)) for i in range(len(y))]
    return coef, inverse, sum((a - b) ** 2 for a, b in zip(y, fitted, strict=True))


def _fractions(values) -> list[Fraction]:
    return [Fraction(float(v)) for v in values]


def _twoway(kind: str, size: float) -> pd.DataFrame:
    """6 units x 5 periods, a cell missing; x and z of a kind that costs digits."""
    rng = np.random.default_rng(11)
    unit, period = np.divmod(np.arange(30), 5)
    frame = pd.DataFrame({"unit": unit, "period": period}).drop(index=7).reset_index(drop=True)
    n = len(frame)
    season, noise = rng.normal(size=5)[frame["period"]], rng.normal(size=n)
    if kind == "season":
        frame["x"], frame["z"] = season + size * noise, rng.normal(size=n)
    elif kind == "unit":
        frame["x"] = rng.normal(size=6)[frame["unit"]] + size * noise
        frame["z"] = rng.normal(size=n)
    elif kind == "collinear":
        frame["z"] = rng.normal(size=n)
        frame["x"] = frame["z"] + size * noise
    else:
        frame["x"], frame["z"] = 1 / size + noise, rng.normal(size=n)
    frame["y"] = frame["x"] + rng.normal(size=n) * max(size, 1e-3) + season
    return frame


@pytest.mark.parametrize("size", [1e-1, 1e-2, 1e-3, 1e-4, 1e-5])
@pytest.mark.parametrize("kind", ["season", "unit", "collinear", "offset"])
def test_digits_lost_to_effects_neighbours_and_offsets(kind, size):
    # the same doubles, solved exactly: whatever is not refused is right to 1e-8
    frame = _twoway(kind, size)
    columns = [_fractions(frame[name]) for name in ("x", "z")]
    columns += [_fractions(frame["unit"] == u) for u in range(6)]
    columns += [_fractions(frame["period"] == t) for t in range(1, 5)]
    coef, inverse, rss = _exact(columns, _fractions(frame["y"]))
    expected = [[float(inverse[i][j] * rss / (len(frame) - 12)) for j in (0, 1)] for i in (0, 1)]
    panel = Panel.from_frame(frame, unit="unit", period="period")
    spec = PanelSpec(outcome="y", exposures=("x", "z"), vcov="unadjusted")
    result = fit_panel(panel, spec)
    assert_allclose(result.coef, [float(c) for c in coef[:2]], rtol=1e-8)
    assert_allclose(result.vcov, expected, rtol=2e-8)


def test_scores_from_the_rows_and_from_the_moments_agree(monkeypatch):
    from ex_cx.estimation import equation

    frame = _twoway("season", 0.5)
    panel = Panel.from_frame(frame, unit="unit", period="period")
    spec = PanelSpec(outcome="y", exposures=("x", "z"))
    compressed = compress_panel(panel, spec)
    moments, names, absorbed = compressed.moments, compressed.terms, compressed.absorbed
    one = equation.fit_equation(moments, 0, [1, 2], names, absorbed)
    monkeypatch.setattr(equation, "ILL_CONDITIONED", 0.0)
    other = equation.fit_equation(moments, 0, [1, 2], names, absorbed)
    for field in ("coef", "bread", "scores", "contrast", "rss"):
        assert_allclose(getattr(other, field), getattr(one, field), rtol=1e-11, atol=1e-13)


def _message(frame, exposures, estimator="within") -> str:
    panel = Panel.from_frame(frame, unit="unit", period="period")
    with pytest.raises(RankError) as error:
        fit_panel(panel, PanelSpec(outcome="y", exposures=exposures, estimator=estimator))
    return str(error.value)


def test_too_few_digits_left_is_refused():
    wiped = (
        "'x' is a combination of the absorbed effects (unit and period), so its coefficient is not "
        "identified. Drop it from the spec, or absorb fewer effects."
    )
    assert _message(_twoway("season", 1e-7), ("x", "z")) == wiped
    assert _message(_twoway("unit", 1e-7), ("x", "z")) == wiped
    assert _message(_twoway("collinear", 1e-7), ("z", "x")) == (
        "'x' is a combination of 'z' once the effects are absorbed, so its coefficient is not "
        "identified. Drop one of them from the spec."
    )
    assert _message(_twoway("offset", 1e-7), ("x", "x^2")) == (
        "'x^2' is a combination of 'x' once the effects are absorbed, so its coefficient is not "
        "identified. Drop one of them from the spec, or centre the columns before they are "
        "multiplied."
    )


def test_many_slightly_dependent_regressors_are_refused_together():
    # Kahan's matrix: every pivot is far from zero, the smallest singular value is not
    p, sine = 24, 0.62
    cosine = np.sqrt(1 - sine**2)
    upper = np.triu(np.full((p, p), -cosine), 1) + np.eye(p)
    kahan = (sine ** np.arange(p))[:, None] * upper
    rng = np.random.default_rng(0)
    q = np.linalg.qr(np.column_stack([np.ones(60), rng.normal(size=(60, p))]))[0][:, 1:]
    frame = pd.DataFrame(q @ kahan, columns=[f"x{j}" for j in range(p)])
    frame = frame.assign(y=rng.normal(size=60), unit=np.arange(60), period=0)
    message = _message(frame, tuple(frame.columns[:p]), "pooled")
    assert message.startswith("The regressors are nearly dependent (condition number ")
    assert message.endswith(
        "at most 1e+07): " + ", ".join(f"'x{j}'" for j in range(p)) + ". Centre them, or drop one."
    )


def test_condition_number_by_hand():
    # correlation r: eigenvalues 1 + r and 1 - r
    cross = np.array([[4.0, 0.6 * 2 * 3], [0.6 * 2 * 3, 9.0]])
    found = check_rank(cross, np.array([4.0, 9.0]), ["x", "z"], ("unit",))
    assert_allclose(found, np.sqrt(1.6 / 0.4))
