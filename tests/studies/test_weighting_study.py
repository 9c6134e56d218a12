"""A study that weights its respondents: checked, run, told; nothing small is printed or written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ex_cx.errors import ExCxError
from ex_cx.linkage.confidentiality.protect import ReleaseAsked
from ex_cx.linkage.confidentiality.releases import Past
from ex_cx.linkage.link import Linked, link_study_data
from ex_cx.linkage.schema import MeasureSpec, SourceSpec
from ex_cx.linkage.weightspec import WeightingSpec
from ex_cx.studies.checking import check_study
from ex_cx.studies.runner import run_study
from ex_cx.studies.study import load_study
from tests.studies.test_leaks import ex_cx, leaks_of_folder, leaks_of_text

RARE = "zanzibar.quill"
"""A kind of work of three people: a planted name, which `leaks_of_text` looks for."""

STUDY = """\
study: weighted
data:
  sources:
    pulse:
      path: pulse.csv
      unit: team
      period: month
      respondents: employees
      measures: {ex_mood: {metric: mean, score: mood, low: 1, high: 5}}
      weighting: {margins: {shift: {day: 30, night: 30}}, trim: 5, too_few: lose}
    calls:
      path: calls.csv
      unit: team
      period: month
      measures: {cx_wait: {metric: ratio, numerator: seconds, denominator: calls}}
