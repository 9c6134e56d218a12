"""What a run leaves in its folder: strict JSON, harmless tables, the same bytes each time."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ex_cx.errors import RunError
from ex_cx.linkage.panel import Panel
from ex_cx.linkage.simulate import simulate_panel
from ex_cx.models.compare import compare_estimators, within_bins
from ex_cx.models.regress import fit_panel
from ex_cx.models.spec import PanelSpec
from ex_cx.reporting.compose import panel_report
from ex_cx.reporting.report import Table, as_json, write_report_parts
from ex_cx.robustness.guards import check_guards


def files(folder: Path) -> dict[str, bytes]:
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def test_a_report_is_written_as_json_tables_and_figures(report, tmp_path):
    assert write_report_parts(report, tmp_path) is report
    assert list(files(tmp_path)) == [
        "figures/forest_ex_occupancy_pct.svg",
        "figures/within_scatter.svg",
        "result.json",
        "tables/estimates.csv",
        "tables/guards.csv",
        "tables/results.csv",
    ]


def test_two_writes_have_the_same_bytes(report, tmp_path):
    write_report_parts(report, tmp_path / "one")
    write_report_parts(report, tmp_path / "two")
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_writing_again_into_the_same_folder_changes_nothing(report, tmp_path):
    write_report_parts(report, tmp_path)
    first = files(tmp_path)
    write_report_parts(report, tmp_path)
    assert files(tmp_path) == first


def test_two_figures_or_tables_of_one_name_are_refused(report, tmp_path):
    message = (
        "More than one figure or table of the report is called '{}', so that one file would "
        "overwrite another. Name each differently."
    )
    twice = replace(report, figures=(report.figures[0], report.figures[0]))
    with pytest.raises(RunError, match=re.escape(message.format(report.figures[0].name))):
        write_report_parts(twice, tmp_path)
    guards = Table(name="guards", frame=pd.DataFrame({"a": [1]}), caption="")
    with pytest.raises(RunError, match=re.escape(message.format("guards"))):
        write_report_parts(replace(report, tables=(guards,)), tmp_path)
    assert not list(tmp_path.iterdir())


def test_without_a_run_folder_nothing_is_written(report, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert write_report_parts(report, "") is report
    assert not list(tmp_path.iterdir())


def test_json_is_strict_and_what_is_not_a_number_is_null(report, tmp_path):
    odd = report.results.assign(std_error=np.nan, p_value=np.inf)
    counts = {"n": np.int64(3), "share": np.float64(np.nan), "when": pd.Period("2024-03")}
    write_report_parts(replace(report, results=odd, counts=counts), tmp_path)

    def refuse(name: str) -> float:
        raise AssertionError(f"{name} is no JSON")

    text = (tmp_path / "result.json").read_text(encoding="utf-8")
    read = json.loads(text, parse_constant=refuse)
    assert {row["std_error"] for row in read["results"]} == {None}
    assert read["counts"] == {"n": 3, "share": None, "when": "2024-03"}


def test_results_keep_every_digit(report, tmp_path):
    write_report_parts(report, tmp_path)
    back = pd.read_csv(tmp_path / "tables" / "results.csv")
    assert back["estimate"].tolist() == report.results["estimate"].tolist()
    rows = as_json(report)["results"]
    assert [row["estimate"] for row in rows] == report.results["estimate"].tolist()


def test_the_headline_is_one_row(report):
    (headline,) = [row for row in as_json(report)["results"] if row["headline"]]
    assert (headline["estimator"], headline["term"]) == ("within", "ex_occupancy_pct")
    assert {"model", "outcome", "exposure"} <= set(headline)


@pytest.mark.parametrize("text", ["=cmd|' /C calc'!A0", "+1", "@SUM(A1)", "\tx"])
def test_cells_that_a_spreadsheet_would_run_are_quoted_in_csv_only(report, tmp_path, text):
    table = Table(name="odd", frame=pd.DataFrame({text: [text], "n": [-1.5]}), caption="c")
    write_report_parts(replace(report, tables=(table,)), tmp_path)
    back = pd.read_csv(tmp_path / "tables" / "odd.csv")
    assert back.columns[0] == f"'{text}"
    assert back.iloc[0].tolist() == [f"'{text}", -1.5]
    (written,) = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))["tables"]
    assert written["rows"] == [[text, -1.5]]


def test_hostile_labels_name_no_file_and_break_no_figure(hostile_report, tmp_path):
    write_report_parts(hostile_report, tmp_path)
    names = list(files(tmp_path))
    assert all(name.replace("/", "").replace(".", "").replace("_", "").isalnum() for name in names)
    for path in (tmp_path / "figures").iterdir():
        ET.parse(path)


def test_a_report_shows_itself_in_a_notebook(report):
    shown = report._repr_html_()
    assert shown.count("<h1>") == 1
    assert shown.count("<svg ") == len(report.figures)


def test_a_figure_carries_its_alt_text_into_the_notebook(report):
    svg, about = report.figures[0]._repr_svg_()
    assert svg.startswith("<svg ")
    assert about == {"alt": report.figures[0].alt}


def test_alt_texts_hold_the_numbers_of_the_result(report):
    forest, scatter = (figure.alt for figure in report.figures)
    assert "within −" in forest
    assert "pooled" in forest
    assert "95 % interval" in scatter


def test_a_comparison_says_what_is_not_estimated_and_which_errors_differ():
    panel = simulate_panel(n_units=24, n_periods=12, rng=np.random.default_rng(20240501))
    panel = panel.where(panel.period_codes % 2 == 0)  # no two periods in a row
    spec = PanelSpec(outcome="cx_nps", exposures=("ex_occupancy_pct",), vcov="driscoll_kraay")
    comparison = compare_estimators(panel, spec)
    guards = pd.DataFrame({"guard": [], "finding": [], "verdict": []})
    shown = panel_report(fit_panel(panel, spec), comparison, within_bins(panel, spec), guards)
    forest, (table,) = shown.figures[0], shown.tables
    assert forest.caption.endswith(
        "No estimate from these rows: first difference (the method says why)."
    )
    assert "the units' averages constant" in forest.caption
    assert "; of between estimates: cluster. 95 % intervals." in table.caption
    assert table.frame["estimate by"].tolist()[2:] == [
        "within",
        "first difference",
        "correlated random",
    ]
    assert any(
        line.startswith("First difference: not estimated. None of the") for line in shown.method
    )


def test_an_exposure_that_units_share_has_no_between_estimate_and_none_is_claimed():
    panel = simulate_panel(n_units=24, n_periods=10, rng=np.random.default_rng(20240501))
    frame = panel.with_within_between("ex_occupancy_pct").frame
    panel = Panel.from_frame(frame, unit="unit", period="period")
    spec = PanelSpec(outcome="cx_nps", exposures=("ex_occupancy_pct_within",))
    guards = check_guards(panel, spec)
    comparison = compare_estimators(panel, spec)
    shown = panel_report(fit_panel(panel, spec), comparison, within_bins(panel, spec), guards)
    assert "Between" not in shown.answer
    assert len(shown.facts) == 2  # the estimate and the clusters
    found = guards.set_index("guard").loc["Within against between"]
    assert found["verdict"] == "caution"
    assert found["finding"].startswith("Could not be checked on these rows: ")


def test_a_run_dir_that_cannot_be_written_is_told(report, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError) as caught:
        write_report_parts(report, tmp_path / "file")
    assert str(caught.value) == (
        f"The report cannot be stored in '{tmp_path / 'file'}': Not a directory. Make room or "
        "permit writing there, or name another run_dir."
    )
