"""Where a report comes from: hashes, versions, parameters - and the key that says it is current."""

from __future__ import annotations

import errno
import functools
import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

__all__ = [
    "FileStamp",
    "code_cells_sha256",
    "decisive_parts",
    "differences",
    "file_sha256",
    "git_revision",
    "installed_sha256",
    "package_sha256",
    "run_key",
    "versions",
]

DECISIVE = (
    *("study", "title", "notebook", "parameters", "data", "inputs"),
    *("code_sha256", "ex_cx_sha256", "versions"),
)
"""Entries of a manifest that decide a run's result; its key is made from them."""

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
    """SHA-256 of a file's bytes, as 64 hexadecimal digits; OSError where it is no plain file."""
    if not path.is_file():  # a device or a pipe has no end
        raise FileNotFoundError(errno.ENOENT, "There is no plain file", str(path))
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class FileStamp:
    """A file's content at one time, and what the system said of it then.

    Attributes
    ----------
    sha256 : of its bytes.
    told : size, time of the last writing and of the last change, both in nanoseconds: as long as
        they are the same nothing is hashed again.
    """

    sha256: str
    told: tuple[int, int, int]

    @classmethod
    def of(cls, path: Path) -> FileStamp:
        """The stamp of a file as it is now."""
        told = _told(path)
        return cls(sha256=file_sha256(path), told=told)

    def fits(self, path: Path) -> bool:
        """Is the content still the same?"""
        try:
            return _told(path) == self.told or file_sha256(path) == self.sha256
        except OSError:
            return False


def _told(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def code_cells_sha256(notebook: Path) -> str:
    """SHA-256 of a notebook's code cells; its prose, outputs and ids do not count."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    return hashlib.sha256(json.dumps(code).encode()).hexdigest()


@functools.cache
def package_sha256() -> str:
    """`installed_sha256` when it was first asked for: this process's code, as far as one knows."""
    return installed_sha256()


def installed_sha256() -> str:
    """SHA-256 over ex_cx's own modules and templates: changed code makes every run stale."""
    root, digest, found = Path(__file__).resolve().parents[1], hashlib.sha256(), []
    for folder, inner, names in os.walk(root):
        inner[:] = [name for name in inner if name not in ("_share", "__pycache__")]
        found += [Path(folder, name) for name in names]
    for path in sorted(found):
        told = f"{path.relative_to(root).as_posix()}\0{_sha256_as_told(path, _told(path))}\0"
        digest.update(told.encode())
    return digest.hexdigest()


@functools.lru_cache(maxsize=4096)
def _sha256_as_told(path: Path, told: tuple[int, int, int]) -> str:
    """Of a file, hashed again when the system says that it was written or changed."""
    return file_sha256(path)


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


def decisive_parts(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What decides a run's result, of its manifest; whether a parameter was given does not."""
    parts = {name: manifest.get(name) for name in DECISIVE}
    stated = manifest.get("parameters", {})
    if manifest.get("earlier_releases"):
        parts["earlier_releases"] = manifest["earlier_releases"]
    return parts | {"parameters": {**stated.get("given", {}), **stated.get("defaulted", {})}}


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """How two manifests differ in what decides a result, in words; none, the same result.

    >>> before = {"parameters": {"given": {"lag": 0}}, "versions": {"numpy": "2.0"}}
    >>> after = {"parameters": {"given": {"lag": 1}}, "versions": {"numpy": "2.1"}}
    >>> differences(before, after)
    ['parameter lag: 0, now 1', 'version of numpy: 2.0, now 2.1']
    """
    before, after = (_as_stored(decisive_parts(manifest)) for manifest in (one, other))
    found = [
        f"{name}: {_brief(before[name])}, now {_brief(after[name])}"
        for name in ("study", "title", "notebook")
        if before[name] != after[name]
    ]
    parameters = _changes(before["parameters"], after["parameters"])
    found += [f"parameter {name}: {change}" for name, change in parameters]
    found += [f"data section, {key}" for key, _ in _changes(before["data"], after["data"])]
    found += _input_differences(before["inputs"] or {}, after["inputs"] or {})
    if before.get("earlier_releases") != after.get("earlier_releases"):
        found.append("what is withheld because of earlier releases")
    if before["code_sha256"] != after["code_sha256"]:
        found.append("code of the notebook")
    if before["ex_cx_sha256"] != after["ex_cx_sha256"]:
        found.append("code of ex_cx")
    versions_changed = _changes(before["versions"], after["versions"])
    return found + [f"version of {name}: {change}" for name, change in versions_changed]


def _as_stored(parts: Mapping[str, Any]) -> dict[str, Any]:
    """As a manifest file gives it back: tuples are lists, keys are text."""
    stored: dict[str, Any] = json.loads(json.dumps(parts, default=str))
    return stored


def _changes(
    before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
) -> list[tuple[str, str]]:
    """Each entry that differs, and how."""
    one, other = before or {}, after or {}
    return [
        (name, f"{_side(one, name)}, now {_side(other, name)}")
        for name in dict.fromkeys([*one, *other])
        if name not in one or name not in other or one[name] != other[name]
    ]


def _side(values: Mapping[str, Any], name: str) -> str:
    return _brief(values[name]) if name in values else "absent"


def _brief(value: Any) -> str:
    text = value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _input_differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    found = []
    for name in dict.fromkeys([*before, *after]):
        if name not in after:
            found.append(f"input {name}: no longer read")
        elif name not in before:
            found.append(f"input {name}: new")
        elif before[name].get("sha256") != after[name].get("sha256"):
            rows = (before[name].get("rows"), after[name].get("rows"))
            counts = f" ({rows[0]} rows, now {rows[1]})" if rows[0] != rows[1] else ""
            found.append(f"input {name}: its content{counts}")
        elif before[name] != after[name]:
            found.append(f"input {name}: how it is read")
    return found
