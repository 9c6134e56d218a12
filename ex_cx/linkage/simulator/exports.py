"""The five source exports of the simulated company: what reality adds to the error-free panel.

Each `draw_` function takes what is true of every team and month, shape (N, T), and the first and
last month each team is open, and returns the rows of one export.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ex_cx.linkage.simulator.answers import AnswerScale
from ex_cx.linkage.simulator.spells import Spells, draw_spells

__all__ = [
    "BLANK",
    "EFFORT",
    "FIRST_MONTH",
    "ITEM_LOADING",
    "ITEM_SHIFTS",
    "LIKERT",
    "MOOD",
    "NPS",
    "RESOLVED",
    "WAVE_EVERY",
    "Teams",
    "draw_accounts",
    "draw_customer_survey",
    "draw_employee_survey",
    "draw_employees",
    "draw_wfm_intervals",
    "staff_spells",
]

FIRST_MONTH = np.datetime64("2023-01", "M")
WAVE_EVERY = 3
"""Months between waves of the employee survey; the first month has one."""

LIKERT = AnswerScale(1, (-1.35, -0.45, 0.45, 1.35))
ITEM_SHIFTS = np.array([-0.15, 0.10, 0.05, -0.10, 0.20, -0.10])
REVERSE_ITEM = 3
ITEM_LOADING = 0.65
"""Loading of an item's latent normal on its respondent's attitude."""

EFFORT = AnswerScale(1, (-1.1, -0.3, 0.5, 1.3))
NPS = AnswerScale(-1, (-0.45, 0.45))
RESOLVED = AnswerScale(0, (0.0,))
MOOD = {"cx_nps": 0.5, "cx_effort": -0.5, "cx_fcr_pct": 0.5}
"""Loading of a customer's three answers on that customer's mood."""
_SCORES = AnswerScale(0, (-2.2, -1.9, -1.6, -1.3, -1.0, -0.7, -0.45, -0.05, 0.45, 1.0))

BLANK = 0.03
"""Share of single answers left blank, in both surveys (the 0-10 score never is)."""
_MOVES = 0.003  # share of staff who change teams in a month


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Teams:
    """The company's teams.

    Attributes
    ----------
    unit, site, region : shape (N,), names.
    region_codes : shape (N,), integers in order of appearance.
    size : shape (N,), planned headcount.
    opens, closes : shape (N,), first and last month in which the team serves customers.
    n_periods : T.
    """

    unit: np.ndarray
    site: np.ndarray
    region: np.ndarray
    region_codes: np.ndarray
    size: np.ndarray
    opens: np.ndarray
    closes: np.ndarray
    n_periods: int

    def open_months(self) -> np.ndarray:
        """Is the team open, shape (N, T)?"""
        months = np.arange(self.n_periods)
        return (months >= self.opens[:, None]) & (months <= self.closes[:, None])


def staff_spells(teams: Teams, attrition_pct: np.ndarray, rng: np.random.Generator) -> Spells:
    """Who works where from when to when: hires fill the plan, exits follow the attrition rate.

    A team is staffed in the month before it opens (training). Everybody of a team that closes
    moves to a team of the same region, if there is one, on the first of the next month. Exits
    lower the headcount they are divided by, so that the measured rate lies above the chance of
    leaving by 1 / (2 headcount) of itself; the chance drawn is lower by as much.
    """
    chance = np.clip(attrition_pct, 0.0, 100.0) / 100 / (1 + 1 / (2 * teams.size[:, None]))
    months = np.arange(teams.n_periods)
    stays = teams.closes[:, None] == teams.n_periods - 1
    hires = (months >= teams.opens[:, None] - 1) & ((months < teams.closes[:, None]) | stays)
    training = (months == teams.opens[:, None] - 1) & (teams.opens[:, None] > 0)
    moves = np.where((months == teams.closes[:, None]) & ~stays, 1.0, _MOVES)
    moves[training] = 0.0
    return draw_spells(
        plan=np.where(hires, teams.size[:, None], 0),
        exit_share=np.where(training, 0.0, chance),
        move_share=moves,
        groups=teams.region_codes,
        rng=rng,
    )


def draw_employees(teams: Teams, spells: Spells, rng: np.random.Generator) -> pd.DataFrame:
    """HRIS: one row for each time that somebody belonged to a team."""
    n = len(spells.unit)
    joined = rng.random(spells.people) ** 3 * 2400  # days of tenure when the data begin
    hired = _random_day(np.maximum(spells.start, 0), rng)
    founder = spells.start < 0
    hired[founder] = FIRST_MONTH.astype("M8[D]") - joined[spells.person[founder]].astype(int) - 1
    opening = spells.start == teams.opens[spells.unit] - 1
    after_move = spells.after_move | (opening & ~founder)
    hired[after_move] = _first_day(spells.start[after_move])
    left = _random_day(spells.end, rng)
    left[spells.moved] = _first_day(spells.end[spells.moved] + 1)
    stays = spells.end >= teams.n_periods
    left[stays | (left >= _first_day(np.array(teams.n_periods)))] = np.datetime64("NaT")
    kind = np.where(rng.random(n) < 0.8, "voluntary", "involuntary").astype(object)
    kind[spells.moved] = "transfer"
    kind[np.isnat(left)] = None
    roles = np.array(["agent", "senior agent", "team lead"])
    role = roles[np.searchsorted([0.78, 0.94], rng.random(spells.people))][spells.person]
    rows = pd.DataFrame(
        {
            "employee_id": _identifiers("E", spells.person + 1, spells.people),
            "team": teams.unit[spells.unit],
            "site": teams.site[spells.unit],
            "region": teams.region[spells.unit],
            "role": role,
            "hire_date": hired,
            "exit_date": left,
            "exit_type": kind,
        }
    )
    return rows.sort_values(["employee_id", "hire_date"], ignore_index=True)


def draw_employee_survey(
    teams: Teams, engagement: np.ndarray, headcount: np.ndarray, rng: np.random.Generator
) -> tuple[pd.DataFrame, np.ndarray]:
    """Employee survey: a row per respondent and wave, and respondents by team and wave, (N, W).

    Six items from 1 (disagree) to 5 (agree), the fourth reverse-keyed; respondents are anonymous.
    About two thirds answer; single items are left blank now and then.
    """
    waves = np.arange(0, teams.n_periods, WAVE_EVERY)
    willing = np.clip(0.68 + 0.06 * rng.standard_normal((len(teams.unit), len(waves))), 0.4, 0.95)
    asked = np.where(teams.open_months(), headcount, 0)[:, waves]
    respondents = rng.binomial(asked, willing)
    unit, wave = _repeat_cells(respondents)
    centre = LIKERT.latent(engagement[unit, waves[wave]][:, None] + ITEM_SHIFTS)
    attitude = rng.standard_normal(len(unit))[:, None]
    own = np.sqrt(1 - ITEM_LOADING**2) * rng.standard_normal(centre.shape)
    answers = LIKERT.answers(centre + ITEM_LOADING * attitude + own)
    answers[:, REVERSE_ITEM] = 6 - answers[:, REVERSE_ITEM]
    order = np.lexsort((rng.random(len(unit)), wave))
    rows = {
        "response_id": _identifiers("R", np.arange(1, len(unit) + 1), len(unit)),
        "team": teams.unit[unit[order]],
        "wave": _months(waves[wave[order]]),
    }
    items = {f"eng_{j + 1}": _with_blanks(answers[order, j], rng) for j in range(answers.shape[1])}
    return pd.DataFrame(rows | items), respondents


def draw_wfm_intervals(
    teams: Teams, occupancy_pct: np.ndarray, aht_seconds: np.ndarray, rng: np.random.Generator
) -> pd.DataFrame:
    """Workforce management: a row per team and working day.

    Days scatter around the month; over a month, handle time / staffed time is the occupancy and
    handle time / handled contacts the AHT, to the second.
    """
    unit, month, day = _working_days(teams)
    n_cells = len(teams.unit) * teams.n_periods
    cell = unit * teams.n_periods + month
    occupancy = np.clip(occupancy_pct, 30.0, 98.0)[unit, month]
    weekday = np.array([1.18, 1.06, 1.0, 0.96, 0.90, 1.0, 1.0])[day.astype(int) % 7 - 4]
    offered = rng.poisson(9.0 * teams.size[unit] * weekday * np.exp(rng.normal(0, 0.08, len(unit))))
    abandoned = rng.binomial(offered, 0.01 + 0.2 / (1 + np.exp((90 - occupancy) / 4)))
    handled = offered - abandoned
    handle = handled * np.exp(rng.normal(0, 0.05, len(unit)))
    handle *= _ratio_of_sums(cell, aht_seconds[unit, month] * handled, handle, n_cells)
    staffed = handle * np.exp(rng.normal(0, 0.06, len(unit)))
    staffed *= _ratio_of_sums(cell, handle * 100 / occupancy, staffed, n_cells)
    rows = pd.DataFrame(
        {
            "team": teams.unit[unit],
            "date": day,
            "offered": offered,
            "handled": handled,
            "abandoned": abandoned,
            "handle_seconds": np.rint(handle).astype(np.int64),
            "staffed_seconds": np.rint(staffed).astype(np.int64),
        }
    )
    return rows.sort_values(["date", "team"], ignore_index=True)


def draw_customer_survey(
    teams: Teams,
    nps: np.ndarray,
    effort: np.ndarray,
    fcr_pct: np.ndarray,
    rng: np.random.Generator,
    *,
    per_head: float = 1.2,
) -> tuple[pd.DataFrame, np.ndarray]:
    """Customer survey: a row per respondent, and respondents by team and month, (N, T).

    One customer's three answers share that customer's mood. `per_head` is the number of
    respondents a month for each planned head of the team.
    """
    expected = np.where(teams.open_months(), per_head * teams.size[:, None], 0.0)
    respondents = rng.poisson(expected * rng.gamma(16, 1 / 16, expected.shape))
    unit, month = _repeat_cells(respondents)
    mood = rng.standard_normal(len(unit))

    def normal(scale: AnswerScale, values: np.ndarray, name: str) -> np.ndarray:
        own = np.sqrt(1 - MOOD[name] ** 2) * rng.standard_normal(len(unit))
        return scale.latent(values)[unit, month] + MOOD[name] * mood + own

    resolved = RESOLVED.answers(normal(RESOLVED, fcr_pct / 100, "cx_fcr_pct"))
    answered = resolved.astype(object)
    answered[rng.random(len(unit)) < BLANK] = None
    rows = pd.DataFrame(
        {
            "date": _random_day(month, rng),
            "team": teams.unit[unit],
            "nps_score": _SCORES.answers(normal(NPS, nps / 100, "cx_nps")),
            "effort": _with_blanks(EFFORT.answers(normal(EFFORT, effort, "cx_effort")), rng),
            "resolved": pd.Series(answered).map({1: "yes", 0: "no"}),
        }
    ).sort_values(["date", "team"], ignore_index=True, kind="stable")
    rows.insert(0, "response_id", _identifiers("C", np.arange(1, len(rows) + 1), len(rows)))
    return rows, respondents


def draw_accounts(
    teams: Teams, retention_pct: np.ndarray, rng: np.random.Generator, *, per_head: float = 5.0
) -> tuple[pd.DataFrame, np.ndarray]:
    """CRM: a row per account with the team that won it, and open accounts by month, (N, T).

    The CRM keeps naming a team after it has closed: its accounts live on and churn.
    """
    months = np.arange(teams.n_periods)
    planned = np.rint(per_head * teams.size).astype(int)[:, None]
    sells = (months >= teams.opens[:, None] - 1) & (months <= teams.closes[:, None])
    spells = draw_spells(
        plan=np.where(sells, planned, 0),
        exit_share=1 - np.clip(retention_pct, 0.0, 100.0) / 100,
        move_share=np.zeros(sells.shape),
        groups=teams.region_codes,
        rng=rng,
    )
    n = len(spells.unit)
    start = _random_day(np.maximum(spells.start, 0), rng)
    founder = spells.start < 0
    age = (rng.random(n) ** 2 * 2000).astype(int) + 1
    start[founder] = FIRST_MONTH.astype("M8[D]") - age[founder]
    churn = _random_day(spells.end, rng)
    churn[spells.end >= teams.n_periods] = np.datetime64("NaT")
    order = np.argsort(start, kind="stable")
    rows = pd.DataFrame(
        {
            "account_id": _identifiers("A", np.arange(1, n + 1), n),
            "team": teams.unit[spells.unit[order]],
            "start_date": start[order],
            "churn_date": churn[order],
            "monthly_revenue": np.exp(rng.normal(5.2, 0.6, n)).round(2)[order],
        }
    )
    return rows, spells.at_start


def _working_days(teams: Teams) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Team, month and date of every working day of every open team."""
    first, last = (_first_day(np.array(month)).item() for month in (0, teams.n_periods))
    days = np.arange(first, last, dtype="datetime64[D]")
    days = days[np.is_busday(days)]
    month = (days.astype("M8[M]") - FIRST_MONTH).astype(int)
    unit, position = np.nonzero(teams.open_months()[:, month])
    return unit, month[position], days[position]


