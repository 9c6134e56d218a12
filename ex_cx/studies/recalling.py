"""Linked once, linked for all: the stored panel of a study whose sources are still the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ex_cx.linkage.confidentiality.protect import ReleaseAsked
from ex_cx.studies.data import BESIDE, StoredData, input_records
from ex_cx.studies.layout import read_json
from ex_cx.studies.manifest import FileStamp, file_sha256, package_sha256, run_key, versions
from ex_cx.studies.releasing import past_of
from ex_cx.studies.study import LoadedStudy

__all__ = ["Linkage", "linked_from", "recall_linkage"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Linkage:
    """What linking gives besides the rows.

    Attributes
    ----------
    linked_from : hash of everything that decides it.
    columns : of the panel. segments : column -> its values. reads : how each file was read.
    release : what the register has of it: its name, and a hash of what was released before.
    withheld : values withheld because of earlier releases.
    stored, sha256 : the panel where it lies stored already, and what its file holds.
    """

    linked_from: str
    columns: tuple[str, ...]
    segments: dict[str, list[str]]
    reads: tuple[dict[str, Any], ...]
    release: dict[str, str] = field(default_factory=dict)
    withheld: int = 0
    stored: StoredData | None = None
    sha256: str = ""

    def is_there(self) -> bool:
        """Is the stored panel still the one that was found?"""
        panel = None if self.stored is None else self.stored.panel
        return panel is not None and panel.is_file() and file_sha256(panel) == self.sha256

    def to_dict(self) -> dict[str, Any]:
        """What is kept beside a stored panel, whose audit holds the rest."""
        columns, segments = list(self.columns), dict(self.segments)
        found = {"linked_from": self.linked_from, "columns": columns, "segments": segments}
        return {**found, "release": self.release, "withheld_for_release": self.withheld}

    def manifest_part(self) -> dict[str, Any]:
        """What of earlier releases decides a result: nothing, unless values are withheld."""
        if not self.withheld:
            return {}
        return {"earlier_releases": {"sha256": self.release["before"], "withheld": self.withheld}}


def linked_from(loaded: LoadedStudy, files: Mapping[Path, FileStamp]) -> str:
    """SHA-256 of everything that decides what linking gives; `files` are those it reads."""
    study = loaded.study
    parts = study.model_dump(mode="json", include={"data", "unit", "period", "cluster", "roles"})
    return run_key(
        {
            **parts,
            "segments": sorted(study.segments),
            "files": {str(path): stamp.sha256 for path, stamp in files.items()},
            "ex_cx_sha256": package_sha256(),
            "versions": dict(versions()),
        }
    )


def recall_linkage(
    loaded: LoadedStudy,
    files: Mapping[Path, FileStamp],
    folder: Path,
    asked: ReleaseAsked | None = None,
) -> Linkage | None:
    """What lies in `folder`, linked from the same files by the same code; None: link them.

    What was released before must be the same, too, and the release still be in the register.
    A study that reads what is not among `files`, such as a table of a database, is always linked.
    """
    beside = read_json(folder / BESIDE) or {}
    reads = tuple(beside.get("audit", {}).get("reads", ()))
    hashes = {stamp.sha256 for stamp in files.values()}
    if not reads or not all(read.get("sha256") in hashes for read in reads):
        return None
    if beside.get("linked_from") != linked_from(loaded, files):
        return None
    release = beside.get("release")
    if release is None or (asked is not None and release and not _is_kept(release, asked)):
        return None
    found = Linkage(
        linked_from=beside["linked_from"],
        columns=tuple(beside["columns"]),
        segments=dict(beside["segments"]),
        reads=reads,
        release=release,
        withheld=int(beside["withheld_for_release"]),
        stored=StoredData(panel=folder / "panel.parquet", inputs=input_records(reads)),
        sha256=str(beside["panel_sha256"]),
    )
    return found if found.is_there() else None


def _is_kept(release: Mapping[str, str], asked: ReleaseAsked) -> bool:
    names = [each.name for each in asked.past.releases]
    return release["name"] in names and release["before"] == past_of(asked.past, release["name"])
