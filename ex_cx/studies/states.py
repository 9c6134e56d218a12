"""What a study's folder holds against what the study asks for: current, stale, failed, missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ex_cx.studies.layout import failed_folder, read_json
from ex_cx.studies.manifest import differences, file_sha256
from ex_cx.studies.preparing import Prepared
from ex_cx.studies.printing import PDF

__all__ = ["RunState", "run_state", "study_state", "unplanned", "why_not_printed"]

PARTS = ("report.html", "result.json", "notebook.ipynb")
"""Files without which a report is not whole, besides its manifest."""
Condition = Literal["current", "stale", "failed", "missing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """One run's condition on disk.

    Attributes
    ----------
    run : its name.
    condition : `current`: a whole report of all that decides the result today; `why` tells of a PDF
        beside it that is not its own. `stale`: a report
        of something else, see `why`. `failed`: the last attempt failed, see `why`; a last good
        report may lie beside it. `missing`: nothing there.
    folder : where its report lies or would lie.
    """

    run: str
    condition: Condition
    folder: Path
    why: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        why = list(self.why)
        return {
            "run": self.run,
            "status": self.condition,
            "reason": "; ".join(why),
            "folder": str(self.folder),
        }


def run_state(folder: Path, manifest: Mapping[str, Any]) -> RunState:
    """The condition of the run that lies in `folder`, if it does.

    Parameters
    ----------
    folder : the run's own.
    manifest : what would decide its result today, with its key.
    """
    name = str(manifest["run"])
    stored = read_json(folder / "manifest.json")
    absent = [part for part in PARTS if not (folder / part).is_file()]
    stored_well = stored is not None and stored.get("status") == "ok"
    mixed = stored is not None and "changed_meanwhile" in stored
    good = stored_well and not absent and not mixed
    if stored is not None and good and stored.get("key") == manifest["key"]:
        other = why_not_printed(folder) if (folder / PDF).is_file() else ""
        return RunState(run=name, condition="current", folder=folder, why=(other,) if other else ())
    kept = failed_folder(folder)
    if kept.is_dir():
        failure = read_json(kept / "manifest.json") or {}
        reason = str(failure.get("reason", "its record is missing"))
        return RunState(run=name, condition="failed", folder=kept, why=(reason,))
    if not folder.is_dir():
        return RunState(run=name, condition="missing", folder=folder)
    if stored is None:
        why = ["manifest.json is missing or unreadable"]
    else:
        why = [f"{part} is missing" for part in absent]
        why += ["the code of ex_cx changed while it was made"] if mixed else []
        why += differences(stored, manifest)
    return RunState(
        run=name, condition="stale", folder=folder, why=tuple(why or ["its key differs"])
    )


def why_not_printed(folder: Path) -> str:
    """Why a report's PDF has to be made; empty, if the one on record lies there."""
    recorded = ((read_json(folder / "manifest.json") or {}).get("outputs") or {}).get(PDF)
    if not (folder / PDF).is_file():
        return f"{PDF} is missing"
    if file_sha256(folder / PDF) != recorded:
        return f"{PDF} is not the one that was printed; --pdf makes it again"
    return ""


def study_state(prepared: Prepared, out: Path | str) -> list[RunState]:
    """The condition of every run of a study, in order; nothing is written."""
    folder = Path(out).absolute() / prepared.loaded.study.study
    return [run_state(folder / run.name, manifest) for run, manifest in prepared.runs]


def unplanned(prepared: Prepared, out: Path | str) -> list[Path]:
    """Folders of reports that the study does not ask for (any more)."""
    folder = Path(out).absolute() / prepared.loaded.study.study
    planned = {run.name for run, _ in prepared.runs}
    planned |= {failed_folder(folder / name).name for name in planned}
    found = (path.parent for path in folder.glob("[!.]*/manifest.json"))
    return sorted(path for path in found if path.name not in planned)
