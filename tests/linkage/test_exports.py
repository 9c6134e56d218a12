"""Six systems' exports, read by their ready mappings: every value is the one that was drawn."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from ex_cx import link_sources, measure_source, read_mapping, read_table
from ex_cx.linkage.exportmaps.file import ready_mappings
from ex_cx.linkage.exportmaps.samples import SEED, draw_export_samples, write_export_samples
from ex_cx.linkage.sources import shared_path
from ex_cx.studies.checking import check_study
from ex_cx.studies.data import link_study
from ex_cx.studies.study import load_study

SAMPLES = shared_path("data", "mappings", "samples")
MAPPING_OF = {
    path.name: next(name for name in ready_mappings() if path.stem.startswith(name))
    for path in sorted(SAMPLES.iterdir())
    if path.suffix in (".csv", ".txt")
}
TRUTH = draw_export_samples(np.random.default_rng(SEED)).truth


def read(name: str):
    return read_table(SAMPLES / name, mapping=read_mapping(MAPPING_OF[name]))


def test_every_ready_mapping_has_a_sample_and_every_sample_a_mapping():
    assert sorted(set(MAPPING_OF.values())) == ready_mappings()
    assert len(ready_mappings()) == 6


def test_the_committed_samples_are_the_ones_that_the_generator_draws(tmp_path):
    for path in write_export_samples(tmp_path):
        assert path.read_bytes() == (SAMPLES / path.name).read_bytes(), path.name


@pytest.mark.parametrize("survey", ["qualtrics_survey_text.csv", "qualtrics_survey_codes.csv"])
def test_six_exports_become_one_panel_with_the_values_that_were_drawn(survey):
    files = [survey, *(name for name in MAPPING_OF if not name.startswith("qualtrics"))]
    measured = []
    for name in files:
        mapping = read_mapping(MAPPING_OF[name])
        spec = replace(mapping.source_spec(name), first="2024-10", last="2024-11")
        measured.append(measure_source(read(name), spec, MAPPING_OF[name]))
    panel = link_sources(measured).panel.frame
    found = panel[panel["linked"]].reset_index(drop=True)
    assert found["unit"].tolist() == TRUTH["unit"].tolist()
    assert found["period"].astype(str).tolist() == TRUTH["period"].tolist()
    columns = [name for name in TRUTH if name not in ("unit", "period")]
    assert len(columns) == 11
    assert_allclose(found[columns], TRUTH[columns], rtol=1e-12)


def test_the_study_of_the_samples_links_the_same_panel_and_tells_every_loss():
    loaded = load_study(SAMPLES / "study.yaml")
    linked = link_study(loaded, SAMPLES)
    frame = linked.panel.frame[linked.panel.frame["linked"]]
    assert_allclose(frame["ex_engagement"], TRUTH["ex_engagement"], rtol=1e-12)
    flow = linked.audit.flow
    lost = flow[flow["rows_lost"] > 0].set_index("reason")["rows_lost"].to_dict()
    assert lost == {
        "'Status' is 'Survey Preview', 'Survey Test', 'Spam' and 3 more": 1,
        "'Finished' is not 'True', '1'": 1,
        "'ResponseId' is there already": 1,
        "'mediaType' is not 'voice'": 24,
        "'conversationId' is there already": 24,
        "'Dept' is 'Grand Total'": 1,
        "'Is Deleted' is not 'FALSE'": 4,
    }
    for _, rows in flow[flow["counting"] == "rows"].groupby("source", sort=False):
        assert rows["rows_in"].iloc[0] - rows["rows_lost"].sum() == rows["rows_kept"].iloc[-1]


def test_check_tells_what_was_done_to_the_values():
    lines = list(check_study(SAMPLES / "study.yaml"))
    assert "      eng_3: turned round on 1 to 5, 100 of 112" in lines
    assert "      interval_start: repeated hour, told apart by their order, 16 of 328" in lines
    assert "      staffed_seconds: minutes to seconds, 328 of 328" in lines


def test_the_night_on_which_the_clock_goes_back_has_18_half_hours():
    frame = read("workforce_intervals.txt").frame
    night = frame[(frame["team"] == "007") & (frame["shift_date"] == "2024-11-02")]
    steps = night["interval_start"].diff().dropna().unique()
    assert len(night) == 18
    assert list(steps) == [pd.Timedelta(minutes=30)]
    assert night["interval_start"].iloc[0] == pd.Timestamp("2024-11-03 02:00")  # 22:00 EDT in UTC
    assert night["interval_start"].iloc[-1] == pd.Timestamp("2024-11-03 10:30")  # 05:30 EST


def test_the_date_of_the_shift_and_of_the_clock_are_both_there():
    frame = read("workforce_intervals.txt").frame
    night = frame[(frame["team"] == "007") & (frame["shift_date"] == "2024-10-31")]
    assert len(night) == 16
    assert (night["interval_start"] >= "2024-11-01").all()  # 22:00 in New York is 02:00 UTC


def test_customers_numbers_are_text_and_handle_times_seconds():
    frame = read("contact_interactions.csv").frame
    assert frame["customer"].str.fullmatch(r"\d{6}").all()
    assert frame["handle_seconds"].dropna().between(60, 900).all()
    assert frame["handle_seconds"].isna().eq(frame["abandoned"] == 1).all()


def test_truth_is_on_record_and_says_that_it_is_synthetic():
    stored = json.loads((SAMPLES / "truth.json").read_text())
    assert stored["note"].startswith("Synthetic")
    assert_allclose(pd.DataFrame(stored["truth"])["cx_effort"], TRUTH["cx_effort"], rtol=1e-15)
