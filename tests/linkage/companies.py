"""Companies drawn at random, with the mess of real exports, for the property tests of this room.

Hypothesis draws the dials (how many units, how much is missing, doubled or outside the window);
numpy fills the tables from them. Cells are text, as in a file. What became of every row is known
here without asking the package.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from hypothesis import settings
from hypothesis import strategies as st

from ex_cx.linkage.link import Linked, link_sources
from ex_cx.linkage.measure import MeasuredSource, measure_source
from ex_cx.linkage.opening import read_source
from ex_cx.linkage.panel import Panel
from ex_cx.linkage.schema import MeasureSpec, SourceSpec
from ex_cx.linkage.sources import TableRead, read_table
from ex_cx.models.regress import PanelSpec, fit_panel

FIRST, MONTHS, LAST = "2023-11", 5, "2024-03"
"""The window, over the turn of a year."""
CELL, STAFF = 14, 40
"""Answers of each unit and month, and people of each unit, before the mess: so many that nothing
is withheld (what is, and why, has tests of its own)."""
SPEC = PanelSpec(outcome="cx_score", exposures=("ex_load", "ex_leavers_pct"))
COLUMNS = ("cx_score", "cx_score_n", "answers", "ex_load", "ex_leavers_pct", "ex_leavers_pct_n")

SOURCES: Mapping[str, SourceSpec] = {
    "answers": SourceSpec(
        path="answers.csv",
        unit="team",
        period="date",
        respondents="customers",
        measures={
            "cx_score": MeasureSpec(metric="mean", score="score", low=0, high=10),
            "answers": MeasureSpec(metric="count"),
        },
        first=FIRST,
        last=LAST,
    ),
    "load": SourceSpec(
        path="load.csv",
        unit="team",
        period="month",
        columns={"ex_load": "load"},
        first=FIRST,
        last=LAST,
    ),
    "people": SourceSpec(
        path="people.csv",
        unit="team",
        measures={"ex_leavers_pct": MeasureSpec(metric="attrition", hire="hire", exit="exit")},
        first=FIRST,
        last=LAST,
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mess:
    """How many rows of each kind are spoilt, and the seed of the rest."""

    seed: int
    units: int
    no_unit: int
    no_date: int
    outside: int
    blank: int


def messes() -> st.SearchStrategy[Mess]:
    """Dials, from no mess at all to a lot of it."""
    return st.builds(
        Mess,
        seed=st.integers(0, 2**32 - 1),
        units=st.integers(3, 7),
        no_unit=st.integers(0, 5),
        no_date=st.integers(0, 5),
        outside=st.integers(0, 7),
        blank=st.integers(0, 9),
    )


def quick(examples: int) -> settings:
    """The same examples in every run, and no clock: the machine may be busy."""
    return settings(max_examples=examples, deadline=None, derandomize=True, database=None)


def draw_company(mess: Mess) -> dict[str, pd.DataFrame]:
    """Source -> its table of text cells; every kind of mess of `mess` is in every source."""
    rng = np.random.default_rng(mess.seed)
    units = np.array([f"T{at}" for at in range(mess.units)])
    months = pd.period_range(FIRST, periods=MONTHS, freq="M")
    cells = [(unit, month) for unit in units for month in months]
    return {
        "answers": _answers(cells, mess, rng),
        "load": _load(cells, mess, rng),
        "people": _people(units, mess, rng),
    }


def _answers(cells: list, mess: Mess, rng: np.random.Generator) -> pd.DataFrame:
    rows = [(unit, _day(month, rng), str(rng.integers(0, 11))) for unit, month in cells * CELL]
    more = rng.integers(0, len(cells), size=20)
    rows += [(cells[at][0], _day(cells[at][1], rng), str(rng.integers(0, 11))) for at in more]
    frame = pd.DataFrame(rows, columns=["team", "date", "score"])
    blank = rng.choice(len(frame), size=min(mess.blank, 20), replace=False)
    frame.loc[blank, "score"] = ""
    spoilt = [("", _day(cells[0][1], rng), "5")] * mess.no_unit
    spoilt += [("T0", "", "5")] * mess.no_date
    spoilt += [("T1", "2023-10-31" if at % 2 else "2024-04-01", "5") for at in range(mess.outside)]
    return _mixed(frame, spoilt, rng)


def _load(cells: list, mess: Mess, rng: np.random.Generator) -> pd.DataFrame:
    rows = [(unit, str(month), f"{rng.normal(70, 9):.3f}") for unit, month in cells]
    frame = pd.DataFrame(rows, columns=["team", "month", "load"])
    spoilt = [("", "2024-01", "70")] * mess.no_unit + [("T0", "", "70")] * mess.no_date
    outside = pd.period_range("2024-04", periods=mess.outside, freq="M")
    spoilt += [("T1", str(month), "70") for month in outside]
    return _mixed(frame, spoilt, rng)


def _people(units: np.ndarray, mess: Mess, rng: np.random.Generator) -> pd.DataFrame:
    rows = []
    for unit in np.repeat(units, STAFF):
        hire = np.datetime64("2022-01-01") + rng.integers(0, 820)
        exit_ = hire + rng.integers(0, 900)
        gone = exit_ < np.datetime64("2024-06-01")
        rows.append((unit, str(hire), str(exit_) if gone else ""))
    rows += [(unit, "2021-05-01", "") for unit in units]  # somebody is always there
    spoilt = [("", "2022-01-01", "")] * mess.no_unit + [("T0", "", "2024-01-05")] * mess.no_date
    return _mixed(pd.DataFrame(rows, columns=["team", "hire", "exit"]), spoilt, rng)


def _day(month: pd.Period, rng: np.random.Generator) -> str:
    return f"{month}-{rng.integers(1, 29):02d}"


def _mixed(frame: pd.DataFrame, spoilt: list, rng: np.random.Generator) -> pd.DataFrame:
    """The spoilt rows anywhere among the others."""
    whole = pd.concat([frame, pd.DataFrame(spoilt, columns=frame.columns)], ignore_index=True)
    return whole.iloc[rng.permutation(len(whole))].reset_index(drop=True)


def to_csv(frame: pd.DataFrame, *, delimiter: str = ",", end: str = "\n", quote: int = 0) -> str:
    """The cells as a file has them, written by the standard library."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter, lineterminator=end, quoting=quote)
    writer.writerow(frame.columns)
    writer.writerows(frame.itertuples(index=False))
    return out.getvalue()


