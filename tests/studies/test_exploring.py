"""A first look at a study: its parts are those of its panel and audit."""

from __future__ import annotations

import sys
from xml.etree import ElementTree

import pandas as pd
import pytest

from ex_cx.errors import StudyError
from ex_cx.linkage.panel import Panel
from ex_cx.studies.exploring import open_study

STUDY = """
study: tiny
title: Do <b>happy</b> teams sell?
data:
  sources:
    people:
      path: people.csv
      unit: team
      period: month
      respondents: employees
      columns: {mood: mood}
    sales:
      path: sales.csv
      unit: team
      period: month
      respondents: customers
      columns: {sold: sold}
roles: {exposures: [mood, mood^2], outcomes: [sold]}
notebooks: [panel_regression]
"""


@pytest.fixture
def looked(tmp_path):
    rows = [(f"T{t}", f"2024-{m:02d}", t + m / 10, 3.0 * m) for t in range(4) for m in range(1, 6)]
    frame = pd.DataFrame(rows, columns=["team", "month", "mood", "sold"])
    frame[["team", "month", "mood"]].to_csv(tmp_path / "people.csv", index=False)
    frame[["team", "month", "sold"]].head(15).to_csv(tmp_path / "sales.csv", index=False)
    (tmp_path / "study.yaml").write_text(STUDY, encoding="utf-8")
    return open_study(tmp_path / "study.yaml").explore()


def test_the_look_says_what_is_in_the_study(looked):
    assert repr(looked) == (
        "<Exploration of 'tiny': 4 units x 5 periods (2024-01 to 2024-05), 20 rows>"
    )
    contents = looked.contents.set_index("source")
    assert contents.loc["people", ["measured_on", "rows_read", "rows_lost", "units"]].tolist() == [
        "employees",
        20,
        0,
        4,
    ]
    assert contents.loc["sales", ["rows_read", "units", "unit_periods"]].tolist() == [15, 3, 15]


def test_the_columns_of_the_roles_are_described_the_outcome_last(looked):
    assert looked.columns == ("mood", "sold")
    found = looked.describe().set_index("column")
    whole = looked.linked.panel.describe().set_index("column")
    pd.testing.assert_frame_equal(found, whole.loc[["mood", "sold"]])
    assert found.loc["sold", ["n", "missing", "units"]].tolist() == [15, 5, 3]


def test_the_page_shows_both_figures_with_words(looked):
    page = looked._repr_html_()
    coverage, courses = looked.figures()
    for figure in (coverage, courses):
        assert figure.svg in page
        assert ElementTree.fromstring(figure.svg) is not None
    assert page.count('role="img" aria-label=') >= 2
    assert "Do &lt;b&gt;happy&lt;/b&gt; teams sell?" in page
    assert "<script" not in page


def test_without_the_plotting_library_the_tables_remain(looked, monkeypatch):
    for name in list(sys.modules):
        if name.startswith("ex_cx.reporting.audit"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    page = looked._repr_html_()
    assert "What varies" in page
    assert "Figures need matplotlib" in page
    assert "<svg" not in page


def test_a_study_that_is_none_is_refused(tmp_path):
    (tmp_path / "study.yaml").write_text(STUDY.replace("sold]", "solt]"), encoding="utf-8")
    with pytest.raises(StudyError, match=r"there is no column 'solt' in the data"):
        open_study(tmp_path / "study.yaml")


def test_a_study_is_one_line_and_its_tables_have_four_digits(looked):
    assert repr(looked.study) == (
        "<LoadedStudy 'tiny' of people, sales; .explore() looks at its data>"
    )
    panel = looked.linked.panel
    large = pd.DataFrame({**panel.frame, "pay": panel.frame["mood"] * 123456.789})
    shown = Panel.from_frame(large, unit=panel.unit, period=panel.period).describe()
    assert "e-0" not in shown._repr_html_()
    assert "<th>0</th>" not in shown._repr_html_()
    assert f"<td>{shown['sd'].iloc[0]:.4g}</td>" in shown._repr_html_()
    assert type(shown[["column", "sd"]]) is pd.DataFrame
