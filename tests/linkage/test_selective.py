"""Rows lost against rows kept: the difference, its clustered error, and what is not shown."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ex_cx.errors import PanelError
from ex_cx.linkage.audit import LinkAudit
from ex_cx.linkage.link import Linked
from ex_cx.linkage.panel import Panel
from ex_cx.linkage.selective import compare_lost


def linked(n_units: int = 30, gap: float = 2.0, seed: int = 3) -> Linked:
    rng = np.random.default_rng(seed)
    unit, period = (a.ravel() for a in np.meshgrid(range(n_units), range(8), indexing="ij"))
    lost = rng.random(len(unit)) < 0.3
    y = rng.normal(size=n_units)[unit] + rng.normal(size=len(unit)) + gap * lost
    x = np.where(lost, np.nan, rng.normal(size=len(unit)))
    frame = pd.DataFrame({"unit": unit, "period": period, "y": y, "x": x, "linked": ~lost})
    panel = Panel.from_frame(frame, unit="unit", period="period")
    names = ("flow", "unmatched", "suppressed", "definitions", "reads")
    return Linked(panel=panel, audit=LinkAudit.from_dict({name: [] for name in names}))


def test_difference_and_error_are_those_of_a_clustered_regression():
    import statsmodels.api as sm

    case = linked()
    frame = case.panel.frame
    lost = (~frame["linked"]).astype(float)
    oracle = sm.OLS(frame["y"], sm.add_constant(lost.rename("lost"))).fit(
        cov_type="cluster",
        cov_kwds={"groups": frame["unit"], "use_correction": True, "df_correction": True},
        use_t=True,
    )
    row = compare_lost(case, ["y", "x"]).iloc[0]
    low, high = oracle.conf_int().loc["lost"]
    np.testing.assert_allclose(
        row[["difference", "std_error", "conf_low", "conf_high"]].to_numpy(dtype=float),
        [oracle.params["lost"], oracle.bse["lost"], low, high],
        rtol=1e-10,
    )
    assert (row["verdict"], row["kept"] + row["lost"]) == ("limits", len(frame))
    assert row["reading"].endswith("than those kept: the loss is selective.")


def test_loss_at_random_is_not_called_selective():
    row = compare_lost(linked(n_units=200, gap=0), ["y", "x"]).iloc[0]
    assert row["verdict"] == "clear"


def test_few_units_are_not_shown():
    case = linked(n_units=4)
    row = compare_lost(case, ["y", "x"]).iloc[0]
    assert row[["kept_mean", "lost_mean", "difference", "standardised"]].isna().all()
    assert "not shown" in row["reading"]


def test_no_loss_and_no_variation_are_told():
    frame = pd.DataFrame({"unit": range(12), "period": 1, "y": 1.0, "x": 2.0})
    full = Panel.from_frame(frame, unit="unit", period="period")
    case = linked()
    whole = Linked(panel=full, audit=case.audit)
    assert "no row with a value" in compare_lost(whole, ["y"])["reading"].iloc[0]
    gaps = Panel.from_frame(
        frame.assign(x=np.where(frame["unit"] < 6, np.nan, 1)), unit="unit", period="period"
    )
    row = compare_lost(Linked(panel=gaps, audit=case.audit), ["y", "x"]).iloc[0]
    assert (row["verdict"], "does not vary" in row["reading"]) == ("clear", True)


def test_reasons_sum_to_all():
    case = linked()
    y = case.panel.frame["y"].where(
        ~((case.panel.frame["period"] == 3) & case.panel.frame["linked"])
    )
    frame = case.panel.frame.assign(z=y)
    panel = Panel.from_frame(frame, unit="unit", period="period")
    found = compare_lost(Linked(panel=panel, audit=case.audit), ["y", "x", "z"])
    own = found[found["column"] == "y"].set_index("lost_by")["lost"]
    assert own["all"] == own.drop("all").sum() > 0


def test_a_column_that_is_not_there():
    with pytest.raises(PanelError, match="'w'"):
        compare_lost(linked(), ["w"])


def test_a_withheld_reason_cannot_be_had_by_subtraction():
    case = linked()
    frame = case.panel.frame
    few = (frame["unit"] < 2) & frame["linked"]
    panel = Panel.from_frame(frame.assign(z=frame["y"].where(~few)), unit="unit", period="period")
    found = compare_lost(Linked(panel=panel, audit=case.audit), ["y", "x", "z"])
    own = found[found["column"] == "y"].set_index("lost_by")
    assert own["lost_units"]["a column without a value"] == 2
    assert own["lost_mean"].isna().to_dict() == {
        "all": False,
        "not seen in every source": True,
        "a column without a value": True,
    }
