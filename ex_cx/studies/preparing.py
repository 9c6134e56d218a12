"""A study made ready: its sources linked, its runs planned; nothing is written and nothing runs."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ex_cx.errors import SourceError, StudyError, some
from ex_cx.linkage.confidentiality.protect import ReleaseAsked
from ex_cx.linkage.link import Linked
from ex_cx.linkage.sources import shared_path
from ex_cx.studies.claims import Shard
from ex_cx.studies.data import (
    StoredData,
    link_study,
    refuse_outside,
    segment_values,
    store_linked,
)
from ex_cx.studies.manifest import FileStamp, git_revision
from ex_cx.studies.plan import PlannedRun, plan_runs
from ex_cx.studies.recalling import Linkage, linked_from, recall_linkage
from ex_cx.studies.records import start_manifest
from ex_cx.studies.releasing import asked_of, keep_release, past_of, register_path
from ex_cx.studies.study import LoadedStudy, column_complaints, load_study

__all__ = [
    "Prepared",
    "data_folder",
    "input_paths",
    "link_anew",
    "link_unchanging",
    "notebook_path",
    "prepare_study",
    "runs_asked",
    "why_not_asked",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A study, its linkage, and its runs in order with the start of their manifests.

    Attributes
    ----------
    root : folder of the data files.
    fresh : the rows, where they were linked just now; None where they lie stored already.
    files : the data files that were read, as they were then.
    register : where releases are kept, and what was released when the study was made ready.
    """

    loaded: LoadedStudy
    root: Path
    fresh: Linked | None
    linkage: Linkage
    files: Mapping[Path, FileStamp]
    runs: tuple[tuple[PlannedRun, dict[str, Any]], ...]
    register: tuple[Path, ReleaseAsked] | None = None

    @property
    def linked(self) -> Linked:
        """The rows, linked now unless they were."""
        if self.fresh is not None:
            return self.fresh
        return link_unchanging(self.loaded, self.root, self._asked)[0]

    @property
    def _asked(self) -> ReleaseAsked | None:
        return None if self.register is None else self.register[1]

    def store(self, folder: Path) -> StoredData:
        """The panel as it lies in `folder`, registered and written now unless it was there.

        Raises
        ------
        RunError : another study was released meanwhile.
        """
        if self.fresh is None and self.linkage.stored is not None and self.linkage.is_there():
            return self.linkage.stored
        linked = self.linked
        if self.register is not None and linked.release is not None:
            path, asked = self.register
            keep_release(path, asked.past, linked.release)
        return store_linked(linked, folder, self.linkage.to_dict())


def prepare_study(
    path: Path | str | LoadedStudy,
    data_root: Path | str = "",
    out: Path | str | None = None,
    *,
    anew: bool = False,
) -> Prepared:
    """Link a study's sources and plan its runs.

    Parameters
    ----------
    path : the study file, or the study when it was loaded already.
    data_root : folder of its data files; empty means the study file's own folder.
    out : folder of the reports: what lies there, linked from the same files by the same code, is
        not linked again, and earlier releases are found there. None links in any case.
    anew : link in any case.

    Raises
    ------
    StudyError, SourceError, SchemaError, LinkError, PanelError : the study or its data are not
        usable, or a file changed while it was read.
    """
    loaded = path if isinstance(path, LoadedStudy) else load_study(path)
    root = data_folder(loaded, data_root)
    kept = register_path(loaded, root, out)
    asked = asked_of(loaded, kept)
    fresh, linkage, files = _linkage(loaded, root, None if anew else out, asked)
    loaded.refuse(column_complaints(loaded.study, linkage.columns))
    runs = plan_runs(loaded, linkage.segments)
    revision = git_revision(loaded.path)
    manifests = [
        start_manifest(
            *(loaded, run, notebook_path(run.notebook), linkage.reads, revision),
            more=linkage.manifest_part(),
        )
        for run in runs
    ]
    return Prepared(
        loaded=loaded,
        root=root,
        fresh=fresh,
        linkage=linkage,
        files=files,
        runs=tuple(zip(runs, manifests, strict=True)),
        register=None if kept is None or asked is None else (kept, asked),
    )


