"""A study file: which data, which roles, which notebooks - validated before anything runs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from ex_cx.errors import SchemaError, SourceError, StudyError, nearest
from ex_cx.linkage.document import Document, read_document
from ex_cx.linkage.exportmaps.file import with_mapping
from ex_cx.linkage.linkspec import LinkSpec
from ex_cx.linkage.schema import ReadSpec, SourceSpec
from ex_cx.linkage.validation import Complaint, Location, Strict, check, shown
from ex_cx.studies.parameters import NOTEBOOKS

if TYPE_CHECKING:
    from ex_cx.studies.exploring import Exploration

__all__ = ["DataSection", "ExtraRun", "LoadedStudy", "Roles", "Study", "load_study"]

NotebookName = Literal["data_audit", "panel_regression", "mediation"]
RESERVED = ("panel_path", "data_root", "run_dir", "unit", "period", "cluster", "weights")
"""Parameters that the study's own fields decide; `defaults`, `grid` and `runs` cannot."""
RUN_MAY_STATE = ("cluster", "weights")
"""Those of them that a single run in `runs` may state otherwise, so that both are shown."""

MEASURE_SUFFIXES = ("n", "se", "promoter_share", "detractor_share")


class DataSection(Strict):
    """Where the rows come from: a ready `panel` table, or `sources` that are linked.

    Attributes
    ----------
    panel : a table with one row per unit and period; `read` says how it is written.
    sources : name -> source; `link` says what is derived and filtered once they are linked.
    """

    panel: str = ""
    read: ReadSpec = ReadSpec()
    respondents: dict[str, str] = Field(default_factory=dict)
    sources: dict[str, SourceSpec] = Field(default_factory=dict)
    link: LinkSpec = LinkSpec()


class Roles(Strict):
    """Columns by what they do in the study."""

    exposures: tuple[str, ...] = ()
    mediators: tuple[str, ...] = ()
    outcomes: tuple[str, ...] = ()
    controls: tuple[str, ...] = ()
    weights: str = ""


class Confidentiality(Strict):
    """Where it is kept what earlier releases have shown.

    Attributes
    ----------
    releases : file below the folder of the data; empty is `.releases.json` beside the reports.
    """

    releases: str = ""


class ExtraRun(Strict):
    """One more run: the study's roles and defaults, then its own `parameters`."""

    notebook: NotebookName
    name: str = ""
    segment: str = ""
    parameters: dict[str, Any] = Field(default_factory=dict)


def _for_all(value: object) -> object:
    """A list of segment columns means: in every notebook."""
    if isinstance(value, list):
        return {str(name): () for name in value}
    if isinstance(value, dict):
        return {name: tuple(v) if isinstance(v, list) else v for name, v in value.items()}
    return value


