"""A finished run against its own record: nothing lost, nothing changed, the same inputs."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ex_cx.errors import RunError, some
from ex_cx.linkage.wording import counted
from ex_cx.studies.layout import read_json
from ex_cx.studies.manifest import decisive_parts, file_sha256, package_sha256, run_key
from ex_cx.studies.preparing import input_paths
from ex_cx.studies.records import outputs_of

__all__ = ["embedded_manifest", "read_manifest", "verify_run"]

RECORDS = ("manifest.json", "report.html", "run.log")
"""Files that are written after the outputs are hashed."""
LARGEST = 2**27
"""Bytes of a report that is looked into."""
_EMBEDDED = re.compile(r'<script type="application/json" id="manifest">(.*?)</script>', re.DOTALL)


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of a run's folder, or the one that a report.html holds.

    Raises
    ------
    RunError : there is none.
    """
    if path.is_dir():
        found = read_json(path / "manifest.json")
        if found is None:
            raise RunError(f"{path} holds no manifest.json that can be read; name a run's folder.")
        return found
    if not path.is_file():
        raise RunError(f"There is no report or run {path}. Check the path.")
    return embedded_manifest(path)


def embedded_manifest(page: Path) -> dict[str, Any]:
    """The manifest inside a report.html.

    Raises
    ------
    RunError : the page holds none, or one that cannot be read.
    """
    if page.stat().st_size > LARGEST:
        raise RunError(f"{page.name} is larger than {LARGEST:,} bytes: no report of ex_cx is.")
    found = _EMBEDDED.search(page.read_text(encoding="utf-8", errors="replace"))
    try:
        manifest = json.loads(html.unescape(found[1])) if found else None
    except (json.JSONDecodeError, RecursionError):
        manifest = None
    if not isinstance(manifest, dict):
        raise RunError(f"{page.name} holds no manifest; it is not a report of ex_cx, or was cut.")
    return manifest


def verify_run(folder: Path, data_root: Path | None = None) -> tuple[list[str], bool]:
    """Recompute what a run's manifest recorded.

    Parameters
    ----------
    folder : the run's.
    data_root : folder of the data files; without it the inputs are not looked at, and that is said.

    Returns
    -------
    Lines, one for each thing that differs and a last one with counts; and whether all is well.

    Raises
    ------
    RunError : no manifest, or one of a run that failed or of a version that recorded no outputs.
    """
    manifest = read_manifest(folder if folder.is_dir() else folder.parent)
    folder = folder if folder.is_dir() else folder.parent
    recorded = manifest.get("outputs")
    if manifest.get("status") != "ok" or not isinstance(recorded, dict):
        raise RunError(
            f"{folder} is no finished run with recorded outputs (status "
            f"{manifest.get('status')!r}); run it again to get one."
        )
    wrong = [*_output_differences(folder, recorded), *_record_differences(folder, manifest)]
    told = f"{len(recorded)} outputs"
    if data_root is not None:
        wrong += _input_differences(manifest, data_root)
        away = _tables_elsewhere(manifest)
        told += f" and {len(manifest.get('inputs', {})) - len(away)} inputs"
        if away:
            told += (
                f"; {counted(len(away), 'table')} of a connection ({some(away)}) cannot be hashed "
                "and was not looked at: `ex-cx rerun` measures it anew"
            )
    else:
        told += "; inputs were not looked at (give --data-root)"
    ending = f"{len(wrong)} differences" if wrong else "nothing differs"
    return [*wrong, f"{folder.name}: {ending}; {told}"], not wrong


def _output_differences(folder: Path, recorded: Mapping[str, str]) -> Iterator[str]:
    present = {name: sha for name, sha in outputs_of(folder).items() if name not in RECORDS}
    for name, sha256 in recorded.items():
        if name not in present:
            yield f"{name}: is missing"
        elif present[name] != sha256:
            yield f"{name}: was changed (recorded {sha256[:12]}, found {present[name][:12]})"
    yield from (f"{name}: was added" for name in present if name not in recorded)


def _record_differences(folder: Path, manifest: Mapping[str, Any]) -> Iterator[str]:
    if run_key(decisive_parts(manifest)) != manifest.get("key"):
        yield "manifest.json: its key does not fit its content; it was changed"
    if "changed_meanwhile" in manifest:
        yield "manifest.json: the code of ex_cx changed while the run was made; make it again"
    page = folder / "report.html"
    if not page.is_file():
        yield "report.html: is missing"
        return
    try:
        inside = embedded_manifest(page)
    except RunError as error:
        yield f"report.html: {error}"
        return
    if inside != manifest:
        yield "report.html: the manifest in it is not manifest.json; one of them was changed"
    elif manifest["ex_cx_sha256"] == package_sha256() and not _is_same_page(folder, manifest):
        yield "report.html: is not the page that its parts make; it was changed"


def _is_same_page(folder: Path, manifest: Mapping[str, Any]) -> bool:
    """Is report.html what this ex_cx, the one that wrote it, makes of the folder's parts?"""
    from ex_cx.reporting.page import notebook_body, render_page

    try:
        page = render_page(folder, manifest, notebook_body(folder / "notebook.ipynb"))
    except (OSError, ValueError, KeyError):  # a part is missing or broken, which is told by itself
        return False
    return page == (folder / "report.html").read_text(encoding="utf-8")


def _tables_elsewhere(manifest: Mapping[str, Any]) -> list[str]:
    """Inputs that are tables of a connection, of which only what was measured is on record."""
    sources = (manifest.get("data") or {}).get("sources") or {}
    connected = {
        name for name, each in sources.items() if (each.get("database") or {}).get("connection")
    }
    inputs = manifest.get("inputs", {})
    return [name for name, record in inputs.items() if record.get("source") in connected]


def _input_differences(manifest: Mapping[str, Any], root: Path) -> Iterator[str]:
    paths, away = input_paths(manifest.get("data")), _tables_elsewhere(manifest)
    for name, record in manifest.get("inputs", {}).items():
        if name in away:
            continue
        bare = name.removesuffix(f" ({record.get('source')})")
        files = [root / path for path in paths if Path(path).name == bare]
        there = [
            file
            for file in files
            if file.is_file() and file.resolve().is_relative_to(root.resolve())
        ]
        if not there:
            yield f"input {name}: is not in {root}"
        elif all(file_sha256(file) != record["sha256"] for file in there):
            found = file_sha256(there[0])
            yield f"input {name}: differs (recorded {record['sha256'][:12]}, found {found[:12]})"
