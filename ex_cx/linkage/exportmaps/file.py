"""Mapping files: YAML that says how a system's export becomes a clean table. Never evaluated."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

from ex_cx.errors import SchemaError, SourceError, StudyError, nearest
from ex_cx.linkage.exportmaps.column import ColumnMapping
from ex_cx.linkage.exportmaps.spec import FileForm, RowRules, TableMapping, TimeRules
from ex_cx.linkage.schema import Frequency, MeasureSpec, SourceSpec

__all__ = ["ExportMapping", "SourceHints", "read_mapping", "ready_mappings", "with_mapping"]

READY = ("data", "mappings")
ENDINGS = (".yaml", ".yml")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceHints:
    """What a source that is read by the mapping takes, unless it states its own.

    Attributes
    ----------
    unit, period, frequency, respondents, measures, columns, attributes, ranges, carry : as in
        `SourceSpec`, by the names of the clean table.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    unit: str = ""
    period: str = ""
    frequency: Frequency = "month"
    respondents: str = ""
    measures: Mapping[str, MeasureSpec] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    attributes: Mapping[str, str] = field(default_factory=dict)
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    carry: int = 0

    def __post_init__(self) -> None:
        if self.measures and self.columns:
            raise SchemaError("`source` has `measures` and `columns`; a source has one of them.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportMapping:
    """A mapping file's content.

    Attributes
    ----------
    name, title : what it is called, and which system's export it reads.
    table : how the export becomes a clean table.
    source : what a source takes from it.
    """

    name: str
    title: str = ""
    table: TableMapping
    source: SourceHints = SourceHints()

    def source_spec(self, path: str) -> SourceSpec:
        """The source that reads `path` by this mapping; vary it with `dataclasses.replace`.

        Raises
        ------
        SchemaError : the mapping does not say what a source needs.
        """
        if not self.source.unit:
            raise SchemaError(
                f"The mapping {self.name!r} names no `unit` under `source`. State it there, or "
                "make a SourceSpec with `mapping=mapping.table`."
            )
        hints = {name: getattr(self.source, name) for name in _HINTS}
        return SourceSpec(path=path, mapping=self.table, **hints)


_HINTS = tuple(each.name for each in fields(SourceHints))


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """The keys of a mapping file."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    mapping: str
    columns: Mapping[str, ColumnMapping]
    title: str = ""
    file: FileForm = field(default_factory=FileForm)
    rows: RowRules = field(default_factory=RowRules)
    times: TimeRules = field(default_factory=TimeRules)
    source: SourceHints = SourceHints()


def ready_mappings() -> list[str]:
    """Names of the mappings that ship with ex_cx.

    >>> "qualtrics_survey" in ready_mappings()
    True
    """
    from ex_cx.linkage.sources import shared_path

    return sorted(path.stem for path in shared_path(*READY).glob("*.yaml"))


def read_mapping(path: str | Path) -> ExportMapping:
    """Read and check a mapping file; nothing in it is evaluated and no data file is opened.

    Parameters
    ----------
    path : a .yaml file, or the name of one that ships with ex_cx, such as `qualtrics_survey`.

    Raises
    ------
    SourceError : there is no such file, or no ready mapping of that name.
    SchemaError : not YAML 1.2; a key that is unknown, misspelt, given twice or missing; a value
        that makes no sense. One line per problem, with the line of the file.

    Examples
    --------
    >>> read_mapping("qualtrics_survey").table.file.below_header
    2
    """
    from ex_cx.linkage.document import read_document
    from ex_cx.linkage.validation import check

    where = _place(path)
    try:
        document = read_document(where, "mapping")
    except StudyError as error:
        raise SchemaError(str(error)) from None
    found, complaints = check(_File, _spelled_out(document.data))
    if found is None:
        raise SchemaError(document.listed(complaints))
    mapping = ExportMapping(
        name=found.mapping,
        title=found.title,
        table=TableMapping(
            columns=found.columns, file=found.file, rows=found.rows, times=found.times
        ),
        source=found.source,
    )
    _check_names(document, mapping)
    return mapping


def with_mapping(source: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """A source of a study file, as plain values, with all that the mapping it names says.

    Parameters
    ----------
    source : its `mapping` is a file below `folder`, a ready one, or the rules written out.

    Raises
    ------
    SourceError, SchemaError : as `read_mapping`; also a path that leads out of `folder`.
    """
    named = source["mapping"]
    if isinstance(named, dict):
        return {**source, "mapping": _spelled_out(named)}
    is_file = Path(named).suffix.lower() in ENDINGS
    if is_file and not _is_below(folder, named):
        raise SourceError(
            f"The mapping {named!r} leads out of {folder.name!r}, the folder of the study file. "
            "Move it there."
        )
    mapping = read_mapping(folder / named if is_file else named)
    hints = asdict(mapping.source)
    taken = {name: hints[name] for name in _HINTS if hints[name] not in ("", 0, {})}
    if "measures" in source or "columns" in source:
        for name in ("measures", "columns", "ranges"):
            taken.pop(name, None)
    return {**taken, **source, "mapping": asdict(mapping.table)}


def _is_below(folder: Path, path: str) -> bool:
    try:
        return (folder / path).resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a null character
        raise SourceError(f"{path[-200:]!r} cannot be the path of a file. Correct it.") from error


def _place(path: str | Path) -> Path:
    if Path(path).suffix.lower() in ENDINGS:
        where = Path(path)
        if not where.is_file():
            raise SourceError(f"There is no mapping file {str(path)!r}. Correct the path.")
        return where
    from ex_cx.linkage.sources import shared_path

    ready = ready_mappings()
    if str(path) not in ready:
        raise SourceError(
            f"There is no ready mapping {str(path)!r}.{nearest(str(path), ready)} Ready ones: "
            f"{', '.join(ready)}. A mapping file of your own ends in .yaml."
        )
    return shared_path(*READY, f"{path}.yaml")


def _spelled_out(data: Mapping[str, Any]) -> dict[str, Any]:
    """`new: old` under `columns` is `new: {column: old}`; a name alone is the same in both."""
    columns = data.get("columns")
    if not isinstance(columns, dict):
        return dict(data)
    short: dict[str, Any] = {
        new: {"column": each} if isinstance(each, str) else {} if each is None else each
        for new, each in columns.items()
    }
    return {**data, "columns": short}


def _check_names(document: Any, mapping: ExportMapping) -> None:
    """The name, and whether `source` speaks of columns that the table has."""
    found: list[tuple[tuple[str | int, ...], str]] = []
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", mapping.name):
        found.append((("mapping",), "is a short name of letters, digits, _ and - only."))
    hints, known = mapping.source, mapping.table.columns
    named: list[tuple[tuple[str | int, ...], str]] = [
        (("source", "unit"), hints.unit),
        (("source", "period"), hints.period),
        *((("source", "attributes", new), old) for new, old in hints.attributes.items()),
        *((("source", "columns", new), old) for new, old in hints.columns.items()),
    ]
    for new, measure in hints.measures.items():
        named += [(("source", "measures", new), column) for column in measure.columns()]
    found += [
        (place, f"there is no column {name!r} in `columns`.{nearest(name, known)}")
        for place, name in named
        if name and name not in known
    ]
    if found:
        raise SchemaError(document.listed(found))
