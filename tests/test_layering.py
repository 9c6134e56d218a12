"""The house holds: imports point downwards, importing is cheap, the hand is the same everywhere."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "ex_cx"
ROOMS = ("studies", "reporting", "robustness", "models", "estimation", "linkage")  # from the top
MODEL_USES = {  # specs have modules of their own; the others compare or test a regression's fits
    "dynamic": {"dynamic_spec"},
    "regress": {"spec"},
    "compare": {"spec", "regress"},
    "wild": {"spec", "regress"},
    "halves": {"spec", "regress"},
    "magnitude": {"regress"},
    "mediation": {"mediation_spec", "mediation_result"},
    "mediation_result": {"mediation_spec"},
    "levels": {"mediation_spec"},
    "shape": {"spec", "regress"},
    "curve": {"spec", "regress", "shape"},
    "lags": {"spec", "regress"},
    "rate": {"rate_spec", "rate_rows"},
    "rate_rows": {"rate_spec"},
    "mediation_rates": {"mediation_rates_spec", "mediation_rates_rows", "rate_rows"},
    "mediation_rates_rows": {"mediation_rates_spec", "rate_rows", "rate_spec"},
    "mediation_rates_spec": {"rate_spec"},
    "precision": {"spec", "regress"},
    "promoters": {"spec", "regress"},
    "table": {"spec", "regress"},
}
LEVEL = {room: len(ROOMS) - at for at, room in enumerate(ROOMS)} | {"results": 0, "errors": 0}
MODULES = sorted(PACKAGE.rglob("*.py"))

# Imported inside the functions that use them, so that `import ex_cx` stays as light as pandas.
HEAVY = (
    "scipy",
    "matplotlib",
    "seaborn",
    "linearmodels",
    "statsmodels",
    "formulaic",
    "pandera",
    "pydantic",
    "papermill",
    "nbformat",
    "nbconvert",
    "IPython",
    "typer",
    "rich",
    "ruamel",
    "joblib",
    "great_tables",
    "pyarrow.parquet",
    "openpyxl",
    "latex2mathml",
    "rapidfuzz",
    "ibis",
    "duckdb",
)
MOST_CODE_LINES_IN_A_FUNCTION = 40  # without its docstring
MOST_LINES_IN_A_MODULE = 420  # "under about 400"


def module_name(path: Path) -> str:
    """`ex_cx.linkage.panel` for ex_cx/linkage/panel.py; a package is its __init__."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    """`linkage` for ex_cx.linkage.panel; '' for the package itself."""
    return f"{module}.".split(".")[1]


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Modules of ex_cx that the file imports, at its top or inside a function; and the line."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute in this package"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from ((name, node.lineno) for name in names if name.split(".")[0] == "ex_cx")


def loaded_after(statement: str) -> set[str]:
    """Names in sys.modules of a fresh process that ran the statement."""
    code = f"import json, sys\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=dict(os.environ),
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_imports_point_downwards(path):
    here = room_of(module_name(path))
    wrong = []
    for target, line in imports(path):
        there = room_of(target)
        if here == there or (here == "" and there != "studies"):
            continue
        if here == "" or there == "" or LEVEL[there] >= LEVEL[here]:
            wrong.append(f"line {line}: {target}")
    assert not wrong, f"{module_name(path)} ({here or 'the package'}) looks upwards: {wrong}"


def test_every_module_lies_in_a_room():
    rooms = {room_of(module_name(path)) for path in MODULES} - {""}
    assert rooms <= set(LEVEL)


def test_models_do_not_import_each_other():
    """Unless one truly uses the other."""
    wrong = [
        f"{module_name(path)} line {line}: {target}"
        for path in (PACKAGE / "models").glob("*.py")
        for target, line in imports(path)
        if room_of(target) == "models"
        and target.split(".")[2] not in MODEL_USES.get(path.stem, set())
    ]
    assert not wrong


def test_import_loads_numpy_and_pandas_only():
    added = loaded_after("import ex_cx") - loaded_after("import numpy, pandas")
    heavy = sorted(name for name in HEAVY if name in added)
    assert not heavy, (
        f"`import ex_cx` loads {heavy}; import them inside the functions that use them"
    )


def test_public_names_are_found_and_listed_once_for_readers_and_once_for_the_type_checker():
    import ex_cx

    assert sorted(ex_cx.__all__) == sorted(ex_cx._ROOM)
    for name, module in ex_cx._ROOM.items():
        assert getattr(ex_cx, name).__module__.startswith(module)
    shown = [
        alias.name
        for node in ast.walk(ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module.startswith("ex_cx.")
        for alias in node.names
    ]
    assert sorted(shown) == sorted(ex_cx.__all__)
    with pytest.raises(AttributeError, match="module 'ex_cx' has no attribute 'fit_everything'"):
        ex_cx.fit_everything  # noqa: B018


def test_command_line_starts_without_the_numerics():
    loaded = loaded_after("import ex_cx.studies.cli")
    assert not sorted(name for name in (*HEAVY[:12], "numpy", "pandas") if name in loaded)


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_functions_and_modules_stay_short(path):
    text = path.read_text(encoding="utf-8")
    long = (
        [f"the module: {text.count(chr(10))}"] if text.count("\n") > MOST_LINES_IN_A_MODULE else []
    )
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0
            if lines > MOST_CODE_LINES_IN_A_FUNCTION:
                long.append(f"{node.name}: {lines}")
    assert not long, f"{module_name(path)} has grown too long (lines): {long}"


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_no_bare_except_assert_print_or_kwargs(path):
    wrong = []
    tree = ast.parse(path.read_text(encoding="utf-8"))
    derived = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.bases]
    overriding = {id(method) for node in derived for method in node.body}  # a library's signature
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert):
            wrong.append(f"line {node.lineno}: assert")
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            wrong.append(f"line {node.lineno}: bare except")
        function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if function and node.args.kwarg is not None and id(node) not in overriding:
            wrong.append(f"line {node.lineno}: **{node.args.kwarg.arg}")
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print":
            wrong.append(f"line {node.lineno}: print")
    assert not wrong
