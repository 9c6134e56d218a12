"""An attack on two releases of one study, and on studies of other units, periods and thresholds.

What readers know are the cells of both releases. What nobody may know: the sum of a small cell, and
the sum of what changed where fewer people did.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ex_cx.errors import LinkError
from ex_cx.linkage.confidentiality.protect import ReleaseAsked
from ex_cx.linkage.confidentiality.releases import Past
from ex_cx.linkage.link import Linked, link_study_data
from ex_cx.linkage.linkspec import LinkSpec
from ex_cx.linkage.schema import MeasureSpec, SourceSpec

TEAMS, MONTHS = 8, 6
KEY = b"key of these tests"
MOOD = "ex_mood"


def answers_of(seed: int, mean: int = 14) -> pd.DataFrame:
    """One row per answer of eight teams in four sites over six months."""
    rng = np.random.default_rng(seed)
    n = rng.poisson(np.where(rng.random((TEAMS, MONTHS)) < 0.2, 5, mean))
    team, month = np.nonzero(n)
    rows = np.repeat(np.arange(len(team)), n[team, month])
    frame = pd.DataFrame({"t": team[rows], "m": month[rows]})
    return named(frame.assign(mood=rng.uniform(1, 5, len(rows)).round(3)))


def named(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(
        team=[f"team{t}" for t in rows["t"]],
        site=[f"site{t // 2}" for t in rows["t"]],
        date=[f"2024-{m + 1:02d}-15" for m in rows["m"]],
    )


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One study of the answers."""

    unit: str = "team"
    quarters: bool = False
    min_n: int = 5
    last: str = ""
    sites: bool = True

    def specs(self) -> tuple[dict[str, SourceSpec], LinkSpec]:
        shown = {"site": "site"} if self.unit == "team" and self.sites else {}
        source = SourceSpec(
            path="answers.csv",
            unit=self.unit,
            period="date",
            frequency="month",
            measures={MOOD: MeasureSpec(metric="mean", score="mood", low=1, high=5)},
            attributes=shown,
            min_n=self.min_n,
        )
        return {"pulse": source}, LinkSpec(
            frequency="quarter" if self.quarters else "", last=self.last
        )


