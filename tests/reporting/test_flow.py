"""The flow figure: what came in is what is drawn, by reason and side."""

from __future__ import annotations

import pandas as pd
import pytest

from ex_cx.errors import RunError
from ex_cx.linkage.link import link_sources
from ex_cx.linkage.measure import measure_source
from ex_cx.linkage.schema import SourceSpec
from ex_cx.linkage.suggest import suggest_matches
from ex_cx.reporting.audit import write_draft_crosswalk
from ex_cx.reporting.flow import draw_flow, flow_parts


def audit():
    frame = pd.DataFrame(
        {"team": ["A", "B", "<b>$x$", None], "month": ["2024-01", "2023-01", "2024-01", "2024-01"]}
    )
    sources = []
    for name in ("staff & co", "$calls$"):
        spec = SourceSpec(
            path="x", unit="team", period="month", columns={name: "v"}, first="2024-01"
        )
        rows = frame.assign(v=1.0) if name != "$calls$" else frame.assign(v=1.0).iloc[:1]
        sources.append(measure_source(rows, spec, name))
    return link_sources(sources).audit


def test_parts_sum_to_what_came_in():
    parts = flow_parts(audit())
    rows = parts[(parts["source"] == "staff & co") & (parts["counting"] == "rows")]
    assert dict(zip(rows["part"], rows["n"], strict=True)) == {
        "kept": 2,
        "no unit": 1,
        "before the window": 1,
    }
    seen = parts[(parts["source"] == "staff & co") & (parts["counting"] == "unit-periods")]
    assert seen["n"].tolist() == [1, 1]


def test_figure_says_its_counts():
    figure = draw_flow(audit())
    assert "staff &amp; co: rows" in figure.svg
    assert "Rows read: 5" in figure.caption
    assert "staff & co, 4 rows: 2 kept, lost: 1 no unit, 1 before the window" in figure.alt


def test_a_draft_is_written_once_and_runs_nothing(tmp_path):
    found = suggest_matches(["=Team A"], ["team a"])
    file = write_draft_crosswalk(found, tmp_path / "draft.csv")
    line = pd.read_csv(file, dtype=str, keep_default_na=False).iloc[0]
    assert (line["source_unit"], line["valid_from"]) == ("'=Team A", "")
    with pytest.raises(RunError, match="exists already"):
        write_draft_crosswalk(found, file)
