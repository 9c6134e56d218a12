"""The rows of a study or a notebook: linked once, stored beside the reports, opened by each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from ex_cx.errors import ParameterError, SourceError, nearest, some
from ex_cx.linkage.audit import Flow, LinkAudit
from ex_cx.linkage.check import check_table
from ex_cx.linkage.confidentiality.protect import ReleaseAsked
from ex_cx.linkage.link import Linked, link_study_data
from ex_cx.linkage.panel import Panel
from ex_cx.linkage.schema import ColumnRule, ReadSpec, TableSchema
from ex_cx.linkage.sources import read_table, shared_path
from ex_cx.linkage.validation import Location
from ex_cx.studies.layout import read_json, write_json, write_parquet
from ex_cx.studies.manifest import file_sha256
from ex_cx.studies.parameters import DataParameters, base_columns, parse_segment
from ex_cx.studies.study import LoadedStudy, Study, load_study

__all__ = [
    "StoredData",
    "column_labels",
    "input_records",
    "link_study",
    "open_data",
    "refuse_outside",
    "segment_values",
    "store_linked",
    "study_limits",
]

EMBEDDED = "embedded:"
_NAMING = (
    *("outcome", "exposure", "exposures", "mediators", "controls", "columns"),
    *("moderator", "cluster", "weights", "segment"),
)
"""Parameters that name columns besides the keys."""
STUDY_ENDINGS = (".yaml", ".yml")
BESIDE = "panel.json"
"""File beside a stored panel: its calendar, where its columns come from, the audit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredData:
    """A linked panel on disk.

    `panel` is the Parquet file; `inputs` maps each file it was made from to its record: source,
    sha256, rows, columns, and how it was read.
    """

    panel: Path
    inputs: dict[str, dict[str, Any]]


def link_study(loaded: LoadedStudy, root: Path, asked: ReleaseAsked | None = None) -> Linked:
    """Read, check, measure and link the data of a study; its files must lie below `root`.

    With `asked`, what a difference from earlier releases would tell is withheld.

    Raises
    ------
    StudyError : a path that leads out of `root`, also by a symbolic link.
    SourceError, SchemaError, LinkError, PanelError : what reading and linking find.
    """
    study = loaded.study
    refuse_outside(loaded, root)
    if study.data.sources:
        linked = link_study_data(study.data.sources, study.data.link, root, asked)
    else:
        roles = study.roles
        terms = (*roles.exposures, *roles.mediators, *roles.outcomes, *roles.controls)
        linked = _read_panel(
            root / study.data.panel,
            unit=study.unit,
            period=study.period,
            numbers=base_columns((*terms, roles.weights)),
            read=study.data.read,
            provenance=study.data.respondents,
        )
    return _with_roles(linked, study.cluster, study.roles.weights)


def refuse_outside(loaded: LoadedStudy, root: Path) -> None:
    """Refuse data files that do not lie below `root`.

    Raises
    ------
    StudyError : a path leads out of it, also by a symbolic link.
    """
    loaded.refuse(
        (place, f"leads out of {root.name!r}, the folder of the data. Move the file into it.")
        for place, path in _paths(loaded)
        if not _lies_below(root, path)
    )


def _lies_below(root: Path, path: str) -> bool:
    try:
        return (root / path).resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a null character
        raise SourceError(
            f"{path[-200:]!r} cannot be the path of a file. Correct it, or the link that it is."
        ) from error


def _paths(loaded: LoadedStudy) -> Iterator[tuple[Location, str]]:
    data = loaded.study.data
    if data.panel:
        yield ("data", "panel"), data.panel
    for name, source in data.sources.items():
        if source.path:
            yield ("data", "sources", name, "path"), source.path
        if source.crosswalk is not None:
            yield ("data", "sources", name, "crosswalk", "path"), source.crosswalk.path