class Study(Strict):
    """A study file's content; the key words are these fields.

    Attributes
    ----------
    study : short name; the folder of its runs is called so.
    title : what it asks, for people.
    data : where the rows come from.
    unit, period, cluster : key columns of a ready panel (linked sources have `unit` and `period`),
        and the column whose values are independent of each other; empty means the unit.
    roles : columns by what they do.
    segments : columns whose every value gets runs of its own: a list, or column -> notebooks.
    notebooks : which are run; each outcome (and in mediation each exposure) is a run.
    labels : column -> what to call it in sentences and figures.
    limits : what the study cannot show, in sentences that every report repeats.
    defaults : parameters of all runs, or notebook -> parameters.
    grid : parameter -> list of values that are all run, or notebook -> such a mapping.
    runs : further single runs.
    confidentiality : the register of releases, if it is to lie elsewhere.
    """

    study: str
    title: str = ""
    data: DataSection
    unit: str = "unit"
    period: str = "period"
    cluster: str = ""
    roles: Roles = Roles()
    segments: Annotated[dict[str, tuple[NotebookName, ...]], BeforeValidator(_for_all)] = Field(
        default_factory=dict
    )
    notebooks: tuple[NotebookName, ...] = ()
    labels: dict[str, str] = Field(default_factory=dict)
    limits: tuple[str, ...] = ()
    defaults: dict[str, Any] = Field(default_factory=dict)
    grid: dict[str, Any] = Field(default_factory=dict)
    runs: tuple[ExtraRun, ...] = ()
    confidentiality: Confidentiality = Confidentiality()

    @field_validator("study")
    @classmethod
    def _is_a_folder_name(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", value):
            raise ValueError(
                "names the folder of the runs, so it holds letters, digits, _ and - only (at most "
                f"64); found {shown(value)}."
            )
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedStudy:
    """A valid study and where it came from.

    Attributes
    ----------
    study : its content.
    path : the file, absolute.
    document : the same with line numbers, for messages about what only the data can show.
    """

    study: Study
    path: Path
    document: Document

    def explore(self, root: Path | str = "") -> Exploration:
        """A first look: what is in the study, where the gaps are, courses, what varies.

        The data are linked once; `.linked.panel` and `.linked.audit` of the answer go on from here.
        `root` is the folder of the sources; empty: the study file's own.
        """
        from ex_cx.studies.exploring import explore

        return explore(self, root)

    def __repr__(self) -> str:
        """One line; `.study` holds what the file says."""
        data, study = self.study.data, self.study
        sources = ", ".join(data.sources) or data.panel
        return f"<LoadedStudy {study.study!r} of {sources}; .explore() looks at its data>"

    def refuse(self, complaints: Iterable[Complaint]) -> None:
        """Raise one StudyError with every complaint and its line; none, no error."""
        _refuse(self.document, list(complaints))


def load_study(path: Path | str) -> LoadedStudy:
    """Read and check a study file and the mapping files it names; no data file is opened.

    Raises
    ------
    StudyError : not YAML 1.2; a key that is unknown, misspelt, given twice or missing; a value of
        the wrong type; a role, segment or label that names no column of the sources. The message
        has one line per problem, with the line of the file and the nearest right name.
    """
    where = Path(path).absolute()
    document = read_document(where)
    content, unusable = _with_mappings(document.data, where.parent)
    _refuse(document, unusable)
    study, complaints = check(Study, content)
    _refuse(document, complaints)
    if study is None:
        raise StudyError(f"{document.name} cannot be used.")
    _refuse(document, [*_data_complaints(study), *_work_complaints(study)])
    _refuse(document, column_complaints(study, panel_columns(study)))
    return LoadedStudy(study=study, path=where, document=document)


def _with_mappings(
    content: Mapping[str, Any], folder: Path
) -> tuple[dict[str, Any], list[Complaint]]:
    """The content with every `mapping` of a source written out, and what is wrong with them."""
    data = content.get("data")
    sources = data.get("sources") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(sources, dict):
        return dict(content), []
    found, complaints = dict(sources), list[Complaint]()
    for name, source in sources.items():
        if isinstance(source, dict) and isinstance(source.get("mapping"), str | dict):
            try:
                found[name] = with_mapping(source, folder)
            except (SchemaError, SourceError) as error:
                complaints.append((("data", "sources", name, "mapping"), str(error)))
    return {**content, "data": {**data, "sources": found}}, complaints


def _refuse(document: Document, complaints: list[Complaint]) -> None:
    if complaints:
        raise StudyError(document.listed(complaints))


def _data_complaints(study: Study) -> list[Complaint]:
    data, found = study.data, list[Complaint]()
    if bool(data.panel) == bool(data.sources):
        found.append((("data",), "needs either `panel` or `sources`; state one of the two."))
    if data.sources:
        for name in ("unit", "period"):
            if getattr(study, name) != name:
                text = f"linked sources have the key {name!r}; leave `{name}` out here."
                found.append(((name,), text))
        for name in ("read", "respondents"):
            if name in data.model_fields_set:
                text = "belongs to `panel`; a source has its own."
                found.append((("data", name), text))
    elif "link" in data.model_fields_set:
        found.append((("data", "link"), "belongs to `sources`; a ready panel is taken as it is."))
    return found


def _work_complaints(study: Study) -> list[Complaint]:
    found = list[Complaint]()
    if not study.notebooks and not study.runs:
        text = f"is empty, so there is nothing to run. Notebooks: {', '.join(NOTEBOOKS)}."
        found.append((("notebooks",), text))
    if len(set(study.notebooks)) < len(study.notebooks):
        found.append((("notebooks",), "names a notebook twice."))
    used: set[str] = {*study.notebooks, *(run.notebook for run in study.runs)}
    for section in ("defaults", "grid"):
        found += _setting_complaints(getattr(study, section), (section,), used)
    for position, run in enumerate(study.runs):
        place: Location = ("runs", position, "parameters")
        found += _setting_complaints(run.parameters, place, {run.notebook}, nested=False)
    return found


def _setting_complaints(
    settings: Mapping[str, Any], place: Location, notebooks: set[str], nested: bool = True
) -> list[Complaint]:
    """Keys that are no parameter of any of `notebooks`, and grids that are no lists."""
    known = {name for notebook in notebooks for name in NOTEBOOKS[notebook].model_fields}
    reserved = set(RESERVED) - set(RUN_MAY_STATE if place[0] == "runs" else ())
    free = sorted(known - reserved)
    found = list[Complaint]()
    for key, value in settings.items():
        here = (*place, key)
        if nested and key in NOTEBOOKS and isinstance(value, dict):
            found += _setting_complaints(value, here, {key}, nested=False)
        elif key in reserved:
            found.append((here, "is decided by the study's own fields, not by a parameter."))
        elif key not in known:
            options = [*free, *(NOTEBOOKS if nested else ())]
            hint = nearest(key, options) or f" Known here: {', '.join(options)}."
            found.append((here, f"no notebook of this study has such a parameter.{hint}"))
        elif place[0] == "grid" and not (isinstance(value, list) and value):
            found.append((here, f"must be a list of the values to run; found {shown(value)}."))
    return found


def panel_columns(study: Study) -> set[str] | None:
    """Columns that the linked panel will have; None where only the table itself can tell."""
    data = study.data
    if data.panel:
        return None
    columns = {"unit", "period", "linked"}
    for source in data.sources.values():
        columns |= {*source.columns, *source.attributes, *source.measures}
        columns |= {f"{name}_{end}" for name in source.measures for end in MEASURE_SUFFIXES}
    for step in data.link.derive:
        columns |= {step.name} if step.name else {f"{name}_z" for name in step.standardise}
    return columns


def column_complaints(study: Study, columns: Iterable[str] | None) -> list[Complaint]:
    """Roles, segments, labels and the cluster that name no column."""
    if columns is None:
        return []
    from ex_cx.studies.parameters import base_columns

    known = set(columns)
    named: list[tuple[Location, str]] = [(("cluster",), study.cluster)]
    for role in ("exposures", "mediators", "outcomes", "controls"):
        terms = enumerate(getattr(study.roles, role))
        named += [(("roles", role, at), c) for at, term in terms for c in base_columns((term,))]
    named.append((("roles", "weights"), study.roles.weights))
    named += [(("segments", name), name) for name in study.segments]
    named += [(("labels", name), name) for name in study.labels]
    return [
        (place, f"there is no column {name!r} in the data.{nearest(name, known)}")
        for place, name in named
        if name and name not in known
    ]
