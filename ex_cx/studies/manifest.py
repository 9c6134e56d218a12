"""Where a report comes from: hashes, versions, parameters - and the key that says it is current."""

from __future__ import annotations

import functools
import hashlib
import json
import platform
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

__all__ = [
    "code_cells_sha256",
    "file_sha256",
    "git_revision",
    "package_sha256",
    "run_key",
    "versions",
]

PACKAGES = (
    "ex-cx",
    "numpy",
    "scipy",
    "pandas",
    "pyarrow",
    "linearmodels",
    "statsmodels",
    "matplotlib",
    "seaborn",
    "pandera",
    "papermill",
    "nbconvert",
    "ipykernel",
)
"""Packages whose version a manifest records."""


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def code_cells_sha256(notebook: Path) -> str:
    """SHA-256 of a notebook's code cells; its prose, outputs and ids do not count."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    return hashlib.sha256(json.dumps(code).encode()).hexdigest()


@functools.cache
def package_sha256() -> str:
    """SHA-256 over ex_cx's own modules and templates: changed code makes every run stale."""
    root = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        inside = path.relative_to(root)
        if path.is_file() and inside.parts[0] != "_share" and "__pycache__" not in inside.parts:
            digest.update(f"{inside.as_posix()}\0{file_sha256(path)}\0".encode())
    return digest.hexdigest()


@functools.cache
def versions() -> Mapping[str, str]:
    """Python and the packages that decide numbers, drawings and pages."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def git_revision(path: Path) -> str | None:
    """Commit of the study file `path`, `-dirty` if it was changed since; None outside git."""
    folder, name = path.parent, path.name
    if _git(folder, "ls-files", "--error-unmatch", name) is None:
        return None
    commit = _git(folder, "rev-parse", "HEAD")
    changed = _git(folder, "status", "--porcelain", "--", name)
    return f"{commit}-dirty" if commit and changed else commit


def _git(folder: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def run_key(parts: Mapping[str, Any]) -> str:
    """SHA-256 of everything that decides a run's result; equal keys mean an equal report.

    >>> run_key({"a": 1, "b": 2}) == run_key({"b": 2, "a": 1})
    True
    """
    text = json.dumps(parts, sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
