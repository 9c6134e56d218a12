"""What `ex-cx check` tells: how a table would be read, or what a study would link and run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ex_cx.linkage.wording import counted
from ex_cx.studies.parameters import base_columns
from ex_cx.studies.preparing import prepare_study

__all__ = ["check_study", "check_table_file"]


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
    yield f"panel {panel.extent}"
    roles = prepared.loaded.study.roles
    columns = (*roles.exposures, *roles.mediators, *roles.outcomes, *roles.controls)
    for name in base_columns(columns):
        present = int(panel.frame[name].notna().sum())
        yield f"      {name}: {present} values, {len(panel) - present} missing"
    yield from (f"run   {run.name}" for run, _ in prepared.runs)
    yield f"{path.name} is good: {counted(len(prepared.runs), 'run')}."


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
