"""The evidence on scales that linking leaves in the audit, and what the report makes of it."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from ex_cx.linkage.agreement import icc, within_group_agreement
from ex_cx.linkage.audit import LinkAudit
from ex_cx.linkage.confidentiality.protect import ReleaseAsked
from ex_cx.linkage.confidentiality.releases import Past
from ex_cx.linkage.evidence import ScaleEvidence, scale_evidence
from ex_cx.linkage.link import link_study_data
from ex_cx.linkage.scales import cronbach_alpha
from ex_cx.linkage.schema import MeasureSpec, SourceSpec
from ex_cx.reporting.scales import scale_guards, scale_sections

SCALE = MeasureSpec(metric="scale_mean", items=("a", "b", "c"), reverse=("c",), low=1, high=5)
SPEC = SourceSpec(path="survey.csv", unit="team", period="wave", measures={"mood": SCALE})


def _answers(n_teams=12, each=12, waves=("2024-01", "2024-04"), seed=3, spread=1.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frames = []
    for wave in waves:
        team = np.repeat(np.arange(n_teams), each)
        mood = 3 + spread * rng.normal(size=n_teams)[team] / 2 + rng.normal(size=len(team)) / 2
        items = np.clip(np.round(mood[:, None] + rng.normal(size=(len(team), 3)) / 2), 1, 5)
        items[:, 2] = 6 - items[:, 2]
        frame = pd.DataFrame(items, columns=["a", "b", "c"])
        frames.append(frame.assign(team=[f"T{t:02d}" for t in team], wave=wave))
    return pd.concat(frames, ignore_index=True)


def test_units_are_taken_in_each_wave_and_items_turned():
    answers = _answers()
    found = scale_evidence(answers, SPEC, "survey").scales.set_index("index")
    turned = answers.assign(c=6 - answers["c"], cell=answers["team"] + answers["wave"])
    items = ["a", "b", "c"]
    assert found.loc["alpha", "value"] == pytest.approx(cronbach_alpha(turned[items]))
    scored = turned.assign(s=turned[items].mean(axis=1))
    whole = icc(scored, "s", "cell").iloc[0]
    assert found.loc["ICC(1)", "value"] == pytest.approx(whole["icc1"])
    assert found.loc["ICC(2), reliability of unit means", "value"] == pytest.approx(whole["icc2"])
    agreement = within_group_agreement(turned, items, "cell", 5)["r_wg"]
    median = found.loc["median r_wg(j), uniform null"]
    assert median["value"] == pytest.approx(agreement.median())
    assert median["reading"].endswith("of 24 unit-waves reach 0.70")
    same = found.loc["same in every wave: scalar"]
    assert same["met"]
    assert "2 waves compared: means of waves may be compared" in same["reading"]


def test_respondents_without_unit_or_wave_are_in_nothing():
    answers = _answers()
    noise = answers.head(80).assign(a=1, b=5, c=3)
    astray = pd.concat([answers, noise.assign(team=None), noise.assign(wave=None)])
    found = scale_evidence(astray.reset_index(drop=True), SPEC, "survey").scales
    pd.testing.assert_frame_equal(found, scale_evidence(answers, SPEC, "survey").scales)


def test_few_respondents_show_nothing_and_small_waves_are_no_waves():
    assert len(scale_evidence(_answers(3, 3, waves=("2024-01",)), SPEC, "survey").scales) == 0
    small = scale_evidence(_answers(6, 8), SPEC, "survey")  # 48 a wave
    assert not small.scales["index"].str.startswith("same").any()
    assert len(small.waves) == 0
    assert len(small.scales) == 5


def test_other_measures_have_no_evidence():
    plain = SourceSpec(
        path="s.csv",
        unit="team",
        period="wave",
        measures={"a": MeasureSpec(metric="mean", score="a")},
    )
    assert len(scale_evidence(_answers(), plain, "survey").scales) == 0
    assert len(ScaleEvidence.joined([]).scales) == 0


def test_answers_that_are_no_whole_numbers_have_no_null():
    answers = _answers()
    answers["a"] = answers["a"].clip(1.5, 4.5)
    found = scale_evidence(answers, SPEC, "survey").scales
    assert not found["index"].str.contains("r_wg").any()
    assert found["index"].tolist()[0] == "alpha"


def test_of_many_waves_some_are_compared_and_it_is_told():
    waves = [f"20{year:02d}-{month:02d}" for year in (20, 21, 22) for month in range(1, 13)]
    found = scale_evidence(_answers(10, 6, waves=waves), SPEC, "survey")
    assert len(found.waves) == 24
    assert found.waves["wave"].iloc[[0, -1]].tolist() == ["2020-01", "2022-12"]
    reading = found.scales["reading"].iloc[-1]
    assert reading.startswith("Of 36 waves, 24 waves compared:")


def test_integer_waves_stay_in_order():
    answers = pd.concat([_answers(waves=(w,), seed=w) for w in (2, 9, 10)], ignore_index=True)
    spec = SourceSpec(
        path="s.csv", unit="team", period="wave", frequency="integer", measures={"mood": SCALE}
    )
    assert scale_evidence(answers, spec, "survey").waves["wave"].tolist() == ["2", "9", "10"]


@pytest.fixture
def linked(tmp_path):
    _answers().to_csv(tmp_path / "survey.csv", index=False)
    return link_study_data({"survey": SPEC}, root=tmp_path)


def test_the_audit_keeps_the_evidence_through_json(linked):
    audit = linked.audit
    assert audit.scales["source"].unique().tolist() == ["survey"]
    assert "May the answers of a scale be averaged?" in audit._repr_html_()
    again = LinkAudit.from_dict(json.loads(json.dumps(audit.to_dict())))
    for before, after in ((audit, again), (again, audit)):
        first, second = (scale_sections(each, {})[0].tables for each in (before, after))
        for one, other in zip(first, second, strict=True):
            pd.testing.assert_frame_equal(one.frame, other.frame)
    pd.testing.assert_frame_equal(scale_guards(audit, {}), scale_guards(again, {}))


def test_the_report_says_what_misses_a_cut_off(tmp_path):
    _answers(spread=0.0).to_csv(tmp_path / "survey.csv", index=False)
    audit = link_study_data({"survey": SPEC}, root=tmp_path).audit
    guards = scale_guards(audit, {"mood": "Mood (1-5)"}).set_index("guard")
    averaging = guards.loc["Averaging answers"]
    assert averaging["verdict"] == "caution"
    assert averaging["finding"].startswith("Mood misses a customary cut-off: ")
    assert "ICC(2), reliability of unit means" in averaging["finding"]
    good = scale_guards(LinkAudit.from_dict({"scales": [_row("alpha", 0.8, True)]}), {})
    assert good.iloc[0].tolist() == [
        "Averaging answers",
        "Mood: every index reaches its customary cut-off.",
        "clear",
    ]


def test_no_scale_no_section(linked):
    bare = LinkAudit.from_dict({"flow": linked.audit.flow.to_dict("records")})
    assert scale_sections(bare, {}) == ()
    assert len(scale_guards(bare, {})) == 0
    section = scale_sections(linked.audit, {})[0]
    assert section.fold
    assert [table.name for table in section.tables] == ["scale_evidence", "scale_waves"]


def _row(index, value, met):
    known = {"source": "survey", "scale": "mood", "customary": 0.7, "reading": "as it is"}
    return known | {"index": index, "value": value, "met": met}


def _with_gaps(n: int, wave: str = "2024-04") -> pd.DataFrame:
    """Twelve teams in two waves; `n` people of one wave left out an item, and have a score."""
    answers = _answers()
    at = answers.index[answers["wave"] == wave][:n]
    return answers.assign(a=answers["a"].mask(answers.index.isin(at)))


def _waves(answers: pd.DataFrame, folder) -> pd.DataFrame:
    answers.to_csv(folder / "survey.csv", index=False)
    linked = link_study_data({"survey": SPEC}, root=folder)
    assert linked.panel.frame["mood"].notna().all()
    return linked.audit.waves.set_index("wave")[["n", "mean"]]


@pytest.mark.parametrize("n", [1, 4])
def test_a_wave_less_its_units_does_not_tell_of_few_who_left_an_item_out(n, tmp_path):
    answers = _with_gaps(n)
    # what it would tell: all units' sums less the wave's own are the scores of those n people
    turned = answers.assign(c=6 - answers["c"])[answers["wave"] == "2024-04"]
    scores = turned[["a", "b", "c"]].mean(axis=1)
    complete = turned[["a", "b", "c"]].notna().all(axis=1)
    assert scores.sum() - scores[complete].sum() == pytest.approx(scores[~complete].sum())
    found = _waves(answers, tmp_path)
    assert found.loc["2024-04"].isna().all()
    assert found.loc["2024-01", "n"] == 144


@pytest.mark.parametrize("n", [0, 5])
def test_a_wave_is_told_where_nobody_or_enough_left_an_item_out(n, tmp_path):
    found = _waves(_with_gaps(n), tmp_path)
    assert found["n"].tolist() == [144, 144 - n]
    assert found["mean"].notna().all()


def test_a_late_answer_is_not_told_by_the_wave_either(tmp_path):
    answers = _answers()
    past = Past(key=b"key")
    means = []
    for rows in (answers, pd.concat([answers, answers.tail(1)])):
        rows.to_csv(tmp_path / "survey.csv", index=False)
        asked = ReleaseAsked(past=past, study="mood")
        linked = link_study_data({"survey": SPEC}, root=tmp_path, asked=asked)
        past = Past(key=b"key", releases=(*past.releases, linked.release))
        means.append(linked.audit.waves.set_index("wave")["mean"].notna().to_dict())
    assert means == [{"2024-01": True, "2024-04": True}, {"2024-01": True, "2024-04": False}]
