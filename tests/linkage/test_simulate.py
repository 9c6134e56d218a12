"""The simulated company: its causal model, its error-free panel, its exports, its truth."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from ex_cx.errors import SpecError
from ex_cx.linkage.link import link_sources, link_study_data
from ex_cx.linkage.linkspec import LinkSpec
from ex_cx.linkage.measure import measure_source
from ex_cx.linkage.panel import Panel
from ex_cx.linkage.schema import MeasureSpec, SourceSpec
from ex_cx.linkage.simulate import (
    ContactCentre,
    causal_truth,
    simulate_contact_centre,
    simulate_panel,
    write_contact_centre,
)
from ex_cx.linkage.simulator.answers import AnswerScale, mean_answer_variance, shared_covariance
from ex_cx.linkage.simulator.causal import MODEL, NAMES, effect, noise_autocovariance, paths
from ex_cx.linkage.simulator.exports import ITEM_LOADING, ITEM_SHIFTS, LIKERT, NPS
from ex_cx.linkage.simulator.spells import draw_spells
from ex_cx.models.regress import PanelSpec, fit_panel

FOLDER = Path(__file__).resolve().parents[2] / "data" / "contact_centre"
SEED = 20230108  # of the committed files; data/contact_centre/README.md names it
EXPORTS = {
    "hris_employees.csv": "employees",
    "employee_survey.csv": "employee_survey",
    "wfm_intervals.csv": "wfm_intervals",
    "customer_survey.csv": "customer_survey",
    "crm_accounts.csv": "crm_accounts",
}
EFFORT = MeasureSpec(metric="effort", score="effort", low=1, high=5, direction="high_is_bad")
RESOLVED = MeasureSpec(metric="fcr", score="resolved", positive=("yes",))
LEFT = ("voluntary", "involuntary")
SOURCES = {
    "employees": SourceSpec(
        path="hris_employees.csv",
        unit="team",
        attributes={"region": "region", "site": "site"},
        measures={
            "ex_attrition_pct": MeasureSpec(
                metric="attrition",
                hire="hire_date",
                exit="exit_date",
                exit_type="exit_type",
                types=LEFT,
            )
        },
    ),
    "employee_survey": SourceSpec(
        path="employee_survey.csv",
        unit="team",
        period="wave",
        carry=2,
        measures={
            "ex_engagement": MeasureSpec(
                metric="scale_mean",
                items=tuple(f"eng_{j}" for j in range(1, 7)),
                reverse=("eng_4",),
                low=1,
                high=5,
            )
        },
    ),
    "wfm_intervals": SourceSpec(
        path="wfm_intervals.csv",
        unit="team",
        period="date",
        measures={
            "ex_occupancy_pct": MeasureSpec(
                metric="occupancy", numerator="handle_seconds", denominator="staffed_seconds"
            ),
            "ex_aht_seconds": MeasureSpec(
                metric="aht", numerator="handle_seconds", denominator="handled"
            ),
        },
    ),
    "customer_survey": SourceSpec(
        path="customer_survey.csv",
        unit="team",
        period="date",
        measures={
            "cx_nps": MeasureSpec(metric="nps", score="nps_score"),
            "cx_effort": EFFORT,
            "cx_fcr_pct": RESOLVED,
        },
    ),
    "crm_accounts": SourceSpec(
        path="crm_accounts.csv",
        unit="team",
        measures={
            "cx_retention_pct": MeasureSpec(
                metric="retention", start="start_date", end="churn_date"
            )
        },
    ),
}
WINDOW = {"first": "2023-01", "last": "2024-12"}


@pytest.fixture(scope="module")
def company() -> ContactCentre:
    return simulate_contact_centre(rng=np.random.default_rng(SEED))


@pytest.fixture(scope="module")
def large() -> ContactCentre:
    return simulate_contact_centre(n_units=400, rng=np.random.default_rng(3))


@pytest.fixture(scope="module")
def large_panel(large) -> Panel:
    return measured_panel(large)


@pytest.fixture(scope="module")
def small_panel(company) -> Panel:
    return measured_panel(company)


def measured_panel(company: ContactCentre) -> Panel:
    measured = [
        measure_source(getattr(company, name), spec, name, **WINDOW)
        for name, spec in SOURCES.items()
    ]
    return link_sources(measured).panel


def largest_by_chance(comparisons: int) -> float:
    """Standard errors that the largest of so many exceeds by chance once in 1,000 seeds."""
    return NormalDist().inv_cdf(1 - 0.001 / (2 * comparisons))


def side_by_side(company: ContactCentre, panel: Panel) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Error-free and measured values of the unit-periods in which a team is open."""
    true = company.panel.frame.set_index(["unit", "period"])
    return true, panel.frame.set_index(["unit", "period"]).reindex(true.index)