def _linkage(
    loaded: LoadedStudy, root: Path, out: Path | str | None, asked: ReleaseAsked | None
) -> tuple[Linked | None, Linkage, dict[Path, FileStamp]]:
    """The rows, unless they lie in `out`; what linking gives; and the files it comes from."""
    if out is not None:
        refuse_outside(loaded, root)
        files = _stamps(input_paths(loaded.study.data.model_dump(mode="json")), root)
        recalled = recall_linkage(loaded, files, Path(out).absolute() / loaded.study.study, asked)
        if recalled is not None:
            return None, recalled, files
    return link_anew(loaded, root, asked)


def link_anew(
    loaded: LoadedStudy, root: Path, asked: ReleaseAsked | None = None
) -> tuple[Linked, Linkage, dict[Path, FileStamp]]:
    """As `link_unchanging`, and what linking gives besides the rows."""
    linked, files = link_unchanging(loaded, root, asked)
    release = linked.release
    held = linked.audit.suppressed.get("withheld_for_release", ())
    found = Linkage(
        linked_from=linked_from(loaded, files),
        columns=tuple(linked.panel.frame.columns),
        segments=segment_values(linked.panel, loaded.study.segments),
        reads=tuple(linked.audit.to_dict()["reads"]),
        release={"name": release.name, "before": past_of(asked.past, release.name)}
        if asked is not None and release is not None and release.tables
        else {},
        withheld=int(sum(held)),
    )
    return linked, found, files


def notebook_path(name: str) -> Path:
    """The notebook of this name that comes with ex_cx."""
    return shared_path("notebooks", f"{name}.ipynb")


def runs_asked(prepared: Prepared, only: str = "", shard: Shard | None = None) -> set[str]:
    """Names of the runs that match the pattern, those of the shard only; all without either.

    Raises
    ------
    StudyError : none matches.
    """
    left = why_not_asked(prepared, only, shard)
    return {run.name for run, _ in prepared.runs if run.name not in left}


def why_not_asked(prepared: Prepared, only: str = "", shard: Shard | None = None) -> dict[str, str]:
    """Names of the runs that are left out, and by what.

    Raises
    ------
    StudyError : no run matches the pattern.
    """
    names = [run.name for run, _ in prepared.runs]
    fits = {name for name in names if fnmatch.fnmatchcase(name, only or "*")}
    if not fits:
        raise StudyError(
            f"--only {only!r} matches none of the {len(names)} runs ({some(names)}). Give a "
            "run's name, or a pattern such as 'mediation*'."
        )
    found = {name: "not asked for (--only)" for name in names if name not in fits}
    for position, name in enumerate(names):
        if shard is not None and not shard.holds(position):
            found[name] = f"another shard's (--shard {shard})"
    return found


def data_folder(loaded: LoadedStudy, data_root: Path | str = "") -> Path:
    """Where a study's files lie: as stated, else beside the study file."""
    return Path(data_root).absolute() if str(data_root) else loaded.path.parent


def input_paths(data: object) -> list[str]:
    """Paths of all files that a data section, as plain values, names.

    >>> input_paths({"panel": "", "sources": {"hr": {"path": "hr.csv", "unit": "team"}}})
    ['hr.csv']
    """
    if not isinstance(data, dict):
        return []
    keys = ("panel", "path")
    found = [data[key] for key in keys if isinstance(data.get(key), str) and data[key]]
    inner = [path for value in data.values() for path in input_paths(value)]
    return list(dict.fromkeys([*found, *inner]))


def link_unchanging(
    loaded: LoadedStudy, root: Path, asked: ReleaseAsked | None = None
) -> tuple[Linked, dict[Path, FileStamp]]:
    """Link a study's sources; the content of its files must be the same before and after.

    Returns
    -------
    The linked rows, and the files they come from.

    Raises
    ------
    SourceError : a file changed meanwhile. Else what `link_study` raises.
    """
    paths = input_paths(loaded.study.data.model_dump(mode="json"))
    refuse_outside(loaded, root)  # before any of them is hashed
    before = _stamps(paths, root)
    linked = link_study(loaded, root, asked)
    changed = [path.name for path, stamp in before.items() if not stamp.fits(path)]
    if changed:
        raise SourceError(
            f"{len(changed)} of {len(before)} data files changed while they were read "
            f"({some(changed)}). Wait until nothing writes to them, then run again."
        )
    return linked, before


def _stamps(paths: list[str], root: Path) -> dict[Path, FileStamp]:
    """Every file that is there, with its stamp; what is not there is told by the reading."""
    found = {}
    for path in paths:
        try:
            found[root / path] = FileStamp.of(root / path)
        except (OSError, ValueError):
            continue
    return found
