"""The small version of `make calibrate`: the same comparisons on fewer panels."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest

from tests.calibration.recovery import (
    MEDIATIONS,
    REGRESSIONS,
    Plan,
    failing,
    is_pooled,
    score,
    simulate_estimates,
)

PANELS = 100
COMPARISONS = 30
# All comparisons together fail by chance for one seed in a thousand: 4.15 Monte Carlo errors each.
MC_ERRORS = NormalDist().inv_cdf(1 - 0.001 / (2 * COMPARISONS))
# Coverage of a right 95 % interval scatters around 0.95 with this Monte Carlo error.
COVERAGE_ERROR = np.sqrt(0.95 * 0.05 / PANELS)
COVERAGE = (0.95 - MC_ERRORS * COVERAGE_ERROR, 0.95 + MC_ERRORS * COVERAGE_ERROR)


@pytest.fixture(scope="module")
def table():
    plan = Plan(
        n_panels=PANELS,
        n_units=48,
        n_boot=399,
        estimators=(("within", "cluster"), ("pooled", "cluster")),
        mediations=MEDIATIONS[:2],
    )
    return score(simulate_estimates(plan, rng=np.random.default_rng(11)))


def test_within_estimates_are_unbiased_and_their_intervals_cover(table):
    within = table[~is_pooled(table)]
    assert len(within) == COMPARISONS == sum(len(names) for _, names in REGRESSIONS) + 9 + 6
    wrong = failing(within, COVERAGE, MC_ERRORS)
    assert wrong.empty, wrong.to_string()


def test_pooled_estimates_are_biased_or_do_not_cover(table):
    pooled = table[is_pooled(table)]
    assert len(failing(pooled, COVERAGE, MC_ERRORS)) == len(pooled)


@pytest.mark.parametrize(
    ("model", "term"),
    [
        ("ex_attrition_pct ~ ex_engagement + ex_occupancy_pct", "ex_engagement"),
        ("cx_nps ~ ex_engagement + ex_occupancy_pct", "ex_engagement"),
        ("cx_nps ~ ex_engagement + ex_occupancy_pct", "ex_occupancy_pct"),
    ],
)
def test_the_pooled_headline_has_the_wrong_sign(table, model, term):
    row = table[(table["model"] == model) & (table["term"] == term) & is_pooled(table)].iloc[0]
    assert np.sign(row["mean"]) == -np.sign(row["truth"])
    assert abs(row["mean"]) > MC_ERRORS * row["mc_error"]
