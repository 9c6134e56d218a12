"""A simulated contact-centre company whose effects are known: its true panel and its exports.

`simulate_panel` gives the error-free values of the causal model (`causal.py`), on which the
recovery of every estimator is tested. `simulate_contact_centre` draws the five exports that such
a company's systems would give (`exports.py`), with all that reality adds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ex_cx.errors import SpecError
from ex_cx.linkage.panel import Panel
from ex_cx.linkage.simulator.attenuation import expected_coefficients, measurement_noise
from ex_cx.linkage.simulator.causal import MODEL, NAMES, draw_true_values, effect, paths
from ex_cx.linkage.simulator.exports import (
    FIRST_MONTH,
    Teams,
    draw_accounts,
    draw_customer_survey,
    draw_employee_survey,
    draw_employees,
    draw_wfm_intervals,
    staff_spells,
)

__all__ = [
    "ContactCentre",
    "causal_truth",
    "simulate_contact_centre",
    "simulate_panel",
    "write_contact_centre",
]

_REGIONS = ("North", "Midlands", "South", "West")
_SITES = (
    ("Leeds", "York", "Hull"),
    ("Derby", "Lincoln", "Telford"),
    ("Dover", "Poole", "Crawley"),
    ("Bristol", "Exeter", "Swansea"),
)
_FILES = {
    "employees": "hris_employees.csv",
    "employee_survey": "employee_survey.csv",
    "wfm_intervals": "wfm_intervals.csv",
    "customer_survey": "customer_survey.csv",
    "crm_accounts": "crm_accounts.csv",
}

MEDIATIONS: tuple[dict[str, Any], ...] = (
    {
        "exposure": "ex_occupancy_pct",
        "mediators": ["cx_effort", "cx_fcr_pct"],
        "outcome": "cx_nps",
        "controls": [],
    },
    {
        "exposure": "ex_engagement",
        "mediators": ["ex_attrition_pct"],
        "outcome": "cx_effort",
        "controls": ["ex_occupancy_pct"],
    },
    {
        "exposure": "ex_occupancy_pct",
        "mediators": ["ex_attrition_pct"],
        "outcome": "cx_effort",
        "controls": [],
    },
    {
        "exposure": "cx_effort",
        "mediators": ["cx_nps"],
        "outcome": "cx_retention_pct",
        "controls": ["cx_fcr_pct"],
    },
)
"""Parallel mediation designs that the model identifies, with the controls that each needs."""

_REGRESSIONS = (
    *((equation.name, tuple(equation.causes)) for equation in MODEL if equation.causes),
    ("cx_effort", ("ex_occupancy_pct",)),
    ("cx_nps", ("ex_occupancy_pct",)),
    ("cx_nps", ("ex_engagement", "ex_occupancy_pct")),
    ("cx_nps", ("cx_effort", "cx_fcr_pct", "ex_occupancy_pct")),
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ContactCentre:
    """One simulated company.

    Attributes
    ----------
    employees, employee_survey, wfm_intervals, customer_survey, crm_accounts : the five exports,
        as their systems would give them (data/contact_centre/README.md describes each column).
    truth : structural effects, implied total and indirect effects, expected attenuation.
    panel : the error-free values behind the exports, for the months in which a team is open.
    """

    employees: pd.DataFrame
    employee_survey: pd.DataFrame
    wfm_intervals: pd.DataFrame
    customer_survey: pd.DataFrame
    crm_accounts: pd.DataFrame
    truth: Mapping[str, Any]
    panel: Panel


def simulate_panel(
    *, n_units: int = 48, n_periods: int = 24, reverse: float = 0.0, rng: np.random.Generator
) -> Panel:
    """Error-free unit-period values of the causal model, balanced and unclipped.

    Parameters
    ----------
    n_units, n_periods : teams and months (from 2023-01).
    reverse : effect of last month's NPS on engagement, scale points per NPS point. Not 0, strict
        exogeneity fails and within estimates of engagement's effects are biased in order 1/T.
    rng : source of randomness; the same state gives the same panel.

    Returns
    -------
    Columns unit, period, region, site, ex_engagement (1-5), ex_occupancy_pct, ex_attrition_pct (a
    month), ex_aht_seconds, cx_effort (1-5, high is bad), cx_fcr_pct, cx_nps, cx_retention_pct.

    Raises
    ------
    SpecError : fewer than 2 units or periods, or an explosive `reverse`.

    Examples
    --------
    >>> panel = simulate_panel(n_units=12, n_periods=6, rng=np.random.default_rng(1))
    >>> panel.n_units, panel.n_periods, len(panel)
    (12, 6, 72)
    """
    unit, site_codes, region_codes = _layout(n_units, n_periods)
    values = draw_true_values(site_codes, region_codes, n_periods, reverse=reverse, rng=rng)
    shown = np.ones(values.shape[:2], dtype=bool)
    return _panel(unit, site_codes, region_codes, values, shown)


def simulate_contact_centre(
    *, n_units: int = 48, n_periods: int = 24, reverse: float = 0.0, rng: np.random.Generator
) -> ContactCentre:
    """Draw a company and its five exports.

    The exports add to the causal model: few respondents and blank answers, answers on a scale,
    quarterly survey waves, random exits and churn, transfers, teams that open and close.
    Parameters and errors are those of `simulate_panel`.

    Examples
    --------
    >>> company = simulate_contact_centre(n_units=12, n_periods=6, rng=np.random.default_rng(1))
    >>> company.truth["structural"]["ex_attrition_pct"]["ex_engagement"]
    -2.4
    """
    unit, site_codes, region_codes = _layout(n_units, n_periods)
    values = draw_true_values(site_codes, region_codes, n_periods, reverse=reverse, rng=rng)
    teams = _teams(unit, site_codes, region_codes, n_periods, rng)
    by_name = dict(zip(NAMES, np.moveaxis(values, -1, 0), strict=True))
    staff = staff_spells(teams, by_name["ex_attrition_pct"], rng)
    employee_survey, employees_n = draw_employee_survey(
        teams, by_name["ex_engagement"], staff.at_start, rng
    )
    customer_survey, customers_n = draw_customer_survey(
        teams, by_name["cx_nps"], by_name["cx_effort"], by_name["cx_fcr_pct"], rng
    )
    crm_accounts, accounts = draw_accounts(teams, by_name["cx_retention_pct"], rng)
    noise = measurement_noise(
        values,
        staff=np.where(teams.open_months(), staff.at_start, 0),
        accounts=np.where(teams.open_months(), accounts, 0),
        employees_n=employees_n,
        customers_n=customers_n,
    )
    expected = [
        row
        for equation in _REGRESSIONS
        for row in expected_coefficients(*equation, noise, n_periods)
    ]
    return ContactCentre(
        employees=draw_employees(teams, staff, rng),
        employee_survey=employee_survey,
        wfm_intervals=draw_wfm_intervals(
            teams, by_name["ex_occupancy_pct"], by_name["ex_aht_seconds"], rng
        ),
        customer_survey=customer_survey,
        crm_accounts=crm_accounts,
        truth=_design_truth(teams, reverse) | causal_truth() | _expectation(expected, reverse),
        panel=_panel(unit, site_codes, region_codes, values, teams.open_months()),
    )


def causal_truth() -> dict[str, Any]:
    """Structural effects and what they imply: total effects, every path, mediation designs.

    >>> causal_truth()["total"]["cx_effort"]["ex_engagement"]
    -0.192
    """
    total = {
        outcome: {
            cause: round(effect(cause, outcome), 6)
            for cause in NAMES
            if cause != outcome and effect(cause, outcome)
        }
        for outcome in NAMES
    }
    indirect = {
        path: round(product, 6)
        for outcome in NAMES
        for cause in NAMES
        if cause != outcome
        for path, product in paths(cause, outcome).items()
    }
    return {
        "structural": {e.name: dict(e.causes) for e in MODEL if e.causes},
        "total": {outcome: causes for outcome, causes in total.items() if causes},
        "paths": indirect,
        "mediations": [_mediation_truth(design) for design in MEDIATIONS],
        "confounding": {
            e.name: {
                "young_team": e.traits[0],
                "popular_queue": e.traits[1],
                "season": e.season,
                "unit_sd": e.unit_sd,
                "noise_sd": e.noise_sd,
                "noise_rho": e.noise_rho,
            }
            for e in MODEL
        },
    }


def write_contact_centre(exports: ContactCentre, folder: str | Path) -> list[Path]:
    """Write the five exports as CSV and truth.json into `folder`, which is made if need be.

    Dates are ISO, blanks are missing, lines end in a line feed: the same draw gives the same bytes.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    written = []
    for attribute, name in _FILES.items():
        path = target / name
        frame: pd.DataFrame = getattr(exports, attribute)
        frame.to_csv(
            path, index=False, lineterminator="\n", date_format="%Y-%m-%d", float_format="%.2f"
        )
        written.append(path)
    path = target / "truth.json"
    path.write_bytes((json.dumps(exports.truth, indent=2, allow_nan=False) + "\n").encode())
    return [*written, path]