# The committed files


def test_committed_files_are_what_the_seed_gives(company, tmp_path):
    written = write_contact_centre(company, tmp_path)
    assert [path.name for path in written] == [*EXPORTS, "truth.json"]
    for path in written:
        assert (FOLDER / path.name).read_bytes() == path.read_bytes(), path.name


def test_committed_exports_stay_small():
    assert sum((FOLDER / name).stat().st_size for name in EXPORTS) <= 4e6


def test_every_column_is_in_the_data_dictionary(company):
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert str(SEED) in text
    for name, attribute in EXPORTS.items():
        assert f"## {name}" in text
        section = text.split(f"## {name}")[1].split("\n## ")[0]
        for column in getattr(company, attribute).columns:
            assert f"`{column}`" in section or column in [f"eng_{j}" for j in range(2, 6)], column


def test_truth_on_disk_is_the_causal_model():
    truth = json.loads((FOLDER / "truth.json").read_text(encoding="utf-8"))
    for key, value in causal_truth().items():
        assert truth[key] == json.loads(json.dumps(value))


# The causal model


def test_total_effect_is_the_sum_of_its_paths():
    for cause in NAMES:
        for outcome in NAMES:
            if cause != outcome:
                assert_allclose(
                    effect(cause, outcome), sum(paths(cause, outcome).values()), atol=1e-12
                )


def test_effects_by_hand():
    # occupancy -> attrition -> effort -> NPS and its three shorter relatives
    by_attrition = 0.15 * (0.08 * -22 + -0.8 * 0.4)
    assert_allclose(
        effect("ex_occupancy_pct", "cx_nps"), by_attrition + 0.05 * -22 + -0.8 * 0.4, rtol=1e-12
    )
    assert_allclose(
        effect("ex_occupancy_pct", "cx_nps", held=["ex_attrition_pct"]),
        0.05 * -22 + -0.8 * 0.4,
        rtol=1e-12,
    )
    assert effect("cx_nps", "ex_engagement") == 0.0


def test_mediation_truth_adds_up():
    for design in causal_truth()["mediations"]:
        terms = design["effects"]
        assert_allclose(terms["direct"] + terms["indirect"], terms["total"], atol=2e-6)


def test_noise_has_the_stated_autocovariance():
    panel = simulate_panel(n_units=4000, n_periods=6, rng=np.random.default_rng(2))
    values = panel.frame[list(NAMES)].to_numpy().reshape(4000, 6, len(NAMES))
    # differences between months rid the values of what a team always has
    change = values[:, 3] - values[:, 1]
    change -= change.mean(axis=0)
    covariance = noise_autocovariance(6)
    lagged = covariance[:, :, 3, 1] + covariance[:, :, 1, 3]
    expected = covariance[:, :, 3, 3] + covariance[:, :, 1, 1] - lagged
    sd = np.sqrt(np.diag(expected))
    found = change.T @ change / (4000 - 1)
    # a sample covariance of normals has a standard error of at most sqrt(2 / n) sd sd
    limit = largest_by_chance(36) * np.sqrt(2 / 4000)
    assert np.abs((found - expected) / np.outer(sd, sd)).max() < limit


