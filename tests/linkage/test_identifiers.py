"""Identifiers of people: hashed as soon as a file is read, with a key that is written nowhere."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ex_cx.errors import SchemaError
from ex_cx.linkage.alignspec import CrosswalkSpec
from ex_cx.linkage.confidentiality.identifiers import (
    FILE_VARIABLE,
    KEY_VARIABLE,
    hash_identifiers,
    key_from,
)
from ex_cx.linkage.link import link_study_data
from ex_cx.linkage.linkspec import LinkSpec
from ex_cx.linkage.opening import read_source
from ex_cx.linkage.schema import DatabaseSpec, MeasureSpec, SourceSpec

KEY = "a key of sixteen or more"
CALLS = MeasureSpec(metric="fcr", customer="customer", days=3)


@pytest.fixture(autouse=True)
def no_key(monkeypatch):
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    monkeypatch.delenv(FILE_VARIABLE, raising=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Contacts of two teams, by agents and customers; numbers with blanks and leading zeros."""
    rng = np.random.default_rng(3)
    n = 400
    calls = pd.DataFrame(
        {
            "team": rng.choice(["A", "B"], n),
            "agent": rng.choice(["007", "7", "12"], n),
            "customer": rng.choice([*range(40), None], n),
            "day": rng.choice(pd.date_range("2024-01-01", "2024-03-31").astype(str), n),
            "seconds": rng.integers(100, 900, n),
        }
    )
    calls.to_csv(tmp_path / "calls.csv", index=False)
    return tmp_path


def calls(**changes) -> SourceSpec:
    stated = {
        "path": "calls.csv",
        "unit": "team",
        "period": "day",
        "measures": {"fcr": CALLS, "load": MeasureSpec(metric="sum", score="seconds")},
    }
    return SourceSpec(**{**stated, **changes})


def key_file(folder: Path, text: str = KEY, mode: int = 0o600) -> Path:
    path = folder / "study.key"
    path.write_text(text)
    path.chmod(mode)
    return path


def panel(spec: SourceSpec, folder: Path, key: str = "") -> pd.DataFrame:
    link = LinkSpec(identifier_key_file=key)
    return link_study_data({"calls": spec}, link, folder).panel.frame


def test_results_are_the_same_whatever_is_an_identifier_and_whatever_the_key(folder, monkeypatch):
    from ex_cx.linkage import opening

    found = [panel(calls(identifiers=names), folder) for names in ((), ("agent", "customer"))]
    key_file(folder)
    found.append(panel(calls(identifiers=("agent",)), folder, "study.key"))
    monkeypatch.setattr(opening, "hash_columns", lambda frame, *_, **__: frame)
    found.append(panel(calls(), folder))
    for each in found[1:]:
        pd.testing.assert_frame_equal(each, found[0], check_exact=True)
    assert found[0]["fcr"].notna().all()


def test_what_is_read_holds_hashes_only_and_blanks_stay(folder):
    table = read_source(calls(identifiers=("agent",)), folder)
    plain = pd.read_csv(folder / "calls.csv", dtype=str)
    assert table.hashed == ("agent", "customer")
    for name in table.hashed:
        hashes = table.frame[name]
        assert hashes.dropna().str.fullmatch(r"[0-9a-f]{32}").all()
        assert (hashes.isna() == plain[name].isna()).all()
    assert table.frame["agent"].nunique() == 3  # 007 is not 7
    assert table.frame["team"].equals(plain["team"].astype("str"))


def test_people_as_units_need_a_key_and_are_hashed_in_the_panel(folder, monkeypatch):
    spec = calls(unit="agent", identifiers=("agent",))
    with pytest.raises(SchemaError, match=r"The units of 'calls\.csv' are people.* State one"):
        panel(spec, folder)
    key_file(folder)
    units = set(panel(spec, folder, "study.key")["unit"])
    with key_from(str(folder / "study.key")):
        assert units == set(hash_identifiers(pd.Series(["007", "7", "12"])))
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    assert set(panel(spec, folder)["unit"]) == units
    monkeypatch.delenv(KEY_VARIABLE)
    monkeypatch.setenv(FILE_VARIABLE, str(folder / "study.key"))
    assert set(panel(spec, folder)["unit"]) == units


def test_a_crosswalk_from_people_to_teams_is_hashed_alike(folder):
    key_file(folder)
    lines = [("007", "east"), ("7", "west"), ("12", "west")]
    table = pd.DataFrame(lines, columns=["source_unit", "target_unit"])
    table.assign(valid_from="2024-01").to_csv(folder / "moves.csv", index=False)
    moved = {"unit": "agent", "crosswalk": CrosswalkSpec(path="moves.csv")}
    spec = calls(**moved, identifiers=("agent",))
    linked = link_study_data({"c": spec}, LinkSpec(identifier_key_file="study.key"), folder)
    pd.testing.assert_frame_equal(linked.panel.frame, panel(calls(**moved), folder))
    told = str(linked.audit.to_dict())
    assert "'007'" not in told
    assert "'12'" not in told


def test_what_is_shown_or_computed_with_is_no_identifier(folder):
    for changes in (
        {"identifiers": ("seconds",)},
        {"identifiers": ("day",)},
        {"identifiers": ("agent",), "attributes": {"who": "agent"}},
    ):
        with pytest.raises(SchemaError, match="is an identifier of people and something that"):
            calls(**changes)
    with pytest.raises(SchemaError, match=r"no column 'agnt'.*Did you mean 'agent'"):
        read_source(calls(identifiers=("agnt",)), folder)


@pytest.mark.skipif(os.name != "posix", reason="Permissions are those of POSIX.")
def test_a_file_that_others_may_read_is_no_place_for_a_key(folder):
    key_file(folder, mode=0o640)
    with pytest.raises(SchemaError, match=r"\(mode -rw-r-----\)\. Make it yours alone: chmod 600"):
        panel(calls(), folder, "study.key")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("short", "has 5 characters; a key needs 16"),
        ("x" * 5000, "has 5,000 bytes; a key is one line"),
        (None, "cannot be read: No such file or directory"),
    ],
)
def test_a_file_that_holds_no_key_is_told_without_its_text(folder, text, told):
    if text is not None:
        key_file(folder, text)
    with pytest.raises(SchemaError, match=told) as caught:
        panel(calls(), folder, "study.key")
    assert text is None or text not in str(caught.value)


def test_two_keys_are_one_too_many(folder, monkeypatch):
    key_file(folder)
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    with pytest.raises(SchemaError, match=r"stated in `identifier_key_file` and in EX_CX_") as told:
        panel(calls(), folder, "study.key")
    assert KEY not in str(told.value)


def test_people_as_units_are_hashed_where_rows_stay_in_a_database_too(folder):
    pytest.importorskip("ibis")
    key_file(folder)
    pd.read_csv(folder / "calls.csv", dtype={"agent": str, "customer": str}).assign(
        day=lambda frame: pd.to_datetime(frame["day"])
    ).to_parquet(folder / "calls.parquet")
    spec = calls(unit="agent", identifiers=("agent",))
    stored = replace(spec, path="calls.parquet", database=DatabaseSpec())
    found = panel(stored, folder, "study.key")
    pd.testing.assert_frame_equal(found, panel(spec, folder, "study.key"))
    with pytest.raises(SchemaError, match=r"are people.* State one"):
        panel(stored, folder)
