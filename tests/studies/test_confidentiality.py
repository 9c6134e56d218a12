"""An attack on what linked studies write: totals less parts, segments, periods and thresholds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ex_cx.errors import SchemaError
from ex_cx.linkage.confidentiality import disclosure
from ex_cx.linkage.confidentiality.identifiers import KEY_VARIABLE, hash_identifiers
from ex_cx.linkage.link import link_study_data
from ex_cx.linkage.linkspec import LinkSpec
from ex_cx.linkage.schema import MeasureSpec, SourceSpec
from ex_cx.studies.data import store_linked

TEAMS, MONTHS = 8, 6
PEOPLE = "planted.person"
"""In every name and e-mail address; nothing that is written may hold it."""


@pytest.fixture
def company(tmp_path: Path) -> Path:
    """Answers of eight teams in four sites and two regions over six months; many cells are small.

    The site and the region of a team stand in another file than its answers.
    """
    rng = np.random.default_rng(11)
    n = rng.poisson(np.where(rng.random((TEAMS, MONTHS)) < 0.25, 5, 18))
    team, month = np.nonzero(n)
    rows = np.repeat(np.arange(len(team)), n[team, month])
    answers = pd.DataFrame(
        {
            "team": [f"team{t}" for t in team[rows]],
            "date": [f"2024-{m + 1:02d}-15" for m in month[rows]],
            "mood": rng.uniform(1, 5, len(rows)),
            "told": rng.choice(["yes", "no"], len(rows)),
            "customer": [f"{PEOPLE}{i // 2}" for i in range(len(rows))],
            "email": [f"{PEOPLE}{i}@example.org" for i in range(len(rows))],
        }
    )
    answers.to_csv(tmp_path / "answers.csv", index=False)
    sites = [
        (f"team{t}", f"2024-{m + 1:02d}", f"site{t // 2}", f"region{t // 4}", 1.0 + t)
        for t in range(TEAMS)
        for m in range(MONTHS)
    ]
    columns = ["team", "month", "site", "region", "load"]
    pd.DataFrame(sites, columns=columns).to_csv(tmp_path / "load.csv", index=False)
    return tmp_path


def linked(folder: Path, *, quarters: bool = False, min_n: int = 5):
    answers = SourceSpec(
        path="answers.csv",
        unit="team",
        period="date",
        frequency="month",
        measures={
            "ex_mood": MeasureSpec(metric="mean", score="mood", low=1, high=5, split_seed=1),
            "ex_told_pct": MeasureSpec(metric="share", score="told", positive=("yes",)),
            "cx_fcr_pct": MeasureSpec(metric="fcr", customer="customer", days=1),
        },
        min_n=min_n,
    )
    load = SourceSpec(
        path="load.csv",
        unit="team",
        period="month",
        columns={} if quarters else {"ex_load": "load"},
        measures={"ex_load": MeasureSpec(metric="sum", score="load")} if quarters else {},
        attributes={"site": "site", "region": "region"},
    )
    plan = LinkSpec(frequency="quarter" if quarters else "")
    return link_study_data({"answers": answers, "load": load}, plan, folder)


def truth(folder: Path) -> np.ndarray:
    """People behind each unit-month, teams in rows; nobody left an answer out."""
    rows = pd.read_csv(folder / "answers.csv")
    found = rows.groupby(["team", rows["date"].str[5:7].astype(int) - 1]).size()
    n = np.zeros((TEAMS, MONTHS), dtype=int)
    for (team, month), size in found.items():
        n[int(team.removeprefix("team")), month] = size
    return n


def cells_shown(frame: pd.DataFrame, column: str) -> list[np.ndarray]:
    """Each cell that has a value as the unit-months that it sums; a value and its n give a sum."""
    rows = []
    for each in frame[frame[column].notna()].itertuples():
        period, row = str(each.period), np.zeros((TEAMS, MONTHS))
        quarter = "Q" in period
        first = 3 * (int(period[-1]) - 1) if quarter else int(period[5:7]) - 1
        row[int(each.unit.removeprefix("team")), first : first + (3 if quarter else 1)] = 1
        rows.append(row.ravel())
    return rows


def totals(n: np.ndarray, least: int) -> list[np.ndarray]:
    """What others may have published: all teams by month, quarter and for the whole time."""
    rows = []
    for first, last in [(m, m + 1) for m in range(MONTHS)] + [(0, 3), (3, 6), (0, 6)]:
        row = np.zeros((TEAMS, MONTHS))
        row[:, first:last] = 1
        if (row * n).sum() >= least:
            rows.append(row.ravel())
    return rows


def given_away(n: np.ndarray, known: list[np.ndarray], least: int) -> list[tuple[int, int]]:
    """Small unit-months that are a combination of what is known."""
    basis = np.linalg.svd(np.array(known), full_matrices=False)
    directions = basis.Vh[basis.S > 1e-9]
    found = []
    for team, month in np.argwhere((n > 0) & (n < least)):
        cell = np.zeros((TEAMS, MONTHS))
        cell[team, month] = 1
        cell = cell.ravel()
        if np.linalg.norm(cell - directions.T @ (directions @ cell)) < 1e-8:
            found.append((int(team), int(month)))
    return found


def attack(folder: Path, column: str, least: int) -> list[tuple[int, int]]:
    """Two periodicities and two thresholds, all of them and by segment, and totals of others."""
    n = truth(folder)
    studies = [
        linked(folder, quarters=quarters, min_n=min_n).panel.frame
        for quarters in (False, True)
        for min_n in (5, 8)
    ]
    known = totals(n, least)
    for frame in studies:
        known += cells_shown(frame, column)
        for segment in sorted(frame["site"].dropna().unique()):
            known += cells_shown(frame[frame["site"] == segment], column)
    assert len(known) > 40  # it would be easy to show nothing
    return given_away(n, known, least)


@pytest.mark.parametrize(("column", "least"), [("ex_mood", 5), ("ex_told_pct", 10)])
def test_no_small_cell_follows_from_four_studies_and_the_totals(company, column, least):
    assert attack(company, column, least) == []


@pytest.mark.parametrize(("column", "least"), [("ex_mood", 5), ("ex_told_pct", 10)])
def test_the_attack_succeeds_without_complementary_suppression(company, monkeypatch, column, least):
    monkeypatch.setattr(disclosure, "_withheld", disclosure._withheld.__wrapped__)
    monkeypatch.setattr(disclosure, "_close", lambda *given: None)
    assert attack(company, column, least)


def test_nothing_small_and_no_name_is_in_the_files_of_a_study(company, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    found = linked(company)
    store_linked(found, out)
    frame = pd.read_parquet(out / "panel.parquet")
    for column, least in (("ex_mood", 5), ("ex_told_pct", 10), ("cx_fcr_pct", 10)):
        n = frame[f"{column}_n"]
        assert ((n == 0) | (n >= least) | n.isna()).all()
        assert frame.loc[n.isna(), [c for c in frame if c.startswith(column)]].isna().all(axis=None)
    rows = pd.read_csv(company / "answers.csv")
    sizes = rows.groupby(["team", "date"])["mood"].transform("size")
    means = rows[sizes < 5].groupby(["team", "date"])["mood"].mean()
    assert len(means) > 2
    assert not np.isin(means.round(9), frame["ex_mood"].round(9)).any()
    text = (out / "panel.json").read_text() + repr(found) + found.audit._repr_html_()
    for content in (text.encode(), (out / "panel.parquet").read_bytes()):
        assert PEOPLE.encode() not in content
    held = found.audit.suppressed.set_index("measure").loc["ex_mood"]
    assert held["suppressed"] == len(means)
    assert held["withheld_for_others"] > 0
    assert held["shown"] == frame["ex_mood"].notna().sum()


def test_hashes_depend_on_the_key_and_a_short_one_is_refused(monkeypatch):
    names = pd.Series(["ann", None, "bo", "ann"], index=[4, 5, 6, 7], name="customer")
    monkeypatch.setenv(KEY_VARIABLE, "a key of sixteen or more")
    one = hash_identifiers(names)
    assert one.index.tolist() == [4, 5, 6, 7]
    assert one[4] == one[7] != one[6]
    assert one.isna().tolist() == [False, True, False, False]
    assert hash_identifiers(names).equals(one)
    monkeypatch.setenv(KEY_VARIABLE, "another key of sixteen")
    assert hash_identifiers(names)[4] != one[4]
    monkeypatch.setenv(KEY_VARIABLE, "short")
    with pytest.raises(SchemaError, match=r"has 5 characters; a key needs 16 at least"):
        hash_identifiers(names)
    monkeypatch.delenv(KEY_VARIABLE)
    assert hash_identifiers(names)[4] not in (one[4], "ann")
