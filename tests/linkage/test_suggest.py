"""Alike units are told and never joined."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from ex_cx.errors import SchemaError
from ex_cx.linkage.alignspec import CrosswalkSpec
from ex_cx.linkage.audit import LinkAudit
from ex_cx.linkage.crosswalk import Crosswalk
from ex_cx.linkage.link import Linked, link_sources
from ex_cx.linkage.measure import measure_source
from ex_cx.linkage.schema import SourceSpec
from ex_cx.linkage.suggest import draft_crosswalk, suggest_from_audit, suggest_matches


def link(**units: list[str]) -> Linked:
    sources = []
    for name, own in units.items():
        frame = pd.DataFrame({"team": own, "month": "2024-01", name: range(len(own))})
        spec = SourceSpec(path="x.csv", unit="team", period="month", columns={name: name})
        sources.append(measure_source(frame, spec, name))
    return link_sources(sources)


@pytest.mark.parametrize(
    ("left", "right", "why"),
    [
        ("Team A", "team  a", "the same but for capitals and spaces"),
        ("Team-A", "team a", "the same but for signs and spaces"),
        ("Zürich", "Zurich", "the same but for accents or signs"),
        ("S 007", "S 7", "alike but for leading zeros"),
        ("North Leeds", "Leeds North", "the same words, another order"),
        ("Manchester", "Manchestre", "similar spelling"),
    ],
)
def test_why(left, right, why):
    assert suggest_matches([left], [right])["why"].tolist() == [why]


@pytest.mark.parametrize(
    ("left", "right"),
    [("Team 1", "Team 2"), ("Store 12", "Store 21"), ("Leeds", "Hull"), ("", "!")],
)
def test_what_is_no_pair(left, right):
    assert len(suggest_matches([left], [right])) == 0


def test_nothing_to_compare_is_an_empty_frame_and_hostile_labels_are_text():
    assert suggest_matches([], ["a"]).columns.tolist() == ["left", "right", "score", "why"]
    assert len(suggest_matches(["a"], [])) == 0
    odd = ["=cmd()", "<script>", "a\x00b", "\u202eabc", "x" * 5000, "a'b\"c"]
    assert set(suggest_matches(odd, [f"{label} " for label in odd])["left"]) <= set(odd)


def test_ties_are_told():
    found = suggest_matches(["team a"], ["TEAM A", "Team A"])
    assert found["why"].str.endswith("2 equally alike").all()


def test_only_units_that_no_source_tells_apart_are_paired_and_none_is_joined():
    linked = link(staff=["North", "Team A", "Team B"], calls=["North", "team a"], crm=["North"])
    found = suggest_from_audit(linked.audit)
    assert found[["left", "right"]].to_numpy().tolist() == [["team a", "Team A"]]
    assert set(linked.panel.frame["unit"]) == {"North", "Team A", "Team B", "team a"}
    both = link(staff=["North", "Team A", "Team-A"], calls=["North", "Hull"])
    assert len(suggest_from_audit(both.audit)) == 0
    assert len(suggest_from_audit(replace(linked.audit, strangers=pd.DataFrame()))) == 0


def test_units_of_one_source_that_capitals_and_spaces_alone_tell_apart_are_told():
    linked = link(staff=["North", "NORTH", "Team A", "team  a "], calls=["North", "Team A"])
    found = suggest_from_audit(linked.audit)
    assert found[["left", "right"]].to_numpy().tolist() == [
        ["NORTH", "North"],
        ["team  a ", "Team A"],
    ]
    assert found["left_in"].tolist() == ["staff", "staff"]
    assert found["right_in"].tolist() == ["staff, calls", "staff, calls"]
    assert linked.panel.n_units == 4
    stored = LinkAudit.from_dict(linked.audit.to_dict())
    pd.testing.assert_frame_equal(suggest_from_audit(stored), found)
    old = linked.audit.to_dict() | {"alike": []}
    assert len(suggest_from_audit(LinkAudit.from_dict(old))) == 0


def test_a_draft_is_refused_until_a_person_dates_it():
    draft = draft_crosswalk(suggest_matches(["Team A"], ["team a"]))
    with pytest.raises(SchemaError, match="a person decides"):
        Crosswalk.from_frame(draft, CrosswalkSpec(path="draft.csv"))
    dated = Crosswalk.from_frame(draft.assign(valid_from="2024"), CrosswalkSpec(path="draft.csv"))
    assert dated.lines["target"].tolist() == ["team a"]
