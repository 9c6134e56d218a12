"""Errors that nobody foresaw: no terminal, log, manifest or notebook shows a secret in them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from ex_cx.errors import RunError, SchemaError
from ex_cx.studies import scaffold
from ex_cx.studies.kernels import execute_notebook
from ex_cx.studies.unexpected import SOFTWARE, VARIABLE, hide_messages, told_of_error
from tests.studies.test_kernels import write_notebook

SECRET = "zanzibar.quill 671.913"
FROM_A_FILE = """\
from pathlib import Path
import ex_cx
code = '''
from ex_cx.errors import SchemaError
class Other: SchemaError = type("SchemaError", (Exception,), {{}})
def fail(value):
    try:
        float(value)
    except ValueError as error:
        raise {raised} from error
'''
exec(compile(code, str({place}), "exec"))
fail(SECRET)
"""
"""A cell that calls code of a file that is nowhere, so that no line of it can be shown."""
HERE, ELSEWHERE = "Path(ex_cx.__file__).with_name('made.py')", "'/usr/lib/pandera/made.py'"
CELLS = {
    "a package's error": "import pandas as pd; pd.Series([SECRET]).astype(float)",
    "ours with another behind it": FROM_A_FILE.format(
        raised="SchemaError('Told well.')", place=HERE
    ),
    "called as ours": FROM_A_FILE.format(raised="Other.SchemaError(value)", place=ELSEWHERE),
}


def failed(cell: str, folder) -> tuple[str, str]:
    """What is told of a notebook that ends in this cell, and the notebook as it is kept."""
    book = write_notebook(folder / "in.ipynb", f"SECRET = '{SECRET[:8]}' + '{SECRET[8:]}'", cell)
    with pytest.raises(RunError) as caught:
        execute_notebook(book, folder / "out.ipynb", {})
    hide_messages(folder / "out.ipynb")
    outputs = json.loads((folder / "out.ipynb").read_text())["cells"][-1]["outputs"]
    return str(caught.value), json.dumps(outputs)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("a package's error", "ValueError (its text may hold values of the data"),
        ("ours with another behind it", "SchemaError: Told well."),
        ("called as ours", "SchemaError (its text may hold values of the data"),
    ],
)
def test_what_a_cell_of_a_notebook_meets_is_told_without_values(cell, expected, tmp_path):
    told, kept = failed(CELLS[cell], tmp_path)
    assert told.startswith(expected)
    assert SECRET not in told + kept
    assert ("made.py:8, fail" if "ours" in cell else "generic.py") in kept


def test_what_a_cell_itself_raises_is_kept(tmp_path):
    told, kept = failed("raise ValueError('draw more')", tmp_path)
    assert told == "ValueError: draw more"
    assert "draw more" in kept


def test_who_wishes_sees_it(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, "1")
    told, kept = failed(CELLS["a package's error"], tmp_path)
    assert SECRET in told
    assert SECRET in kept


def test_the_place_in_the_package_is_told():
    with pytest.raises(TypeError) as caught:
        scaffold.guess_roles(SECRET)
    assert told_of_error(caught.value).startswith("TypeError in ex_cx/studies/scaffold.py:")
    assert SECRET not in told_of_error(caught.value)
    assert told_of_error(OSError(28, "No space left")) == "OSError: [Errno 28] No space left"
    assert told_of_error(SchemaError("as it is")) == "as it is"


BROKEN = f"""
from ex_cx.studies import checking, telling, cli
from ex_cx.linkage import sources, parsing
def broken(*_, **__):
    raise ValueError("could not convert string to float: '{SECRET}'")
for place in (sources, checking, telling):
    for name in ("read_table", "read_cells", "prepare_study", "status_lines", "planned_lines"):
        if hasattr(place, name):
            setattr(place, name, broken)
from ex_cx.linkage.exportmaps import draft
draft.read_cells = broken
cli.main()
"""


@pytest.mark.parametrize(
    "command",
    ["check table.csv", "map table.csv", "status study.yaml --json", "run study.yaml --dry-run"],
)
def test_a_command_tells_kind_and_place_and_how_to_see_more(command, tmp_path, monkeypatch):
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")

    def call() -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-c", BROKEN, *command.split()]
        return subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)

    done = call()
    assert done.returncode == SOFTWARE
    assert done.stderr.startswith("This is an error in ex_cx, not in your study: ValueError")
    assert f"{VARIABLE}=1 shows the whole traceback" in done.stderr
    assert "Traceback" not in done.stderr
    assert SECRET not in done.stdout + done.stderr
    if "--json" in command:
        assert json.loads(done.stdout)["exit_code"] == SOFTWARE
    monkeypatch.setenv(VARIABLE, "1")
    wished = call().stderr
    assert SECRET in wished
    assert "Traceback (most recent call last)" in wished
    assert "may hold values of your data" in wished


def test_a_notebook_that_was_cut_off_in_writing_is_removed(tmp_path):
    cut, whole = tmp_path / "cut.ipynb", tmp_path / "whole.ipynb"
    cut.write_bytes(b'{"cells": [{"source": ["\xc3')
    whole.write_text('{"cells": []}', encoding="utf-8")
    for notebook in (cut, whole, tmp_path / "none.ipynb"):
        hide_messages(notebook)
    assert [path.name for path in tmp_path.iterdir()] == ["whole.ipynb"]
