"""The run folder: built aside, put in place whole, never half-written."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ex_cx.errors import RunError

__all__ = [
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

_BUILDING, _PREVIOUS, _FAILED, _CLAIM = ".building-", ".previous-", ".failed", ".running"


@contextlib.contextmanager
def working_in(study_dir: Path) -> Iterator[None]:
    """Make the folder, keep every other runner out of it, and sweep it before and after.

    Raises
    ------
    RunError : another runner is at work there, or the folder cannot be written.
    """
    try:
        study_dir.mkdir(parents=True, exist_ok=True)
        with _claimed(study_dir):
            sweep(study_dir)
            try:
                yield
            finally:
                sweep(study_dir)
    except OSError as error:
        raise RunError(
            f"The reports cannot be stored in {study_dir}: {error.strerror or error}. What is in "
            "place there is whole. Make room or permit writing, or name another folder by --out."
        ) from error


@contextlib.contextmanager
def _claimed(study_dir: Path) -> Iterator[None]:
    """Hold a locked file, which the system frees however the holder ends; not on Windows."""
    path = study_dir / _CLAIM
    file = _lock(path)
    try:
        yield
    finally:
        if file is not None:
            path.unlink(missing_ok=True)
            os.close(file)


def _lock(path: Path) -> int | None:
    """The locked file at `path`; None where the system has no such locks."""
    try:
        import fcntl
    except ImportError:
        return None
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and path.stat().st_ino == os.fstat(file).st_ino:
                return file
        except BlockingIOError:
            os.close(file)
            raise RunError(
                f"Another ex-cx is at work in {path.parent}. Wait until it has ended, or name "
                "another folder by --out."
            ) from None
        except FileNotFoundError:  # its holder has just ended
            pass
        except OSError:  # a file system without locks
            os.close(file)
            return None
        os.close(file)


@contextlib.contextmanager
def building(study_dir: Path, name: str) -> Iterator[Path]:
    """A folder beside the run's own to build it in; removed unless it was put in place."""
    folder = study_dir / f"{_BUILDING}{os.getpid()}-{name}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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


def sweep(study_dir: Path) -> None:
    """Clear what a killed runner left: remove its temporary folders, put last good reports back.

    Folders of a runner that is still alive are left alone.
    """
    for left in study_dir.glob(f"{_BUILDING}*"):
        owner = left.name.removeprefix(_BUILDING).split("-")[0]
        if owner.isdigit() and int(owner) != os.getpid() and is_alive(int(owner)):
            continue
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)
    for folder in study_dir.glob(f"{_PREVIOUS}*"):
        final = folder.with_name(folder.name.removeprefix(_PREVIOUS))
        if final.exists():
            shutil.rmtree(folder, ignore_errors=True)
        else:
            folder.rename(final)


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
    aside = path.with_name(f"{_BUILDING}{os.getpid()}-{path.name}.tmp")
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Strict, readable JSON; a number that does not exist is null."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file or nothing."""
    aside = path.with_name(f"{_BUILDING}{os.getpid()}-{path.name}.tmp")
    aside.write_bytes(content)
    aside.replace(path)


def write_parquet(path: Path, frame: pd.DataFrame) -> None:
    """Write a whole Parquet file or nothing."""
    aside = path.with_name(f"{_BUILDING}{os.getpid()}-{path.name}.tmp")
    frame.to_parquet(aside, index=False)
    aside.replace(path)


def read_json(path: Path) -> dict[str, Any] | None:
    """What `write_json` wrote, or None where there is no such file."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return None
    return found if isinstance(found, dict) else None
