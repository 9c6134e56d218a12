"""Commands about what lies there: verify, rerun, compare, doctor; and a new study."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from ex_cx.errors import PanelError, RunError, SchemaError, StudyError
from ex_cx.studies import doctor, rerunning
from ex_cx.studies.checking import check_study
from ex_cx.studies.comparing import compare_runs, pool_runs
from ex_cx.studies.doctor import examine
from ex_cx.studies.rerunning import rerun_report, result_differences
from ex_cx.studies.runner import run_study
from ex_cx.studies.scaffold import guess_roles, scaffold_study
from ex_cx.studies.verifying import embedded_manifest, verify_run

SCHEMA = Path(doctor.__file__).with_name("manifest.schema.json")
RUN = "panel_regression--nps"


@pytest.fixture
def made(study_file, tmp_path, notebooks) -> Path:
    """A finished run's folder."""
    run_study(study_file(), out=tmp_path / "runs")
    return tmp_path / "runs" / "small" / RUN


def schema_errors(manifest: dict) -> list[str]:
    from jsonschema import Draft202012Validator

    schema = json.loads(SCHEMA.read_text())
    Draft202012Validator.check_schema(schema)
    return [error.message for error in Draft202012Validator(schema).iter_errors(manifest)]


def test_manifests_of_good_and_failed_runs_fit_the_schema(study_file, tmp_path, made, notebooks):
    good = json.loads((made / "manifest.json").read_text())
    assert schema_errors(good) == []
    assert embedded_manifest(made / "report.html") == good
    notebooks.answer = RunError("no")
    run_study(study_file(more="defaults: {conf_level: 0.9}\n"), out=tmp_path / "runs")
    failed = json.loads((made.with_name(f"{RUN}.failed") / "manifest.json").read_text())
    assert schema_errors(failed) == []
    assert schema_errors({**good, "surprise": 1})
    assert schema_errors({k: v for k, v in good.items() if k != "outputs"})
    assert schema_errors({**good, "key": "short"})


def test_verify_finds_nothing_in_what_was_left_alone(made, tmp_path):
    lines, good = verify_run(made, tmp_path / "study")
    assert good
    count = len(json.loads((made / "manifest.json").read_text())["outputs"])
    assert lines == [f"{RUN}: nothing differs; {count} outputs and 1 inputs"]
    lines, good = verify_run(made)
    assert good
    assert lines[-1].endswith("inputs were not looked at (give --data-root)")


def spoil_input(run: Path, data: Path) -> None:
    with (data / "panel.csv").open("a") as file:
        file.write("T99,2024-01,North,1,2,3,4\n")


def edit_manifest(run: Path, **changes: object) -> None:
    path = run / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda run, data: (run / "result.json").write_text("{}"), "result.json: was changed"),
        (lambda run, data: (run / "result.json").unlink(), "result.json: is missing"),
        (lambda run, data: (run / "tables" / "x.csv").write_text("1"), "tables/x.csv: was added"),
        (
            lambda run, data: (run / "report.html").write_text(
                (run / "report.html").read_text().replace("It does.", "It does not.")
            ),
            "report.html: is not the page that its parts make",
        ),
        (lambda run, data: edit_manifest(run, wall_seconds=0), "report.html: the manifest in it"),
        (lambda run, data: edit_manifest(run, title="T"), "manifest.json: its key does not fit"),
        (spoil_input, "input panel.csv: differs"),
        (lambda run, data: (data / "panel.csv").unlink(), "input panel.csv: is not in"),
    ],
)
def test_verify_says_what_was_changed(made, tmp_path, spoil, told):
    spoil(made, tmp_path / "study")
    lines, good = verify_run(made, tmp_path / "study")
    assert not good
    assert [line for line in lines if line.startswith(told)], lines


def test_verify_refuses_what_is_no_finished_run(tmp_path, made):
    with pytest.raises(RunError, match="holds no manifest"):
        verify_run(tmp_path)
    edit_manifest(made, status="failed")
    with pytest.raises(RunError, match=r"is no finished run"):
        verify_run(made)


