"""Two runs side by side: the same estimates, and what went into each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ex_cx.errors import RunError
from ex_cx.studies.manifest import differences
from ex_cx.studies.verifying import read_manifest

__all__ = ["compare_runs", "estimates_by_term"]

IDENTITY = ("model", "outcome", "estimator", "term")
Estimates = dict[tuple[str, ...], Mapping[str, Any]]


def estimates_by_term(rows: Sequence[Mapping[str, Any]]) -> Estimates:
    """Rows by model, outcome, estimator and term; a further row of one term by its number too."""
    found: Estimates = {}
    for row in rows:
        base = tuple(str(row[name]) for name in IDENTITY if row.get(name))
        key, number = base, 2
        while key in found:
            key, number = (*base, f"no. {number}"), number + 1
        found[key] = row
    return found


def compare_runs(first: Path, second: Path) -> Iterator[str]:
    """Lines: what went into the two runs differently, then each estimate of both.

    Parameters
    ----------
    first, second : folders of runs, or their report.html.

    Raises
    ------
    RunError : one of them is no finished run.
    """
    manifests = [read_manifest(path) for path in (first, second)]
    for path, manifest in zip((first, second), manifests, strict=True):
        if "results" not in manifest:
            raise RunError(f"{path} recorded no results; it failed, or is of an older ex_cx.")
    a, b = manifests
    yield f"A {a['study']} / {a['run']}, started {a['started']}"
    yield f"B {b['study']} / {b['run']}, started {b['started']}"
    found = differences(a, b)
    yield "What went into B differently:" if found else "The same went into both."
    yield from (f"  {line}" for line in found)
    one, other = estimates_by_term(a["results"]), estimates_by_term(b["results"])
    both = [key for key in one if key in other]
    width = max((len(" ".join(key)) for key in both), default=0)
    yield f"{'':<{width}}  {'A':<30}{'B':<30}B - A" if both else "No estimate is in both."
    for key in both:
        sides = "".join(f"{_shown(rows[key]):<30}" for rows in (one, other))
        yield f"{' '.join(key):<{width}}  {sides}{_difference(one[key], other[key])}"
    for side, rows, against in (("A", one, other), ("B", other, one)):
        yield from (f"only in {side}: {' '.join(key)}" for key in rows if key not in against)
    yield "Intervals are each run's own; the runs may share rows, so that B - A has none here."


def _shown(row: Mapping[str, Any]) -> str:
    if row.get("estimate") is None:
        return "not estimated"
    if row.get("conf_low") is None or row.get("conf_high") is None:
        return f"{row['estimate']:.4g}"
    return f"{row['estimate']:.4g} [{row['conf_low']:.4g}, {row['conf_high']:.4g}]"


def _difference(a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    if a.get("estimate") is None or b.get("estimate") is None:
        return "-"
    return f"{b['estimate'] - a['estimate']:+.4g}"
