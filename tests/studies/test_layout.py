"""Folders: whole or not there; what a killed runner left is cleared, a last good report is kept."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from ex_cx.errors import RunError
from ex_cx.studies.layout import (
    building,
    put_in_place,
    sweep,
    working_in,
    write_json,
    write_text,
)


def write(folder, text: str):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.html").write_text(text)
    return folder


def names(folder) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_new_report_replaces_the_old_one_whole(tmp_path):
    final = write(tmp_path / "run", "old")
    (final / "leftover.csv").write_text("x")
    with building(tmp_path, "run") as folder:
        write(folder, "new")
        put_in_place(folder, final)
    assert (final / "report.html").read_text() == "new"
    assert names(tmp_path) == {"run"}
    assert names(final) == {"report.html"}


def interrupted_build(folder):
    with building(folder, "run") as aside:
        write(aside, "half")
        raise KeyboardInterrupt


def test_a_build_that_ends_early_leaves_nothing(tmp_path):
    write(tmp_path / "run", "old")
    with pytest.raises(KeyboardInterrupt):
        interrupted_build(tmp_path)
    assert names(tmp_path) == {"run"}
    assert (tmp_path / "run" / "report.html").read_text() == "old"


def ended_pid() -> int:
    """The id of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_sweeping_clears_what_a_killed_runner_left(tmp_path):
    dead, alive = ended_pid(), os.getppid()
    write(tmp_path / f".building-{dead}-run", "half")
    (tmp_path / f".building-{dead}-index.html.tmp").write_text("half")
    write(tmp_path / f".building-{alive}-other", "someone is at work")
    sweep(tmp_path)
    assert names(tmp_path) == {f".building-{alive}-other"}


def test_sweeping_puts_back_a_report_that_was_being_replaced(tmp_path):
    write(tmp_path / ".previous-run", "last good")
    write(tmp_path / ".previous-done", "older")
    write(tmp_path / "done", "newer")
    sweep(tmp_path)
    assert names(tmp_path) == {"run", "done"}
    assert (tmp_path / "run" / "report.html").read_text() == "last good"
    assert (tmp_path / "done" / "report.html").read_text() == "newer"


def test_json_is_strict_and_files_are_whole(tmp_path):
    write_text(tmp_path / "a.json", "old")
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert (tmp_path / "a.json").read_text() == "old"
    write_json(tmp_path / "a.json", {"x": "ü"})
    assert names(tmp_path) == {"a.json"}


@pytest.mark.skipif(sys.platform == "win32", reason="no such locks there")
def test_two_runners_never_work_in_one_folder(tmp_path):
    folder = tmp_path / "small"
    with working_in(folder):
        with pytest.raises(RunError) as caught, working_in(folder):
            pass
        assert str(caught.value) == (
            f"Another ex-cx is at work in {folder}. Wait until it has ended, or name another "
            "folder by --out."
        )
        write(folder / ".building-1-run", "not swept by the one that was refused")
    with working_in(folder):
        pass
    assert not {".running"} & names(folder)


@pytest.mark.skipif(sys.platform == "win32", reason="no such locks there")
def test_a_killed_runner_holds_no_folder(tmp_path):
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom ex_cx.studies.layout import working_in\n"
        "with working_in(Path(sys.argv[1])):\n    os.kill(os.getpid(), 9)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert ended.returncode == -9
    assert names(tmp_path) == {".running"}
    with working_in(tmp_path):
        pass
    assert names(tmp_path) == set()


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(RunError) as caught, working_in(tmp_path / "out" / "small"):
        pass
    assert str(caught.value) == (
        f"The reports cannot be stored in {tmp_path / 'out' / 'small'}: Not a directory. What is "
        "in place there is whole. Make room or permit writing, or name another folder by --out."
    )
