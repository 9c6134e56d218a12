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
from ex_cx.studies.verifying import verify_run

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
def test_a_run_holds_its_pdf_which_is_on_record_and_made_where_it_lacks(
    study_file, notebooks, tmp_path
):
    study_path = study_file()
    plain = run_study(study_path, out=tmp_path)
    folder = plain.runs[0].folder
    assert not (folder / "report.pdf").exists()
    printed = run_study(study_path, out=tmp_path, pdf=True)
    assert [run.status for run in printed.runs] == ["ok"]
    recorded = json.loads((folder / "manifest.json").read_text())["outputs"]
    assert len(recorded["report.pdf"]) == 64
    assert verify_run(folder)[1]
    again = run_study(study_path, out=tmp_path, pdf=True)
    assert [run.status for run in again.runs] == ["unchanged"]
    (folder / "report.pdf").write_bytes(b"%PDF another")
    lines, good = verify_run(folder)
    assert not good
    assert any(line.startswith("report.pdf: was changed") for line in lines)


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