def _with_roles(linked: Linked, cluster: str, weights: str) -> Linked:
    """The same rows with the columns that say what is independent and what weighs how much."""
    panel = linked.panel
    given = panel.frame.columns
    for role, name in (("cluster", cluster), ("weights", weights)):
        if name and name not in given:
            raise ParameterError(
                f"{role}: there is no column {name!r} in the data.{nearest(name, given)}"
            )
    panel = Panel.from_frame(
        panel.frame,
        unit=panel.unit,
        period=panel.period,
        cluster=cluster or None,
        weights=weights or None,
        provenance=panel.provenance,
    )
    return replace(linked, panel=panel)


def segment_values(panel: Panel, columns: Mapping[str, object]) -> dict[str, list[str]]:
    """Column -> its values in the panel, as text, sorted; rows without a value make no segment."""
    return {
        name: sorted(panel.frame[name].dropna().astype(str).unique().tolist()) for name in columns
    }


def store_linked(
    linked: Linked, folder: Path, remembered: Mapping[str, Any] | None = None
) -> StoredData:
    """Write panel.parquet and panel.json into `folder`, each whole or not at all.

    Parameters
    ----------
    remembered : what `recalling` is to find again in panel.json.
    """
    panel, path = linked.panel, folder / "panel.parquet"
    periods = panel.frame[panel.period]
    is_calendar = isinstance(periods.dtype, pd.PeriodDtype)
    as_text = {panel.period: periods.astype(str)} if is_calendar else {}
    write_parquet(path, panel.frame.assign(**as_text))
    audit = linked.audit.to_dict()
    beside = {
        "panel_sha256": file_sha256(path),
        "calendar": str(periods.dtype) if is_calendar else None,
        "provenance": dict(panel.provenance),
        **(remembered or {}),
        "audit": audit,
    }
    write_json(folder / BESIDE, beside)
    return StoredData(panel=path, inputs=input_records(audit["reads"]))


