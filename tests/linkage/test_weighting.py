"""Raking by hand and against R's survey; what trimming and unequal weights cost."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from ex_cx.errors import SchemaError
from ex_cx.linkage.weighting import rake_weights, weighted_mean

ORACLE = json.loads(
    (Path(__file__).parents[1] / "oracles" / "weighting.json").read_text(encoding="utf-8")
)
SCHOOLS = pd.DataFrame(ORACLE["respondents"])
MARGINS = dict(zip(ORACLE["names"], ORACLE["margins"], strict=True))


def _grid(cells: dict[tuple[str, str], int]) -> pd.DataFrame:
    rows = [pair for pair, n in cells.items() for _ in range(n)]
    return pd.DataFrame(rows, columns=["site", "shift"])


def test_one_margin_is_population_over_respondents():
    staff = _grid({("a", "day"): 15, ("b", "day"): 5})
    found = rake_weights(staff, {"site": {"a": 30, "b": 30}})
    assert_allclose(found.weights, [2.0] * 15 + [6.0] * 5)
    # Kish: 20 (15 x 4 + 5 x 36) / 60^2
    assert found.design_effect == pytest.approx(20 * 240 / 3600)
    assert found.effective_n == pytest.approx(15)
    assert (found.rounds, found.trimmed, found.population) == (1, 0, pytest.approx(60))


def test_two_margins_by_hand():
    # respondents 10, 5 / 5, 10; known are 30, 30 by site and 40, 20 by shift
    cells = {("a", "day"): 10, ("a", "night"): 5, ("b", "day"): 5, ("b", "night"): 10}
    staff = _grid(cells)
    found = rake_weights(staff, {"site": {"a": 30, "b": 30}, "shift": {"day": 40, "night": 20}})
    by_cell = staff.assign(w=found.weights).groupby(["site", "shift"])["w"]
    sums, each = by_cell.sum(), by_cell.first()
    assert sums["a"].sum() == pytest.approx(30)
    assert sums.xs("day", level="shift").sum() == pytest.approx(40)
    # raking keeps the odds ratio of the respondents: (10 x 10) / (5 x 5) = 4
    odds = sums["a", "day"] * sums["b", "night"] / (sums["a", "night"] * sums["b", "day"])
    assert odds == pytest.approx(4)
    # so the cell x of a, day solves x (20 - 30 + x) = 4 (30 - x)(40 - x)
    x = sums["a", "day"]
    assert x * (x - 10) == pytest.approx(4 * (30 - x) * (40 - x))
    assert each["a", "day"] == pytest.approx(x / 10)


def test_weights_are_those_of_survey():
    found = rake_weights(SCHOOLS, MARGINS)
    assert_allclose(found.weights, ORACLE["weights"], rtol=1e-9)
    based = rake_weights(SCHOOLS, MARGINS, base="base")
    assert_allclose(based.weights, ORACLE["weights_based"], rtol=1e-9)
    assert_allclose(found.margins["weighted_pct"], found.margins["known_pct"], rtol=1e-9)


def test_trimmed_weights_are_those_of_survey():
    found = rake_weights(SCHOOLS, MARGINS, trim=ORACLE["trim"])
    assert_allclose(found.weights, ORACLE["weights_trimmed"], rtol=1e-9)
    plain = rake_weights(SCHOOLS, MARGINS)
    assert found.weights.sum() == pytest.approx(plain.weights.sum())
    assert found.weights.max() == pytest.approx(ORACLE["trim"] * plain.weights.mean())
    assert found.design_effect < plain.design_effect
    off = (found.margins["weighted_pct"] - found.margins["known_pct"]).abs().max()
    assert found.furthest_pct == pytest.approx(off)
    assert found.furthest_pct > 0.1
    assert f"{found.trimmed} weights cut down" in found.reading


def test_the_mean_and_its_error_are_those_of_survey():
    weights = np.array(ORACLE["weights"])
    found = weighted_mean(SCHOOLS["api00"], weights)
    assert found.estimate == pytest.approx(ORACLE["mean"], rel=1e-10)
    assert found.std_error == pytest.approx(ORACLE["std_error"], rel=1e-10)
    # survey also counts what calibration explains; ours does not, and is the larger
    assert found.std_error > ORACLE["std_error_raked"]


def test_order_labels_and_scale_of_the_base_do_not_matter():
    plain = rake_weights(SCHOOLS, MARGINS)
    mixed = SCHOOLS.sample(frac=1, random_state=3)
    assert_allclose(rake_weights(mixed, MARGINS).weights.sort_index(), plain.weights, rtol=1e-8)
    scaled = rake_weights(SCHOOLS.assign(base=7.0), MARGINS, base="base")
    assert_allclose(scaled.weights, plain.weights, rtol=1e-12)
    reordered = {name: MARGINS[name] for name in reversed(MARGINS)}
    assert_allclose(rake_weights(SCHOOLS, reordered).weights, plain.weights, rtol=1e-8)


def test_weighting_brings_back_the_mean_of_those_asked():
    rng = np.random.default_rng(11)
    asked = pd.DataFrame({"shift": rng.choice(["day", "night"], 20_000)})
    mood = np.where(asked["shift"] == "day", 4.0, 2.0) + rng.normal(size=20_000)
    answered = rng.random(20_000) < np.where(asked["shift"] == "day", 0.6, 0.2)
    found = rake_weights(asked[answered], {"shift": asked["shift"].value_counts().to_dict()})
    mended = weighted_mean(mood[answered], found.weights)
    assert abs(mended.estimate - mood.mean()) < 4 * mended.std_error
    assert mood[answered].mean() - mood.mean() > 20 * mended.std_error  # 0.5 too high without


def test_equal_weights_are_the_plain_mean():
    scores = np.array([1.0, 2.0, 4.0, np.nan])
    found = weighted_mean(scores, np.full(4, 3.0))
    assert found.estimate == pytest.approx(7 / 3)
    assert found.std_error == pytest.approx(np.std([1, 2, 4], ddof=1) / np.sqrt(3))
    assert found.n == 3
    assert np.isnan(weighted_mean([np.nan], [1.0]).estimate)
    assert np.isnan(weighted_mean([2.0], [1.0]).std_error)


DIAGONAL = _grid({("a", "day"): 6, ("b", "night"): 6})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rake_weights(DIAGONAL, {}), r"There are no margins"),
        (lambda: rake_weights(DIAGONAL, {"sit": {"a": 1}}), r"no column 'sit'\. Did you mean 'si"),
        (lambda: rake_weights(DIAGONAL, {"site": {"a": 0, "b": 3}}), r"1 category without a pos"),
        (lambda: rake_weights(DIAGONAL, {"site": {"a": "x", "b": 3}}), r"1 category without a pos"),
        (
            lambda: rake_weights(DIAGONAL, {"site": {"a": 9}}),
            r"no count for 1 category .*ten like 'a'\)",
        ),
        (
            lambda: rake_weights(DIAGONAL, {"site": {"a": 9, "b": 9, "c": 9}}),
            r"1 category of the margin 'site' has fewer than 5 respondents.* Merge them",
        ),
        (
            lambda: rake_weights(
                DIAGONAL, {"site": {"a": 9, "b": 9}, "shift": {"day": 9, "night": 8}}
            ),
            r"different numbers of people: 18 by 'site', 17 by 'shift'",
        ),
        (
            lambda: rake_weights(
                DIAGONAL, {"site": {"a": 9, "b": 9}, "shift": {"day": 12, "night": 6}}
            ),
            r"No weights meet all 2 margins: after 1,000 rounds a count of 'site' is still",
        ),
        (
            lambda: rake_weights(DIAGONAL.assign(site=None), {"site": {"a": 9}}),
            r"12 respondents of 12 have no 'site'",
        ),
        (lambda: rake_weights(DIAGONAL, {"site": {"a": 9, "b": 9}}, trim=1.0), r"trim=1 must exc"),
        (lambda: rake_weights(DIAGONAL, {"site": {"a": 9, "b": 9}}, min_n=4), r"min_n=4 is below"),
        (
            lambda: rake_weights(DIAGONAL.assign(w=-1.0), {"site": {"a": 9, "b": 9}}, base="w"),
            r"12 base weights of 12 in 'w' are missing, infinite or not positive",
        ),
        (
            lambda: rake_weights(DIAGONAL, {"site": {"a": 9, "b": 9}}, base="wt"),
            r"no column 'wt'",
        ),
        (lambda: weighted_mean([1.0, 2.0], [1.0]), r"There are 2 scores and 1 weights"),
        (lambda: weighted_mean([1.0], [-1.0]), r"1 weight of 1 is negative or infinite"),
    ],
)
def test_what_cannot_be_weighted_is_refused(call, message):
    with pytest.raises(SchemaError, match=message):
        call()
