"""The small version of `make fuzz`: the first files of each kind, the same in every run."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from ex_cx.errors import SourceError
from tests.fuzz import targets
from tests.fuzz.files import MAKERS, make
from tests.fuzz.nasty import SECRETS
from tests.fuzz.targets import Escape, probe

FILES = 20


@pytest.mark.parametrize("kind", list(MAKERS))
def test_malformed_files_end_in_an_error_of_ours_or_in_a_table(kind, tmp_path):
    done = 0
    for seed in range(FILES):
        folder = tmp_path / str(seed)
        folder.mkdir()
        done += probe(kind, seed, folder)
    assert done, "every call was refused: the files are too broken to reach anything"


@pytest.mark.parametrize("kind", list(MAKERS))
def test_a_file_is_made_again_from_its_seed(kind):
    before = make(kind, 3)
    time.sleep(2.1)  # a zip has the time in it, in steps of two seconds
    assert make(kind, 3) == before
    assert len({make(kind, seed).content for seed in range(10)}) > 5


@pytest.mark.parametrize("wrong", [KeyError("x"), RecursionError(), SystemExit(1)])
def test_what_escapes_is_reported_with_its_seed(wrong, tmp_path, monkeypatch):
    def broken(*_args: object, **_options: object) -> None:
        raise wrong

    monkeypatch.setattr(targets, "read_table", broken)
    with pytest.raises(Escape, match=rf"{type(wrong).__name__} out of read_table .*delimited:0"):
        probe("delimited", 0, tmp_path)


def test_an_error_without_words_is_a_finding(tmp_path, monkeypatch):
    def mute(*_args: object, **_options: object) -> None:
        raise SourceError("")

    monkeypatch.setattr(targets, "read_table", mute)
    with pytest.raises(Escape, match="SourceError out of read_table: 0 letters"):
        probe("delimited", 0, tmp_path)


def test_a_message_that_quotes_a_secret_is_a_finding(tmp_path, monkeypatch):
    def talkative(*_args: object, **_options: object) -> None:
        raise SourceError(f"The value {SECRETS[1]!r} is wrong.")

    monkeypatch.setattr(targets, "read_table", talkative)
    with pytest.raises(Escape, match=r"out of read_table quotes the data: \['quill'\]"):
        probe("planted", 0, tmp_path)


def test_a_file_left_by_a_call_that_failed_is_a_finding(tmp_path, monkeypatch):
    def careless(path: Path, **_options: object) -> None:
        path.with_suffix(".half").write_text("a")
        raise SourceError("It failed.")

    monkeypatch.setattr(targets, "read_table", careless)
    with pytest.raises(Escape, match="read_table failed and left files behind"):
        probe("delimited", 0, tmp_path)
