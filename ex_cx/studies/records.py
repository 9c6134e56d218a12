"""What a run leaves on record: its manifest, its log, its rows of the study's results."""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ex_cx.results import TIDY
from ex_cx.studies.data import input_records
from ex_cx.studies.layout import read_json
from ex_cx.studies.manifest import (
    code_cells_sha256,
    decisive_parts,
    file_sha256,
    package_sha256,
    run_key,
    versions,
)
from ex_cx.studies.plan import PlannedRun
from ex_cx.studies.study import LoadedStudy

__all__ = [
    "brief_results",
    "collect_results",
    "finish",
    "hide_places",
    "now",
    "outputs_of",
    "run_log",
    "start_manifest",
]

PLACES = ("panel_path", "data_root", "run_dir")
"""Parameters that say where files lie; they do not decide a result."""
ESTIMATE_KEYS = (
    *("model", "outcome", "estimator", "term"),
    *("estimate", "std_error", "conf_low", "conf_high", "conf_level"),
)
RESULT_KEYS = ("study", "run", "segment", "notebook", "model", "outcome", "exposure")


def start_manifest(
    loaded: LoadedStudy,
    run: PlannedRun,
    notebook: Path,
    reads: Iterable[Mapping[str, Any]],
    revision: str | None,
    more: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """All that decides a run's result, known before it starts, and the key made from it.

    Parameters
    ----------
    more : entries besides, such as what earlier releases make it withhold.
    """
    values = run.parameters.model_dump(mode="json", exclude=set(PLACES))
    given = {name: values[name] for name in values if name in run.given}
    manifest = {
        "study": loaded.study.study,
        "title": loaded.study.title,
        "run": run.name,
        "notebook": run.notebook,
        "segment": run.segment,
        "parameters": {
            "given": given,
            "defaulted": {name: values[name] for name in values if name not in given},
        },
        "seed": values.get("seed"),
        "data": loaded.study.data.model_dump(mode="json"),
        "inputs": input_records(reads),
        "code_sha256": code_cells_sha256(notebook),
        "ex_cx_sha256": package_sha256(),
        "versions": dict(versions()),
        "git_revision": revision,
        "started": now(),
        **(more or {}),
    }
    return {**manifest, "key": run_key(decisive_parts(manifest))}


def now() -> str:
    """The time in UTC, to the second."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")


def finish(status: str, started: float) -> dict[str, Any]:
    """The part of a manifest that is known once a run has ended."""
    return {"status": status, "wall_seconds": round(time.monotonic() - started, 2)}


def outputs_of(folder: Path) -> dict[str, str]:
    """Path below `folder` -> SHA-256 of each file that a run has left there."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): file_sha256(path) for path in files}


def brief_results(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The estimates of a run's result.json with their intervals, for its manifest."""
    rows = result.get("results", [])
    return [{name: row[name] for name in ESTIMATE_KEYS if name in row} for row in rows]


def hide_places(notebook: Path, renamed: Mapping[str, str]) -> None:
    """Make an executed notebook point at where it is going to lie, and drop papermill's paths."""
    content = json.loads(notebook.read_text(encoding="utf-8"))
    noted = content["metadata"].get("papermill", {})
    for name in ("input_path", "output_path"):
        noted.pop(name, None)
    text = json.dumps(content, indent=1, ensure_ascii=False)
    for before, after in renamed.items():
        text = text.replace(json.dumps(before)[1:-1], json.dumps(after)[1:-1])
    notebook.write_text(text + "\n", encoding="utf-8")


def run_log(manifest: Mapping[str, Any], executed: Path) -> str:
    """Plain lines: what ran, each cell's time, what it said on stderr, how it ended."""
    lines = [
        f"{manifest['started']} {manifest['study']} / {manifest['run']}",
        f"notebook {manifest['notebook']}, code {manifest['code_sha256'][:12]}",
        f"key {manifest['key']}",
    ]
    for cell in (read_json(executed) or {}).get("cells", []):
        if cell["cell_type"] == "code":
            lines += _cell_lines(cell)
    lines.append(f"{manifest['status']} after {manifest['wall_seconds']} s")
    if manifest.get("reason"):
        lines.append(str(manifest["reason"]))
    return "\n".join(lines) + "\n"


def _cell_lines(cell: Mapping[str, Any]) -> list[str]:
    source = "".join(cell["source"]).strip().splitlines()
    seconds = cell["metadata"].get("papermill", {}).get("duration")
    time_taken = "not run" if seconds is None else f"{seconds:.2f} s"
    lines = [f"  {time_taken}  {source[0] if source else ''}"]
    for output in cell.get("outputs", []):
        if output.get("name") == "stderr":
            lines += [f"    {line}" for line in "".join(output["text"]).splitlines()]
        if output.get("output_type") == "error":
            lines.append(f"    {output['ename']}: {output['evalue']}")
    return lines


def collect_results(study: str, runs: Iterable[tuple[PlannedRun, Path]]) -> pd.DataFrame:
    """Every tidy row of every good run, with study, run, segment, notebook in front."""
    frames = []
    for run, folder in runs:
        stored = read_json(folder / "result.json") or {}
        frame = pd.DataFrame(stored.get("results", []))
        keys = {"study": study, "run": run.name, "segment": run.segment, "notebook": run.notebook}
        frames.append(frame.assign(**keys))
    if not any(len(frame) for frame in frames):
        return pd.DataFrame(columns=[*RESULT_KEYS, *TIDY])
    whole = pd.concat([frame for frame in frames if len(frame)], ignore_index=True)
    first = [name for name in (*RESULT_KEYS, *TIDY) if name in whole]
    numbers = {name: whole[name].astype(float) for name in TIDY if name != "term"}
    return whole.assign(**numbers)[[*first, *(c for c in whole if c not in first)]]