def test_every_cause_stands_above_what_it_drives():
    seen: set[str] = set()
    for equation in MODEL:
        assert set(equation.causes) <= seen
        seen.add(equation.name)


# The error-free panel


def test_panel_is_balanced_complete_and_repeatable():
    panel = simulate_panel(rng=np.random.default_rng(5))
    again = simulate_panel(rng=np.random.default_rng(5))
    assert (panel.n_units, panel.n_periods, len(panel)) == (48, 24, 48 * 24)
    pd.testing.assert_frame_equal(panel.frame, again.frame)
    assert list(panel.frame.columns) == ["unit", "period", "region", "site", *NAMES]
    assert panel.frame.notna().all(axis=None)
    assert str(panel.frame["period"].iloc[0]) == "2023-01"
    places = panel.frame.groupby("region")
    assert places["site"].nunique().tolist() == [3] * 4
    assert places["unit"].nunique().tolist() == [12] * 4
    other = simulate_panel(rng=np.random.default_rng(6))
    assert not np.allclose(panel.frame["cx_nps"], other.frame["cx_nps"])


@pytest.mark.parametrize(("n_units", "n_periods"), [(2, 2), (5, 3), (13, 40), (500, 7)])
def test_any_size(n_units, n_periods):
    panel = simulate_panel(n_units=n_units, n_periods=n_periods, rng=np.random.default_rng(1))
    assert (panel.n_units, panel.n_periods) == (n_units, n_periods)
    company = simulate_contact_centre(
        n_units=n_units, n_periods=n_periods, rng=np.random.default_rng(1)
    )
    assert company.panel.n_units == n_units


def test_reverse_path_carries_nps_into_engagement():
    def slope(reverse: float) -> tuple[float, float]:
        rng = np.random.default_rng(8)
        panel = simulate_panel(n_units=400, n_periods=60, reverse=reverse, rng=rng)
        spec = PanelSpec(outcome="ex_engagement", exposures=("cx_nps",), lag=1)
        tidy = fit_panel(panel, spec).tidy().iloc[0]
        return tidy["estimate"], tidy["std_error"]

    # Without it, last month's NPS only echoes last month's engagement (rho 0.7, a small share of
    # the variance of NPS); with it, the slope rises by the reverse effect.
    without, error_without = slope(0.0)
    with_it, error_with = slope(0.02)
    assert 0 < without < 0.02
    assert abs(with_it - without - 0.02) < 4 * np.hypot(error_without, error_with) + 0.1 * 0.02


def test_size_and_reverse_are_checked():
    rng = np.random.default_rng(1)
    with pytest.raises(SpecError) as told:
        simulate_panel(n_units=1, rng=rng)
    assert str(told.value) == "n_units is 1; a panel needs at least 2."
    with pytest.raises(SpecError) as told:
        simulate_contact_centre(n_periods=0, rng=rng)
    assert str(told.value) == "n_periods is 0; a panel needs at least 2."
    with pytest.raises(SpecError) as told:
        simulate_panel(reverse=0.5, rng=rng)
    assert str(told.value) == (
        "reverse=0.5 makes one month's NPS move the next month's by 2.50 of itself, so the series "
        "would not settle. Keep it between -0.18 and 0.18."
    )
    with pytest.raises(SpecError) as told:
        effect("ex_engagment", "cx_nps")
    assert str(told.value) == (
        "The causal model has no variable 'ex_engagment'. Did you mean 'ex_engagement'?"
    )


# Answers on a scale


def test_expected_answer_is_the_value_behind_it():
    values = np.linspace(1.05, 4.95, 40)
    assert_allclose(LIKERT.mean(LIKERT.latent(values)), values, atol=1e-5)  # linear interpolation
    points = np.linspace(-0.9, 0.9, 19)
    assert_allclose(NPS.mean(NPS.latent(points)), points, atol=1e-5)