class Company:
    """Releases one after the other, and what a reader of all of them knows."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.past = folder, Past(key=KEY)
        self.known: list[tuple[int, np.ndarray]] = []
        self.states: list[pd.DataFrame] = []

    def state(self, rows: pd.DataFrame) -> None:
        """The answers from now on."""
        self.states.append(rows.reset_index(drop=True))
        rows.to_csv(self.folder / "answers.csv", index=False)

    def release(self, plan: Plan = Plan(), study: str = "pulse") -> Linked:
        sources, link = plan.specs()
        asked = ReleaseAsked(past=self.past, study=study)
        linked = link_study_data(sources, link, self.folder, asked)
        names = [each.name for each in self.past.releases]
        if linked.release.name not in names:
            self.past = replace(self.past, releases=(*self.past.releases, linked.release))
        frame = linked.panel.frame
        for each in frame[frame[MOOD].notna()].itertuples():
            self.known.append((len(self.states) - 1, cell_row(each.unit, str(each.period))))
        return linked

    def counts(self, state: int) -> np.ndarray:
        n = np.zeros((TEAMS, MONTHS), dtype=int)
        np.add.at(n, (self.states[state]["t"], self.states[state]["m"]), 1)
        return n.ravel()

    def sums(self, state: int) -> np.ndarray:
        found = np.zeros((TEAMS, MONTHS))
        rows = self.states[state]
        np.add.at(found, (rows["t"], rows["m"]), rows["mood"])
        return found.ravel()


def cell_row(unit: str, period: str) -> np.ndarray:
    """The team-months that a cell sums."""
    row, number = np.zeros((TEAMS, MONTHS)), int(unit[4:])
    teams = [number] if unit.startswith("team") else [2 * number, 2 * number + 1]
    first = 3 * (int(period[-1]) - 1) if "Q" in period else int(period[5:7]) - 1
    for team in teams:
        row[team, first : first + (3 if "Q" in period else 1)] = 1
    return row.ravel()


def lattice() -> np.ndarray:
    """Teams, sites, all; by month, quarter and the whole time."""
    who = np.vstack([np.eye(TEAMS), np.eye(4).repeat(2, axis=1), np.ones((1, TEAMS))])
    when = np.vstack([np.eye(MONTHS), np.eye(2).repeat(3, axis=1), np.ones((1, MONTHS))])
    return np.kron(who, when)


def given_away(company: Company, least: int = 5) -> list[str]:
    """What is small and a combination of what readers know: cells of a state, changes between two.

    A team-month whose sum is the same in two states is one unknown, else it is two.
    """
    sums = [company.sums(state) for state in range(len(company.states))]
    counts = [company.counts(state) for state in range(len(company.states))]
    size = TEAMS * MONTHS
    place = np.zeros((len(sums), size), dtype=int)
    for state in range(len(sums)):
        place[state] = np.arange(size) + state * size
        for before in range(state):
            same = np.isclose(sums[state], sums[before]) & (counts[state] == counts[before])
            place[state] = np.where(same, place[before], place[state])

    def at(state: int, row: np.ndarray) -> np.ndarray:
        found = np.zeros(len(sums) * size)
        np.add.at(found, place[state], row)
        return found

    known = np.array([at(state, row) for state, row in company.known])
    basis = np.linalg.svd(known, full_matrices=False)
    directions = basis.Vh[basis.S > 1e-9]
    wanted = []
    for row in lattice():
        for state, n in enumerate(counts):
            if 0 < n @ row < least:
                wanted.append((f"cell of {state}", at(state, row)))
            for before in range(state):
                change = at(state, row) - at(before, row)
                moved = np.abs(n - counts[before])
                moved = np.maximum(moved, place[state] != place[before])
                if 0 < moved @ row < least:
                    wanted.append((f"change from {before} to {state}", change))
    assert wanted
    return [
        name
        for name, row in wanted
        if np.linalg.norm(row - directions.T @ (directions @ row)) < 1e-8
    ]


def late(rows: pd.DataFrame, team: int, month: int, n: int = 1) -> pd.DataFrame:
    """Answers that come in late."""
    if n == 0:
        return rows
    new = named(pd.DataFrame({"t": [team] * n, "m": [month] * n, "mood": [1.234] * n}))
    return pd.concat([rows, new], ignore_index=True)


def moved(rows: pd.DataFrame) -> pd.DataFrame:
    """One person of team 0 is in team 3 instead."""
    at = rows.index[(rows["t"] == 0) & (rows["m"] == 1)][0]
    return named(rows.assign(t=rows["t"].where(rows.index != at, 3)))


def revised(rows: pd.DataFrame) -> pd.DataFrame:
    """One person answers otherwise."""
    at = rows.index[(rows["t"] == 0) & (rows["m"] == 1)][0]
    return rows.assign(mood=rows["mood"].where(rows.index != at, 4.321))


def grown(rows: pd.DataFrame) -> pd.DataFrame:
    """Late answers in many cells, one to nine each, and a few that are taken back."""
    rng = np.random.default_rng(5)
    for team in range(TEAMS):
        for month in range(MONTHS):
            rows = late(rows, team, month, int(rng.choice([0, 0, 0, 1, 2, 6, 9])))
    return rows.drop(rows.sample(5, random_state=1).index)


def smallest(rows: pd.DataFrame) -> tuple[int, int]:
    """Team and month of the fewest answers."""
    return rows.groupby(["t", "m"]).size().idxmin()


CHANGES = {
    "late answer": lambda rows: late(rows, 0, 1),
    "person moved": moved,
    "answer revised": revised,
    "many late": grown,
    "one late in a small cell": lambda rows: late(rows, *smallest(rows)),
}
PLANS = {
    "months": (Plan(),),
    "month and quarter": (Plan(), Plan(quarters=True)),
    "team and site": (Plan(), Plan(unit="site")),
    "site and team": (Plan(unit="site"), Plan()),
    "thresholds": (Plan(), Plan(min_n=8)),
}


def both_releases(
    tmp_path: Path, change: str, plans: str, seed: int, *, guard: bool = True
) -> Company:
    company = Company(tmp_path)
    for rows in (answers_of(seed), CHANGES[change](answers_of(seed))):
        company.state(rows)
        for at, plan in enumerate(PLANS[plans]):
            company.release(plan, study=f"study{at}")
            if not guard:
                company.past = Past(key=KEY)
    return company


@pytest.mark.parametrize("plans", PLANS)
@pytest.mark.parametrize("change", CHANGES)
def test_two_releases_do_not_tell_what_few_people_changed(tmp_path, change, plans):
    for seed in (1, 2):
        company = both_releases(tmp_path, change, plans, seed)
        assert len({state for state, _ in company.known}) == 2
        assert given_away(company) == []


@pytest.mark.parametrize("change", CHANGES)
def test_without_the_register_they_do(tmp_path, change):
    found = [
        given_away(both_releases(tmp_path, change, plans, 1, guard=False))
        for plans in ("month and quarter", "team and site")
    ]
    assert all(found) or (change == "one late in a small cell" and any(found))


def test_studies_of_other_units_must_say_how_they_add_up(tmp_path):
    company = Company(tmp_path)
    company.state(answers_of(1))
    company.release(Plan(sites=False), study="teams")
    with pytest.raises(LinkError, match=r"released by other units than 'site' before \(study 'te"):
        company.release(Plan(unit="site"), study="sites")
    company.release(Plan(), study="teams")  # says which teams are of which site
    company.release(Plan(unit="site"), study="sites")
    assert given_away(company) == []


def test_a_site_less_its_shown_teams_is_found_by_the_attack(tmp_path):
    company = Company(tmp_path)
    company.state(answers_of(1))
    company.release(Plan(sites=False), study="teams")
    company.past = Past(key=KEY)
    company.release(Plan(unit="site"), study="sites")
    assert given_away(company)


def test_a_window_that_ends_later_does_not_tell_its_last_month(tmp_path):
    found = []
    for guard in (True, False):
        company = Company(tmp_path)
        rows = answers_of(1)
        few = rows[(rows["m"] != 5) | (rows["t"] > 2) | (rows.groupby(["t", "m"]).cumcount() < 3)]
        company.state(few)
        company.release(Plan(last="2024-05"), study="months")
        if not guard:
            company.past = Past(key=KEY)
        company.release(Plan(quarters=True), study="quarters")
        found.append(given_away(company))
    assert found[0] == []
    assert found[1]


def test_the_same_data_released_again_are_the_same(tmp_path):
    company = Company(tmp_path)
    company.state(answers_of(1))
    first = company.release()
    company.state(late(answers_of(1), 0, 1))
    second = company.release()
    third = company.release()
    assert second.release == third.release
    assert second.panel.frame.equals(third.panel.frame)
    assert second.audit.suppressed["withheld_for_release"].tolist() == [1]
    company.state(answers_of(1).sample(frac=1, random_state=1))
    again = company.release()
    assert again.release == first.release
    pd.testing.assert_frame_equal(again.panel.frame, first.panel.frame)
    assert len(company.past.releases) == 2


def test_five_late_answers_are_shown_and_four_are_not(tmp_path):
    for n, lost in ((4, 1), (5, 0)):
        company = Company(tmp_path)
        rows = late(answers_of(1), 0, 1, 20)
        company.state(rows)
        company.release()
        company.state(late(rows, 0, 1, n))
        held = company.release().audit.suppressed
        assert held["withheld_for_release"].tolist() == [lost]
        assert (
            held["shown"].sum()
            + held.filter(like="withheld").sum().sum()
            + held["suppressed"].sum()
            == held["unit_periods"].sum()
        )
