"""Runs against each other: two side by side, or several that share no rows pooled."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ex_cx.errors import RunError
from ex_cx.studies.manifest import differences
from ex_cx.studies.verifying import read_manifest

__all__ = ["compare_runs", "estimates_by_term", "pool_runs"]

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
    a, b = _finished([first, second])
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


def _finished(paths: Sequence[Path]) -> list[dict[str, Any]]:
    manifests = [read_manifest(path) for path in paths]
    for path, manifest in zip(paths, manifests, strict=True):
        if "results" not in manifest:
            raise RunError(f"{path} recorded no results; it failed, or is of an older ex_cx.")
    return manifests


def pool_runs(paths: Sequence[Path]) -> Iterator[str]:
    """Lines: each estimate that at least two runs have, of every run and pooled.

    Parameters
    ----------
    paths : folders of runs, or their report.html: segments of one column, or of different data.

    Raises
    ------
    RunError : one of them is no finished run, two may share rows, or nothing is in two of them.
    """
    manifests = _finished(paths)
    for a, b in itertools.combinations(manifests, 2):
        _refuse_shared_rows(a, b)
    labels = _labels(manifests)
    yield f"{len(manifests)} runs pooled, each estimate over the runs that have it."
    for label, manifest in zip(labels[1:], manifests[1:], strict=True):
        other = [line for line in differences(manifests[0], manifest) if _matters(line)]
        yield from (f"{label} differs from {labels[0]}: {line}" for line in other)
    found = [estimates_by_term(manifest["results"]) for manifest in manifests]
    keys = list(dict.fromkeys(key for rows in found for key in rows))
    told = False
    for key in keys:
        rows = [
            {**side[key], "label": label}
            for label, side in zip(labels, found, strict=True)
            if key in side and _has_error(side[key])
        ]
        if len(rows) > 1:
            told = True
            yield from _pooled_lines(key, rows)
    if not told:
        raise RunError("No estimate with a standard error is in two of the runs; nothing to pool.")
    yield "Segments of one panel share its periods: pooled intervals may be too short."


def _matters(line: str) -> bool:
    """May a difference make two runs estimate different effects? Segment and rows do not."""
    return not line.startswith(("parameter segment:", "input ", "study:", "title:"))


def _has_error(row: Mapping[str, Any]) -> bool:
    return row.get("estimate") is not None and (row.get("std_error") or 0) > 0


def _labels(manifests: Sequence[Mapping[str, Any]]) -> list[str]:
    """Runs by name; by study and name where that is not enough."""
    names = [str(manifest["run"]) for manifest in manifests]
    if len(set(names)) < len(names):
        names = [f"{manifest['study']} / {manifest['run']}" for manifest in manifests]
    if len(set(names)) < len(names):
        names = [f"{name} ({at})" for at, name in enumerate(names, start=1)]
    return names


def _refuse_shared_rows(a: Mapping[str, Any], b: Mapping[str, Any]) -> None:
    one, other = ({r["sha256"] for r in m["inputs"].values()} for m in (a, b))
    (column, _, value), (against, _, different) = (m["segment"].partition("=") for m in (a, b))
    apart = column and column == against and value != different
    if one & other and not apart:
        raise RunError(
            f"{a['run']} and {b['run']} are of the same data and not two segments of one column, "
            "so that they share rows; pooled they would count twice. Name segments of one column, "
            "or runs of different data; two runs by themselves are set side by side."
        )


def _pooled_lines(key: tuple[str, ...], rows: list[dict[str, Any]]) -> Iterator[str]:
    import pandas as pd

    from ex_cx.robustness.pooling import pool_estimates

    level = rows[0].get("conf_level") or 0.95
    frame = pd.DataFrame(rows)[["label", "estimate", "std_error"]]
    result = pool_estimates(frame.astype({"estimate": float, "std_error": float}))
    pooled, prediction = (
        {str(name): value for name, value in row.items()}
        for row in result.tidy(level).to_dict("records")
    )
    q_p = "<0.001" if result.q_p < 0.001 else f"{result.q_p:.3f}"
    yield " ".join(key)
    width = max(len("one more"), *(len(row["label"]) for row in rows))
    yield from (f"  {row['label']:<{width}}  {_shown(row)}" for row in rows)
    yield (
        f"  {'pooled':<{width}}  {_shown(pooled)}  (restricted likelihood, Hartung-Knapp; tau "
        f"{result.tau:.3g}, I2 {result.i2:.0f} %, Q p {q_p}; {100 * level:g} %)"
    )
    if result.k >= 3:
        low, high = prediction["conf_low"], prediction["conf_high"]
        yield f"  {'one more':<{width}}  expected within [{low:.4g}, {high:.4g}]"


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
