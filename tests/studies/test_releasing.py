"""The register of releases on disk: kept, compared, taken back; damaged ones are refused."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from jsonschema import Draft202012Validator

from ex_cx.errors import RunError, StudyError
from ex_cx.linkage.confidentiality.identifiers import KEY_VARIABLE
from ex_cx.reporting.audit import audit_report
from ex_cx.studies.narration import closing
from ex_cx.studies.preparing import Prepared, prepare_study
from ex_cx.studies.releasing import REGISTER, read_register, release_lines
from ex_cx.studies.rerunning import rerun_report
from ex_cx.studies.runner import StudyOutcome, run_study
from ex_cx.studies.telling import status_lines
from ex_cx.studies.verifying import embedded_manifest

STUDY = """
study: {name}
data:
  sources:
    pulse: {{path: answers.csv, unit: team, period: date,
            measures: {{ex_mood: {{metric: mean, score: mood, low: 1, high: 5}}}}}}
  link: {{frequency: {frequency}}}
roles: {{outcomes: [ex_mood]}}
notebooks: [data_audit]
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Twelve answers of each of four teams in each of six months."""
    rng = np.random.default_rng(7)
    rows = [
        (f"team{team}", f"2024-{month:02d}-03", mood)
        for team in range(4)
        for month in range(1, 7)
        for mood in rng.integers(1, 6, 12)
    ]
    frame = pd.DataFrame(rows, columns=["team", "date", "mood"])
    frame.to_csv(tmp_path / "answers.csv", index=False)
    return written(tmp_path)


def written(folder: Path, name: str = "pulse", frequency: str = "month", more: str = "") -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(STUDY.format(name=name, frequency=frequency) + more)
    return path


def answer_late(folder: Path, more: str = "") -> None:
    with (folder / "answers.csv").open("a") as file:
        file.write("team1,2024-02-20,5" + more + "\n")


def released(study: Path, out: str = "runs") -> tuple[Prepared, pd.DataFrame]:
    """Link and store as `ex-cx run` does, and what lies there."""
    prepared = prepare_study(study, out=study.parent / out)
    folder = study.parent / out / prepared.loaded.study.study
    folder.mkdir(parents=True, exist_ok=True)
    prepared.store(folder)
    return prepared, pd.read_parquet(folder / "panel.parquet")


def register_of(study: Path) -> Path:
    return study.parent / "runs" / REGISTER


def test_a_release_is_kept_once_by_its_owner_alone(study):
    prepared, frame = released(study)
    register = register_of(study)
    assert register.stat().st_mode & 0o777 == 0o600
    before = register.read_bytes()
    assert frame["ex_mood"].notna().all()
    again, same = released(study)
    assert (again.fresh, register.read_bytes()) == (None, before)
    assert same.equals(frame)
    anew = prepare_study(study, out=study.parent / "runs", anew=True)
    assert anew.fresh is not None
    assert [m["key"] for _, m in anew.runs] == [m["key"] for _, m in prepared.runs]
    anew.store(study.parent / "runs" / "pulse")
    assert register.read_bytes() == before


def test_the_register_names_no_unit_and_shows_no_number(study):
    released(study)
    text = register_of(study).read_text()
    assert "team" not in text
    (release,) = read_register(register_of(study)).releases
    (table,) = release.tables.values()
    assert not any(cell[0] in range(1, 300) for cell in table.cells.values())


def test_what_a_late_answer_would_tell_is_withheld_until_the_release_is_forgotten(study):
    released(study)
    answer_late(study.parent)
    second, frame = released(study)
    gone = frame[frame["ex_mood"].isna()]
    assert gone[["unit", "period"]].to_numpy().tolist() == [["team1", "2024-02"]]
    assert second.linkage.withheld == 1
    panel = json.loads((study.parent / "runs/pulse/panel.json").read_text())
    assert panel["audit"]["suppressed"][0]["withheld_for_release"] == 1
    ((_, manifest),) = second.runs
    assert manifest["earlier_releases"]["withheld"] == 1
    again, same = released(study)
    assert again.fresh is None
    assert same.equals(frame)
    name = read_register(register_of(study)).releases[0].name
    lines = list(release_lines(study, None, study.parent / "runs", name[:6]))
    assert lines[0].startswith("forgotten: 20")
    whole = prepare_study(study, out=study.parent / "runs")
    assert whole.linkage.withheld == 0
    assert whole.linked.panel.frame["ex_mood"].notna().all()
    assert whole.runs[0][1]["key"] != manifest["key"]


def test_studies_of_one_folder_are_compared(study):
    released(study)
    answer_late(study.parent)
    _, quarters = released(written(study.parent, "quarters", "quarter"))
    gone = quarters[quarters["ex_mood"].isna()]
    assert gone[["unit", "period"]].to_numpy().tolist() == [["team1", "2024Q1"]]
    lines = list(release_lines(study, None, study.parent / "runs"))
    assert lines[-1] == "1 release of pulse; 1 of other studies."
    lines = list(release_lines(study, None, study.parent / "runs", "all"))
    assert len(lines) == 2
    assert len(read_register(register_of(study)).releases) == 1


def test_a_register_named_in_the_study_holds_over_folders_of_reports(study):
    more = "confidentiality: {releases: kept/releases.json}\n"
    path = written(study.parent, more=more)
    released(path, "march")
    answer_late(study.parent)
    _, frame = released(path, "april")
    assert frame["ex_mood"].isna().sum() == 1
    assert (study.parent / "kept" / "releases.json").is_file()
    assert not (study.parent / "april" / REGISTER).exists()


@pytest.mark.parametrize("path", ["../releases.json", "/tmp/releases.json", "."])
def test_a_register_outside_the_data_is_refused(study, path):
    path = written(study.parent, more=f"confidentiality: {{releases: '{path}'}}\n")
    with pytest.raises(StudyError, match=r"confidentiality.releases.* leads out of"):
        released(path)


def test_a_register_that_is_a_link_elsewhere_is_refused(study, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "file"
    (study.parent / "runs").mkdir()
    register_of(study).symlink_to(elsewhere)
    with pytest.raises(StudyError, match="is a link that leads out"):
        released(study)
    assert not elsewhere.exists()


def changed(**entries: object):
    def change(content: dict) -> dict:
        return content | entries

    return change


def first_cell(value: object):
    def change(content: dict) -> dict:
        (table,) = content["releases"][0]["tables"].values()
        table["cells"][next(iter(table["cells"]))] = value
        return content

    return change


DAMAGES = {
    "cut": lambda content: json.dumps(content)[:-20],
    "empty": lambda content: "",
    "no object": lambda content: "[]",
    "deep": lambda content: "[" * 100_000,
    "not text": lambda content: b"\xff\xfe\x00",
    "newer": changed(version=2),
    "more keys": changed(extra=1),
    "a cell too many": first_cell([1, 2, "", 4]),
    "a number that is text": first_cell(["1", 0, ""]),
    "a negative number": first_cell([-1, 0, ""]),
    "no digest": first_cell([1, 0, "xyz"]),
    "shown later": first_cell([1, 0, "0" * 16]),
    "without its releases": changed(releases=[]),
    "not a number": lambda content: json.dumps(content).replace('"version": 1', '"version": NaN'),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_register_stops_the_study_and_stays(study, damage):
    released(study)
    register = register_of(study)
    broken = DAMAGES[damage](json.loads(register.read_text()))
    content = json.dumps(broken) if isinstance(broken, dict) else broken
    register.write_bytes(content if isinstance(content, bytes) else content.encode())
    kept = register.read_bytes()
    with pytest.raises(
        RunError, match=r"is damaged or of another version: .* Put back a copy"
    ) as e:
        released(study)
    assert len(str(e.value)) < 600
    with pytest.raises(RunError, match="is damaged"):
        list(status_lines(study, None, study.parent / "runs"))
    assert register.read_bytes() == kept


def test_a_folder_in_its_place_stops_the_study(study):
    register_of(study).mkdir(parents=True)
    with pytest.raises(RunError, match="it is no plain file"):
        released(study)


def test_another_key_is_told(study, monkeypatch):
    released(study)
    monkeypatch.setenv(KEY_VARIABLE, "a key of sixteen or more")
    with pytest.raises(RunError, match="written under another key"):
        released(study)


def test_a_release_in_between_stops_the_other_one(study):
    out = study.parent / "runs"
    first = prepare_study(study, out=out)
    second = prepare_study(written(study.parent, "quarters", "quarter"), out=out)
    (out / "pulse").mkdir(parents=True)
    (out / "quarters").mkdir()
    first.store(out / "pulse")
    with pytest.raises(RunError, match=r"was released while this one was linked.* Run again"):
        second.store(out / "quarters")
    assert not (out / "quarters" / "panel.parquet").exists()


def test_two_parts_of_a_study_release_it_once(study):
    out = study.parent / "runs"
    parts = [prepare_study(study, out=out, anew=True) for _ in range(2)]
    (out / "pulse").mkdir(parents=True)
    stored = [part.store(out / "pulse").panel.read_bytes() for part in parts]
    assert stored[0] == stored[1]
    assert len(read_register(register_of(study)).releases) == 1


def test_a_name_that_fits_none_is_told(study):
    released(study)
    with pytest.raises(StudyError, match=r"--forget 'zz' fits 0 of the 1 releases of pulse"):
        list(release_lines(study, None, study.parent / "runs", "zz"))


def test_a_report_is_run_again_with_what_was_withheld(study):
    # a record keeps keys in the order of the alphabet, a study file in that of its author
    answers = pd.read_csv(study.parent / "answers.csv")
    side = answers["team"].map({"team0": "a", "team1": "a", "team2": "b", "team3": "b"})
    answers.assign(site=side, area=side.str.upper()).to_csv(
        study.parent / "answers.csv", index=False
    )
    text = study.read_text().replace(
        "unit: team,", "unit: team, attributes: {site: site, area: area},"
    )
    study.write_text(text)
    run_study(study, out=study.parent / "runs")
    answer_late(study.parent, ",a,A")
    run_study(study, out=study.parent / "runs")
    report = study.parent / "runs" / "pulse" / "data_audit" / "report.html"
    manifest = embedded_manifest(report)
    assert manifest["earlier_releases"]["withheld"] == 1
    schema = json.loads(files("ex_cx.studies").joinpath("manifest.schema.json").read_text())
    assert not list(Draft202012Validator(schema).iter_errors(manifest))
    kept = register_of(study).read_bytes()
    lines, same = rerun_report(report, study.parent)
    assert (lines[:-1], same) == ([], True)
    assert register_of(study).read_bytes() == kept

    elsewhere = register_of(study).rename(study.parent / "old.json")
    with pytest.raises(RunError, match=r"1 value of the report .* register is not at .*--releases"):
        rerun_report(report, study.parent)
    assert rerun_report(report, study.parent, releases=elsewhere)[0][:-1] == []


def test_the_last_lines_and_the_audit_tell_what_is_withheld(study):
    released(study)
    answer_late(study.parent)
    prepared, _ = released(study)
    outcome = StudyOutcome(index=Path("index.html"), runs=(), withheld=prepared.linkage.withheld)
    assert next(closing(outcome)).startswith(
        "Withheld, since the difference from an earlier release"
    )
    linked = prepared.linked
    report = audit_report(linked.panel, linked.audit, ["ex_mood"])
    guard = report.guards.set_index("guard").loc["Earlier releases"]
    assert guard["verdict"] == "caution"
    assert guard["finding"].startswith("Withheld for the sake of earlier releases: 1 of the")
