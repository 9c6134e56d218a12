"""The package arrives whole: the wheel works from an empty folder, both lists of packages agree."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

REPOSITORY = Path(__file__).resolve().parents[1]
CONDA_NAMES = {
    "great-tables": "great_tables",
    "matplotlib": "matplotlib-base",
    "nbconvert": "nbconvert-core",
    "seaborn": "seaborn-base",
}
EXTRAS_IN_CONDA = ("study", "lab")


def run(*command: object, cwd: Path, **environment: str) -> str:
    """Standard output of a command that must succeed."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=env | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built from the checkout with the tools that are already installed."""
    folder = tmp_path_factory.mktemp("wheel")
    run(
        *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"),
        *("--wheel-dir", folder, REPOSITORY),
        cwd=folder,
    )
    (built,) = folder.glob("*.whl")
    return built


def needed(requirement: str) -> set[str]:
    """Distributions that a requirement brings, itself left out, by this machine's metadata."""
    found: set[str] = set()
    waiting = [Requirement(requirement)]
    while waiting:
        parent = waiting.pop()
        for text in metadata.requires(parent.name) or ():
            child = Requirement(text)
            extras = parent.extras or {""}
            if child.marker and not any(child.marker.evaluate({"extra": one}) for one in extras):
                continue
            if child.name.lower() not in found or child.extras:
                found.add(child.name.lower())
                waiting.append(child)
    return found - {Requirement(requirement).name}


def link_distributions(names: set[str], place: Path) -> None:
    """Links to the files of just these distributions: an environment of its own, offline."""
    (site,) = place.glob("lib/python*/site-packages")
    for name in names:
        distribution = metadata.distribution(name)
        home = Path(str(distribution.locate_file("")))
        for file in distribution.files or ():
            if file.parts[0] != "..":
                link, target = site / file.parts[0], home / file.parts[0]
            else:  # what lies beside the packages, such as share/jupyter
                target = Path(os.path.normpath(home / file))
                link = place / target.relative_to(sys.prefix)
            if link.name != "__pycache__" and not link.exists() and "bin" not in link.parts[-2:]:
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(target)


def project() -> dict:
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def conda_name(requirement: str) -> str:
    """`matplotlib-base>=3.10` for `matplotlib>=3.10`."""
    name, bound = requirement.split(">=")
    return f"{CONDA_NAMES.get(name, name)}>={bound}"


def test_conda_environment_equals_pyproject():
    from ruamel.yaml import YAML

    environment = YAML(typ="safe").load(REPOSITORY / "environment.yml")
    *listed, last = environment["dependencies"]
    extras = project()["optional-dependencies"]
    wanted = [
        *project()["dependencies"],
        *(need for extra in EXTRAS_IN_CONDA for need in extras[extra]),
    ]
    wanted = [conda_name(need) for need in wanted if not need.startswith("ex-cx[")]

    assert listed == [f"python{project()['requires-python']}", "pip", *wanted]
    assert last == {"pip": ["--editable ."]}


def test_citation_and_package_have_one_version():
    from ruamel.yaml import YAML

    citation = YAML(typ="safe").load(REPOSITORY / "CITATION.cff")
    assert citation["version"] == project()["version"]


def test_wheel_carries_notebooks_data_and_templates(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = [
        *REPOSITORY.glob("notebooks/*.ipynb"),
        *(path for path in (REPOSITORY / "data/contact_centre").rglob("*") if path.is_file()),
        *REPOSITORY.glob("data/*/study.yaml"),
    ]
    assert wanted
    shared = {f"ex_cx/_share/{path.relative_to(REPOSITORY).as_posix()}" for path in wanted}
    templates = {
        path.relative_to(REPOSITORY).as_posix()
        for path in (REPOSITORY / "ex_cx").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert not (shared | templates) - names
    assert not [name for name in names if name.startswith(("tests/", "runs/", "data/"))]


def test_installed_wheel_runs_the_demo_from_an_empty_folder(wheel, tmp_path):
    place, folder = tmp_path / "environment", tmp_path / "empty"
    folder.mkdir()
    venv.create(place, with_pip=False)
    link_distributions(needed("ex-cx[study]"), place)
    pip = (sys.executable, "-m", "pip", "--python", place / "bin" / "python")
    run(*pip, "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=folder)
    found = run(place / "bin" / "python", "-c", "import ex_cx; print(ex_cx.__file__)", cwd=folder)
    assert Path(found.strip()).is_relative_to(place)

    printed = run(place / "bin" / "ex-cx", "demo", cwd=folder)

    (index,) = folder.glob("runs/*/index.html")
    assert str(index.relative_to(folder)) in printed
    reports = sorted(index.parent.glob("*/report.html"))
    assert reports
    assert all(path.stat().st_size > 10_000 for path in reports)
