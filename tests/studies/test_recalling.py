"""What is linked, and what is published, is not made again while it would be the same."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from ex_cx.errors import StudyError
from ex_cx.studies import preparing
from ex_cx.studies.preparing import prepare_study
from ex_cx.studies.runner import run_study
from ex_cx.studies.telling import status_lines

MORE = "segments: [region]\ngrid: {lag: [0, 1]}\n"
SHARED = ("index.html", "index.json", "results.parquet", "results.xlsx", "panel.parquet")


@pytest.fixture
def linked(monkeypatch):
    """The studies that are linked from here on."""
    done = []
    link = preparing.link_study

    def noted(loaded, *rest):
        done.append(loaded.study.study)
        return link(loaded, *rest)

    monkeypatch.setattr(preparing, "link_study", noted)
    return done


def keys(prepared):
    return {run.name: (manifest["key"], manifest["inputs"]) for run, manifest in prepared.runs}


def test_what_lies_there_is_not_linked_again_and_plans_the_same_runs(
    study_file, tmp_path, notebooks, linked
):
    study, out = study_file(more=MORE), tmp_path / "runs"
    run_study(study, out=out)
    assert len(linked) == 1
    again = prepare_study(study, out=out)
    assert (len(linked), again.fresh) == (1, None)
    assert keys(again) == keys(prepare_study(study))
    assert len(linked) == 2
    pd.testing.assert_frame_equal(again.linked.panel.frame, prepare_study(study).linked.panel.frame)


@pytest.mark.parametrize(
    "change",
    [
        lambda study, out: study.with_name("panel.csv").write_text(
            study.with_name("panel.csv").read_text().replace("T00", "T99")
        ),
        lambda study, out: study.write_text(
            study.read_text().replace(
                "panel: panel.csv", "panel: panel.csv\n  read: {decimal: '.'}"
            )
        ),
        lambda study, out: study.write_text(study.read_text().replace("[region]", "[team]")),
        lambda study, out: (out / "panel.parquet").write_bytes(b"PAR1"),
        lambda study, out: (out / "panel.parquet").unlink(),
        lambda study, out: (out / "panel.json").unlink(),
    ],
    ids=["data", "reading", "segments", "other panel", "no panel", "no notes"],
)
def test_what_changed_is_linked_again(study_file, tmp_path, notebooks, linked, change):
    study, out = study_file(more=MORE), tmp_path / "runs"
    run_study(study, out=out)
    change(study, out / "small")
    assert prepare_study(study, out=out).fresh is not None
    outcome = run_study(study, out=out)
    assert outcome.exit_code == 0
    assert linked == ["small"] * 3
    found = pd.read_parquet(out / "small" / "panel.parquet")
    assert len(found) == len(pd.read_csv(study.with_name("panel.csv")))


def test_other_code_links_again(study_file, tmp_path, notebooks, linked, monkeypatch):
    study, out = study_file(more=MORE), tmp_path / "runs"
    run_study(study, out=out)
    monkeypatch.setattr("ex_cx.studies.recalling.package_sha256", lambda: "0" * 64)
    assert prepare_study(study, out=out).fresh is not None


def test_force_links_again(study_file, tmp_path, notebooks, linked):
    study, out = study_file(), tmp_path / "runs"
    run_study(study, out=out)
    run_study(study, out=out, force=True)
    assert len(linked) == 2


def test_a_path_that_leads_out_is_refused_though_its_content_is_known(
    study_file, tmp_path, notebooks
):
    study, out = study_file(), tmp_path / "runs"
    run_study(study, out=out)
    data = study.with_name("panel.csv")
    data.rename(tmp_path / "elsewhere.csv")
    data.symlink_to(tmp_path / "elsewhere.csv")
    with pytest.raises(StudyError, match="leads out of 'study'"):
        prepare_study(study, out=out)


def test_a_batch_with_nothing_to_do_writes_nothing(study_file, tmp_path, notebooks, linked):
    study, out = study_file(more=MORE), tmp_path / "runs"
    folder = run_study(study, out=out).index.parent
    before = {name: (folder / name).stat().st_mtime_ns for name in SHARED}
    outcome = run_study(study, out=out)
    assert {run.status for run in outcome.runs} == {"unchanged"}
    assert {name: (folder / name).stat().st_mtime_ns for name in SHARED} == before
    assert list(status_lines(study, None, out))[-1] == "6 current."
    assert len(linked) == 1


@pytest.mark.parametrize("name", ["index.html", "results.parquet", "results.xlsx", "index.json"])
def test_what_is_shared_is_made_again_where_it_was_changed(study_file, tmp_path, notebooks, name):
    study, out = study_file(more=MORE), tmp_path / "runs"
    folder = run_study(study, out=out).index.parent
    good = (folder / name).read_bytes()
    (folder / name).write_bytes(b"{}")
    run_study(study, out=out)
    assert (folder / name).read_bytes() == good


def test_the_index_follows_what_lies_there(study_file, tmp_path, notebooks):
    study, out = study_file(more="segments: [region]\n"), tmp_path / "runs"
    folder = run_study(study, out=out).index.parent
    first = (folder / "index.html").read_text(encoding="utf-8")
    notebooks.answer = "It does not."
    run_study(study, out=out, only="*north", force=True)
    then = (folder / "index.html").read_text(encoding="utf-8")
    assert "It does not." not in first
    assert "It does not." in then
    noted = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    assert sorted(noted["files"]) == ["index.html", "results.parquet", "results.xlsx"]
