"""Each guard fires on a panel built to set it off, none on a clean one, and says why in words."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ex_cx.errors import InferenceError, SpecError
from ex_cx.linkage.panel import Panel
from ex_cx.linkage.simulate import simulate_panel
from ex_cx.models.compare import compare_estimators
from ex_cx.models.regress import PanelSpec, fit_panel
from ex_cx.robustness.direction import lead_placebo, reverse_equation
from ex_cx.robustness.findings import Finding, number, span, together, told
from ex_cx.robustness.guards import _compared, check_guards
from ex_cx.robustness.influence import influence

from .panels import SOURCES, draw_panel

SPEC = PanelSpec(outcome="y", exposures=("x",), controls=("z",))
ONLY_UNITS = replace(SPEC, absorb=("unit",))
GUARDS = [
    "Within against between",
    "Enough clusters",
    "One source for both sides",
    "Lead placebo",
    "Reverse equation",
    "Variation within units",
    "Measured in every period",
    "Rows lost",
    "Influence of single units",
]


def from_frame(frame: pd.DataFrame, **roles: object) -> Panel:
    return Panel.from_frame(frame, unit="unit", period="period", **{"provenance": SOURCES} | roles)


def guard(panel: Panel, name: str, spec: PanelSpec = SPEC) -> tuple[str, str]:
    row = check_guards(panel, spec).set_index("guard").loc[name]
    return row["finding"], row["verdict"]


def tidy_row(frame: pd.DataFrame) -> dict:
    return frame.iloc[0].to_dict()


@pytest.fixture(scope="module")
def clean() -> Panel:
    return draw_panel()


def test_nothing_fires_on_a_clean_panel(clean):
    guards = check_guards(clean, SPEC)
    assert list(guards) == ["guard", "finding", "verdict"]
    assert guards["guard"].tolist() == GUARDS
    assert guards["verdict"].tolist() == ["clear"] * 9, guards["finding"].tolist()


def test_the_words_of_a_clean_panel_hold_the_numbers_of_the_models(clean):
    words = check_guards(clean, SPEC).set_index("guard")["finding"]
    both = compare_estimators(clean, SPEC, ("within", "between")).set_index(["estimator", "term"])
    within, between = (told(both.loc[(name, "x")]) for name in ("within", "between"))
    assert words["Within against between"] == (
        f"x: within {within}, between {between}, not clearly different. 95 % intervals."
    )
    usual, careful = (
        tidy_row(fit_panel(clean, replace(SPEC, vcov=vcov)).tidy())
        for vcov in ("cluster", "jackknife")
    )
    row = influence(clean, SPEC).iloc[0]
    worth = f"{row['n_effective']:.2g}"
    assert words["Enough clusters"] == (
        f"60 clusters (by leverage worth {worth} for x); x: "
        f"{span(usual['conf_low'], usual['conf_high'])} by CR1, "
        f"{span(careful['conf_low'], careful['conf_high'])} by jackknife. 95 % intervals."
    )
    assert words["One source for both sides"] == (
        "Different sources: y from customers, x from employees."
    )
    now, lead = (row.to_dict() for _, row in lead_placebo(clean, SPEC).iterrows())
    assert words["Lead placebo"] == (
        f"x one period ahead: {told(lead)}, beside {number(now['estimate'])} for x. 95 % intervals."
    )
    reverse = tidy_row(reverse_equation(clean, SPEC))
    spread = clean.describe().set_index("column")["sd_within"]
    size = number(reverse["estimate"] * spread["y"] / spread["x"])
    assert words["Reverse equation"] == (
        f"x on y of the period before: {told(reverse)}, that is {size} standard deviations for "
        "one. Own past held, within units. 95 % intervals."
    )
    share, sd = clean.describe().set_index("column").loc["x", ["within_share", "sd_within"]]
    assert words["Variation within units"] == (
        f"{100 * share:.2g} % of the variance of x lies within units (standard deviation "
        f"{number(sd)})."
    )
    assert words["Rows lost"] == "All 720 rows of the panel are used."
    assert words["Influence of single units"] == (
        f"x: {number(row['estimate'])}, without any one cluster "
        f"{span(row['lowest'], row['highest'])}; {row['most_influential']} moves it most, by "
        f"{number(row['change'])} or {number(row['change_in_se'])} standard errors."
    )


def with_lasting(panel: Panel, slope: float, noise: float = 0.0) -> Panel:
    """Add to the outcome `slope` times the unit's mean exposure."""
    frame = panel.frame
    mean = frame.groupby("unit")["x"].transform("mean")
    more = noise * np.random.default_rng(8).normal(size=len(frame))
    return from_frame(frame.assign(y=frame["y"] + slope * mean + more))


