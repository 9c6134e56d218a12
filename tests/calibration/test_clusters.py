"""What the calibration by clusters says of its figures, and that it draws what it says."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ex_cx.models.regress import FEW_CLUSTERS, fit_panel
from tests.calibration import clusters

GOOD = {"cluster": 0.95, "bias_reduced": 0.95, "jackknife": 0.95, "wild": 0.95}


def _verdict(**changes: float) -> str:
    rows = [{"design": "balanced", "clusters": n, **GOOD} for n in (6, 12, 50)]
    for at, value in changes.items():
        name, row = at.rsplit("_", 1)
        rows[int(row)][name] = value
    return " ".join(clusters._verdict(pd.DataFrame(rows)).split())


def test_the_verdict_names_where_the_advice_fails():
    kept = "From 12 clusters on it keeps 95 % intervals between 93 and 97 % in every row."
    assert kept in _verdict()
    # CR1 with 12 clusters is not advised; below 12 nothing is promised
    said = _verdict(cluster_1=0.898, cluster_0=0.8)
    assert kept in said
    assert "does not: `cluster` 89.8 % (balanced, 12 clusters)." in said
    assert "nothing is promised; here: `cluster` 80.0 to 80.0 %" in said
    assert "but not here: `wild` 92.9 % (balanced, 12 clusters)." in _verdict(wild_1=0.929)
    assert "but not here: `cluster` 97.1 % (balanced, 50 clusters)." in _verdict(cluster_2=0.971)


@pytest.mark.parametrize("n_units", [FEW_CLUSTERS - 1, FEW_CLUSTERS])
def test_the_advice_is_that_of_the_warnings(n_units):
    panel = clusters.draw_panel(n_units, "balanced", np.random.default_rng(1))
    said = " ".join(fit_panel(panel, clusters.SPEC).warnings)
    names = {"jackknife": "vcov='jackknife'", "wild": "wild_cluster_test"}
    if "cluster" in clusters.advised(n_units):
        assert "clusters, fewer than" not in said
    else:
        assert all(names[name] in said for name in clusters.advised(n_units))


@pytest.mark.parametrize("design", clusters.DESIGNS)
def test_drawn_panels_are_as_described(design):
    panel = clusters.draw_panel(60, design, np.random.default_rng(2))
    periods = panel.frame.groupby("unit").size()
    if design == "balanced":
        assert (periods == clusters.N_PERIODS).all()
    else:
        assert periods[1::2].eq(clusters.N_PERIODS).all()
        assert set(periods[::2]) <= set(range(4, 9))
        for _, rows in panel.frame.groupby("unit"):  # one spell each, without a gap
            assert rows["period"].max() - rows["period"].min() == len(rows) - 1
    found = clusters.coverage(12, design, 2, np.random.default_rng(3))
    assert set(found) == set(clusters.ERRORS)
    assert set(found.values()) <= {0.0, 0.5, 1.0}