def test_variance_of_a_yes_no_answer_is_p_times_one_minus_p():
    yes_no = AnswerScale(0, (0.0,))
    share = np.array([0.1, 0.5, 0.8])
    assert_allclose(yes_no.variance(yes_no.latent(share)), share * (1 - share), atol=1e-6)


def test_covariance_of_two_yes_no_answers_with_one_mood():
    # P(both above zero) of two normals with correlation r is 1/4 + arcsin(r) / (2 pi)
    yes_no, centre = AnswerScale(0, (0.0,)), np.array([0.0])
    loading = 0.6
    found = shared_covariance((yes_no, centre, loading), (yes_no, centre, -loading))
    assert_allclose(found, np.arcsin(-(loading**2)) / (2 * np.pi), rtol=1e-7)


def test_variance_of_a_scale_mean_is_that_of_simulated_respondents():
    rng = np.random.default_rng(4)
    centre = LIKERT.latent(3.3 + ITEM_SHIFTS)
    n = 40_000
    normal = centre + ITEM_LOADING * rng.standard_normal((n, 1))
    normal = normal + np.sqrt(1 - ITEM_LOADING**2) * rng.standard_normal((n, 6))
    means = LIKERT.answers(normal).mean(axis=1)
    expected = mean_answer_variance(LIKERT, np.array([3.3]), ITEM_SHIFTS, ITEM_LOADING)[0]
    assert abs(means.var() / expected - 1) < 4 * np.sqrt(2 / n)  # kurtosis below the normal's
    assert abs(means.mean() - 3.3) < 4 * np.sqrt(expected / n)


# Spells


def test_spells_by_hand():
    # one unit closes after month 0: both members move to the other unit of their group
    spells = draw_spells(
        plan=np.array([[0, 0, 0], [1, 1, 1], [1, 1, 1]]) + np.array([[2], [0], [0]]) * [1, 0, 0],
        exit_share=np.zeros((3, 3)),
        move_share=np.array([[1.0, 0, 0], [0, 0, 0], [0, 0, 0]]),
        groups=np.array([0, 0, 1]),
        rng=np.random.default_rng(1),
    )
    assert spells.at_start.tolist() == [[2, 0, 0], [1, 3, 3], [1, 1, 1]]
    assert spells.unit.tolist() == [0, 0, 1, 2, 1, 1]
    assert spells.person.tolist() == [0, 1, 2, 3, 0, 1]
    assert spells.start.tolist() == [-1, -1, -1, -1, 1, 1]
    assert spells.end.tolist() == [0, 0, 3, 3, 3, 3]
    assert spells.moved.tolist() == [True, True, False, False, False, False]
    assert spells.after_move.tolist() == [False] * 4 + [True, True]


def test_vacancies_are_filled_and_nobody_is_counted_twice():
    plan = np.full((20, 30), 25)
    spells = draw_spells(
        plan=plan,
        exit_share=np.full(plan.shape, 0.05),
        move_share=np.full(plan.shape, 0.01),
        groups=np.arange(20) % 4,
        rng=np.random.default_rng(2),
    )
    months = np.arange(30)
    present = (spells.start[:, None] < months) & (spells.end[:, None] >= months)
    present |= spells.after_move[:, None] & (spells.start[:, None] == months)
    counted = np.stack([np.bincount(spells.unit[now], minlength=20) for now in present.T], axis=1)
    np.testing.assert_array_equal(counted, spells.at_start)
    by_person = pd.DataFrame({"person": spells.person, "start": spells.start, "end": spells.end})
    by_person = by_person.sort_values(["person", "start"])
    again = by_person["person"].eq(by_person["person"].shift())
    assert (by_person["start"] == by_person["end"].shift() + 1)[again].all()
    assert abs(spells.at_start[:, 5:].mean() - 25 * 0.94) < 1  # a month's leavers are replaced next


# The exports


