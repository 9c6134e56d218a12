"""What each notebook may be asked: names, types, choices - checked before data is read."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Annotated, Any, Literal, overload

import pandas as pd
from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from ex_cx.errors import ParameterError, nearest
from ex_cx.estimation.conventions import Match, Vcov
from ex_cx.estimation.path_intervals import Interval
from ex_cx.estimation.path_levels import Moderated, Products
from ex_cx.linkage.validation import Strict, check, shown, spelled
from ex_cx.models.compare import COMPARED
from ex_cx.models.mediation_spec import Structure
from ex_cx.models.spec import Estimator, PanelSpec, term_name

__all__ = [
    "NOTEBOOKS",
    "DataAuditParameters",
    "DataParameters",
    "MediationParameters",
    "PanelRegressionParameters",
    "asked_change",
    "check_parameters",
    "parse_parameters",
    "parse_segment",
]


def _split(value: object) -> object:
    """`papermill -p` can pass no list, so one text of names with commas between will do."""
    if isinstance(value, str):
        return tuple(name.strip() for name in value.split(",") if name.strip())
    return tuple(value) if isinstance(value, list) else value


def _sentences(value: object) -> object:
    return (value,) if isinstance(value, str) and value else _split(value)


def _pairs(value: object) -> object:
    """`papermill -p` can pass no mapping either, so `x=5, z=-0.5` will do."""
    pairs = _named_pairs(value)
    if not isinstance(value, str) or not isinstance(pairs, dict):
        return value
    return {name: _amount(text) for name, text in pairs.items()}


def _named_pairs(value: object) -> object:
    if not isinstance(value, str):
        return value
    pairs = [part.partition("=") for part in value.split(",") if part.strip()]
    return {name.strip(): text.strip() for name, _, text in pairs}


def _amount(text: str) -> object:
    try:
        return float(text)
    except ValueError:
        return text  # which the type refuses, in words


Sentences = Annotated[tuple[str, ...], BeforeValidator(_sentences)]
Names = Annotated[tuple[str, ...], BeforeValidator(_split)]
Effects = Annotated[tuple[Literal["unit", "period"], ...], BeforeValidator(_split)]
Level = Annotated[float, Field(gt=0, lt=1)]
Lag = Annotated[int, Field(ge=0)]
Draws = Annotated[int, Field(ge=99, le=1_000_000)]
Seed = Annotated[int, Field(ge=0)]
Instruments = Annotated[dict[str, Names], BeforeValidator(_named_pairs)]
Changes = Annotated[dict[str, float], BeforeValidator(_pairs)]
Moderations = Annotated[tuple[Moderated, ...], BeforeValidator(_split)]
Estimators = Annotated[tuple[Estimator, ...], BeforeValidator(_split)]


class DataParameters(Strict):
    """Which rows a notebook works on; shared by all notebooks.

    Attributes
    ----------
    panel_path : `embedded:<study>` (data that comes with ex_cx), a CSV, Parquet or Excel table
        with one row per unit and period, or a study file whose sources are then linked.
    data_root : folder of the sources of a study file; empty means the study file's own.
    unit, period : key columns of a table; linked sources always have `unit` and `period`.
    segment : `column=value` keeps those rows only; empty keeps all.
    labels : column -> what to call it in sentences and figures.
    limits : what the study cannot show, in sentences that the report repeats.
    title : the report's heading; empty lets the notebook word one.
    png : store figures as PNG at print size, too.
    run_dir : folder that receives the report's parts; empty only shows them.
    """

    panel_path: str = "embedded:contact_centre"
    data_root: str = ""
    unit: str = "unit"
    period: str = "period"
    segment: str = ""
    labels: dict[str, str] = Field(default_factory=dict)
    limits: Sentences = ()
    title: str = ""
    png: bool = False
    run_dir: str = ""

    @field_validator("segment")
    @classmethod
    def _is_a_pair(cls, value: str) -> str:
        if value and not all(parse_segment(value)):
            raise ValueError(f"must read `column=value`, or be empty; found {shown(value)}.")
        return value

    def required_columns(self) -> tuple[str, ...]:
        """Columns that must exist in the panel, besides its keys."""
        return (parse_segment(self.segment)[0],) if self.segment else ()


class DataAuditParameters(DataParameters):
    """Parameters of `data_audit`: the columns to look at; the last one is drawn over time."""

    columns: Names = ("ex_occupancy_pct", "ex_engagement", "cx_effort", "cx_nps")

    @field_validator("columns")
    @classmethod
    def _is_named(cls, value: Names) -> Names | str:
        return _named(value)

    def required_columns(self) -> tuple[str, ...]:
        """Columns that must exist in the panel, besides its keys."""
        return (*super().required_columns(), *self.columns)


class PanelRegressionParameters(DataParameters):
    """Parameters of `panel_regression`: one outcome on one or more exposures.

    The within estimate answers; `estimators` are shown side by side with it.

    Attributes
    ----------
    match : the package whose small-sample convention the errors take.
    instruments : exposure -> what moves it; for a second estimate beside the one that answers.
    change : term -> amount; the change whose counterpart in the outcome the report tells. Empty:
        one within-unit standard deviation of the first exposure.
    n_boot, seed : draws of the wild bootstrap, and where its random numbers start.
    """

    outcome: str = "cx_nps"
    exposures: Names = ("ex_occupancy_pct", "ex_engagement")
    controls: Names = ()
    absorb: Effects = ("unit", "period")
    lag: Lag = 0
    estimators: Estimators = COMPARED
    vcov: Vcov = "cluster"
    cluster: str = ""
    weights: str = ""
    conf_level: Level = 0.95
    match: Match = "fixest"
    instruments: Instruments = Field(default_factory=dict)
    change: Changes = Field(default_factory=dict)
    n_boot: Draws = 1999
    seed: Seed = 20240501

    @field_validator("outcome", "exposures")
    @classmethod
    def _is_named(cls, value: Names | str) -> Names | str:
        return _named(value)

    @field_validator("estimators")
    @classmethod
    def _holds_the_answer(cls, value: tuple[Estimator, ...]) -> tuple[Estimator, ...]:
        if "within" not in value:
            raise ValueError("lacks 'within', the estimate that answers; add it.")
        if len(set(value)) < len(value):
            raise ValueError("names an estimator twice.")
        return value

    @field_validator("instruments")
    @classmethod
    def _moves_its_own_exposures(cls, value: Instruments, info: ValidationInfo) -> Instruments:
        exposures = info.data.get("exposures", ())
        for name, moved_by in value.items():
            if exposures and name not in exposures:
                raise ValueError(
                    f"{shown(name)} is no exposure; these are {', '.join(exposures)}."
                    f"{nearest(name, exposures)}"
                )
            if not moved_by:
                raise ValueError(f"{shown(name)} has no instrument; name a column.")
        return value

    @field_validator("change")
    @classmethod
    def _changes_its_own_terms(cls, value: Changes, info: ValidationInfo) -> Changes:
        terms = (*info.data.get("exposures", ()), *info.data.get("controls", ()))
        for name, amount in value.items():
            if terms and name not in terms:
                raise ValueError(
                    f"{shown(name)} is neither an exposure nor a control; these are "
                    f"{', '.join(terms)}.{nearest(name, terms)}"
                )
            if amount == 0:
                raise ValueError(f"{shown(name)} changes by 0; leave it out.")
        return value

    def required_columns(self) -> tuple[str, ...]:
        """Columns that must exist in the panel, besides its keys."""
        moved_by = tuple(name for names in self.instruments.values() for name in names)
        roles = (self.outcome, *self.exposures, *self.controls, self.cluster, self.weights)
        return (*super().required_columns(), *base_columns((*roles, *moved_by)))


class MediationParameters(DataParameters):
    """Parameters of `mediation`: one exposure, mediators side by side or in a chain, one outcome.

    Attributes
    ----------
    moderator : empty is none. interval : of paths and levels; all else as in `MediationSpec`.
    n_boot, n_boot_checks : draws behind paths and levels; behind sensitivity and its guards.
    """

    outcome: str = "cx_nps"
    exposure: str = "ex_occupancy_pct"
    mediators: Names = ("cx_effort", "cx_fcr_pct")
    controls: Names = ("ex_engagement",)
    structure: Structure = "parallel"
    absorb: Effects = ("unit", "period")
    lag_mediator: Lag = 0
    lag_serial: Lag = 0
    lag_outcome: Lag = 0
    moderator: str = ""
    moderated: Moderations = Field(default=(), validate_default=True)
    interaction: bool = False
    products: Products = "raw"
    cluster: str = ""
    weights: str = ""
    interval: Interval = "percentile"
    conf_level: Level = 0.95
    n_boot: Draws = 4999
    n_boot_checks: Draws = 499
    seed: Seed = 20240501

    @field_validator("outcome", "exposure", "mediators")
    @classmethod
    def _is_named(cls, value: Names | str) -> Names | str:
        return _named(value)

    @field_validator("lag_serial")
    @classmethod
    def _needs_a_chain(cls, value: int, info: ValidationInfo) -> int:
        if value and info.data.get("structure") == "parallel":
            raise ValueError("is the time along a chain; it needs structure `serial`.")
        return value

    @field_validator("moderated")
    @classmethod
    def _goes_with_a_moderator(cls, value: Moderations, info: ValidationInfo) -> Moderations:
        if value and not info.data.get("moderator"):
            raise ValueError("names paths, but there is no `moderator`.")
        if info.data.get("moderator") and not value:
            raise ValueError("is empty; name what the moderator changes: a, b or direct.")
        return value

    def required_columns(self) -> tuple[str, ...]:
        """Columns that must exist in the panel, besides its keys."""
        paths = (self.outcome, self.exposure, *self.mediators)
        held = (*self.controls, self.moderator, self.cluster, self.weights)
        return (*super().required_columns(), *base_columns((*paths, *held)))


def _named(value: Names | str) -> Names | str:
    if not value:
        raise ValueError("is empty; name a column.")
    return value


NOTEBOOKS: Mapping[str, type[DataParameters]] = {
    "data_audit": DataAuditParameters,
    "panel_regression": PanelRegressionParameters,
    "mediation": MediationParameters,
}
"""Notebook name -> the model of its parameters, in the order a study reads best."""


def base_columns(terms: tuple[str, ...]) -> tuple[str, ...]:
    """The columns behind terms: `a:b` is a product, `a^2` a square.

    >>> base_columns(("nps", "load^2", "load:engagement", ""))
    ('nps', 'load', 'engagement')
    """
    parts = (part.split("^")[0] for term in terms for part in term.split(":"))
    return tuple(dict.fromkeys(part for part in parts if part))


def parse_segment(segment: str) -> tuple[str, str]:
    """Column and value of `column=value`; the value may hold further `=`.

    >>> parse_segment("region=North")
    ('region', 'North')
    """
    column, _, value = segment.partition("=")
    return column.strip(), value.strip()


def asked_change(parameters: PanelRegressionParameters, sizes: pd.DataFrame) -> dict[str, float]:
    """The change that a report tells, by the names of the result's terms.

    Parameters
    ----------
    parameters : its `change`; where that is empty, one within-unit standard deviation of the first
        exposure that is no product or power, or else of the first.
    sizes : from `effect_sizes`.
    """
    spec = PanelSpec(outcome=parameters.outcome, exposures=parameters.exposures, lag=parameters.lag)
    if parameters.change:
        return {term_name(name, spec): amount for name, amount in parameters.change.items()}
    spreads = sizes[sizes["change"] == "one within-unit sd"]
    plain = spreads[~spreads["term"].str.contains(r"[:^]")]
    first = (plain if len(plain) else spreads).iloc[0]
    return {str(first["term"]): float(first["size"])}


def parse_parameters(notebook: str, values: Mapping[str, Any]) -> tuple[DataParameters, list[str]]:
    """Parameters of `notebook`, defaults filled in, and complaints (then the first is defaults).

    >>> parse_parameters("mediation", {"mediator": ["cx_effort"]})[1]
    ["mediator: there is no such parameter. Did you mean 'mediators'?"]
    """
    model = NOTEBOOKS[notebook]
    try:
        found, complaints = check(model, dict(values))
    except TypeError as error:
        return model(), [f"a parameter holds something that is not plain text or number: {error}"]
    words = [f"{spelled(location)}: {text}" for location, text in complaints]
    return found or model(), [line.replace("no such key", "no such parameter") for line in words]


@overload
def check_parameters(
    notebook: Literal["data_audit"], namespace: Mapping[str, Any]
) -> DataAuditParameters: ...
@overload
def check_parameters(
    notebook: Literal["panel_regression"], namespace: Mapping[str, Any]
) -> PanelRegressionParameters: ...
@overload
def check_parameters(
    notebook: Literal["mediation"], namespace: Mapping[str, Any]
) -> MediationParameters: ...
def check_parameters(notebook: str, namespace: Mapping[str, Any]) -> DataParameters:
    """The parameters that a notebook's cells have set, checked and frozen.

    Parameters
    ----------
    notebook : its name without `.ipynb`.
    namespace : the notebook's `globals()` right after its parameters cell. Names set by that
        cell or injected by papermill must be parameters, so that a misspelt `-p` stops here
        instead of running on the default.

    Raises
    ------
    ParameterError : a name that is not a parameter, one that is missing, a wrong type or choice.
    """
    if notebook not in NOTEBOOKS:
        raise ParameterError(f"There is no notebook {notebook!r}.{nearest(notebook, NOTEBOOKS)}")
    known = NOTEBOOKS[notebook].model_fields
    given = {name: namespace[name] for name in known if name in namespace}
    unknown = {name: None for name in _set_names(namespace, set(known)) if name not in known}
    found, complaints = parse_parameters(notebook, {**_as_lists(given), **unknown})
    complaints += [
        f"{name}: is missing from the parameters cell." for name in known if name not in given
    ]
    if complaints:
        count = "1 parameter" if len(complaints) == 1 else f"{len(complaints)} parameters"
        lines = "".join(f"\n- {line}" for line in complaints)
        lines = lines.replace("in quotes.", "in quotes (with papermill: -r, not -p).")
        raise ParameterError(f"{count} of the {notebook} notebook cannot be used:{lines}")
    return found


def _as_lists(values: Mapping[str, Any]) -> dict[str, Any]:
    """Tuples and sets are as good as lists in a notebook's cell."""
    return {
        name: list(value) if isinstance(value, tuple | set | frozenset) else value
        for name, value in values.items()
    }


def _set_names(namespace: Mapping[str, Any], known: set[str]) -> list[str]:
    """Names that the parameters cell and papermill's injected cell have set.

    Outside IPython (no history of cells) every plain value in `namespace` counts.
    """
    cells = [cell for cell in namespace.get("In", []) if isinstance(cell, str) and cell]
    if not cells:
        plain = (str, int, float, bool, list, tuple, dict, set, type(None))
        return [
            name
            for name, value in namespace.items()
            if isinstance(value, plain) and not name.startswith("_") and name not in ("In", "Out")
        ]
    injected = [cell for cell in cells if cell.lstrip().startswith("# Parameters")]
    declaring = [cell for cell in cells if cell not in injected and _assigned(cell) & known]
    names = set().union(*map(_assigned, injected[-1:] + declaring[-1:]))
    return sorted(name for name in names if not name.startswith("_"))


def _assigned(cell: str) -> set[str]:
    try:
        body = ast.parse(cell).body
    except (SyntaxError, ValueError):
        return set()
    targets = [t for node in body if isinstance(node, ast.Assign) for t in node.targets]
    targets += [node.target for node in body if isinstance(node, ast.AnnAssign)]
    return {
        name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)
    }