def input_records(reads: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """File name -> its record; two sources may read one file."""
    found: dict[str, dict[str, Any]] = {}
    for read in reads:
        kept = {name: value for name, value in read.items() if name != "name" and value}
        name = str(read["name"])
        found[name if name not in found else f"{name} ({read['source']})"] = kept
    return found


def open_data(parameters: DataParameters) -> Linked:
    """The linked rows that a notebook's parameters ask for, and how they came about.

    Parameters
    ----------
    parameters : `panel_path` names data that comes with ex_cx (`embedded:contact_centre`), a study
        file, or a table with one row per unit and period.

    Returns
    -------
    Linked
        The panel, with cluster and weights set and only the rows of `segment`, and its audit.

    Raises
    ------
    ParameterError : a column that does not exist, or a segment without rows; the nearest right
        name is given. Else what reading and linking raise.
    """
    linked = _open(parameters)
    _check_columns(linked.panel, parameters)
    roles = [getattr(parameters, name, "") for name in ("cluster", "weights")]
    linked = _with_roles(linked, *roles)
    return _in_segment(linked, parameters.segment) if parameters.segment else linked


def column_labels(parameters: DataParameters) -> dict[str, str]:
    """What to call columns: as the parameters say, else as the study file of the data says."""
    study = _study_of(parameters)
    return {**(study.labels if study else {}), **parameters.labels}


def study_limits(parameters: DataParameters) -> tuple[str, ...]:
    """What the study cannot show: as the parameters say, else as the study file says."""
    study = _study_of(parameters)
    return parameters.limits or (study.limits if study else ())


def _study_of(parameters: DataParameters) -> Study | None:
    source = _source_path(parameters.panel_path)
    return load_study(source).study if source.suffix.lower() in STUDY_ENDINGS else None


def _source_path(panel_path: str) -> Path:
    if panel_path.startswith(EMBEDDED):
        return shared_path("data", panel_path.removeprefix(EMBEDDED), "study.yaml")
    return Path(panel_path).absolute()


def _open(parameters: DataParameters) -> Linked:
    study = _source_path(parameters.panel_path)
    if study.suffix.lower() in STUDY_ENDINGS:
        root = Path(parameters.data_root).absolute() if parameters.data_root else study.parent
        return link_study(load_study(study), root)
    stored = read_json(study.with_name(BESIDE)) if study.suffix == ".parquet" else None
    if stored is not None and stored.get("panel_sha256") == _sha256(study):
        return _read_stored(study, stored, parameters)
    labels = {parse_segment(parameters.segment)[0], getattr(parameters, "cluster", "")}
    return _read_panel(
        study,
        unit=parameters.unit,
        period=parameters.period,
        numbers=[name for name in parameters.required_columns() if name not in labels],
    )


def _read_panel(
    path: Path,
    *,
    unit: str,
    period: str,
    numbers: Iterable[str],
    read: ReadSpec | None = None,
    provenance: Mapping[str, str] | None = None,
) -> Linked:
    """A table that has one row per unit and period already; `numbers` must hold numbers."""
    stated = read or ReadSpec()
    table = read_table(
        path,
        encoding=stated.encoding,
        delimiter=stated.delimiter,
        decimal=stated.decimal,
        dates=stated.dates,
        date_format=stated.date_format,
        text=(unit, *stated.text),
        missing=stated.missing,
        sheet=stated.sheet,
    )
    present = [name for name in dict.fromkeys(numbers) if name in table.frame]
    rules = tuple(ColumnRule(name=name) for name in present)
    frame = check_table(table.frame, TableSchema(name=path.name, columns=rules))
    panel = Panel.from_frame(frame, unit=unit, period=period, provenance=provenance)
    flow = Flow(source="panel").step("read", len(frame)).step("panel", len(panel))
    audit = LinkAudit(
        flow=flow.frame(),
        unmatched=pd.DataFrame(),
        suppressed=pd.DataFrame(),
        definitions=pd.DataFrame(),
        reads=pd.DataFrame([{"source": "panel", **table.report.to_dict()}]),
    )
    return Linked(panel=panel, audit=audit)


def _sha256(path: Path) -> str:
    return file_sha256(path) if path.is_file() else ""


def _read_stored(path: Path, stored: Mapping[str, Any], parameters: DataParameters) -> Linked:
    frame = pd.read_parquet(path)
    if stored["calendar"]:
        periods = frame[parameters.period].astype(stored["calendar"])
        frame = frame.assign(**{parameters.period: periods})
    panel = Panel.from_frame(
        frame,
        unit=parameters.unit,
        period=parameters.period,
        provenance=stored["provenance"],
    )
    return Linked(panel=panel, audit=LinkAudit.from_dict(stored["audit"]))


def _check_columns(panel: Panel, parameters: DataParameters) -> None:
    known = panel.frame.columns
    absent = [name for name in parameters.required_columns() if name not in known]
    if absent:
        more = f" Also missing: {some(absent[1:])}." if len(absent) > 1 else ""
        raise ParameterError(
            f"{_asking(parameters, absent[0])}: there is no column {absent[0]!r} in the data."
            f"{nearest(absent[0], known)}{more} It has {len(known)}: {some(known, 12)}."
        )


def _asking(parameters: DataParameters, column: str) -> str:
    """The parameter that names `column`."""
    for name, value in parameters.model_dump(include=set(_NAMING)).items():
        texts = parse_segment(value)[:1] if name == "segment" else value
        terms = (texts,) if isinstance(texts, str) else tuple(texts)
        if column in base_columns(terms):
            return name
    return "parameters"


def _in_segment(linked: Linked, segment: str) -> Linked:
    column, value = parse_segment(segment)
    labels = linked.panel.frame[column].astype(str)
    keep = (labels == value).to_numpy()
    if not keep.any():
        options = sorted(labels.dropna().unique())
        raise ParameterError(
            f"segment: no row has {column!r} equal to {value!r}.{nearest(value, options)} It has "
            f"{len(options)} values: {some(options, 9)}."
        )
    return replace(linked, panel=linked.panel.where(keep))
