"""The run folder: built aside, put in place whole, never half-written."""

from __future__ import annotations

import contextlib
import filecmp
import functools
import hashlib
import json
import os
import platform
import shutil
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ex_cx.errors import RunError
from ex_cx.studies.claims import Claim, Shard, claimed

__all__ = [
    "begin_building",
    "building",
    "discard_failed",
    "failed_folder",
    "is_alive",
    "put_in_place",
    "read_json",
    "sweep",
    "working_in",
    "write_json",
    "write_parquet",
    "write_text",
]

_BUILDING, _PREVIOUS, _FAILED = ".building-", ".previous-", ".failed"
LONG = 3600.0
"""Seconds after which a file that another machine left half-written is nobody's."""


@contextlib.contextmanager
def working_in(
    study_dir: Path, shard: Shard | None = None, own: Collection[str] = ()
) -> Iterator[Claim]:
    """Make the folder, keep other runners of these runs out of it, and sweep it before and after.

    Parameters
    ----------
    shard : the part of the study that is worked on, and `own` the names of its runs; without one
        everything there is this runner's.

    Raises
    ------
    RunError : another runner is at work there, or the folder cannot be written.
    """
    names = None if shard is None else own
    try:
        study_dir.mkdir(parents=True, exist_ok=True)
        with claimed(study_dir, shard) as claim:
            sweep(study_dir, names)
            try:
                yield claim
            finally:
                sweep(study_dir, names)
    except OSError as error:
        raise RunError(
            f"The reports cannot be stored in {study_dir}: {error.strerror or error}. What is in "
            "place there is whole. Make room or permit writing, or name another folder by --out."
        ) from error


@contextlib.contextmanager
def building(study_dir: Path, name: str) -> Iterator[Path]:
    """A folder beside the run's own to build it in; removed unless it was put in place."""
    folder = begin_building(study_dir, name)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def begin_building(study_dir: Path, name: str) -> Path:
    """A new folder beside the run's own; whoever begins it puts it in place or removes it."""
    folder = study_dir / f"{_BUILDING}{_owner()}-{name}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _owner() -> str:
    """Who this process is among all machines: its number, `@` and a short hash of the machine."""
    return f"{os.getpid()}@{_machine()}"


@functools.cache
def _machine() -> str:
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def put_in_place(built: Path, final: Path) -> None:
    """Rename `built` to `final`; what was there stays until the new one is."""
    previous = final.with_name(f"{_PREVIOUS}{final.name}")
    shutil.rmtree(previous, ignore_errors=True)
    if final.exists():
        final.rename(previous)
    built.rename(final)
    shutil.rmtree(previous, ignore_errors=True)


def failed_folder(final: Path) -> Path:
    """Where a failed run's notebook and log are kept, beside the last good report."""
    return final.with_name(f"{final.name}{_FAILED}")


def discard_failed(final: Path) -> None:
    """Forget an earlier failure of a run that has now succeeded."""
    shutil.rmtree(failed_folder(final), ignore_errors=True)


def sweep(study_dir: Path, own: Collection[str] | None = None) -> None:
    """Clear what a killed runner left: remove its temporary folders, put last good reports back.

    Parameters
    ----------
    own : names of the runs that are the caller's, who has the folder together with others; None
        when nobody else works there. What belongs to a process that is still alive is left alone.
    """
    for left in study_dir.glob(f"{_BUILDING}*"):
        owner, _, name = left.name.removeprefix(_BUILDING).partition("-")
        if (own is not None and name not in own) or _may_be_in_use(left, owner, own is None):
            continue
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)
    for folder in study_dir.glob(f"{_PREVIOUS}*"):
        final = folder.with_name(folder.name.removeprefix(_PREVIOUS))
        if own is not None and final.name.removesuffix(_FAILED) not in own:
            continue
        if final.exists():
            shutil.rmtree(folder, ignore_errors=True)
        else:
            folder.rename(final)


def _may_be_in_use(left: Path, owner: str, alone: bool) -> bool:
    """Is the owner alive? On another machine nobody knows: a folder is then the claim's holder's,
    while a file may be an index that is just being written there.
    """
    pid, _, machine = owner.partition("@")
    if machine not in ("", _machine()):
        return not left.is_dir() and not (alone and _age(left) > LONG)
    return pid.isdigit() and int(pid) != os.getpid() and is_alive(int(pid))


def _age(path: Path) -> float:
    """Seconds since a file was written; none when it is gone."""
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def is_alive(pid: int) -> bool:
    """Does a process of this number exist? Unknown, so no, on Windows."""
    if os.name != "posix":
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def write_text(path: Path, text: str) -> None:
    """Write a whole file or nothing: beside its place, then renamed into it."""
    aside = path.with_name(f"{_BUILDING}{_owner()}-{path.name}.tmp")
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Strict, readable JSON; a number that does not exist is null."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file or nothing."""
    aside = path.with_name(f"{_BUILDING}{_owner()}-{path.name}.tmp")
    aside.write_bytes(content)
    aside.replace(path)


def write_parquet(path: Path, frame: pd.DataFrame) -> None:
    """Write a whole Parquet file or nothing; one of the same bytes stays as it is."""
    aside = path.with_name(f"{_BUILDING}{_owner()}-{path.name}.tmp")
    frame.to_parquet(aside, index=False)
    if path.is_file() and filecmp.cmp(aside, path, shallow=False):
        aside.unlink()
    else:
        aside.replace(path)


def read_json(path: Path) -> dict[str, Any] | None:
    """What `write_json` wrote, or None where there is no such file."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return None
    return found if isinstance(found, dict) else None