def _layout(n_units: int, n_periods: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Names of the teams, and codes of their sites (12) and regions (4)."""
    for name, given in (("n_units", n_units), ("n_periods", n_periods)):
        if given < 2:
            raise SpecError(f"{name} is {given}; a panel needs at least 2.")
    site_codes = np.arange(n_units) * 12 // max(n_units, 12)
    first = np.searchsorted(site_codes, np.arange(12))
    ordinal = np.arange(n_units) - first[site_codes] + 1
    width = max(2, len(str(ordinal.max())))
    sites = np.array([site for region in _SITES for site in region])
    unit = [f"{sites[s]} {n:0{width}d}" for s, n in zip(site_codes, ordinal, strict=True)]
    return np.array(unit, dtype=object), site_codes, site_codes // 3


def _teams(
    unit: np.ndarray,
    site_codes: np.ndarray,
    region_codes: np.ndarray,
    n_periods: int,
    rng: np.random.Generator,
) -> Teams:
    """Headcounts (some tiny), and which teams open or close within the data."""
    n = len(unit)
    size = np.clip(np.rint(30 * np.exp(0.35 * rng.standard_normal(n) - 0.06)), 10, 80).astype(int)
    tiny = rng.random(n) < 0.06
    size[tiny] = rng.integers(6, 9, int(tiny.sum()))
    opens, closes = np.zeros(n, dtype=int), np.full(n, n_periods - 1)
    if n_periods >= 12:
        order = rng.permutation(n)
        late, early = order[: round(0.08 * n)], order[n - round(0.06 * n) :]
        opens[late] = rng.integers(2, n_periods // 2, len(late))
        closes[early] = rng.integers(n_periods // 2, n_periods - 2, len(early))
    return Teams(
        unit=unit,
        site=np.array([site for region in _SITES for site in region], dtype=object)[site_codes],
        region=np.array(_REGIONS, dtype=object)[region_codes],
        region_codes=region_codes,
        size=size,
        opens=opens,
        closes=closes,
        n_periods=n_periods,
    )


def _panel(
    unit: np.ndarray,
    site_codes: np.ndarray,
    region_codes: np.ndarray,
    values: np.ndarray,
    shown: np.ndarray,
) -> Panel:
    sites = np.array([site for region in _SITES for site in region], dtype=object)
    row, month = np.nonzero(shown)
    start = pd.Period(str(FIRST_MONTH), freq="M")
    calendar = pd.period_range(start, periods=values.shape[1], freq="M")
    keys = {
        "unit": unit[row],
        "period": calendar[month],
        "region": np.array(_REGIONS, dtype=object)[region_codes[row]],
        "site": sites[site_codes[row]],
    }
    columns = dict(zip(NAMES, values[shown].T, strict=True))
    return Panel.from_frame(pd.DataFrame(keys | columns), unit="unit", period="period")


def _mediation_truth(design: Mapping[str, Any]) -> dict[str, Any]:
    """The effects that `fit_mediation` estimates for one design."""
    exposure, outcome = design["exposure"], design["outcome"]
    mediators, controls = design["mediators"], design["controls"]
    terms: dict[str, float] = {}
    for mediator in mediators:
        others = [name for name in mediators if name != mediator]
        a = effect(exposure, mediator, held=controls)
        b = effect(mediator, outcome, held=[exposure, *others, *controls])
        terms |= {f"a:{mediator}": a, f"b:{mediator}": b, f"indirect:{mediator}": a * b}
    terms["direct"] = effect(exposure, outcome, held=[*mediators, *controls])
    terms["indirect"] = sum(terms[f"indirect:{mediator}"] for mediator in mediators)
    terms["total"] = effect(exposure, outcome, held=controls)
    return dict(design) | {"effects": {name: round(value, 6) for name, value in terms.items()}}


def _design_truth(teams: Teams, reverse: float) -> dict[str, Any]:
    last = teams.n_periods - 1
    months = FIRST_MONTH + np.arange(teams.n_periods)
    opened = {str(teams.unit[i]): str(months[teams.opens[i]]) for i in np.flatnonzero(teams.opens)}
    closing = np.flatnonzero(teams.closes < last)
    return {
        "about": "Linear causal model, all effects within the same month; see README.md.",
        "n_units": len(teams.unit),
        "n_periods": teams.n_periods,
        "reverse": reverse,
        "first_month_open": opened,
        "last_month_open": {str(teams.unit[i]): str(months[teams.closes[i]]) for i in closing},
    }


def _expectation(rows: list[dict[str, object]], reverse: float) -> dict[str, Any]:
    """Attenuation as stated in truth.json; with a reverse path the formula does not hold."""
    formula = (
        "(S_xx + W_xx)^-1 (S_xy + W_xy): S expected cross-products of the error-free series around "
        "their unit means, engagement carried forward for two months; W those of the sampling "
        "noise (variance of one answer / n, rate (100 - rate) / n, covariances where the same "
        "customers answer both). Estimator: within, unit and period effects absorbed."
    )
    return {"attenuation": {"formula": formula, "coefficients": [] if reverse else rows}}
