"""A study as the list of its runs: notebooks x outcomes x segments x grid, then the extra ones."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ex_cx.linkage.validation import Complaint, Location
from ex_cx.studies.parameters import NOTEBOOKS, DataParameters, parse_parameters
from ex_cx.studies.study import ExtraRun, LoadedStudy, Study

__all__ = ["PlannedRun", "folder_name", "plan_runs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRun:
    """One execution of one notebook.

    Attributes
    ----------
    name : its folder, unlike any other run's of the study.
    notebook : name without `.ipynb`.
    segment : `column=value`, or empty for all rows.
    given : parameters that the study decides; the notebook's defaults are the rest.
    parameters : given and defaulted together, checked.
    """

    name: str
    notebook: str
    segment: str
    given: Mapping[str, Any]
    parameters: DataParameters


@dataclass(frozen=True, slots=True)
class _Setting:
    """A parameter's value, where the study file says so, and its part of the run's name."""

    value: Any
    place: Location
    label: str = ""


def plan_runs(loaded: LoadedStudy, segments: Mapping[str, Sequence[str]]) -> list[PlannedRun]:
    """All runs of a study, in reading order.

    Parameters
    ----------
    segments : column -> its values in the linked panel, for every column in `study.segments`.

    Raises
    ------
    StudyError : parameters that a notebook refuses, or two runs of one name.
    """
    study = loaded.study
    drafts = [d for n in study.notebooks for d in _crossed(study, n, segments)]
    drafts += [_extra(study, run, at) for at, run in enumerate(study.runs)]
    complaints = list[Complaint]()
    runs = dict[str, PlannedRun]()
    for notebook, settings, name, place in drafts:
        given = {key: setting.value for key, setting in settings.items()}
        parameters, words = parse_parameters(notebook, given)
        for text in words:
            key = re.split(r"[ .:]", text)[0]
            where = settings[key].place if key in settings else place
            complaints.append((where, f"{notebook}: {text}"))
        if name in runs:
            text = f"the run {name!r} is planned twice; give one of them a `name` of its own."
            complaints.append((place, text))
        runs[name] = PlannedRun(
            name=name,
            notebook=notebook,
            segment=parameters.segment,
            given=given,
            parameters=parameters,
        )
    loaded.refuse(dict.fromkeys(complaints))
    return list(runs.values())


Draft = tuple[str, dict[str, _Setting], str, Location]
"""Notebook, its settings, the run's name, and where the study file asks for it."""


def _crossed(study: Study, notebook: str, segments: Mapping[str, Sequence[str]]) -> Iterator[Draft]:
    settings = _settings(study, notebook)
    axes = _axes(study, notebook, settings, segments)
    for point in itertools.product(*axes.values()):
        chosen = settings | dict(zip(axes, point, strict=True))
        _spread_exposures(study, notebook, chosen)
        name = "--".join([notebook, *(s.label for s in point if s.label)])
        yield notebook, chosen, name, ("notebooks", study.notebooks.index(notebook))


def _extra(study: Study, run: ExtraRun, at: int) -> Draft:
    settings = _settings(study, run.notebook)
    own = {
        key: _Setting(value, ("runs", at, "parameters", key), folder_name(f"{key}={value}"))
        for key, value in run.parameters.items()
    }
    if run.segment:
        label = folder_name(run.segment)
        own["segment"] = _Setting(run.segment, ("runs", at, "segment"), label)
    chosen = settings | own
    first = {
        key: axis[0] for key, axis in _axes(study, run.notebook, chosen, {}, grid=False).items()
    }
    chosen |= first
    _spread_exposures(study, run.notebook, chosen)
    labels = [s.label for s in (*first.values(), *own.values()) if s.label]
    name = folder_name(run.name) if run.name else "--".join([run.notebook, *labels])
    return run.notebook, chosen, name, ("runs", at)