def test_lasting_differences_that_point_the_other_way():
    panel = with_lasting(draw_panel(), -2.0)
    words, verdict = guard(panel, "Within against between")
    tail = ": lasting differences between units point the other way"
    assert words.endswith(f"{tail}, so read the within estimate only. 95 % intervals.")
    assert verdict == "caution"
    for estimator in ("pooled", "between"):
        words, verdict = guard(panel, "Within against between", replace(SPEC, estimator=estimator))
        assert words.endswith(f"{tail}. 95 % intervals.")
        assert verdict == "limits"
    without_units = replace(SPEC, absorb=("period",))
    assert guard(panel, "Within against between", without_units)[1] == "limits"
    changes = replace(SPEC, estimator="first_difference")
    assert guard(panel, "Within against between", changes)[1] == "caution"


def test_an_association_that_only_lasting_differences_carry():
    panel = with_lasting(draw_panel(effect=0.0, seed=9), 1.0)
    words, verdict = guard(panel, "Within against between")
    tail = (
        ": lasting differences between units go with the outcome, change within units is not shown "
        "to. 95 % intervals."
    )
    assert words.endswith(tail)
    assert verdict == "caution"  # that nothing is shown within units is the claim, and it stands
    for estimator in ("pooled", "between", "random"):
        words, verdict = guard(panel, "Within against between", replace(SPEC, estimator=estimator))
        assert words.endswith(tail)
        assert verdict == "limits"


def test_lasting_differences_that_carry_most_of_an_association():
    panel = with_lasting(draw_panel(), 1.0)
    both = compare_estimators(panel, SPEC, ("within", "between")).set_index(["estimator", "term"])
    ratio = both.loc[("between", "x"), "estimate"] / both.loc[("within", "x"), "estimate"]
    assert ratio > 2
    words, verdict = guard(panel, "Within against between")
    assert words.endswith(
        f": the between estimate is {number(ratio)} times the within one, lasting differences "
        "between units carry the association, so read the within estimate only. 95 % intervals."
    )
    assert verdict == "caution"


def test_a_sign_or_a_ratio_is_only_told_of_estimates_that_are_clear():
    near = {"term": "x", "estimate": 0.1, "conf_low": 0.05, "conf_high": 0.15}
    for estimate in (-0.4, 0.4):
        wide = {"term": "x", "estimate": estimate, "conf_low": -0.5, "conf_high": 0.5}
        words, verdict = _compared("x", near, wide, alike=False, claims_change=True)
        assert words.endswith("units show another size, so read the within estimate only")
        assert verdict == "caution"


def swapped_roles(panel: Panel) -> Panel:
    """The panel with x called second and z called x: what x sets off is another exposure's now."""
    frame = panel.frame.rename(columns={"x": "second", "z": "x"})
    return from_frame(frame, provenance={"y": "customers", "x": "logs", "second": "employees"})


@pytest.mark.parametrize(
    ("name", "panel"),
    [
        ("Lead placebo", draw_panel(reverse=0.3)),
        ("Reverse equation", draw_panel(reverse=0.3)),
        ("Variation within units", draw_panel(between=12.0)),
    ],
)
def test_what_limits_another_exposure_is_a_caution_told_second(name, panel):
    assert guard(panel, name, replace(SPEC, controls=()))[1] == "limits"
    first = PanelSpec(outcome="y", exposures=("x", "second"))
    words, verdict = guard(swapped_roles(panel), name, first)
    assert verdict == "caution"
    one, other, *_ = words.split("; ")
    assert "second" not in one
    assert "second" in other
    turned = replace(first, exposures=("second", "x"))
    assert guard(swapped_roles(panel), name, turned)[1] == "limits"


def test_a_change_of_one_that_no_unit_makes_is_told(clean):
    small = from_frame(clean.frame.assign(x=clean.frame["x"] / 10))
    sd = small.describe().set_index("column").loc["x", "sd_within"]
    words, verdict = guard(small, "Variation within units")
    assert words.endswith(
        f" (standard deviation {number(sd)}: 1 more is {number(1 / sd)} of them, further than "
        "units move)."
    )
    assert verdict == "clear"


def test_one_source_of_another_exposure_is_a_caution(clean):
    shared = replace(clean, provenance=SOURCES | {"z": "customers"})
    name = "One source for both sides"
    assert guard(shared, name, PanelSpec(outcome="y", exposures=("x", "z")))[1] == "caution"
    assert guard(shared, name, PanelSpec(outcome="y", exposures=("z", "x")))[1] == "limits"


