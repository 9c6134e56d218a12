"""Studies and reports from elsewhere: nothing outside the data root is opened, nothing endless."""

from __future__ import annotations

import html
import json
import os
import re

import pytest

from ex_cx.errors import ExCxError, RunError, StudyError
from ex_cx.studies import preparing, verifying
from ex_cx.studies.manifest import file_sha256
from ex_cx.studies.preparing import prepare_study
from ex_cx.studies.rerunning import rerun_report
from ex_cx.studies.runner import run_study
from ex_cx.studies.verifying import verify_run

EMBEDDED = re.compile(
    r'(<script type="application/json" id="manifest">)(.*?)(</script>)', re.DOTALL
)


@pytest.fixture
def hashed(monkeypatch):
    """The files that were hashed."""
    seen = []

    class Stamp(preparing.FileStamp):
        @classmethod
        def of(cls, path):
            seen.append(path)
            return preparing_stamp.of(path)

    preparing_stamp = preparing.FileStamp
    monkeypatch.setattr(preparing, "FileStamp", Stamp)
    return seen


@pytest.mark.parametrize("path", ["/dev/zero", "/proc/self/environ", "../secret.csv"])
def test_what_lies_outside_is_not_even_hashed(study_file, tmp_path, hashed, path):
    (tmp_path / "secret.csv").write_text("a,b\n1,2\n")
    with pytest.raises(StudyError, match=r"data\.panel: leads out of 'study'"):
        prepare_study(study_file(("panel.csv", path)))
    assert hashed == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_among_the_data_is_not_waited_for(study_file, tmp_path):
    study = study_file(("panel.csv", "pipe.csv"))
    os.mkfifo(study.with_name("pipe.csv"))
    with pytest.raises(OSError, match="There is no plain file"):
        file_sha256(study.with_name("pipe.csv"))
    with pytest.raises(ExCxError, match="is no regular file"):
        prepare_study(study)


@pytest.fixture
def page(study_file, notebooks, tmp_path):
    """A finished report, and a writer of it with another manifest."""
    folder = run_study(study_file(), out=tmp_path / "runs").runs[0].folder
    text = (folder / "report.html").read_text(encoding="utf-8")
    manifest = json.loads(html.unescape(EMBEDDED.search(text)[2]))

    def write(changed: str | dict):
        inside = changed if isinstance(changed, str) else json.dumps(manifest | changed)
        path = tmp_path / "changed.html"
        path.write_text(EMBEDDED.sub(lambda m: m[1] + inside + m[3], text), encoding="utf-8")
        return path

    write.manifest, write.folder = manifest, folder
    return write


def test_a_report_that_names_data_outside_is_refused(page, tmp_path):
    (tmp_path / "secret.csv").write_text("a,b\n1,2\n")
    data = {**page.manifest["data"], "panel": "../secret.csv"}
    with pytest.raises(StudyError, match="leads out of 'study'"):
        rerun_report(page({"data": data}), tmp_path / "study")


def test_a_report_that_names_another_notebook_is_refused(page, tmp_path):
    with pytest.raises(RunError, match="which this ex_cx has not"):
        rerun_report(page({"notebook": "../../evil"}), tmp_path / "study")


def test_a_report_whose_record_is_endless_or_huge_is_refused(page, tmp_path, monkeypatch):
    with pytest.raises(RunError, match="holds no manifest"):
        rerun_report(page("[" * 200_000), tmp_path / "study")
    monkeypatch.setattr(verifying, "LARGEST", 10)
    with pytest.raises(RunError, match="is larger than 10 bytes: no report of ex_cx is"):
        rerun_report(page({}), tmp_path / "study")


def test_verify_hashes_nothing_outside_the_data_root(page, tmp_path):
    (tmp_path / "study" / "panel.csv").rename(tmp_path / "panel.csv")
    (tmp_path / "study" / "panel.csv").symlink_to(tmp_path / "panel.csv")
    lines, good = verify_run(page.folder, tmp_path / "study")
    assert not good
    assert any("input panel.csv: is not in" in line for line in lines)
