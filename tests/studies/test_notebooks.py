"""Notebooks as stored: teaching material without outputs, and parameters that have one truth."""

from __future__ import annotations

import ast
import json
import re

import nbformat
import pytest

from ex_cx.linkage.sources import shared_path
from ex_cx.studies.kernels import execute_notebook
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


def test_a_notebook_is_valid_and_names_its_kernel(name):
    book = nbformat.read(shared_path("notebooks", f"{name}.ipynb"), as_version=nbformat.NO_CONVERT)
    nbformat.validate(book)
    assert (book.nbformat, book.nbformat_minor >= 5) == (4, True)
    assert book.metadata.kernelspec.name == "python3"
    assert book.metadata.language_info.name == "python"


SHOWN = {"text/plain", "text/html", "image/svg+xml", "image/png"}
"""What JupyterLab and VS Code show by themselves, without a widget or an extension of ours."""


def test_every_output_is_shown_by_any_front_end(name, tmp_path):
    target = tmp_path / "executed.ipynb"
    quick = {key: 99 for key in ("n_boot", "n_boot_checks") if key in NOTEBOOKS[name].model_fields}
    execute_notebook(shared_path("notebooks", f"{name}.ipynb"), target, quick)
    book = nbformat.read(target, as_version=4)
    nbformat.validate(book)
    assert "widgets" not in book.metadata
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    outputs = [one for cell in code for one in cell.outputs]
    assert {one.output_type for one in outputs} == {"execute_result"}  # no warning, nothing else
    rich = 0
    for one in outputs:
        assert "text/plain" in one.data
        assert set(one.data) <= SHOWN
        markup = one.data.get("text/html", "")
        assert not re.search(r"<(script|link|iframe)|https?://(?!www.w3.org)|\bon\w+=", markup)
        assert "..." not in re.sub("<[^>]+>", " ", markup)  # a sentence that is cut
        rich += bool(set(one.data) & {"text/html", "image/svg+xml"})
    assert rich >= len(outputs) - 1
    assert "<svg" in outputs[-1].data["text/html"]  # the report, with its figures