def _settings(study: Study, notebook: str) -> dict[str, _Setting]:
    """What the study decides for every run of a notebook: roles, then defaults."""
    roles = study.roles
    audited = (*roles.exposures, *roles.mediators, *roles.outcomes, *roles.controls)
    fields = {
        "unit": (study.unit, ("unit",)),
        "period": (study.period, ("period",)),
        "cluster": (study.cluster, ("cluster",)),
        "labels": (dict(study.labels), ("labels",)),
        "limits": (list(study.limits), ("limits",)),
        "weights": (roles.weights, ("roles", "weights")),
        "exposures": (list(roles.exposures), ("roles", "exposures")),
        "mediators": (list(roles.mediators), ("roles", "mediators")),
        "controls": (list(roles.controls), ("roles", "controls")),
        "columns": (list(dict.fromkeys(audited)), ("roles",)),
    }
    known = NOTEBOOKS[notebook].model_fields
    settings = {key: _Setting(*pair) for key, pair in fields.items() if key in known}
    own = study.defaults.get(notebook, {})
    shared = {k: v for k, v in study.defaults.items() if k in known and k not in NOTEBOOKS}
    settings |= {key: _Setting(value, ("defaults", key)) for key, value in shared.items()}
    return settings | {k: _Setting(v, ("defaults", notebook, k)) for k, v in own.items()}


def _axes(
    study: Study,
    notebook: str,
    settings: Mapping[str, _Setting],
    segments: Mapping[str, Sequence[str]],
    grid: bool = True,
) -> dict[str, list[_Setting]]:
    """Parameters that take several values, each a list of them."""
    known = NOTEBOOKS[notebook].model_fields
    axes: dict[str, list[_Setting]] = {}
    for name, role in (("exposure", "exposures"), ("outcome", "outcomes")):
        columns = getattr(study.roles, role)
        if name in known and name not in settings:
            place: Location = ("roles", role)
            values = [_Setting(c, (*place, at), folder_name(c)) for at, c in enumerate(columns)]
            axes[name] = values or [_Setting("", place)]
    if "segment" not in settings and grid:
        axes["segment"] = [_Setting("", ("segments",)), *_segment_axis(study, notebook, segments)]
    for key, place, values in _grid(study, notebook) if grid else ():
        axes[key] = [_Setting(v, place, folder_name(f"{key}={v}")) for v in values]
    return axes


def _segment_axis(
    study: Study, notebook: str, segments: Mapping[str, Sequence[str]]
) -> Iterator[_Setting]:
    for column, notebooks in study.segments.items():
        if not notebooks or notebook in notebooks:
            for value in segments[column]:
                label = folder_name(f"{column}={value}")
                yield _Setting(f"{column}={value}", ("segments", column), label)


def _grid(study: Study, notebook: str) -> Iterator[tuple[str, Location, list[Any]]]:
    known = NOTEBOOKS[notebook].model_fields
    for key, values in study.grid.items():
        if key == notebook:
            yield from ((k, ("grid", key, k), list(v)) for k, v in values.items())
        elif key in known and key not in NOTEBOOKS:
            yield key, ("grid", key), list(values)


def _spread_exposures(study: Study, notebook: str, settings: dict[str, _Setting]) -> None:
    """In a mediation the exposures that are not studied join the controls."""
    controls = settings.get("controls")
    if notebook != "mediation" or controls is None or controls.place[0] != "roles":
        return
    taken = [settings["exposure"].value, settings["outcome"].value, *settings["mediators"].value]
    others = [c for c in study.roles.exposures if c not in (*taken, *controls.value)]
    settings["controls"] = _Setting([*controls.value, *others], controls.place)


def folder_name(text: str) -> str:
    """`text` as a harmless part of a folder's name; what cannot stay as it is adds a short hash.

    >>> folder_name("region=North East")
    'region-north-east'
    >>> folder_name("unit=../../x")
    'unit-x-265f16'
    """
    plain = re.sub(r"[ =]", "-", text.lower())
    kept = re.sub(r"-{2,}", "-", re.sub(r"[^a-z0-9_-]", "-", plain)).strip("-")[:48].strip("-")
    if kept == plain:
        return kept
    return f"{kept}-{hashlib.sha256(text.encode()).hexdigest()[:6]}".lstrip("-")
