"""A small company with something planted that no report may show, and the study of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

__all__ = ["KEY", "NAMES", "SMALL", "SMALL_EFFORT", "write_company"]

TEAMS, MONTHS = 16, 10
SMALL = {(3, 2): 1.37913, (7, 5): 1.52847, (12, 7): 1.43359}
"""Team and month of two respondents each -> their mean mood, far below all others."""
SMALL_EFFORT = {(5, 4): 6.71913, (9, 8): 6.64717}
"""The same of two customers each: their mean effort, far above all others."""
NAMES = ("zanzibar.quill", "EMP7731905", "CUST5582017", "the parrot in aisle nine")
"""A name, an employee's and a customer's number, a comment: parts of values in the files."""
KEY = "kept-under-lock-4c1b9e"
"""Of the hashes; in a file of its own."""

STUDY = """\
study: company
title: Is a better mood associated with less effort for customers?
data:
  sources:
    pulse:
      path: pulse.csv
      unit: team
      period: answered
      respondents: employees
      measures:
        ex_mood: {metric: mean, score: mood, low: 1, high: 5, split_seed: 3}
        ex_told_pct: {metric: share, score: told, positive: ["yes"]}
    contacts:
      path: contacts.csv
      unit: team
      period: day
      respondents: customers
      identifiers: [customer, agent]
      measures:
        cx_effort: {metric: effort, score: effort, low: 1, high: 7, direction: high_is_bad}
        cx_fcr_pct: {metric: fcr, customer: customer, days: 3}
        load: {metric: ratio, numerator: seconds, denominator: staffed}
      attributes: {site: site}
  link: {identifier_key_file: study.key}
roles:
  exposures: [ex_mood]
  mediators: [load]
  outcomes: [cx_effort]
segments: {site: [panel_regression]}
notebooks: [data_audit, panel_regression, mediation]
grid:
  mediation: {n_boot: [99], n_boot_checks: [99], png: [true]}
"""


def write_company(folder: Path) -> Path:
    """Two files of single answers in `folder`, and the study of them, whose file is returned.

    Teams of the last site have too few months for an estimate, so that one report of a segment
    fails.
    """
    rng = np.random.default_rng(29)
    folder.mkdir(parents=True, exist_ok=True)
    cells = [(t, m) for t in range(TEAMS) for m in range(MONTHS)]
    cells = [(t, m) for t, m in cells if t < TEAMS - 1 or m < 2]
    mood = {cell: rng.normal(3.6, 0.25) for cell in cells}
    _pulse(rng, cells, mood).to_csv(folder / "pulse.csv", index=False)
    _contacts(rng, cells, mood).to_csv(folder / "contacts.csv", index=False)
    (folder / "study.key").write_text(f"{KEY}\n", encoding="utf-8")
    (folder / "study.key").chmod(0o600)
    (folder / "study.yaml").write_text(STUDY, encoding="utf-8")
    return folder / "study.yaml"


def _pulse(rng: np.random.Generator, cells: list, mood: dict) -> pd.DataFrame:
    rows = []
    for at, (team, month) in enumerate(cells):
        level = SMALL.get((team, month))
        n = 12 if level is None else 2
        noise = rng.normal(0, 0.3, n) if level is None else np.array([0.25, -0.25])
        middle = mood[team, month] if level is None else level
        for k, answer in enumerate(np.clip(middle + noise, 1, 5)):
            rows.append(
                {
                    "employee": f"{NAMES[1]}{at:03d}{k:02d}",
                    "email": f"{NAMES[0]}{at}@example.org",
                    "comment": f"{NAMES[3]}, said {at}",
                    "team": f"team{team:02d}",
                    "answered": f"2024-{month + 1:02d}-{10 + k:02d}",
                    "mood": round(float(answer), 6),
                    "told": "yes" if rng.random() < 0.6 else "no",
                }
            )
    return pd.DataFrame(rows)


def _contacts(rng: np.random.Generator, cells: list, mood: dict) -> pd.DataFrame:
    rows = []
    for at, (team, month) in enumerate(cells):
        level = SMALL_EFFORT.get((team, month))
        for k in range(14 if level is None else 2):
            effort = 6 - 0.8 * mood[team, month] + rng.normal(0, 0.6)
            if level is not None:
                effort = level + (0.2 if k else -0.2)
            rows.append(
                {
                    "customer": f"{NAMES[2]}{at % 7:02d}{k // 2:02d}",
                    "agent": f"{NAMES[1]}{team:03d}{k % 5:02d}",
                    "note": f"{NAMES[3]} {k}",
                    "team": f"team{team:02d}",
                    "site": f"site{team // 5}",
                    "day": f"2024-{month + 1:02d}-{5 + k:02d}",
                    "effort": round(float(np.clip(effort, 1, 7)), 4),
                    "seconds": int(3000 + 300 * mood[team, month] + rng.normal(0, 90)),
                    "staffed": 5000,
                }
            )
    return pd.DataFrame(rows)
