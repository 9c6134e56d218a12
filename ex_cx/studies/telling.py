"""What `ex-cx status` and `ex-cx run --dry-run` tell; nothing is written."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from ex_cx.studies.claims import parse_shard
from ex_cx.studies.gathering import gather_study
from ex_cx.studies.narration import short
from ex_cx.studies.preparing import prepare_study, why_not_asked
from ex_cx.studies.states import study_state, unplanned, why_not_printed

__all__ = ["planned_lines", "status_lines"]


def status_lines(
    study: Path,
    data_root: Path | None,
    out: Path,
    *,
    gather: bool = False,
    as_json: bool = False,
) -> Iterator[str]:
    """One line a run with its condition and why, then counts; or one JSON document.

    Parameters
    ----------
    gather : write the index and the results over what lies there first, and tell where.

    Raises
    ------
    StudyError, SourceError, SchemaError, LinkError, PanelError : as `run_study`.
    RunError : nothing to gather, or it cannot be written.
    """
    prepared = prepare_study(study, data_root or "", out)
    index = gather_study(prepared, out) if gather else None
    states = study_state(prepared, out)
    others = [path.name for path in unplanned(prepared, out)]
    if as_json:
        whole = {"runs": [state.to_dict() for state in states], "not in the study": others}
        whole |= {"index": str(index)} if index else {}
        yield json.dumps(whole, indent=2, ensure_ascii=False)
        return
    for state in states:
        why = f": {'; '.join(state.why)}" if state.why else ""
        yield f"{state.condition:<8} {state.run}{why}"
    yield from (f"other    {name}: the study does not ask for it" for name in others)
    counts = Counter(state.condition for state in states)
    yield ", ".join(f"{n} {condition}" for condition, n in counts.items()) + "."
    if index:
        yield short(index)


def planned_lines(
    study: Path,
    data_root: Path | None,
    out: Path,
    *,
    only: str = "",
    shard: str = "",
    force: bool = False,
    pdf: bool = False,
    as_json: bool = False,
) -> Iterator[str]:
    """What `run_study` would do with each run and why; or one JSON document.

    Raises
    ------
    StudyError, SourceError, SchemaError, LinkError, PanelError : as `run_study`.
    """
    prepared = prepare_study(study, data_root or "", out)
    left = why_not_asked(prepared, only, parse_shard(shard))
    found = []
    for state in study_state(prepared, out):
        why = "; ".join(state.why)
        reason = {
            "current": "current",
            "stale": f"stale because {why}",
            "failed": f"failed last time: {why}",
            "missing": "new",
        }[state.condition]
        would = "run" if force or state.condition != "current" else "skip"
        if force and state.condition == "current":
            reason = "current, but --force"
        elif pdf and state.condition == "current" and why_not_printed(state.folder):
            would, reason = "print", f"current, but {why_not_printed(state.folder)}"
        if state.run in left:
            would, reason = "leave", f"{left[state.run]}; {reason}"
        found.append({**state.to_dict(), "would": would, "reason": reason})
    if as_json:
        yield json.dumps({"dry_run": True, "runs": found}, indent=2, ensure_ascii=False)
        return
    for entry in found:
        yield f"{entry['would']:<5} {entry['run']}: {entry['reason']}"
    printed = sum(entry["would"] == "print" for entry in found)
    told = f", {printed} would only be printed" if printed else ""
    yield f"{sum(e['would'] == 'run' for e in found)} of {len(found)} runs would run{told}."