def read_company(tables: Mapping[str, pd.DataFrame]) -> dict[str, TableRead]:
    """Each table written to a file and read as its source says."""
    with TemporaryDirectory() as folder:
        for name, table in tables.items():
            text = to_csv(table)
            Path(folder, SOURCES[name].path).write_text(text, encoding="utf-8", newline="")
        return {name: read_source(SOURCES[name], folder) for name in tables}


def read_content(content: str | bytes, **options: object) -> pd.DataFrame:
    """A CSV of this text, read."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "t.csv")
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return read_table(path, **options).frame


def measure(reads: Mapping[str, TableRead | pd.DataFrame], **options: object) -> list:
    """Each source measured; `options` change its spec."""
    return [
        measure_source(read, replace(SOURCES[name], **options), name)
        for name, read in reads.items()
    ]


def link_company(tables: Mapping[str, pd.DataFrame]) -> Linked:
    """Files written, read, measured and linked."""
    return link_sources(measure(read_company(tables)))


def estimate(panel: Panel) -> np.ndarray:
    """Coefficients, their covariance and the rows used, in one array."""
    found = fit_panel(panel, SPEC)
    return np.concatenate([found.coef, found.vcov.ravel(), [found.n_obs, found.n_units]])


def expected_losses(table: pd.DataFrame, source: str) -> dict[str, int]:
    """Reason -> rows that must be lost for it, counted by hand; each row for its first reason."""
    spec = SOURCES[source]
    dated = table[spec.period or "hire"]
    reasons = np.where(table["team"] == "", "no unit", "")
    absent = "no period" if spec.period else "no start date"
    reasons = np.where((reasons == "") & (dated == ""), absent, reasons)
    month = dated.str.slice(0, 7)
    if spec.period:
        reasons = np.where((reasons == "") & (month < FIRST), "before the window", reasons)
        reasons = np.where((reasons == "") & (month > LAST), "after the window", reasons)
    else:
        over = (table["exit"] != "") & (table["exit"].str.slice(0, 7) < FIRST)
        reasons = np.where((reasons == "") & over, "ended before the window", reasons)
        reasons = np.where((reasons == "") & (month > LAST), "started after the window", reasons)
    return {str(k): int(n) for k, n in pd.Series(reasons).value_counts().items() if k}


def flow_of(source: MeasuredSource | Linked, name: str) -> pd.DataFrame:
    """The flow of one source."""
    flow = source.audit.flow if isinstance(source, Linked) else source.flow.frame()
    return flow[flow["source"] == name]
