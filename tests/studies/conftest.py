"""A study small enough to read at a glance, and its data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

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
