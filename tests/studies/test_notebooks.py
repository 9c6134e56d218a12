"""Notebooks as stored: teaching material without outputs, and parameters that have one truth."""

from __future__ import annotations

import ast
import json

import pytest

from ex_cx.linkage.sources import shared_path
from ex_cx.studies.parameters import NOTEBOOKS

FORBIDDEN = (
    *(ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda),
    *(ast.For, ast.While, ast.ListComp, ast.DictComp, ast.SetComp, ast.GeneratorExp),
)


def cells_of(name: str) -> list[dict]:
    return json.loads(shared_path("notebooks", f"{name}.ipynb").read_text(encoding="utf-8"))[
        "cells"
    ]


def code_of(name: str) -> list[dict]:
    return [cell for cell in cells_of(name) if cell["cell_type"] == "code"]


def source(cell: dict) -> str:
    return "".join(cell["source"])


@pytest.fixture(params=NOTEBOOKS)
def name(request) -> str:
    return request.param


def test_every_notebook_has_parameters_and_every_model_a_notebook():
    folder = shared_path("notebooks")
    assert {path.stem for path in folder.glob("*.ipynb")} == set(NOTEBOOKS)


def test_notebooks_are_stored_without_outputs_and_with_fixed_ids(name):
    cells = cells_of(name)
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in code_of(name))
    ids = [cell["id"] for cell in cells]
    assert len(set(ids)) == len(ids)
    assert all(part.isascii() and part.islower() for part in ids)


def test_the_first_code_cell_holds_the_models_defaults_as_plain_literals(name):
    first = code_of(name)[0]
    assert first["metadata"]["tags"] == ["parameters"]
    body = ast.parse(source(first)).body
    assert all(isinstance(node, ast.Assign) and len(node.targets) == 1 for node in body)
    declared = {node.targets[0].id: ast.literal_eval(node.value) for node in body}
    expected = json.loads(NOTEBOOKS[name]().model_dump_json())
    assert declared == expected
    assert all("#" in line for line in source(first).splitlines() if "=" in line)


def test_papermill_sees_every_parameter(name):
    import papermill

    found = papermill.inspect_notebook(str(shared_path("notebooks", f"{name}.ipynb")))
    assert set(found) == set(NOTEBOOKS[name].model_fields)


def test_the_second_code_cell_checks_the_parameters(name):
    text = source(code_of(name)[1])
    assert f'check_parameters("{name}", globals())' in text


def test_cells_name_verbs_and_hold_no_machinery(name):
    for cell in code_of(name)[1:]:
        tree = ast.parse(source(cell))
        wrong = [node for node in ast.walk(tree) if isinstance(node, FORBIDDEN)]
        assert not wrong, source(cell)
        assert "read_csv" not in source(cell)
        assert "%" not in source(cell).splitlines()[0][:1]


def test_every_code_cell_is_followed_by_what_it_means(name):
    cells = cells_of(name)
    kinds = [cell["cell_type"] for cell in cells]
    assert kinds[0] == "markdown"
    assert not [i for i, kind in enumerate(kinds[:-1]) if kind == kinds[i + 1] == "code"]


def test_the_last_cell_writes_the_report_when_there_is_a_run_folder(name):
    call = "write_report_parts(report, parameters.run_dir, png=parameters.png)"
    assert call in source(code_of(name)[-1])
