"""One panel by every road: a table, a study file, what ships with ex_cx, what the runner stored."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ex_cx.errors import ExCxError, PanelError, ParameterError, SchemaError, SourceError, StudyError
from ex_cx.studies.data import link_study, open_data, segment_values, store_linked
from ex_cx.studies.parameters import DataAuditParameters, PanelRegressionParameters
from ex_cx.studies.study import load_study


def parameters(**changes) -> PanelRegressionParameters:
    """Parameters for the small panel."""
    roles = {"unit": "team", "period": "month", "outcome": "nps", "exposures": ("engagement",)}
    return PanelRegressionParameters(**(roles | changes))


def refusal(kind: type[ExCxError], path, **changes) -> str:
    with pytest.raises(kind) as caught:
        open_data(parameters(panel_path=str(path), **changes))
    return str(caught.value)


@pytest.fixture
def table(tmp_path, panel_frame):
    """Writes the small panel, changed as asked, as CSV and returns its path."""

    def write(change=lambda frame: frame):
        path = tmp_path / "panel.csv"
        change(panel_frame.copy()).to_csv(path, index=False)
        return path

    return write


def test_a_table_and_a_study_file_give_the_same_rows(study_file):
    study = study_file()
    by_study = open_data(parameters(panel_path=str(study))).panel
    by_table = open_data(parameters(panel_path=str(study.with_name("panel.csv")))).panel
    pd.testing.assert_frame_equal(by_study.frame, by_table.frame)
    assert (by_study.n_units, by_study.n_periods) == (12, 8)


def test_what_the_runner_stores_comes_back_whole(study_file, tmp_path):
    loaded = load_study(study_file(("unit: team", "cluster: region\nunit: team")))
    linked = link_study(loaded, loaded.path.parent)
    stored = store_linked(linked, tmp_path)
    again = open_data(parameters(panel_path=str(stored.panel), cluster="region"))
    pd.testing.assert_frame_equal(again.panel.frame, linked.panel.frame)
    assert again.panel.frame["month"].dtype == "period[M]"
    assert again.panel.cluster == linked.panel.cluster == "region"
    assert again.audit.to_dict() == linked.audit.to_dict()
    assert list(stored.inputs) == ["panel.csv"]
    assert len(stored.inputs["panel.csv"]["sha256"]) == 64


def test_words_that_mean_missing_elsewhere_come_back_as_they_were(study_file, panel_frame):
    study = study_file(("panel: panel.csv", "panel: panel.csv\n  read: {text: [region]}"))
    panel_frame["region"] = panel_frame["region"].replace({"North": "NA"})  # North America
    panel_frame.to_csv(study.with_name("panel.csv"), index=False)
    stored = store_linked(link_study(load_study(study), study.parent), study.parent)
    panel = open_data(parameters(panel_path=str(stored.panel), segment="region=NA")).panel
    assert panel.n_units == 6


def test_embedded_data_are_linked_from_their_exports():
    linked = open_data(DataAuditParameters())
    assert linked.panel.n_units == 48
    assert linked.panel.provenance["cx_nps"] == "customers"
    assert len(linked.audit.reads) == 5


def test_identifiers_stay_text(table):
    path = table(lambda f: f.assign(team=f["team"].str.replace("T", "0").replace("001", "NO")))
    units = open_data(parameters(panel_path=str(path))).panel.frame["team"]
    assert {"000", "NO"} <= set(units)


def test_a_segment_keeps_its_rows(table):
    linked = open_data(parameters(panel_path=str(table()), segment="region=North"))
    assert set(linked.panel.frame["region"]) == {"North"}
    assert linked.panel.n_units == 6
    assert segment_values(linked.panel, {"region": ()}) == {"region": ["North"]}


def test_a_file_that_is_not_there(tmp_path, table):
    table()
    text = refusal(SourceError, tmp_path / "pannel.csv")
    assert text.startswith(f"There is no file {str(tmp_path / 'pannel.csv')!r}. Did you mean")
    assert text.endswith("Correct the path or the data root.")


def test_an_empty_file(tmp_path):
    (tmp_path / "panel.csv").write_text("")
    assert refusal(SourceError, tmp_path / "panel.csv") == (
        "'panel.csv' is empty (0 bytes). Export it again."
    )


def test_an_embedded_study_that_does_not_exist():
    assert refusal(SourceError, "embedded:contact_center") == (
        "'data/contact_center/study.yaml' does not ship with this installation of ex_cx. Install "
        "the package again, or work in a checkout of its repository."
    )


def test_a_column_that_is_not_there_names_the_nearest(table):
    assert refusal(ParameterError, table(), exposures=("engagment",)) == (
        "exposures: there is no column 'engagment' in the data. Did you mean 'engagement'? It has "
        "7: 'team', 'month', 'region', 'engagement', 'occupancy', 'effort', 'nps'."
    )
    assert refusal(ParameterError, table(), exposures=("a:b",), segment="area=North").startswith(
        "segment: there is no column 'area' in the data. Also missing: 'a', 'b'. It has 7: "
    )


def test_a_segment_without_rows_names_the_nearest(table):
    assert refusal(ParameterError, table(), segment="region=Nort") == (
        "segment: no row has 'region' equal to 'Nort'. Did you mean 'North'? It has 2 values: "
        "'North', 'South'."
    )


def test_text_and_infinite_values_in_a_numeric_column(table):
    def spoil(frame):
        frame["engagement"] = frame["engagement"].astype(object)
        frame.loc[0, "engagement"] = "n/a"
        frame.loc[3, "nps"] = np.inf
        return frame

    head, infinite, text = refusal(SchemaError, table(spoil)).splitlines()
    assert head == "'panel.csv' has 2 problems in 96 rows."
    assert infinite == ("- 'nps': 1 of 96 values are infinite (row 5). Correct or blank them.")
    assert text == (
        "- 'engagement': 1 of 96 values are not numbers (row 2; written like 'a/a'). Correct them, "
        "or list the marker of missing values under `missing`."
    )


def test_a_repeated_unit_and_period(table):
    path = table(lambda frame: pd.concat([frame, frame.iloc[[5]]]))
    assert refusal(PanelError, path) == (
        "1 of 97 rows repeat a team and month already there (first: 'T00, 2024-06'). Aggregate "
        "them, or add what tells them apart to the unit."
    )


@pytest.mark.parametrize("by", ["dots", "absolute", "link"])
def test_paths_stay_inside_the_data_root(study_file, tmp_path, panel_frame, by):
    panel_frame.to_csv(tmp_path / "outside.csv", index=False)
    path = {"dots": "../outside.csv", "absolute": str(tmp_path / "outside.csv"), "link": "in.csv"}
    study = study_file(("panel.csv", path[by]))
    if by == "link":
        study.with_name("in.csv").symlink_to(tmp_path / "outside.csv")
    with pytest.raises(StudyError) as caught:
        link_study(load_study(study), study.parent)
    assert str(caught.value) == (
        "study.yaml, line 4: data.panel: leads out of 'study', the folder of the data. Move the "
        "file into it."
    )


def test_a_link_that_leads_to_itself_is_told(study_file):
    path = study_file(("panel.csv", "loop.csv"))
    (path.parent / "loop.csv").symlink_to("loop.csv")
    with pytest.raises(SourceError) as caught:
        link_study(load_study(path), path.parent)
    assert str(caught.value) == (
        "'loop.csv' cannot be the path of a file. Correct it, or the link that it is."
    )