def test_a_lone_report_is_run_again_with_the_same_numbers(study_file, tmp_path):
    more = "segments: [region]\ndefaults: {conf_level: 0.9, lag: 1}\n"
    out = tmp_path / "runs"
    run_study(study_file(more=more), out=out, only="*north")
    page = shutil.copy(out / "small" / f"{RUN}--region-north" / "report.html", tmp_path / "r.html")
    manifest = embedded_manifest(Path(page))
    assert schema_errors(manifest) == []
    assert manifest["peak_memory_bytes"] > 50e6
    shutil.rmtree(out)
    lines, same = rerun_report(Path(page), tmp_path / "study")
    assert same, lines
    assert lines == [f"same numbers: {len(manifest['results'])} estimates"]

    panel = pd.read_csv(tmp_path / "study" / "panel.csv")
    panel.assign(nps=panel["nps"] * 2).to_csv(tmp_path / "study" / "panel.csv", index=False)
    lines, same = rerun_report(Path(page), tmp_path / "study")
    assert not same
    assert lines[0] == "differs today: input panel.csv: its content"
    assert "panel_regression nps within engagement_lag1: estimate was " in "".join(lines)


def test_a_page_without_a_record_cannot_be_run_again(tmp_path):
    (tmp_path / "a.html").write_text("<p>")
    with pytest.raises(RunError, match=r"a\.html holds no manifest"):
        rerun_report(tmp_path / "a.html", tmp_path)
    with pytest.raises(RunError, match="There is no report"):
        rerun_report(tmp_path / "b.html", tmp_path)


def test_numbers_differ_beyond_rounding_only():
    row = {"model": "m", "term": "x", "estimate": 1.0, "std_error": None}
    assert list(result_differences([row], [{**row, "estimate": 1.0 + 1e-12}])) == []
    assert list(result_differences([row], [{**row, "estimate": 1.0 + 1e-6}])) == [
        "m x: estimate was 1.0, is 1.000001"
    ]
    assert list(result_differences([row], [{**row, "std_error": 0.1}])) == [
        "m x: std_error was None, is 0.1"
    ]
    assert list(result_differences([row, row], [row])) == ["m x no. 2: is no longer estimated"]
    assert rerunning.TOLERANCE < 1e-8


def test_compare_puts_two_runs_side_by_side(study_file, tmp_path, notebooks):
    run_study(study_file(more="grid: {conf_level: [0.9, 0.95]}\n"), out=tmp_path)
    first, second = sorted((tmp_path / "small").glob(f"{RUN}--*"))
    edit_results(second, estimate=0.75, conf_high=1.0)
    lines = list(compare_runs(first, second))
    levels = [
        json.loads((f / "manifest.json").read_text())["parameters"]["given"]["conf_level"]
        for f in (first, second)
    ]
    assert lines[2:4] == [
        "What went into B differently:",
        f"  parameter conf_level: {levels[0]}, now {levels[1]}",
    ]
    assert lines[5].split() == [
        *("stub", "nps", "engagement", "0.5", "[0.5,", "0.5]", "0.75", "[0.5,", "1]", "+0.25")
    ]
    assert list(compare_runs(first, first))[2] == "The same went into both."


def edit_results(run: Path, **changes: float) -> None:
    (row,) = json.loads((run / "manifest.json").read_text())["results"]
    edit_manifest(run, results=[{**row, **changes}])


def test_the_doctor_tells_what_lacks(tmp_path, monkeypatch):
    good = {finding.what.split(":")[0].split(" ")[0]: finding for finding in examine(tmp_path)}
    assert all(f.good for f in good.values() if f.essential)
    monkeypatch.setattr(doctor, "PACKAGES", ("papermill", "no-such-package"))
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    (tmp_path / "file").write_text("")
    lines = [finding.line() for finding in examine(tmp_path / "file")]
    assert "LACKS no-such-package: absent. pip install 'ex-cx[study]'" in lines
    assert [line for line in lines if line.startswith("note  Chromium: not found")]
    assert not [line for line in lines if "locks on files" in line]
    assert good["locks"].what.endswith(f"in {tmp_path}: held")
    assert {path.name for path in tmp_path.iterdir()} == {"file"}
    assert [line for line in lines if line.startswith(f"LACKS writing to {tmp_path / 'file'}")]


