"""The register of releases: what was shown of small groups' data, and when; read, kept, taken back.

One file for all studies of a folder of reports, `.releases.json` there, or where the study file
says. It holds keyed hashes and counts, no answers and no names; it is internal like the data files.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ex_cx.errors import RunError, StudyError, nearest
from ex_cx.linkage.confidentiality.identifiers import KEY_VARIABLE, hash_identifiers
from ex_cx.linkage.confidentiality.protect import ReleaseAsked
from ex_cx.linkage.confidentiality.releases import Cell, Past, Release, ReleasedTable
from ex_cx.linkage.wording import counted
from ex_cx.studies.claims import publishing_in
from ex_cx.studies.manifest import run_key
from ex_cx.studies.study import LoadedStudy, load_study

__all__ = [
    "REGISTER",
    "asked_of",
    "keep_release",
    "past_of",
    "read_register",
    "register_path",
    "release_lines",
]

REGISTER = ".releases.json"
VERSION = 1

Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{24}$")]
Digest = Annotated[str, Field(pattern=r"^([0-9a-f]{16})?$")]
Small = Annotated[int, Field(ge=0, le=1000)]


class _Checked(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Table(_Checked):
    columns: Annotated[list[Hash], Field(min_length=1)]
    least: Annotated[int, Field(ge=5, le=1000)]
    most: Annotated[int, Field(ge=5, le=1000)]
    cells: dict[Hash, Annotated[list[Any], Field(min_length=3, max_length=3)]]


class _Release(_Checked):
    study: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
    made: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    name: Hash
    tables: dict[Hash, _Table]


class _Register(_Checked):
    format: Literal["ex_cx releases"]
    version: Literal[1]
    key_check: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    releases: list[_Release]


class _Cells(_Checked):
    cells: list[tuple[Annotated[int, Field(ge=0, lt=2**32)], Small, Digest]]


def register_path(loaded: LoadedStudy, root: Path, out: Path | str | None) -> Path | None:
    """The register of a study: where its file says, else in the folder of reports; None: nowhere.

    Raises
    ------
    StudyError : it would lie outside the folder of the data, or of the reports.
    """
    named = loaded.study.confidentiality.releases
    if not named and out is None:
        return None
    base = root if named else Path(str(out)).absolute()
    path = base / (named or REGISTER)
    if not path.resolve().is_relative_to(base.resolve()) or path.resolve() == base.resolve():
        place = ("confidentiality", "releases")
        text = f"leads out of {base.name!r}, where the register must lie. Name a file below it."
        loaded.refuse([(place, text)] if named else [])
        raise StudyError(f"The register of releases {path} is a link that {text}")
    return path


def asked_of(loaded: LoadedStudy, path: Path | None) -> ReleaseAsked | None:
    """What a linkage is to be compared with; None where no register is kept.

    Raises
    ------
    RunError : the register cannot be used.
    """
    if path is None:
        return None
    today = dt.date.today().isoformat()
    return ReleaseAsked(past=read_register(path), study=loaded.study.study, made=today)


def past_of(past: Past, name: str) -> str:
    """SHA-256 of all that was released before the release of this name."""
    return run_key({"before": [_release_dict(each) for each in past.before(name)]})


def read_register(path: Path) -> Past:
    """The releases in a register; none, where there is no file.

    Raises
    ------
    RunError : the file is damaged, of another version, or written under another key.
    """
    key = _key()
    try:
        if not os.path.lexists(path):
            return Past(key=key)
        if not path.is_file():
            raise ValueError("it is no plain file")
        found = _Register.model_validate(json.loads(path.read_text(encoding="utf-8")))
        releases = tuple(_as_release(each) for each in found.releases)
        if len({release.name for release in releases}) < len(releases):
            raise ValueError("a release is in it twice")
        if found.sha256 != _content_sha256(releases):
            raise ValueError("its content is not what was written")
    except OSError as error:
        raise RunError(f"The register of releases {path} cannot be read: {error}.") from error
    except (ValueError, RecursionError) as error:
        raise RunError(
            f"The register of releases {path} is damaged or of another version: {_why(error)}. "
            "Without it nobody knows what earlier releases have shown. Put back a copy of it; "
            "or, if all earlier releases are taken back, delete it."
        ) from error
    if found.key_check != _check_of(key):
        raise RunError(
            f"The register of releases {path} was written under another key. Set "
            "EX_CX_IDENTIFIER_KEY as it was set then (or was not)."
        )
    return Past(key=key, releases=releases)


def keep_release(path: Path, past: Past, release: Release) -> None:
    """Add a release to the register, unless it is there already; one writes at a time.

    Raises
    ------
    RunError : another study was released since the register was read. OSError : disk or rights.
    """
    if not release.tables:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with publishing_in(path.parent):
        now = read_register(path)
        names = [each.name for each in now.releases]
        if release.name in names:
            at = names.index(release.name)
            if past.before(release.name) != now.releases[:at]:
                raise _changed(path)
            joined = (*now.releases[:at], _both(now.releases[at], release), *now.releases[at + 1 :])
        elif now.releases != past.releases:
            raise _changed(path)
        else:
            joined = (*now.releases, release)
        if joined != now.releases:
            _write(path, now.key, joined)


def release_lines(
    study: Path, data_root: Path | None, out: Path, forget: str = ""
) -> Iterator[str]:
    """One line for each release of a study in its register; those forgotten are taken out.

    Parameters
    ----------
    forget : the beginning of a release's name, or `all` those of the study.

    Raises
    ------
    StudyError : no release, or more than one, begins like that. RunError : as `read_register`.
    """
    loaded = load_study(study)
    root = data_root.absolute() if data_root else loaded.path.parent
    path = register_path(loaded, root, out)
    past = read_register(path) if path is not None else Past(key=b"")
    own = [each for each in past.releases if each.study == loaded.study.study]
    if path is None or not forget:
        yield from (_line(each) for each in own)
        others = len(past.releases) - len(own)
        yield f"{counted(len(own), 'release')} of {loaded.study.study}; {others} of other studies."
        return
    gone = [each for each in own if forget == "all" or each.name.startswith(forget)]
    if not gone or (forget != "all" and len(gone) > 1):
        names = [each.name for each in own]
        raise StudyError(
            f"--forget {forget!r} fits {len(gone)} of the {len(own)} releases of "
            f"{loaded.study.study}. Give the beginning of one name, or all.{nearest(forget, names)}"
        )
    with publishing_in(path.parent):
        left = tuple(each for each in read_register(path).releases if each not in gone)
        _write(path, past.key, left)
    yield from (f"forgotten: {_line(each)}" for each in gone)
    yield "Its reports must be taken back from everybody who has them: nothing protects them now."


def _line(release: Release) -> str:
    cells = sum(len(table.cells) for table in release.tables.values())
    shown = sum(bool(cell[2]) for table in release.tables.values() for cell in table.cells.values())
    return (
        f"{release.made} {release.name} {release.study}: {len(release.tables)} measures, "
        f"{shown} of {cells} cells and totals not withheld"
    )


def _changed(path: Path) -> RunError:
    return RunError(
        f"Another study was released while this one was linked, says {path}. Run again: the two "
        "have to be compared."
    )


def _both(one: Release, other: Release) -> Release:
    """The same data released twice: what either has shown is shown."""
    tables = {**one.tables, **other.tables}
    for name in one.tables.keys() & other.tables.keys():
        cells = dict(one.tables[name].cells)
        for place, cell in other.tables[name].cells.items():
            cells[place] = max(cells.get(place, cell), cell, key=_openness)
        tables[name] = replace(one.tables[name], cells=cells)
    return replace(one, tables=tables)


def _openness(cell: Cell) -> tuple[int, str]:
    """How much a cell was shown: at all thresholds is most."""
    return cell[1] or 1_000_000, cell[2]


def _write(path: Path, key: bytes, releases: tuple[Release, ...]) -> None:
    """Whole or not at all; for the owner alone."""
    content = {
        "format": "ex_cx releases",
        "version": VERSION,
        "key_check": _check_of(key),
        "sha256": _content_sha256(releases),
        "releases": [_release_dict(each) for each in releases],
    }
    aside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(content, file, separators=(",", ":"))
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def _release_dict(release: Release) -> dict[str, Any]:
    tables = {
        name: {
            "columns": list(table.columns),
            "least": table.least,
            "most": table.most,
            "cells": {place: list(cell) for place, cell in table.cells.items()},
        }
        for name, table in release.tables.items()
    }
    return {"study": release.study, "made": release.made, "name": release.name, "tables": tables}


def _as_release(found: _Release) -> Release:
    tables = {}
    for name, table in found.tables.items():
        cells = _Cells.model_validate({"cells": [tuple(cell) for cell in table.cells.values()]})
        tables[name] = ReleasedTable(
            columns=tuple(table.columns),
            least=table.least,
            most=table.most,
            cells=dict(zip(table.cells, cells.cells, strict=True)),
        )
    return Release(study=found.study, made=found.made, name=found.name, tables=tables)


def _content_sha256(releases: tuple[Release, ...]) -> str:
    text = json.dumps([_release_dict(each) for each in releases], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _why(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc'][:2]))}: {first['msg']}"
    return str(error)[:100]


def _key() -> bytes:
    """Of the key of identifiers, if the environment states one: without it anybody could try out
    which place and number a hash is of.
    """
    stated = any(os.environ.get(name) for name in (KEY_VARIABLE, f"{KEY_VARIABLE}_FILE"))
    return str(hash_identifiers(pd.Series(["releases"]))[0]).encode() if stated else b"ex_cx"


def _check_of(key: bytes) -> str:
    return hmac.digest(key, b"check", "sha256").hex()[:16]