def carried(panel: Panel, every: int) -> Panel:
    """Waves of `x` every few periods stand for the periods after them."""
    frame = panel.frame.assign(first=panel.period_codes // every)
    frame["x"] = frame.groupby(["unit", "first"])["x"].transform("first")
    return from_frame(frame.drop(columns="first"))


def test_a_survey_wave_that_is_carried_forward_is_told():
    words, verdict = guard(carried(draw_panel(), 3), "Measured in every period")
    assert words == (
        "x stands still, in every unit, in 8 of 11 periods: between waves a value is carried "
        "forward, which mostly pulls estimates towards zero and hides which period comes first."
    )
    assert verdict == "caution"


def test_programmes_and_uneven_surveys_do_not_look_carried(clean):
    clear = ("Nothing stands still in all units at once, as between waves.", "clear")
    began = clean.frame.assign(x=lambda f: (f["period"] > 2004) * 1.0)  # all at once, one period
    assert guard(from_frame(began), "Measured in every period", ONLY_UNITS) == clear
    start = 2002 + np.arange(60) % 9  # six or seven units a year, nobody in the last two
    began["x"] = (began["period"] >= np.repeat(start, 12)) * 1.0
    assert guard(from_frame(began), "Measured in every period") == clear
    waves = clean.frame[clean.frame["period"] % 3 == 0]
    assert guard(from_frame(waves), "Measured in every period") == clear


def test_lasting_differences_of_another_size():
    words, verdict = guard(with_lasting(draw_panel(), 0.3), "Within against between")
    assert words.endswith(
        ": lasting differences between units show another size, so read the within estimate only. "
        "95 % intervals."
    )
    assert verdict == "caution"


def test_a_within_estimate_too_imprecise_to_compare():
    panel = with_lasting(draw_panel(n_units=40, n_periods=2, between=3.0, seed=0), 0.0, noise=1.5)
    words, verdict = guard(panel, "Within against between")
    assert words.endswith(", the first too imprecise to tell from the second. 95 % intervals.")
    assert verdict == "caution"


@pytest.mark.parametrize(
    ("n_units", "verdict", "words"),
    [
        (30, "caution", "few enough that intervals are likely too short"),
        (8, "limits", "too few for clustered intervals to be trusted"),
    ],
)
def test_few_clusters(n_units, verdict, words):
    finding, found = guard(draw_panel(n_units=n_units), "Enough clusters")
    assert finding.startswith(f"{n_units} clusters (by leverage worth ")
    assert f" for x): {words}; x: " in finding
    assert found == verdict


@pytest.mark.parametrize(("scale", "verdict"), [(6.0, "caution"), (60.0, "limits")])
def test_clusters_of_which_few_carry_the_variation(clean, scale, verdict):
    frame = clean.frame
    some = frame["unit"].isin(["team 00", "team 01", "team 02"])
    wild = frame.assign(x=frame["x"].where(~some, scale * frame["x"]))
    finding, found = guard(from_frame(wild), "Enough clusters")
    assert finding.startswith(("60 clusters (by leverage worth ", "x: "))
    assert found == verdict


def test_jackknife_that_disagrees():
    panel = draw_panel(effect=0.0)
    frame = panel.frame
    one = frame["unit"] == "team 05"
    moved = frame.assign(
        x=frame["x"].where(~one, 12 * frame["x"]), y=frame["y"].where(~one, 12 * frame["x"])
    )
    finding, verdict = guard(from_frame(moved), "Enough clusters")
    assert " by jackknife, of which one holds zero and the other does not" in finding
    assert verdict == "limits"  # the one cluster is worth most of them
    wide = frame.assign(
        x=frame["x"].where(~one, 9 * frame["x"]), y=frame["y"].where(~one, 15 * frame["y"])
    )
    finding, _ = guard(from_frame(wide), "Enough clusters")
    assert " by jackknife, which is much wider" in finding


def test_an_estimate_that_rests_on_one_cluster(clean):
    frame = clean.frame
    alone = frame.assign(x=np.where(frame["unit"] == "team 03", frame["x"], 1.0))
    panel, spec = from_frame(alone), replace(SPEC, absorb=("unit",))
    finding, verdict = guard(panel, "Enough clusters", spec)
    assert verdict == "limits"
    assert (
        "there is no jackknife interval: Without 1 of 60 clusters, left out one at a time, a "
        "coefficient is not identified: the estimate rests on them alone"
    ) in finding
    finding, verdict = guard(panel, "Influence of single units", spec)
    assert finding.endswith(", and without 1 of them there is no estimate at all.")
    assert verdict == "limits"


def test_one_source_for_both_sides(clean):
    shared = replace(clean, provenance={"x": "staff survey", "y": "staff survey"})
    expected = (
        "x and y have one source (staff survey): their association may be inflated by what that "
        "source brings to both."
    )
    assert guard(shared, "One source for both sides") == (expected, "limits")
    lagged = replace(SPEC, exposures=("x_lag1",))
    assert guard(shared.with_lag("x"), "One source for both sides", lagged) == (expected, "limits")


def test_sources_that_nobody_recorded(clean):
    unknown = replace(clean, provenance={"y": "customers"})
    words, verdict = guard(unknown, "One source for both sides")
    assert words == (
        "The source of 'x' is not recorded, so one source for both sides cannot be ruled out. "
        "State the provenance of each column."
    )
    assert verdict == "caution"


def test_reverse_path_sets_off_leads_and_reverse_equation():
    panel = draw_panel(reverse=0.3)
    words, verdict = guard(panel, "Lead placebo")
    assert words.endswith(
        " for x: reverse or common causes are likely, or an exposure recorded late. 95 % intervals."
    )
    assert verdict == "limits"
    words, verdict = guard(panel, "Reverse equation")
    assert words.endswith(
        " standard deviations for one: the outcome may drive the exposure, or reflect what its "
        "record misses. Own past held, within units. 95 % intervals."
    )
    assert verdict == "limits"


def test_a_weak_reverse_path_is_a_caution():
    panel = draw_panel(n_units=600, effect=1.0, reverse=0.05)
    assert guard(panel, "Lead placebo")[1] == "caution"
    assert guard(panel, "Reverse equation")[1] == "caution"


def test_the_reverse_path_of_the_simulated_company_is_found():
    spec = PanelSpec(outcome="cx_nps", exposures=("ex_engagement", "ex_occupancy_pct"))
    for reverse, expected in ((0.0, "clear"), (0.05, "limits")):
        panel = simulate_panel(reverse=reverse, rng=np.random.default_rng(1))
        verdicts = check_guards(panel, spec).set_index("guard")["verdict"]
        assert verdicts[["Lead placebo", "Reverse equation"]].tolist() == [expected] * 2


def test_a_lead_too_imprecise_to_clear_anything():
    panel = draw_panel(n_units=50, n_periods=3, carry_on=0.9, effect=0.3, seed=2)
    words, verdict = guard(panel, "Lead placebo")
    assert words.endswith(" for x: too imprecise to rule out as much. 95 % intervals.")
    assert verdict == "caution"


def test_several_exposures_share_the_level(clean):
    spec = PanelSpec(outcome="y", exposures=("x", "z"))
    for name in ("Lead placebo", "Reverse equation"):
        assert guard(clean, name, spec)[0].endswith("97.5 % intervals.")


def test_surveys_every_other_year_leave_order_in_time_unchecked():
    frame = draw_panel(n_periods=6).frame
    panel = from_frame(frame[frame["period"] % 2 == 0])
    words, verdict = guard(panel, "Lead placebo")
    assert words == (
        "Could not be checked on these rows: None of the 180 rows of the panel can be used (180 "
        "missing x_lead1)."
    )
    assert verdict == "caution"
    words, verdict = guard(panel, "Reverse equation")
    assert words.startswith("Could not be checked on these rows: None of the 180 rows of the panel")
    assert verdict == "caution"


def test_one_period_can_only_compare_units():
    frame = draw_panel(n_periods=4).frame
    panel = from_frame(frame[frame["period"] == 2001])
    guards = check_guards(panel, replace(SPEC, estimator="pooled")).set_index("guard")
    unchecked = guards["finding"].str.startswith("Could not be checked on these rows: ")
    assert unchecked.index[unchecked].tolist() == [
        "Within against between",
        "Lead placebo",
        "Reverse equation",
    ]
    assert guards.loc[unchecked, "verdict"].tolist() == ["caution"] * 3
    assert guards.loc["Variation within units"].tolist() == [
        "0 % of the variance of x lies within units: change within units is hardly observed.",
        "limits",
    ]


@pytest.mark.parametrize(
    ("between", "verdict", "end"),
    [
        (2.5, "caution", ", which is little to learn from."),
        (12.0, "limits", ": change within units is hardly observed."),
    ],
)
def test_little_variation_within_units(between, verdict, end):
    panel = draw_panel(between=between)
    share, sd = panel.describe().set_index("column").loc["x", ["within_share", "sd_within"]]
    words, found = guard(panel, "Variation within units")
    start = f"{100 * share:.2g} % of the variance of x lies within units (standard deviation "
    assert words == f"{start}{number(sd)}){end}"
    assert found == verdict


@pytest.mark.parametrize(
    ("until", "counts", "verdict", "end"),
    [
        (2002, "660 of 720 rows are used, 60 (8.3 %)", "clear", ""),
        (
            2005,
            "480 of 720 rows are used, 240 (33.3 %)",
            "caution",
            " See who they are before reading on.",
        ),
        (
            2009,
            "240 of 720 rows are used, 480 (66.7 %)",
            "limits",
            " What is left may not stand for the whole.",
        ),
    ],
)
def test_rows_lost_are_counted_by_reason(clean, until, counts, verdict, end):
    frame = clean.frame
    panel = from_frame(frame.assign(x=frame["x"].where(frame["period"] >= until)))
    lost = 60 * (until - 2001)
    expected = f"{counts} are not: {lost} missing x.{end}"
    assert guard(panel, "Rows lost") == (expected, verdict)


def test_a_single_unit_that_turns_the_sign(clean):
    frame = clean.frame
    one = frame["unit"] == "team 05"
    turned = frame.assign(
        x=frame["x"].where(~one, 30 * frame["x"]), y=frame["y"].where(~one, -30 * frame["x"])
    )
    panel = from_frame(turned)
    row = influence(panel, SPEC).iloc[0]
    words, verdict = guard(panel, "Influence of single units")
    assert words.startswith(f"x: {number(row['estimate'])}, without any one cluster ")
    assert "; team 05 moves it most, by " in words
    assert words.endswith(" standard errors, and its sign turns without 1.")
    assert verdict == "limits"


def test_a_single_unit_that_moves_the_estimate_by_more_than_its_error(clean):
    frame = clean.frame
    one = frame["unit"] == "team 05"
    moved = frame.assign(
        x=frame["x"].where(~one, 4 * frame["x"]), y=frame["y"].where(~one, 8 * frame["x"])
    )
    panel = from_frame(moved)
    words, verdict = guard(panel, "Influence of single units")
    assert words.endswith(" standard errors, which is more than its own error.")
    assert verdict == "caution"


def test_between_estimates_are_not_asked_about_change(clean):
    guards = check_guards(clean, replace(SPEC, estimator="between"))
    asked = GUARDS[3:7]
    assert asked[0] == "Lead placebo"
    assert asked[-1] == "Measured in every period"
    assert guards["guard"].tolist() == [name for name in GUARDS if name not in asked]


@pytest.mark.parametrize("vcov", ["unadjusted", "robust", "cluster", "jackknife"])
@pytest.mark.parametrize("estimator", ["pooled", "within", "first_difference"])
def test_every_estimator_and_error_has_all_guards(clean, estimator, vcov):
    guards = check_guards(clean, replace(SPEC, estimator=estimator, vcov=vcov, lag=1))
    assert guards["guard"].tolist() == GUARDS
    assert not guards["finding"].str.startswith("Could not be checked").any()


def test_guards_do_not_depend_on_row_order_or_on_the_callers_frame(clean):
    frame = clean.frame.copy()
    shuffled = frame.sample(frac=1, random_state=np.random.default_rng(5))
    before = shuffled.copy()
    pd.testing.assert_frame_equal(
        check_guards(from_frame(shuffled), SPEC), check_guards(clean, SPEC)
    )
    pd.testing.assert_frame_equal(shuffled, before)
    pd.testing.assert_frame_equal(clean.frame, frame)


def test_rescaled_exposures_get_the_same_verdicts(clean):
    frame = clean.frame.assign(x=100 * clean.frame["x"] - 7)
    same = check_guards(from_frame(frame), SPEC)["verdict"]
    assert same.tolist() == check_guards(clean, SPEC)["verdict"].tolist()


def test_a_spec_that_cannot_be_fitted_raises_as_fit_panel_does(clean):
    with pytest.raises(SpecError, match=r"There is no column 'xx' in the panel"):
        check_guards(clean, replace(SPEC, exposures=("xx",)))


@pytest.mark.parametrize("level", [0.0, 1.0, 95])
def test_a_level_is_a_share(clean, level):
    message = f"^conf_level={level!r} is not between 0 and 1. For 95 % intervals use 0.95.$"
    with pytest.raises(InferenceError, match=message):
        check_guards(clean, SPEC, conf_level=level)


def test_the_worst_is_told_first_and_at_most_three():
    findings = [Finding(f"f{i}", "clear") for i in range(4)] + [Finding("bad", "limits")]
    assert together(findings) == Finding("bad; f0; f1; and 2 more, none worse.", "limits")