def test_exports_hold_what_real_systems_hold(company):
    staff = company.employees
    assert (staff["hire_date"] < staff["exit_date"].fillna(pd.Timestamp("2100-01-01"))).all()
    assert staff["exit_type"].isna().equals(staff["exit_date"].isna())
    assert set(staff["exit_type"].dropna()) == {"voluntary", "involuntary", "transfer"}
    moved = staff.groupby("employee_id").filter(lambda rows: len(rows) > 1)
    earlier = moved.groupby("employee_id").nth(0)
    assert (earlier["exit_type"] == "transfer").all()
    assert not staff.duplicated(["employee_id", "hire_date"]).any()
    intervals = company.wfm_intervals
    assert (intervals["offered"] == intervals["handled"] + intervals["abandoned"]).all()
    assert (intervals["staffed_seconds"] >= intervals["handle_seconds"]).mean() > 0.97
    assert company.customer_survey["nps_score"].between(0, 10).all()
    assert company.customer_survey["effort"].dropna().between(1, 5).all()
    for blank in (company.customer_survey["effort"], company.employee_survey["eng_2"]):
        assert 0.02 < blank.isna().mean() < 0.04
    accounts = company.crm_accounts
    assert (
        accounts["churn_date"].dropna() > accounts["start_date"][accounts["churn_date"].notna()]
    ).all()
    for attribute in EXPORTS.values():
        frame = getattr(company, attribute)
        assert set(frame["team"]) == set(company.panel.frame["unit"])


def test_some_survey_means_rest_on_too_few(company):
    respondents = company.employee_survey.groupby(["team", "wave"]).size()
    assert 0 < (respondents < 5).mean() < 0.1


def test_teams_open_and_close(company):
    opened, closed = company.truth["first_month_open"], company.truth["last_month_open"]
    assert len(opened) == 4
    assert len(closed) == 3
    seen = company.panel.frame.groupby("unit")["period"].agg(["min", "max"]).astype(str)
    assert {team: seen.loc[team, "min"] for team in opened} == opened
    assert {team: seen.loc[team, "max"] for team in closed} == closed
    dates = company.wfm_intervals.groupby("team")["date"].agg(["min", "max"])
    for team, month in closed.items():
        assert str(dates.loc[team, "max"])[:7] == month
        staff = company.employees[company.employees["team"] == team]
        assert staff["exit_date"].notna().all()


def test_exit_dates_follow_the_last_month_of_a_closed_team(company):
    for team, month in company.truth["last_month_open"].items():
        staff = company.employees[company.employees["team"] == team]
        following = (pd.Period(month, "M") + 1).start_time
        assert (staff["exit_date"] <= following).all()
        assert (staff.loc[staff["exit_date"] == following, "exit_type"] == "transfer").all()


# From the exports back to the panel


def test_linked_files_equal_linked_frames(small_panel):
    from_files = link_study_data(SOURCES, LinkSpec(**WINDOW), root=FOLDER).panel
    pd.testing.assert_frame_equal(from_files.frame, small_panel.frame)


def test_occupancy_and_handle_time_come_back_exactly(company, small_panel):
    true, measured = side_by_side(company, small_panel)
    # seconds are whole: half a second a day of some 100,000
    assert_allclose(measured["ex_occupancy_pct"], true["ex_occupancy_pct"], rtol=1e-4)
    assert_allclose(measured["ex_aht_seconds"], true["ex_aht_seconds"], rtol=1e-4)
    assert (measured["region"] == true["region"]).all()


@pytest.mark.parametrize("name", ["cx_nps", "cx_effort", "cx_fcr_pct", "ex_engagement"])
def test_survey_means_scatter_around_the_truth_as_their_errors_say(large, large_panel, name):
    true, measured = side_by_side(large, large_panel)
    if name == "ex_engagement":
        wave = true.index.get_level_values("period").month % 3 == 1
        true, measured = true[wave], measured[wave]
    noise = (measured[name] - true[name])[measured[f"{name}_se"].notna()]  # not of few answers
    variance = (measured[f"{name}_se"] ** 2)[noise.index]
    if name in ("cx_nps", "cx_fcr_pct"):  # errors of shares divide by n, which leaves them short
        n = measured[f"{name}_n"][noise.index]
        variance = variance * n / (n - 1)
    cells = len(noise)
    assert abs(noise.mean()) < 4 * np.sqrt(variance.sum()) / cells
    # squared errors are as large as their squared standard errors, on average over all cells
    square = noise**2
    assert abs(square.mean() - variance.mean()) < 4 * square.std() / np.sqrt(cells)


