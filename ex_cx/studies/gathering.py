"""What the runs of a study share: index.html, results.parquet and results.xlsx of all there is."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ex_cx.errors import RunError
from ex_cx.studies.claims import publishing_in
from ex_cx.studies.layout import read_json, write_bytes, write_json, write_parquet, write_text
from ex_cx.studies.manifest import file_sha256, package_sha256, run_key, versions
from ex_cx.studies.plan import PlannedRun, folder_name
from ex_cx.studies.preparing import Prepared
from ex_cx.studies.records import collect_results
from ex_cx.studies.states import RunState, study_state

__all__ = ["Ending", "gather_study", "publish_study"]


SHARED = ("index.html", "results.parquet", "results.xlsx")
PUBLISHED = "index.json"
"""Notes from what the shared files were made, so that they need not be made again."""
GOOD = ("ok", "unchanged", "others'")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a run ended just now: ok, unchanged, failed, not asked, not started; and why."""

    status: str
    reason: str = ""


def gather_study(prepared: Prepared, out: Path | str) -> Path:
    """Write the index and the results over the reports that lie there; nothing is run.

    Raises
    ------
    RunError : no run was ever made there, or the folder cannot be written.
    """
    folder = Path(out).absolute() / prepared.loaded.study.study
    if not folder.is_dir():
        raise RunError(f"There is nothing to gather: no run of the study was made in {folder}.")
    try:
        return publish_study(prepared, folder, {})
    except OSError as error:
        raise RunError(
            f"The index cannot be stored in {folder}: {error.strerror or error}. What is in place "
            "there is whole."
        ) from error


def publish_study(prepared: Prepared, folder: Path, endings: Mapping[str, Ending]) -> Path:
    """Write results.parquet, results.xlsx and index.html over all current reports.

    Runs without an ending were others' to make: what lies there of them counts. One writes at a
    time, and looks at the folder after those before have written: the last one sees everything.
    """
    from ex_cx.reporting.index import render_index

    study = prepared.loaded.study
    head = {"study": study.study, "title": study.title or study.study}
    index = folder / "index.html"
    with publishing_in(folder):
        states = study_state(prepared, folder.parent)
        runs = [run for run, _ in prepared.runs]
        seen = _seen(head | {"labels": dict(study.labels)}, runs, states, endings, folder)
        if _lies_there(folder, seen):
            return index
        good = [
            (run, folder / run.name)
            for run, state in zip(runs, states, strict=True)
            if state.condition == "current" and _ending(endings, run).status != "failed"
        ]
        labels = dict(study.labels)
        _write_results(folder, head, good)
        cards = [
            _card(run, state, _ending(endings, run), folder) | {"labels": labels}
            for run, state in zip(runs, states, strict=True)
        ]
        write_text(index, render_index(head, cards, dated=dt.date.today().isoformat()))
        hashes = {name: file_sha256(folder / name) for name in SHARED}
        write_json(folder / PUBLISHED, {"seen": seen, "files": hashes})
    return index


def _seen(
    head: Mapping[str, Any],
    runs: Sequence[PlannedRun],
    states: Sequence[RunState],
    endings: Mapping[str, Ending],
    folder: Path,
) -> str:
    """Hash of all that index and results are made from."""
    found = []
    for run, state in zip(runs, states, strict=True):
        ending, manifest = _ending(endings, run), folder / run.name / "manifest.json"
        good = state.condition == "current" and ending.status in GOOD
        told = (state.condition, state.why, "good" if good else (ending.status, ending.reason))
        found.append((run.name, told, file_sha256(manifest) if manifest.is_file() else ""))
    today, code = dt.date.today().isoformat(), (package_sha256(), dict(versions()))
    return run_key({"head": head, "runs": found, "dated": today, "code": code})


def _lies_there(folder: Path, seen: str) -> bool:
    """Were index and results made from just this, and are they as they were written?"""
    noted = read_json(folder / PUBLISHED) or {}
    if noted.get("seen") != seen:
        return False
    return all(
        (folder / name).is_file() and file_sha256(folder / name) == noted["files"].get(name)
        for name in SHARED
    )


def _ending(endings: Mapping[str, Ending], run: PlannedRun) -> Ending:
    return endings.get(run.name) or Ending(status="others'")


def _write_results(
    folder: Path, head: dict[str, str], good: Sequence[tuple[PlannedRun, Path]]
) -> None:
    """The tidy rows of the good runs as Parquet, and with their tables as a workbook."""
    from ex_cx.reporting.workbook import study_provenance, study_workbook

    results = collect_results(head["study"], good)
    write_parquet(folder / "results.parquet", results)
    reports = {run.name: read_json(place / "result.json") or {} for run, place in good}
    manifests = {run.name: read_json(place / "manifest.json") or {} for run, place in good}
    write_bytes(
        folder / "results.xlsx",
        study_workbook(results, reports, study_provenance(head, manifests)),
    )


def _card(run: PlannedRun, state: RunState, ending: Ending, folder: Path) -> dict[str, Any]:
    """What the index says of one run; a failed one points at its last good report, if any."""
    page = folder / run.name / "report.html"
    report = read_json(page.with_name("result.json"))
    status, reason, note = ending.status, ending.reason, ""
    if status not in ("ok", "unchanged", "failed"):
        if state.condition == "failed":
            status, reason = "failed", "; ".join(state.why)
        elif state.condition == "current" and status == "others'":
            status = "unchanged"
        else:
            there = "; ".join([state.condition, *state.why])
            note = f"{reason or 'not made yet'}; what lies here: {there}."
            status, note = "not asked", f"{note[:1].upper()}{note[1:]}"
    return {
        "name": run.name,
        "notebook": run.notebook.replace("_", " "),
        "segment": run.segment.replace("=", " "),
        "variant": _variant(run),
        "status": status,
        "current": state.condition == "current",
        "reason": reason,
        "note": note,
        "href": f"{run.name}/report.html" if page.is_file() and report else "",
        "report": report,
    }


def _variant(run: PlannedRun) -> str:
    """The part of a run's name that says neither notebook, outcome, exposure nor segment."""
    columns = (getattr(run.parameters, role, "") for role in ("outcome", "exposure"))
    known = {run.notebook, *map(folder_name, (run.segment, *columns))}
    return ", ".join(part for part in run.name.split("--") if part not in known)
