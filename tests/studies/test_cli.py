"""The command line: quick to answer, plain where nobody watches, exit codes that tell."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

BARE = """
import typer
app = typer.Typer()
@app.command()
def one(out: str = "runs"):
    "One command."
@app.command()
def two(path: str, out: str = "runs"):
    "Another."
app()
"""
COMMANDS = (
    *("demo", "simulate", "new", "check", "run", "status", "verify", "rerun", "compare", "doctor"),
)
HERE = "from ex_cx.studies.cli import main; main()"
IDLE = "import sys; from ex_cx.studies import cli; cli.app = lambda: None; cli.main()"


def ex_cx(*arguments: object, cwd=None) -> subprocess.CompletedProcess[str]:
    """Run `ex-cx` as a program."""
    command = [sys.executable, "-c", HERE, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


def test_help_costs_less_than_twice_a_bare_typer_program():
    def seconds(code: str) -> float:
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, check=True)
        return time.perf_counter() - started

    pairs = [(seconds(HERE), seconds(BARE)) for _ in range(7)]
    assert statistics.median(ours / bare for ours, bare in pairs) < 2


def test_without_the_packages_of_studies_the_command_says_what_to_install():
    code = "import sys; sys.modules['typer'] = None; " + HERE
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        "ex-cx needs more packages than the functions do: pip install 'ex-cx[study]'\n"
    )


def test_a_command_that_reads_notebooks_does_not_wait_for_a_parser_of_addresses(tmp_path):
    (tmp_path / "rfc3987_syntax.py").write_text("raise SystemExit('it was imported')")
    read = "import nbformat; print('read')"
    for lines, told in (
        (f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {read}", "it was imported"),
        (f"{IDLE}; sys.path.insert(0, {str(tmp_path)!r}); {read}", "read"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", lines], capture_output=True, text=True, check=False
        )
        assert told in done.stdout + done.stderr


def test_help_names_the_commands():
    printed = ex_cx("--help").stdout
    assert all(name in printed for name in COMMANDS)


@pytest.mark.parametrize("command", ["run", "check", "status"])
def test_a_bad_study_is_one_message_and_exit_code_2(study_file, command, tmp_path):
    done = ex_cx(command, study_file(("roles:", "rolls:")), cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        "StudyError: study.yaml, line 7: rolls: there is no such key. Did you mean 'roles'?\n"
    )
    assert not (tmp_path / "runs").exists()


def test_check_tells_what_a_study_would_run(study_file):
    done = ex_cx("check", study_file())
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "read  panel.csv: 96 rows, 7 columns",
        "panel 12 units x 8 periods (2024-01 to 2024-08), 96 rows",
        "      engagement: 96 values, 0 missing",
        "      occupancy: 96 values, 0 missing",
        "      effort: 96 values, 0 missing",
        "      nps: 96 values, 0 missing",
        "run   panel_regression--nps",
        "study.yaml is good: 1 run.",
    ]


def test_check_tells_how_a_table_is_read(tmp_path):
    (tmp_path / "a.csv").write_text("team;score\n007;3,5\nNO;\n")
    assert ex_cx("check", "a.csv", cwd=tmp_path).stdout.splitlines() == [
        "a.csv: 2 rows, 2 columns",
        "encoding utf-8 (detected)",
        "delimiter ';' (detected)",
        "decimal ',' (detected)",
        "  team   text    0 missing, 2 different",
        "  score  number  1 missing, 1 different",
    ]


def test_simulate_writes_a_study_that_checks(tmp_path):
    done = ex_cx("simulate", "--out", "sim", "--units", 12, "--periods", 9, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "sim/hris_employees.csv",
        "sim/employee_survey.csv",
        "sim/wfm_intervals.csv",
        "sim/customer_survey.csv",
        "sim/crm_accounts.csv",
        "sim/truth.json",
        "sim/study.yaml",
    ]
    assert json.loads((tmp_path / "sim" / "truth.json").read_text())["structural"]
    checked = ex_cx("check", "sim/study.yaml", cwd=tmp_path)
    assert checked.returncode == 0, checked.stderr
    assert "12 units x 9 periods" in checked.stdout


def test_simulate_is_deterministic_and_overwrites_nothing(tmp_path):
    for name in ("a", "b"):
        ex_cx("simulate", "--out", name, "--units", 12, "--periods", 6, "--seed", 3, cwd=tmp_path)
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert [(tmp_path / "a" / n).read_bytes() for n in files] == [
        (tmp_path / "b" / n).read_bytes() for n in files
    ]
    again = ex_cx("simulate", "--out", "a", cwd=tmp_path)
    assert again.returncode == 2
    assert again.stderr == "StudyError: a exists and is not an empty folder. Name a new one.\n"


def test_json_is_the_only_thing_on_stdout(study_file, tmp_path):
    study = study_file()
    dry = ex_cx("run", study, "--dry-run", "--json", cwd=tmp_path)
    assert json.loads(dry.stdout)["runs"][0]["would"] == "run"
    assert not (tmp_path / "runs").exists()
    done = ex_cx("run", study, "-j", 2, "--json", "--timeout", 0.2, cwd=tmp_path)
    told = json.loads(done.stdout)
    assert done.returncode == told["exit_code"] == 1
    (run,) = told["runs"]
    assert set(run) == {"run", "status", "reason", "seconds", "folder"}
    assert run["reason"].startswith("The notebook took longer than 0.2 seconds")
    assert done.stderr.startswith("[1/1] panel_regression--nps: FAILED after ")
    failed = ex_cx("status", study, "--json", cwd=tmp_path)
    assert json.loads(failed.stdout)["runs"][0]["status"] == "failed"


def test_json_of_a_bad_study_is_a_document_too(study_file, tmp_path):
    done = ex_cx("run", study_file(("roles:", "rolls:")), "--json", cwd=tmp_path)
    assert done.returncode == json.loads(done.stdout)["exit_code"] == 2
    assert "there is no such key" in json.loads(done.stdout)["error"]


def test_doctor_ends_with_1_where_nothing_can_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    assert ex_cx("doctor", "--out", tmp_path).returncode == 0
    done = ex_cx("doctor", "--out", tmp_path / "file")
    assert done.returncode == 1
    assert f"LACKS writing to {tmp_path / 'file'}: Not a directory" in done.stdout


def test_verify_ends_with_1_where_something_differs_and_2_where_nothing_is(tmp_path):
    assert ex_cx("verify", tmp_path).returncode == 2
    manifest = {"status": "ok", "outputs": {"result.json": "0" * 64}, "ex_cx_sha256": ""}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    done = ex_cx("verify", tmp_path)
    assert done.returncode == 1
    assert "result.json: is missing" in done.stdout


def test_the_document_names_every_command_and_option():
    import typer

    from ex_cx.studies.cli import app

    text = (Path(__file__).parents[2] / "docs" / "commands.md").read_text(encoding="utf-8")
    commands = typer.main.get_command(app).commands
    missing = [name for name in commands if f"`ex-cx {name}" not in text]
    missing += [
        f"{name} {option}"
        for name, command in commands.items()
        for parameter in command.params
        for option in parameter.opts
        if option.startswith("--") and option not in text
    ]
    assert missing == []
