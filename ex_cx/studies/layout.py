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

__all__ = ["building", "discard_failed", "put_in_place", "sweep", "write_json", "write_text"]

_BUILDING, _PREVIOUS, _FAILED = ".building-", ".previous-", ".failed"


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
        if owner.isdigit() and int(owner) != os.getpid() and _is_alive(int(owner)):
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


def _is_alive(pid: int) -> bool:
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