roles: {exposures: [ex_mood], outcomes: [cx_wait]}
notebooks: [data_audit]
"""


def answers() -> pd.DataFrame:
    """Six teams over eight months; the night answers less and is less happy."""
    rng = np.random.default_rng(8)
    n = 1100
    shift = np.where(rng.random(n) < 0.25, "night", "day")
    mood = np.clip(np.rint(np.where(shift == "day", 4, 3) + rng.normal(0, 0.9, n)), 1, 5)
    months = [f"2024-{m:02d}" for m in range(1, 9)]
    frame = pd.DataFrame({"team": rng.choice(list("ABCDEF"), n), "month": rng.choice(months, n)})
    return frame.assign(shift=shift, mood=mood.astype(int))


def written(folder: Path, rows: pd.DataFrame, study: str = STUDY) -> Path:
    folder.mkdir(exist_ok=True)
    rows.to_csv(folder / "pulse.csv", index=False)
    calls = rows[["team", "month"]].drop_duplicates().sort_values(["team", "month"])
    calls.assign(seconds=np.arange(len(calls)) * 7 % 50 + 900, calls=10).to_csv(
        folder / "calls.csv", index=False
    )
    (folder / "study.yaml").write_text(study, encoding="utf-8")
    return folder / "study.yaml"


def few_of_the_night(rows: pd.DataFrame) -> pd.DataFrame:
    """In March only three of the night have answered."""
    night = rows.index[(rows["month"] == "2024-03") & (rows["shift"] == "night")]
    return rows.drop(index=night[3:])


def test_the_audit_of_a_study_tells_the_weights_and_the_period_that_is_left_out(tmp_path):
    study = written(tmp_path / "data", few_of_the_night(answers()))
    lines = "\n".join(check_study(study))
    assert "pulse, 2024-03: left out: 1 category of fewer than 5 respondents" in lines
    run_study(study, out=tmp_path / "runs")
    folder = next((tmp_path / "runs" / "weighted").glob("data_audit*"))
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "are weighted to known margins and count as" in page
    assert "1 period cannot be weighted and is left out" in page
    notebook = json.loads((folder / "notebook.ipynb").read_text(encoding="utf-8"))
    told = json.dumps([cell.get("outputs") for cell in notebook["cells"]])
    assert "How respondents were weighted" in told
    assert "Whom the weights stand for" in told
    panel = pd.read_parquet(tmp_path / "runs" / "weighted" / "panel.parquet")
    march = panel["period"].astype(str) == "2024-03"
    assert panel.loc[march, "ex_mood"].isna().all()
    assert panel.loc[~march, "ex_mood"].notna().mean() > 0.9


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("margins:", "margin:", r"there is no such key\. Did you mean 'margins'"),
        ("trim: 5", "trim: 1", "must exceed 1"),
        ("trim: 5", "within: wave", "must be 'period' or 'file'"),
        (
            "day: 30",
            "dya: 30",
            r"of which `weighting` does not say.*One of them is almost the same",
        ),
        ("{shift: {", "{shfit: {", "Did you mean 'shift'"),
    ],
)
def test_check_names_what_is_wrong_with_the_key(tmp_path, old, new, message):
    assert old in STUDY
    study = written(tmp_path / "data", answers(), STUDY.replace(old, new))
    with pytest.raises(ExCxError, match=message):
        list(check_study(study))


def test_neither_a_small_category_nor_its_margin_is_printed_or_written(tmp_path):
    rows = answers()
    rows.loc[[5, 300, 700], "shift"] = RARE
    for at, margins in enumerate(("{day: 30, night: 30}", "{day: 30, night: 27, other: 3}")):
        text = STUDY.replace("{day: 30, night: 30}", margins).replace(", too_few: lose", "")
        study = written(tmp_path / f"data{at}", rows, text)
        printed = ex_cx("run", study, "--out", tmp_path / f"runs{at}")
        assert "of which `weighting` does not say" in printed
        assert leaks_of_text(printed) == []
        assert leaks_of_folder(tmp_path / f"runs{at}") == {}


# -- releases -------------------------------------------------------------------------------------


def released(
    folder: Path, rows: pd.DataFrame, past: Past, weighting: WeightingSpec | None
) -> Linked:
    folder.mkdir(exist_ok=True)
    rows.to_csv(folder / "pulse.csv", index=False)
    spec = SourceSpec(
        path="pulse.csv",
        unit="team",
        period="month",
        measures={"ex_mood": MeasureSpec(metric="mean", score="mood", low=1, high=5)},
        weighting=weighting,
    )
    return link_study_data({"pulse": spec}, root=folder, asked=ReleaseAsked(past=past, study="s"))


WEIGHTING = WeightingSpec(margins={"shift": {"day": 1, "night": 1}})


def test_the_same_answers_are_not_shown_under_two_weightings(tmp_path):
    rows, key = answers(), b"key of these tests"
    first = released(tmp_path, rows, Past(key=key), WEIGHTING)
    past = Past(key=key, releases=(first.release,))
    again = released(tmp_path, rows, past, WEIGHTING)
    assert again.panel.frame.equals(first.panel.frame)
    assert first.panel.frame["ex_mood"].notna().mean() > 0.9
    for other in (None, WeightingSpec(margins={"shift": {"day": 1, "night": 1}}, trim=2)):
        found = released(tmp_path, rows, past, other).panel.frame
        assert found["ex_mood"].isna().all()


def test_a_late_answer_is_not_told_and_the_others_stay(tmp_path):
    rows, key = answers(), b"key of these tests"
    first = released(tmp_path, rows, Past(key=key), WEIGHTING)
    one = rows[(rows["team"] == "B") & (rows["month"] == "2024-05")].iloc[[0]]
    later = pd.concat([rows, one], ignore_index=True)
    past = Past(key=key, releases=(first.release,))
    frame = released(tmp_path, later, past, WEIGHTING).panel.frame.set_index(["unit", "period"])
    shown = frame["ex_mood"].notna()
    may = pd.Period("2024-05", "M")
    assert not shown["B", may]
    assert shown.drop(index=may, level="period").all()


def test_a_study_states_the_key(tmp_path):
    found = load_study(written(tmp_path / "data", answers())).study.data.sources["pulse"].weighting
    assert found == WeightingSpec(
        margins={"shift": {"day": 30, "night": 30}}, trim=5, too_few="lose"
    )
