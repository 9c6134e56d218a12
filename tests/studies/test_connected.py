"""A study of a table of a connection: measured anew each time, current while it shows the same."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import ibis
import pandas as pd
import pytest

from ex_cx.errors import SourceError
from ex_cx.studies.runner import run_study
from ex_cx.studies.telling import status_lines
from ex_cx.studies.verifying import verify_run

SECRET = "Tr0ub4dor"
VARIABLE = "EX_CX_CONNECTION_HOUSE"
DATA = """\
data:
  sources:
    monthly:
      database: {connection: house, table: monthly}
      unit: team
      period: month
      columns: {engagement: engagement, occupancy: occupancy, effort: effort, nps: nps}
      attributes: {region: region}
"""


@pytest.fixture
def study(study_file, tmp_path: Path, panel_frame, monkeypatch) -> Path:
    house = tmp_path / f"{SECRET}.db"
    with sqlite3.connect(house) as connection:
        panel_frame.to_sql("monthly", connection, index=False)
    monkeypatch.setenv(VARIABLE, f"sqlite:///{house}")
    changes = [("data:\n  panel: panel.csv\nunit: team\nperiod: month\n", DATA)]
    return study_file(*changes)


def statuses(study: Path, out: Path) -> list[str]:
    return [run.status for run in run_study(study, out=out).runs]


def change(tmp_path: Path, command: str) -> None:
    with sqlite3.connect(tmp_path / f"{SECRET}.db") as connection:
        connection.execute(command)


def test_runs_are_current_while_the_table_shows_the_same(study, tmp_path, notebooks):
    out = tmp_path / "runs"
    assert statuses(study, out) == ["ok"]
    assert statuses(study, out) == ["unchanged"]
    change(tmp_path, "create table other (x)")  # other bytes, the same rows
    assert statuses(study, out) == ["unchanged"]
    change(tmp_path, "update monthly set nps = nps + 1 where team = 'T03'")
    told = "\n".join(status_lines(study, None, out))
    assert "stale" in told
    assert "input house, table monthly: its content" in told
    assert statuses(study, out) == ["ok"]


def test_what_cannot_be_verified_is_said(study, tmp_path, notebooks):
    out = tmp_path / "runs"
    run_study(study, out=out)
    folder = next(path.parent for path in out.rglob("manifest.json"))
    lines, good = verify_run(folder, study.parent)
    assert good
    assert "and 0 inputs; 1 table of a connection ('house, table monthly')" in lines[-1]
    assert "was not looked at: `ex-cx rerun` measures it anew" in lines[-1]


def test_the_url_is_in_nothing_that_is_written(study, tmp_path, notebooks):
    out = tmp_path / "runs"
    run_study(study, out=out)
    written = [path for path in out.rglob("*") if path.is_file()]
    assert any(b"house, table monthly" in path.read_bytes() for path in written)
    assert not [path for path in written if SECRET.encode() in path.read_bytes()]


def test_without_the_variable_nothing_runs_and_it_is_named(study, tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(SourceError, match=f"the environment variable {VARIABLE} is not set"):
        run_study(study, out=tmp_path / "runs")
    with pytest.raises(SourceError, match=f"the environment variable {VARIABLE} is not set"):
        list(status_lines(study, None, tmp_path / "runs"))


def test_the_terminal_shows_nothing_but_what_is_told(study, tmp_path, panel_frame, monkeypatch):
    connection = ibis.connect(f"duckdb:///{tmp_path}/house.duckdb")
    months = pd.to_datetime(panel_frame["month"])
    connection.create_table("monthly", panel_frame.assign(month=months))
    connection.disconnect()
    monkeypatch.setenv(VARIABLE, f"duckdb:///{tmp_path}/house.duckdb")
    command = [sys.executable, "-c", "from ex_cx.studies.cli import main; main()"]
    done = subprocess.run([*command, "check", study], capture_output=True, text=True, check=True)
    assert "read  house, table monthly: 96 rows, 7 columns" in done.stdout
    assert done.stderr == ""


def test_a_url_in_place_of_a_name_is_refused_and_not_shown(study):
    text = study.read_text().replace("connection: house", f'connection: "postgres://u:{SECRET}@h"')
    study.write_text(text)
    with pytest.raises(Exception, match="letters, digits and underscores") as error:
        run_study(study)
    assert SECRET not in str(error.value)
