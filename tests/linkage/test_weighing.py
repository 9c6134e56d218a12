"""Respondents weighted as part of linking: against R's survey, by hand, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from ex_cx.errors import LinkError, SchemaError
from ex_cx.linkage.alignspec import CrosswalkSpec
from ex_cx.linkage.audit import LinkAudit
from ex_cx.linkage.crosswalk import read_crosswalk
from ex_cx.linkage.grouped import group_weighted
from ex_cx.linkage.link import link_sources, link_study_data
from ex_cx.linkage.measure import measure_source
from ex_cx.linkage.schema import DatabaseSpec, MeasureSpec, SourceSpec
from ex_cx.linkage.weighing import coarse
from ex_cx.linkage.weighting import rake_weights, weighted_mean
from ex_cx.linkage.weightspec import WeightingSpec

ORACLE = json.loads(
    (Path(__file__).parents[1] / "oracles" / "weighing.json").read_text(encoding="utf-8")
)
ROWS = pd.DataFrame(ORACLE["respondents"])
FOUND = pd.DataFrame(ORACLE["found"])
MEASURES = {
    "nps": MeasureSpec(metric="nps", score="score"),
    "effort": MeasureSpec(metric="effort", score="effort", low=1, high=5, direction="low_is_bad"),
    "scale": MeasureSpec(metric="scale_mean", items=("one", "two"), low=1, high=5),
    "yes": MeasureSpec(metric="share", score="told", positive=("yes",)),
}
SCORES = {
    "nps": 100.0 * ((ROWS["score"] >= 9).astype(float) - (ROWS["score"] <= 6)),
    "effort": ROWS["effort"],
    "scale": (ROWS["one"] + ROWS["two"]) / 2,
    "yes": 100.0 * (ROWS["told"] == "yes"),
}
STEP = {"nps": 100.0, "effort": 1.0, "scale": 0.5, "yes": 100.0}
BASE = {"nps": 0.0, "effort": 1.0, "scale": 1.0, "yes": 0.0}


def spec(trim: float | None = None, **changes: object) -> SourceSpec:
    given = {"margins": ORACLE["margins"], "trim": trim, **changes}
    return SourceSpec(
        path="s.csv",
        unit="unit",
        period="wave",
        measures=MEASURES,
        weighting=WeightingSpec(**given),
    )


def by_r(measure: str, weight: str) -> pd.DataFrame:
    """What R found, by unit and wave."""
    chosen = FOUND[(FOUND["measure"] == measure) & (FOUND["weight"] == weight)]
    return chosen.sort_values(["unit", "wave"], ignore_index=True)


# -- against R ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("weight", "trim"), [("w", None), ("trimmed", ORACLE["trim"])])
def test_weights_of_every_wave_are_those_of_survey(weight, trim):
    for _, rows in ROWS.groupby("wave"):
        targets = {
            m: {c: p * len(rows) for c, p in k.items()} for m, k in spec().weighting.margins.items()
        }
        assert_allclose(rake_weights(rows, targets, trim=trim).weights, rows[weight], rtol=1e-8)
    found = measure_source(ROWS, spec(trim), "s").weighed
    assert_allclose(found.weights, ROWS[weight], rtol=1e-8)


@pytest.mark.parametrize("weight", ["w", "trimmed"])
@pytest.mark.parametrize("measure", MEASURES)
def test_means_and_errors_of_groups_are_those_of_svyby(measure, weight):
    score, weights = SCORES[measure].to_numpy(float), ROWS[weight].to_numpy()
    keys = ROWS["unit"] + " " + ROWS["wave"]
    groups, labels = pd.factorize(keys, sort=True)
    found = group_weighted(score, weights, groups, len(labels))
    other = by_r(measure, weight)
    assert_allclose(found["value"], other["estimate"], rtol=1e-8)
    assert_allclose(found["se"], other["std_error"], rtol=1e-8)
    # without strata survey takes the n of the wave in n / (n - 1), here it is that of the group
    n, whole = found["n"], other["wave_n"]
    as_domain = found["se"] * np.sqrt(whole / (whole - 1) * (n - 1) / n)
    assert_allclose(as_domain, other["domain_error"], rtol=1e-8)
    for at in range(len(labels)):
        alone = weighted_mean(score[groups == at], weights[groups == at])
        assert_allclose([alone.estimate, alone.std_error], found.loc[at, ["value", "se"]])


@pytest.mark.parametrize(("weight", "trim"), [("w", None), ("trimmed", ORACLE["trim"])])
def test_what_a_source_shows_is_what_survey_finds_rounded_to_whole_answers(weight, trim):
    shown = measure_source(ROWS, spec(trim), "s").frame
    for name in MEASURES:
        other, n = by_r(name, weight), shown[f"{name}_n"].to_numpy()
        step, r = STEP[name], other["estimate"].to_numpy()
        nearest = step / 2 if name != "nps" else step  # promoters and detractors, each rounded
        assert (np.abs(shown[name] - r) <= nearest / n + 1e-8).all()
        if name in ("effort", "scale"):
            squares = other["std_error"].to_numpy() ** 2 * n * (n - 1)
            value, squares = coarse(r, squares, n, step, BASE[name])
            assert_allclose(shown[name], value, rtol=1e-8)
            assert_allclose(shown[f"{name}_se"], np.sqrt(squares / n / (n - 1)), rtol=1e-8)
        if name == "yes":
            assert_allclose(shown[name], coarse(r, r, n, step)[0], rtol=1e-8)
        apart = shown[f"{name}_se"] / other["std_error"] - 1
        assert np.abs(apart).max() < (0.02 if name in ("effort", "scale") else 0.2)
        assert abs(apart.mean()) < 0.05


# -- by hand, identity, invariance ----------------------------------------------------------------


def team(sizes: dict[str, int], answers: dict[str, list[int]], unit: str = "A") -> pd.DataFrame:
    rows = [
        {
            "unit": unit,
            "wave": "2024-01",
            "shift": shift,
            "score": answers[shift][at % len(answers[shift])],
        }
        for shift, n in sizes.items()
        for at in range(n)
    ]
    return pd.DataFrame(rows)


PLAIN = {"m": MeasureSpec(metric="mean", score="score")}


def by_shift(margins: dict[str, float] | None = None, **changes: object) -> SourceSpec:
    known = {"day": 1, "night": 1} if margins is None else margins
    weighting = {k: changes.pop(k) for k in ("within", "trim", "too_few") if k in changes}
    given = {"unit": "unit", "period": "wave", "measures": PLAIN, "path": "s.csv", **changes}
    return SourceSpec(**given, weighting=WeightingSpec(margins={"shift": known}, **weighting))


def test_a_case_by_hand():
    # 15 of the day say 4, 5 of the night say 2; half of those asked work at night:
    # weights 2/3 and 2, mean (10 x 4 + 10 x 2) / 20 = 3; sum w^2 (y - 3)^2 = 15 x 4/9 + 5 x 4
    rows = team({"day": 15, "night": 5}, {"day": [4], "night": [2]})
    found = measure_source(rows, by_shift(measures=PLAIN), "s")
    row = found.frame.iloc[0]
    assert row["m"] == pytest.approx(3.0)
    assert row["m_n"] == 20
    exact = group_weighted(
        rows["score"].to_numpy(float), found.weighed.weights, np.zeros(20, int), 1
    )
    assert exact["se"][0] == pytest.approx(np.sqrt(20 / 19 * (15 * 4 / 9 + 20)) / 20)
    # Kish: 20^2 / (15 x 4/9 + 5 x 4) = 15; two different answers: s^2 = 20 x 1 / 19 over it
    audit = found.weighed.periods.iloc[0]
    assert audit["effective_n"] == pytest.approx(15.0)
    assert audit["design_effect"] == pytest.approx(1.333)
    assert row["m_se"] == pytest.approx(np.sqrt(20 / 19 / 15))
    assert audit[["respondents", "lowest", "highest", "trimmed", "rounds"]].tolist() == [
        20,
        0.667,
        2.0,
        0,
        1,
    ]
    assert found.weighed.margins["mean_weight"].tolist() == [0.667, 2.0]


def test_weights_of_the_composition_itself_change_nothing():
    rows = ROWS[ROWS["wave"] == "2024-02"]
    own = {m: rows[m].value_counts().to_dict() for m in ("shift", "tenure")}
    weighted = measure_source(rows, spec(margins=own), "s").frame
    plain = measure_source(rows, replace(spec(), weighting=None), "s").frame
    assert list(weighted.columns) == list(plain.columns)
    for name in plain.columns[2:]:
        factor = 1.0
        if name in ("nps_se", "yes_se"):  # unweighted these are on n, weighted on n - 1
            n = plain[name.replace("_se", "_n")]
            factor = np.sqrt(n / (n - 1))
        assert_allclose(weighted[name], factor * plain[name], rtol=1e-9, err_msg=name)


def test_neither_row_order_nor_names_of_categories_change_anything():
    one = measure_source(ROWS, spec(1.8), "s")
    mixed = ROWS.sample(frac=1, random_state=4).reset_index(drop=True)
    two = measure_source(mixed, spec(1.8), "s")
    names = {"day": "x", "late": "007", "night": "NA"}
    margins = {"tenure": {">=1": 8, "<1": 2}, "shift": {"NA": 50, "x": 90, "007": 60}}
    renamed = ROWS.assign(shift=ROWS["shift"].map(names))
    three = measure_source(renamed, spec(1.8, margins=margins), "s")
    for other in (two, three):
        for name in one.frame.columns[2:]:
            assert_allclose(other.frame[name], one.frame[name], rtol=1e-9, err_msg=name)
    assert two.weighed.periods.equals(one.weighed.periods)


def test_within_file_rakes_all_rows_at_once():
    found = measure_source(ROWS, spec(within="file"), "s").weighed
    targets = {m: {c: p * len(ROWS) for c, p in k.items()} for m, k in ORACLE["margins"].items()}
    assert_allclose(found.weights, rake_weights(ROWS, targets).weights, rtol=1e-12)
    assert found.periods["period"].tolist() == ["all periods"]


def test_weights_are_raked_by_the_periods_of_the_panel():
    found = measure_source(ROWS, spec(), "s", frequency="quarter")
    assert found.weighed.periods["period"].tolist() == ["2024Q1"]
    assert "respondents of each quarter" in found.definitions["nps"]


def test_weighting_recovers_the_mean_of_all_asked_where_the_night_answers_less():
    rng = np.random.default_rng(20261123)
    truth, plain, mended, covered = [], [], [], []
    for _ in range(120):
        shift = np.where(rng.random(400) < 0.5, "day", "night")
        mood = np.clip(np.rint(np.where(shift == "day", 3.9, 2.7) + rng.normal(0, 0.8, 400)), 1, 5)
        asked = pd.DataFrame({"unit": "A", "wave": "2024-01", "shift": shift, "score": mood})
        answered = asked[rng.random(400) < np.where(shift == "day", 0.6, 0.2)]
        known = asked["shift"].value_counts().to_dict()
        row = measure_source(answered, by_shift(known), "s").frame.iloc[0]
        truth.append(mood.mean())
        plain.append(answered["score"].mean())
        mended.append(row["m"])
        covered.append(abs(row["m"] - truth[-1]) <= 1.96 * row["m_se"])
    bias, before = np.mean(np.subtract(mended, truth)), np.mean(np.subtract(plain, truth))
    noise = np.std(np.subtract(mended, truth), ddof=1) / np.sqrt(120)
    assert abs(bias) < 3 * noise
    assert before > 0.25
    assert np.mean(covered) >= 0.92  # on the safe side, see weighted_mean


# -- what becomes of rows -------------------------------------------------------------------------


def test_rows_without_a_category_are_lost_and_counted_and_unanswered_ones_stay():
    rows = ROWS.copy()
    rows.loc[:6, "shift"] = None
    rows.loc[20:22, ["score", "effort", "one", "two"]] = np.nan
    rows.loc[20:22, ["told", "shift"]] = None
    found = measure_source(rows, spec(), "s")
    steps = found.flow.frame().set_index("reason")
    assert steps.loc["no category to weigh by", "rows_lost"] == 7
    assert found.weighed.periods["respondents"].sum() == 890
    assert found.suppressed.set_index("measure").loc["nps", "blank_answers"] == 3
    assert found.frame["nps_n"].sum() == 890


def thin() -> pd.DataFrame:
    """A second wave with four of the night."""
    later = team({"day": 12, "night": 4}, {"day": [4, 5], "night": [1]})
    first = team({"day": 12, "night": 6}, {"day": [4, 5], "night": [2, 1]})
    return pd.concat([first, later.assign(wave="2024-02")], ignore_index=True)


def test_a_wave_of_too_few_is_refused_or_lost_as_a_whole():
    with pytest.raises(
        SchemaError, match=r"in 1 period of 2 \('?2024-02'?\) a category of 'shift'"
    ):
        measure_source(thin(), by_shift(), "s")
    scarce = thin().query("wave == '2024-02'")
    with pytest.raises(SchemaError, match="in all rows together a category of 'shift' has fewer"):
        measure_source(scarce, by_shift(within="file"), "s")
    found = measure_source(thin(), by_shift(too_few="lose"), "s")
    assert found.frame["period"].astype(str).tolist() == ["2024-01"]
    lost = found.flow.frame().set_index("reason")
    assert lost.loc["in a period with too few of a category to weigh", "rows_lost"] == 16
    row = found.weighed.periods.iloc[1]
    assert row["outcome"] == "left out: 1 category of fewer than 5 respondents"
    assert row.drop(["period", "outcome"]).isna().all()
    assert found.weighed.margins["period"].unique().tolist() == ["2024-01"]
    with pytest.raises(SchemaError, match="No period of 's' can be weighted: in each of 1 period"):
        measure_source(scarce, by_shift(too_few="lose"), "s")


def test_few_trimmed_people_are_not_counted():
    rows = team({"day": 40, "night": 5}, {"day": [3, 4], "night": [2, 1]}).assign(tenure="<1")
    rows.loc[[0, 1, 2, 40, 41], "tenure"] = ">=1"
    margins = {"shift": {"day": 0.8, "night": 0.2}, "tenure": {"<1": 0.7, ">=1": 0.3}}
    plan = WeightingSpec(margins=margins, trim=2.8)
    found = measure_source(rows, replace(by_shift(), weighting=plan), "s").weighed
    assert 0 < (found.weights > 2.79).sum() < 5
    assert np.isnan(found.periods["trimmed"][0])
    assert found.periods["highest"][0] < found.weights.max()  # a mean of five people


def test_the_audit_holds_the_weights_and_comes_back_from_json():
    audit = link_sources([measure_source(ROWS, spec(1.8), "survey")]).audit
    assert audit.weighting["source"].tolist() == ["survey"] * 3
    assert (audit.weighting["outcome"] == "converged").all()
    assert len(audit.margins) == 15
    assert (audit.margins["respondents"] >= 5).all()
    again = LinkAudit.from_dict(json.loads(json.dumps(audit.to_dict())))
    assert again.weighting.equals(audit.weighting)
    assert "How respondents were weighted" in again._repr_html_()
    text = audit.definitions.set_index("column").loc["effort", "definition"]
    assert "raked to known margins of 'shift', 'tenure', none above 1.8 times the mean" in text


def test_a_file_keeps_categories_that_look_like_numbers(tmp_path):
    rows = team({"day": 10, "night": 6}, {"day": [3, 4], "night": [2, 1]})
    rows["shift"] = rows["shift"].map({"day": "01", "night": "2"})
    rows.to_csv(tmp_path / "s.csv", index=False)
    linked = link_study_data({"s": by_shift({"01": 1, "2": 1})}, root=tmp_path)
    assert linked.audit.margins["category"].tolist() == ["01", "2"]


# -- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"margins": {}}, "`weighting` has no margins"),
        ({"margins": {"shift": {"day": 0, "night": 1}}}, "no positive number for 'day'"),
        ({"margins": {"shift": {"day": float("nan"), "night": 1}}}, "no positive number for 'day'"),
        ({"margins": {"shift": {"day": 1}}}, "The margin 'shift' has no two categories"),
        ({"within": "wave"}, "`within` of `weighting` is 'wave'"),
        ({"too_few": "loose"}, r"`too_few` of `weighting` is 'loose'.*Did you mean 'lose'"),
        ({"trim": 1.0}, "`trim` of `weighting` is 1; it must exceed 1"),
        ({"trim": float("inf")}, "`trim` of `weighting` is inf"),
    ],
)
def test_a_weighting_that_cannot_be_is_refused(change, message):
    with pytest.raises(SchemaError, match=message):
        WeightingSpec(**({"margins": {"shift": {"day": 1, "night": 1}}} | change))


SPELL = MeasureSpec(metric="attrition", hire="a", exit="b")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"measures": PLAIN | {"n": MeasureSpec(metric="count")}},
            "'n' of 's.csv' measures 'count'",
        ),
        ({"measures": {"t": MeasureSpec(metric="sum", score="score")}}, "measures 'sum'"),
        ({"measures": {"a": SPELL}}, "measures 'attrition'"),
        (
            {"measures": {"r": MeasureSpec(metric="ratio", numerator="a", denominator="b")}},
            "measures 'ratio'",
        ),
        ({"measures": {"f": MeasureSpec(metric="fcr", customer="c")}}, "measures contacts"),
        ({"measures": {}, "columns": {"x": "score"}}, "`columns` are values of units"),
        ({"database": DatabaseSpec()}, "stay in a database.*Export the answers to a Parquet"),
        ({"path": "s.duckdb"}, "stay in a database"),
        ({"identifiers": ("shift",)}, "The margin 'shift' of 's.csv' is an identifier"),
        ({"period": "shift"}, "is an identifier, a date or an answer"),
    ],
)
def test_a_source_that_cannot_be_weighted_is_refused(change, message):
    with pytest.raises(SchemaError, match=message):
        by_shift(**change)


def test_categories_that_do_not_match_are_named():
    rows = team({"day": 10, "night": 6}, {"day": [3], "night": [2]})
    with pytest.raises(SchemaError, match=r"1 category of 'shift' \(written like 'a'\).*'nigt'"):
        measure_source(rows, by_shift({"day": 1, "nigt": 1}), "s")
    with pytest.raises(SchemaError, match="counts people of 'shift' in 'late', of whom nobody"):
        measure_source(rows, by_shift({"day": 1, "night": 1, "late": 1}), "s")
    with pytest.raises(SchemaError, match=r"lacks 1 column.*shift"):
        measure_source(rows.drop(columns="shift"), by_shift(), "s")


def test_margins_that_contradict_each_other_are_told_with_their_wave():
    rows = team({"day": 10, "night": 10}, {"day": [3], "night": [2]})
    rows["site"] = rows["shift"].map({"day": "a", "night": "b"})
    plan = WeightingSpec(margins={"shift": {"day": 1, "night": 1}, "site": {"a": 1, "b": 3}})
    with pytest.raises(SchemaError, match="'s', 2024-01: No weights meet all 2 margins"):
        measure_source(rows, replace(by_shift(), weighting=plan), "s")


def test_split_units_and_databases_are_refused(tmp_path):
    lines = (
        "source_unit,target_unit,valid_from,valid_to,share\nA,X,2020-01,,0.5\nA,Y,2020-01,,0.5\n"
    )
    (tmp_path / "c.csv").write_text(lines, encoding="utf-8")
    named = CrosswalkSpec(path="c.csv")
    rows = team({"day": 10, "night": 6}, {"day": [3], "night": [2]})
    walk = read_crosswalk(named, tmp_path, dated=True)
    with pytest.raises(LinkError, match="splits units by shares, but 'm' of 's' is measured on"):
        measure_source(rows, by_shift(crosswalk=named), "s", crosswalk=walk)
    ibis = pytest.importorskip("ibis")
    with pytest.raises(SchemaError, match="The rows of 's' stay in a database"):
        measure_source(ibis.memtable(rows), by_shift(), "s")


def test_units_that_merge_are_weighted_as_one(tmp_path):
    (tmp_path / "c.csv").write_text(
        "source_unit,target_unit,valid_from,valid_to\nA,X,2020-01,\nB,X,2020-01,\n",
        encoding="utf-8",
    )
    one = team({"day": 10, "night": 6}, {"day": [3, 4], "night": [2, 1]})
    both = pd.concat([one, one.assign(unit="B")], ignore_index=True)
    named = CrosswalkSpec(path="c.csv")
    walk = read_crosswalk(named, tmp_path, dated=True)
    found = measure_source(both, by_shift(crosswalk=named), "s", crosswalk=walk).frame
    assert found["unit"].tolist() == ["X"]
    assert found["m"][0] == pytest.approx(2.5)