def test_a_new_study_checks_and_overwrites_nothing(tmp_path, panel_frame):
    panel_frame.assign(**{"n responses": 9.0}).to_csv(tmp_path / "my data.csv", index=False)
    lines = list(scaffold_study(tmp_path / "mine", tmp_path / "my data.csv"))
    assert lines[-1] == "study.yaml is good: 2 runs."
    text = (tmp_path / "mine" / "study.yaml").read_text()
    assert "unit: team  # guess" in text
    assert "  exposures: [engagement, occupancy]  # guess, by name" in text
    assert "  outcomes: [nps]  # guess, by name" in text
    assert '  #   "effort"' in text
    offered = "# segments: {region: [panel_regression]}  # one report more for each value"
    assert offered in text
    study = tmp_path / "mine" / "study.yaml"
    study.write_text(text.replace(offered, offered[2:]))
    assert list(check_study(study))[-1] == "study.yaml is good: 4 runs."
    study.write_text(text)
    with pytest.raises(StudyError, match="exists and is not an empty folder"):
        list(scaffold_study(tmp_path / "mine", tmp_path / "my data.csv"))
    assert (tmp_path / "mine" / "study.yaml").read_text() == text


def test_guesses_without_names_go_by_position_and_say_so(tmp_path):
    rows = pd.DataFrame(
        {
            "true": ["A", "B"] * 4,
            "when: #1": [f"2024-{m:02d}" for m in (1, 1, 2, 2, 3, 3, 4, 4)],
            "a b": range(8),
            "y": [3.0, 1, 4, 1, 5, 9, 2, 6],
        }
    )
    rows.to_csv(tmp_path / "t.csv", index=False)
    list(scaffold_study(tmp_path / "odd - name", tmp_path / "t.csv"))
    text = (tmp_path / "odd - name" / "study.yaml").read_text()
    assert "study: odd_-_name\n" in text
    assert '  exposures: ["a b"]  # guess, by position only: correct it' in text
    assert list(check_study(tmp_path / "odd - name" / "study.yaml"))[-1].endswith(
        "is good: 2 runs."
    )


def test_tables_that_are_no_panel_are_refused(panel_frame):
    twice = pd.concat([panel_frame, panel_frame])
    with pytest.raises(PanelError, match="No two columns are a unit and a period"):
        guess_roles(twice)
    answers = twice.assign(response_id=[f"R{at}" for at in range(len(twice))])
    with pytest.raises(PanelError, match="A table of answers or people is a source"):
        guess_roles(answers)
    with pytest.raises(SchemaError, match=r"The table has 1 columns of numbers besides 'team'"):
        guess_roles(panel_frame[["team", "month", "nps"]].assign(constant=1.0))


def test_compare_pools_segments_and_agrees_with_the_index_way_of_pooling(
    study_file, tmp_path, notebooks
):
    run_study(study_file(more="segments: [region]\n"), out=tmp_path)
    north, south = sorted((tmp_path / "small").glob(f"{RUN}--region*"))
    edit_results(north, estimate=1.0, std_error=0.2, conf_low=0.6, conf_high=1.4)
    edit_results(south, estimate=2.0, std_error=0.2, conf_low=1.6, conf_high=2.4)
    lines = list(pool_runs([north, south]))
    assert lines[:2] == [
        "2 runs pooled, each estimate over the runs that have it.",
        "stub nps engagement",
    ]
    # by hand: equal errors, so the mean; Hartung-Knapp: sqrt(sum((x - mean)^2) / (k (k - 1)))
    level = json.loads((north / "manifest.json").read_text())["results"][0]["conf_level"]
    assert level == 0.5
    half = 1.0 * 0.5  # t(1) at 0.75 is exactly 1
    assert f"1.5 [{1.5 - half:.4g}, {1.5 + half:.4g}]" in lines[4]
    assert "tau 0.678, I2 92 %, Q p <0.001; 50 %" in lines[4]  # tau^2 = 0.5 - 0.04


def test_pooling_refuses_runs_that_share_rows_or_nothing(study_file, tmp_path, notebooks):
    run_study(study_file(more="segments: [region]\n"), out=tmp_path)
    whole, north, _ = sorted((tmp_path / "small").glob(f"{RUN}*"))
    with pytest.raises(RunError, match="so that they share rows; pooled they would count twice"):
        list(pool_runs([whole, north]))
    with pytest.raises(RunError, match="so that they share rows"):
        list(pool_runs([north, north]))
