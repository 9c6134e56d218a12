"""A study small enough to read at a glance, and its data."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ex_cx.reporting.report import Report, write_report_parts
from ex_cx.results import TIDY
from ex_cx.studies import executors, making

STUDY = """\
study: small
title: Does nps move with engagement?
data:
  panel: panel.csv
unit: team
period: month
roles:
  exposures: [engagement, occupancy]
  mediators: [effort]
  outcomes: [nps]
notebooks: [panel_regression]
"""


def draw_panel(n_units: int = 12, n_periods: int = 8, seed: int = 7) -> pd.DataFrame:
    """Teams by months in two regions; engagement moves effort, effort moves nps."""
    rng = np.random.default_rng(seed)
    n = n_units * n_periods
    team = np.repeat([f"T{i:02d}" for i in range(n_units)], n_periods)
    month = np.tile([f"2024-{m + 1:02d}" for m in range(n_periods)], n_units)
    engagement, occupancy = rng.normal(3.5, 0.4, n), rng.normal(76, 4, n)
    effort = 3 - 0.4 * engagement + 0.05 * occupancy + rng.normal(0, 0.2, n)
    nps = 40 - 12 * effort + 2 * engagement + rng.normal(0, 2, n)
    return pd.DataFrame(
        {
            "team": team,
            "month": month,
            "region": np.where(np.repeat(np.arange(n_units), n_periods) % 2, "North", "South"),
            "engagement": engagement,
            "occupancy": occupancy,
            "effort": effort,
            "nps": nps,
        }
    )


@pytest.fixture
def panel_frame() -> pd.DataFrame:
    """12 teams x 8 months, no holes."""
    return draw_panel()


@pytest.fixture
def study_file(tmp_path) -> Callable[..., Path]:
    """Writes the small study, changed as asked, beside its panel; returns the study file."""

    def write(*changes: tuple[str, str], panel: pd.DataFrame | None = None, more: str = "") -> Path:
        folder = tmp_path / "study"
        folder.mkdir(exist_ok=True)
        text = STUDY
        for before, after in changes:
            assert before in text
            text = text.replace(before, after)
        (folder / "study.yaml").write_text(text + more, encoding="utf-8")
        frame = draw_panel() if panel is None else panel
        frame.to_csv(folder / "panel.csv", index=False)
        return folder / "study.yaml"

    return write


def stub_report(answer: str) -> Report:
    """A report with one sentence and one result."""
    row = dict.fromkeys(TIDY, 0.5) | {"term": "engagement"}
    return Report(
        title="Stub",
        eyebrow="",
        meta="",
        answer=answer,
        grade="",
        verdict="clear",
        facts=(),
        figures=(),
        tables=(),
        guards=pd.DataFrame(columns=["guard", "finding", "verdict"]),
        limits=(),
        method=(),
        results=pd.DataFrame([row]).assign(model="stub", outcome="nps", exposure="engagement"),
    )


@pytest.fixture
def notebooks(monkeypatch):
    """In place of executing: a list of the runs asked for, and an answer or error to give."""

    class Stub:
        answer: str | Exception = "It does."
        asked: list[dict]

        def __init__(self) -> None:
            self.asked = []

        def __call__(self, source: Path, target: Path, parameters: dict, *stop_and_nursery) -> None:
            self.asked.append(dict(parameters))
            target.write_bytes(source.read_bytes())
            if isinstance(self.answer, Exception):
                raise self.answer
            write_report_parts(stub_report(self.answer), parameters["run_dir"])

    stub = Stub()
    monkeypatch.setattr(making, "execute_notebook", stub)
    monkeypatch.setattr(executors, "nursery_for", lambda n_runs: contextlib.nullcontext())
    return stub