def test_exit_and_churn_rates_come_back_without_bias(large, large_panel):
    true, measured = side_by_side(large, large_panel)
    for name in ("ex_attrition_pct", "cx_retention_pct"):
        noise = (measured[name] - true[name]).dropna()
        by_unit = noise.groupby("unit").mean()
        error = by_unit.std() / np.sqrt(len(by_unit))
        assert abs(by_unit.mean()) < 4 * error + 0.01 * true[name].std()


def test_headline_effects_are_visible_in_the_committed_exports(small_panel):
    def statistic(outcome: str, *exposures: str) -> pd.Series:
        tidy = fit_panel(small_panel, PanelSpec(outcome=outcome, exposures=exposures)).tidy()
        return tidy.set_index("term")["statistic"]

    assert statistic("cx_effort", "ex_occupancy_pct")["ex_occupancy_pct"] > 10
    assert statistic("cx_nps", "cx_effort", "cx_fcr_pct")["cx_effort"] < -5
    assert statistic("cx_nps", "ex_occupancy_pct")["ex_occupancy_pct"] < -5
    attrition = statistic("ex_attrition_pct", "ex_engagement", "ex_occupancy_pct")
    assert attrition["ex_engagement"] < -2
    assert attrition["ex_occupancy_pct"] > 2
    pooled = PanelSpec(outcome="cx_nps", exposures=("ex_occupancy_pct",), estimator="pooled")
    assert fit_panel(small_panel, pooled).tidy()["statistic"].iloc[0] > 2  # and the wrong way round


def test_attenuation_is_as_stated(large, large_panel):
    stated = large.truth["attenuation"]["coefficients"]
    limit = largest_by_chance(len(stated))
    for row in stated:
        spec = PanelSpec(outcome=row["outcome"], exposures=(row["exposure"], *row["given"]))
        found = fit_panel(large_panel, spec).tidy().iloc[0]
        # the Monte Carlo error of one large draw is its standard error; 2 % for the ratio of means
        allowed = limit * found["std_error"] + 0.02 * abs(row["expected_in_exports"])
        assert abs(found["estimate"] - row["expected_in_exports"]) < allowed, row


def test_attenuation_matters():
    stated = json.loads((FOLDER / "truth.json").read_text(encoding="utf-8"))["attenuation"]
    factors = {
        (row["outcome"], row["exposure"], len(row["given"])): row["factor"]
        for row in stated["coefficients"]
    }
    assert 0.35 < factors["ex_attrition_pct", "ex_engagement", 1] < 0.65
    assert factors["cx_nps", "ex_occupancy_pct", 0] == 1.0
    assert factors["ex_aht_seconds", "ex_attrition_pct", 0] < 0.1


def test_engagement_of_a_single_wave_has_no_attenuation_to_state():
    company = simulate_contact_centre(n_units=20, n_periods=3, rng=np.random.default_rng(1))
    stated = {
        (row["outcome"], row["exposure"], len(row["given"])): row["expected_in_exports"]
        for row in company.truth["attenuation"]["coefficients"]
    }
    assert stated["ex_attrition_pct", "ex_engagement", 1] is None
    assert stated["cx_nps", "ex_occupancy_pct", 0] == -1.732


def test_no_attenuation_is_stated_with_a_reverse_path():
    company = simulate_contact_centre(
        n_units=12, n_periods=6, reverse=0.05, rng=np.random.default_rng(1)
    )
    assert company.truth["reverse"] == 0.05
    assert company.truth["attenuation"]["coefficients"] == []
