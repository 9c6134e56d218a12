"""What `ex-cx check` tells: how a table would be read, or what a study would link and run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ex_cx.linkage.audit import LinkAudit
from ex_cx.linkage.wording import counted
from ex_cx.studies.parameters import base_columns
from ex_cx.studies.preparing import prepare_study

__all__ = ["check_study", "check_table_file"]

MOST_SUGGESTED = 10


def check_study(path: Path, data_root: Path | None = None) -> Iterator[str]:
    """Lines about a study's data and its runs; every error of `run_study` before its first run.

    Raises
    ------
    StudyError, SourceError, SchemaError, LinkError, PanelError : as `run_study`.
    """
    prepared = prepare_study(path, data_root or "")
    linked, panel = prepared.linked, prepared.linked.panel
    for read in linked.audit.to_dict()["reads"]:
        yield f"read  {read['name']}: {read['rows']} rows, {read['columns']} columns"
        yield from (f"      {line}" for line in read.get("coercions") or ())
    yield from _audit_lines(linked.audit)
    yield f"panel {panel.extent}"
    roles = prepared.loaded.study.roles
    columns = (*roles.exposures, *roles.mediators, *roles.outcomes, *roles.controls)
    for name in base_columns(columns):
        present = int(panel.frame[name].notna().sum())
        yield f"      {name}: {present} values, {len(panel) - present} missing"
    yield from (f"run   {run.name}" for run, _ in prepared.runs)
    yield f"{path.name} is good: {counted(len(prepared.runs), 'run')}."


def _audit_lines(audit: LinkAudit) -> Iterator[str]:
    """Rows that a crosswalk lost, periods that cannot be weighted, and units of two sources that
    may be one: for a person to see.
    """
    from ex_cx.linkage.suggest import suggest_from_audit

    for row in audit.crosswalk.to_dict("records"):
        if str(row["outcome"]).startswith("lost"):
            unit = repr(str(row["unit"]))
            yield f"unit  {row['source']}, {unit}: {counted(row['rows'], 'row')} {row['outcome']}"
    for row in audit.weighting.to_dict("records"):
        if str(row["outcome"]) != "converged":
            yield f"period  {row['source']}, {row['period']}: {row['outcome']}"
    found = suggest_from_audit(audit, most=1)
    for row in found.head(MOST_SUGGESTED).to_dict("records"):
        pair = f"{row['left']!r} ({row['left_in']}) and {row['right']!r} ({row['right_in']})"
        yield f"maybe one unit, not joined: {pair}; {row['why']}, {row['score']:.0f}"
    if len(found) > MOST_SUGGESTED:
        yield f"      and {counted(len(found) - MOST_SUGGESTED, 'further pair')}"


def check_table_file(path: Path) -> Iterator[str]:
    """Lines about how a table would be read: form, rows, and each column with what it holds.

    Raises
    ------
    SourceError, SchemaError : as `read_table`.
    """
    from ex_cx.linkage.sources import read_table

    found = read_table(path)
    report = found.report
    yield f"{report.name}: {report.rows} rows, {report.columns} columns"
    stated = {
        "encoding": report.encoding,
        "delimiter": repr(report.delimiter) if report.delimiter else "",
        "decimal": repr(report.decimal) if report.decimal else "",
    }
    yield from (
        f"{name} {value}{' (detected)' if name in report.detected else ''}"
        for name, value in stated.items()
        if value
    )
    width = max(len(str(name)) for name in found.frame)
    for name, column in found.frame.items():
        kind = "number" if column.dtype.kind in "iufb" else "text"
        missing = int(column.isna().sum())
        yield f"  {name!s:<{width}}  {kind:<6}  {missing} missing, {column.nunique()} different"