def _ratio_of_sums(cell: np.ndarray, top: np.ndarray, bottom: np.ndarray, n: int) -> np.ndarray:
    """For each row, the sum of `top` over its cell divided by that of `bottom`; 1 where none."""
    above, below = np.bincount(cell, top, n), np.bincount(cell, bottom, n)
    return np.divide(above, below, out=np.ones(n), where=below > 0)[cell]


def _repeat_cells(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of each of the counted things."""
    cell = np.repeat(np.arange(counts.size), counts.ravel())
    return cell // counts.shape[1], cell % counts.shape[1]


def _with_blanks(answers: np.ndarray, rng: np.random.Generator) -> pd.Series:
    """Whole numbers, some of them left blank."""
    return pd.Series(answers, dtype="Int8").mask(rng.random(len(answers)) < BLANK)


def _identifiers(letter: str, numbers: np.ndarray, largest: int) -> pd.Series:
    width = len(str(largest))
    return letter + pd.Series(numbers).astype("string").str.zfill(width)


def _months(codes: np.ndarray) -> np.ndarray:
    return np.datetime_as_string(FIRST_MONTH + codes)


def _first_day(codes: np.ndarray) -> np.ndarray:
    return (FIRST_MONTH + codes).astype("M8[D]")


def _random_day(codes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A day of each month, first and last days included."""
    first, after = _first_day(codes), _first_day(codes + 1)
    return first + (rng.random(len(codes)) * (after - first).astype(int)).astype(int)
