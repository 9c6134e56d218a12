"""Reports as PDF: printed whole, the same bytes again, on record; clear words where none can be."""

from __future__ import annotations

import json
import os
import shutil
import stat

import pytest

from ex_cx.errors import RunError
from ex_cx.studies import printing
from ex_cx.studies.printing import BROWSERS, print_page
from ex_cx.studies.runner import run_study
from ex_cx.studies.telling import planned_lines, status_lines
from ex_cx.studies.verifying import verify_run
from tests.studies.conftest import draw_panel

PAGE = "<!doctype html><html lang='en'><title>t</title><body><p>{}</p></body></html>"
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
needs_browser = pytest.mark.skipif(
    BROWSER is None and not os.environ.get("CI"), reason="There is no Chromium to print with."
)


@needs_browser
def test_the_same_page_gives_the_same_bytes_and_another_page_others(tmp_path):
    made = []
    for at, text in enumerate(("one", "one", "two")):
        print_page(PAGE.format(text), tmp_path / f"{at}.pdf")
        made.append((tmp_path / f"{at}.pdf").read_bytes())
    assert made[0].startswith(b"%PDF")
    assert made[0] == made[1] != made[2]


@needs_browser
def test_a_current_report_is_only_printed_and_its_pdf_is_on_record(study_file, notebooks, tmp_path):
    study_path, where = study_file(), (tmp_path / "study", tmp_path)
    (plain,) = run_study(study_path, out=tmp_path).runs
    folder = plain.folder
    assert not (folder / "report.pdf").exists()
    made = {path: path.stat().st_mtime_ns for path in sorted((folder / "tables").glob("*"))}
    before = json.loads((folder / "manifest.json").read_text())
    (line, end) = planned_lines(study_path, *where, pdf=True)
    assert line == f"print {plain.run.name}: current, but report.pdf is missing"
    assert end == "0 of 1 runs would run, 1 would only be printed."
    (printed,) = run_study(study_path, out=tmp_path, pdf=True).runs
    assert len(notebooks.asked) == 1
    assert (printed.status, printed.reason) == ("unchanged", "printed")
    after = json.loads((folder / "manifest.json").read_text())
    assert len(after["outputs"].pop("report.pdf")) == 64
    assert after == before
    assert made == {path: path.stat().st_mtime_ns for path in sorted((folder / "tables").glob("*"))}
    assert verify_run(folder)[1]
    first = (folder / "report.pdf").read_bytes()
    (again,) = run_study(study_path, out=tmp_path, pdf=True).runs
    assert (again.status, again.reason) == ("unchanged", "")
    (folder / "report.pdf").write_bytes(b"%PDF another")
    lines, good = verify_run(folder)
    assert not good
    assert any(line.startswith("report.pdf: was changed") for line in lines)
    (told, _) = status_lines(study_path, *where)
    assert told.endswith("report.pdf is not the one that was printed; --pdf makes it again")
    assert told.startswith("current ")
    run_study(study_path, out=tmp_path, pdf=True)
    assert (folder / "report.pdf").read_bytes() == first
    assert verify_run(folder)[1]


@needs_browser
def test_a_stale_report_is_made_and_printed_and_one_printed_later_is_the_same(
    study_file, notebooks, tmp_path
):
    study_path = study_file()
    (new,) = run_study(study_path, out=tmp_path, pdf=True).runs
    assert new.status == "ok"
    first = (new.folder / "report.pdf").read_bytes()
    (new.folder / "report.pdf").unlink()
    (printed,) = run_study(study_path, out=tmp_path, pdf=True).runs
    assert printed.reason == "printed"
    assert (new.folder / "report.pdf").read_bytes() == first
    panel = draw_panel(seed=8)
    (made,) = run_study(study_file(panel=panel), out=tmp_path, pdf=True).runs
    assert made.status == "ok"
    assert (new.folder / "report.pdf").read_bytes() != first


@needs_browser
def test_a_report_that_cannot_be_printed_stays_and_the_failure_is_told(
    study_file, notebooks, tmp_path, monkeypatch
):
    (plain,) = run_study(study_file(), out=tmp_path).runs
    monkeypatch.setattr(printing, "_run", lambda command: "no display")
    (failed,) = run_study(study_file(), out=tmp_path, pdf=True).runs
    assert failed.status == "failed"
    assert "printed no PDF: no display" in failed.reason
    assert verify_run(plain.folder)[1]


def test_without_a_browser_nothing_is_begun_and_it_is_said(study_file, tmp_path, monkeypatch):
    path = study_file()
    monkeypatch.setattr(printing.shutil, "which", lambda name: None)
    with pytest.raises(RunError, match=r"--pdf needs Chromium.*apt install chromium"):
        run_study(path, out=tmp_path / "runs", pdf=True)
    assert not (tmp_path / "runs").exists()


def browser_that(body, folder):
    path = folder / "chromium"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IEXEC)
    return str(path)


def test_a_browser_that_prints_nothing_is_told_with_its_own_words(tmp_path, monkeypatch):
    path = browser_that("echo no display >&2; exit 1", tmp_path)
    monkeypatch.setattr(printing.shutil, "which", lambda name: path)
    with pytest.raises(RunError, match="printed no PDF: no display"):
        print_page(PAGE.format(1), tmp_path / "x.pdf")
    assert not (tmp_path / "x.pdf").exists()


def test_a_browser_that_hangs_is_ended(tmp_path, monkeypatch):
    path = browser_that("exec sleep 60", tmp_path)
    monkeypatch.setattr(printing.shutil, "which", lambda name: path)
    monkeypatch.setattr(printing, "LONGEST", 0.2)
    with pytest.raises(RunError, match=r"took more than 0\.2 s"):
        print_page(PAGE.format(1), tmp_path / "x.pdf")
