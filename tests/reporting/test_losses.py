"""What a report says of rows lost: how many, why, and which values were withheld."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ex_cx.linkage.audit import LinkAudit
from ex_cx.linkage.panel import Panel
from ex_cx.models.regress import PanelSpec, fit_panel
from ex_cx.reporting.losses import clusters_fact, row_counts

NAMES = {"nps": "NPS (points)", "mood": "Mood", "pay": "Pay"}


@pytest.fixture(scope="module")
def result():
    rng = np.random.default_rng(5)
    rows = pd.DataFrame(rng.normal(size=(60, 3)), columns=["nps", "mood", "pay"])
    rows["unit"], rows["period"] = np.divmod(np.arange(60), 6)
    rows.loc[:6, "nps"] = np.nan
    rows.loc[20:22, "mood"] = np.nan
    panel = Panel.from_frame(rows, unit="unit", period="period")
    return fit_panel(panel, PanelSpec(outcome="nps", exposures=("mood", "pay")))


@pytest.fixture
def audit() -> LinkAudit:
    held = pd.DataFrame(
        {
            "source": ["s"] * 4,
            "measure": ["nps", "mood", "pay", "nps_old"],
            "unit_periods": [60, 60, 60, 60],
            "shown": [53, 58, 55, 50],
            "suppressed": [1, 0, 5, 10],
            "withheld_for_others": [4, 0, 0, 0],
            "shares_suppressed": [9, 9, 9, 9],
        }
    )
    empty = pd.DataFrame()
    return LinkAudit(flow=empty, unmatched=empty, suppressed=held, definitions=empty, reads=empty)


LOST = "clusters; 50 of 60 rows used, 10 lost (7 missing NPS; 3 missing Mood"


def test_of_missing_values_those_withheld_are_told(result, audit):
    assert clusters_fact(result, NAMES, audit) == (
        "9",
        f"{LOST}; withheld in the whole study to protect small groups: 5 of NPS)",
    )


def test_every_kind_of_withholding_counts(result, audit):
    more = audit.suppressed.assign(withheld_for_release=[0, 2, 0, 0])
    told = clusters_fact(result, NAMES, replace(audit, suppressed=more))[1]
    assert told.endswith("small groups: 5 of NPS, 2 of Mood)")


def test_nothing_is_said_of_what_is_not_known(result, audit):
    table = replace(audit, suppressed=pd.DataFrame())  # a table that was not linked here
    for unknown in (None, table):
        assert clusters_fact(result, NAMES, unknown)[1] == f"{LOST})"


def test_counts_add_up(result):
    counts = row_counts(result)
    lost = [n for name, n in counts.items() if name.startswith("rows lost: ")]
    assert counts["rows in"] == counts["rows used"] + sum(lost) == 60
