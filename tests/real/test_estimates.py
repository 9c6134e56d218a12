"""Two-way within estimates and clustered errors on real data equal those of two other packages.

Conventions differ only in the small-sample factor. Ours (CR1) is G/(G-1) * (n-1)/(n-k-a): a charges
1 for the unit effects, nested in the clusters, and the period effects less one.
- pyfixest, ssc(k_adj=False, G_adj=False): no factor at all.
- linearmodels, group_debias=True, debiased=True, count_effects=False: G/(G-1) * (n-1)/(n-k).
Both absorb by demeaning; pyfixest iterates, here to 1e-13.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyfixest as pf
import pytest
from linearmodels.panel import PanelOLS
from numpy.testing import assert_allclose
from pyfixest.demeaners import MapDemeaner

from ex_cx.linkage.panel import Panel
from ex_cx.models.regress import PanelSpec, fit_panel

CARE, CALLS = "staff_responses", "calls_offered"
CASES = [
    ("nyc_schools", "cx_parent_satisfaction_score", "ex_teacher_climate_z", None),
    ("nyc_schools", "cx_parent_satisfaction_score", "ex_teachers_only_climate_z", None),
    ("nhs_trusts", "cx_shmi", "ex_engagement", None),
    ("nhs_trusts", "cx_shmi", "ex_engagement", CARE),
    ("nhs_trusts", "cx_shmi", "ex_work_stress_pct", None),
    ("nhs_trusts", "ex_recommend_care", "ex_engagement", None),
    ("nhs_trusts", "ex_recommend_care", "ex_engagement", CARE),
    ("nhs_trusts", "ex_recommend_care", "ex_work_stress_pct", None),
    ("bank_calls", "cx_abandonment_pct", "ex_occupancy_pct", None),
    ("bank_calls", "cx_abandonment_pct", "ex_occupancy_pct", CALLS),
    ("bank_calls", "cx_queue_seconds", "ex_occupancy_pct", None),
]


def rows_used(panel: Panel, outcome: str, exposure: str, weights: str | None) -> pd.DataFrame:
    """Complete rows as plain columns, without units seen once."""
    names = ["unit", "period", outcome, exposure, *([weights] if weights else [])]
    rows = panel.frame[names].dropna()
    return rows[rows.groupby("unit")["period"].transform("size") > 1].reset_index(drop=True)


@pytest.mark.parametrize(("study", "outcome", "exposure", "weights"), CASES)
def test_within_estimate_and_error_equal_two_packages(linked, study, outcome, exposure, weights):
    panel = linked(study).panel
    ours = fit_panel(panel, PanelSpec(outcome=outcome, exposures=(exposure,), weights=weights))
    rows = rows_used(panel, outcome, exposure, weights)
    n, g, k = len(rows), rows["unit"].nunique(), 1
    k_absorbed = 1 + rows["period"].nunique() - 1
    assert (ours.n_obs, ours.n_units, ours.n_clusters, ours.df_t) == (n, g, g, g - 1)
    assert ours.rows_in == len(panel) == n + sum(ours.lost.values())
    error = np.sqrt(ours.vcov[0, 0])

    fixest = pf.feols(
        f"{outcome} ~ {exposure} | unit + period",
        rows,
        vcov={"CRV1": "unit"},
        weights=weights,
        ssc=pf.ssc(k_adj=False, G_adj=False),
        demeaner=MapDemeaner(fixef_tol=1e-13),
    )
    assert_allclose(ours.coef[0], fixest.coef()[exposure], rtol=1e-8)
    factor = g / (g - 1) * (n - 1) / (n - k - k_absorbed)
    assert_allclose(error, np.sqrt(factor) * fixest.se()[exposure], rtol=1e-8)

    indexed = rows.assign(unit=rows["unit"].astype(str)).set_index(["unit", "period"])
    theirs = PanelOLS(
        indexed[outcome],
        indexed[[exposure]],
        weights=indexed[weights] if weights else None,
        entity_effects=True,
        time_effects=True,
    ).fit(
        cov_type="clustered",
        cluster_entity=True,
        group_debias=True,
        debiased=True,
        auto_df=False,
        count_effects=False,
    )
    assert_allclose(ours.coef[0], theirs.params[exposure], rtol=1e-8)
    rest = (n - k) / (n - k - k_absorbed)
    assert_allclose(error, np.sqrt(rest) * theirs.std_errors[exposure], rtol=1e-8)
