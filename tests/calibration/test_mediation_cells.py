"""The small version of the table of indirect intervals."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from ex_cx.models.mediation import fit_mediation
from tests.calibration.mediation import DESIGNS, INTERVALS, SPEC, draw_panel, ends, score_cell


@pytest.mark.parametrize("interval", INTERVALS)
@pytest.mark.parametrize("design", DESIGNS)
def test_ends_are_those_of_tidy(interval, design):
    rng = np.random.default_rng(4)
    panel = draw_panel(20, design, (0.5, 0.5), rng)
    result = fit_mediation(panel, SPEC, n_boot=199, interval=interval, rng=rng)
    row = result.tidy().set_index("term").loc["indirect"]
    assert_allclose(ends(result), [row["conf_low"], row["conf_high"]], rtol=1e-12)


def test_a_large_effect_is_covered_and_a_cell_is_the_same_wherever_it_is_computed():
    cell = ("unbalanced", 50, "large")
    one, same, other = (score_cell(cell, 40, seed) for seed in (1, 1, 2))
    assert one == same
    assert one != other
    for kind in INTERVALS:
        # 80 panels: 0.95 less four Monte Carlo errors of sqrt(0.95 * 0.05 / 80) = 0.024
        assert (one[kind] + other[kind]) / 2 >= 0.95 - 4 * 0.024
