"""The index of a study: failures on top with their reason, runs side by side, nothing pooled."""

from __future__ import annotations

import re

import pytest

from ex_cx.reporting.index import render_index
from ex_cx.reporting.report import as_json

HEAD = {"study": "contact_centre", "title": "Do busy teams cost goodwill?"}


@pytest.fixture
def card(report):
    def make(name: str, segment: str = "", status: str = "ok", reason: str = ""):
        return {
            "name": name,
            "notebook": "panel_regression",
            "segment": segment,
            "href": f"{name}/report.html",
            "status": status,
            "reason": reason,
            "labels": {"cx_nps": "NPS (points)", "ex_occupancy_pct": "Occupancy (%)"},
            "report": as_json(report),
        }

    return make


def test_each_run_has_a_card_with_its_answer_and_grade(card, report):
    page = render_index(HEAD, [card("a"), card("b", "region North")], dated="2026-11-22")
    assert page.count(f"<p>{report.answer}</p>") == 2
    assert page.count(report.grade) == 2
    assert "2 of 2 reports good · 2026-11-22" in page
    assert 'href="b/report.html"' in page


def test_failures_come_first_with_their_reason(card):
    failed = card("b", status="failed", reason="LinkError: <b>14</b> units of 212")
    page = render_index(HEAD, [card("a"), failed])
    assert page.index("<h2>Failed</h2>") < page.index("<h2>Reports</h2>")
    assert "LinkError: &lt;b&gt;14&lt;/b&gt; units of 212" in page
    assert "1 of 2 reports good" in page


def test_segments_are_drawn_side_by_side_and_not_pooled(card):
    page = render_index(HEAD, [card("a"), card("b", "region North"), card("c", "region South")])
    assert page.count("<figure>") == 1
    assert "Segments are not pooled." in page
    drawn = re.findall(r"<text[^>]*>([^<]*)</text>", page)
    assert {"all units", "region North", "region South"} <= set(drawn)


def test_one_run_alone_is_no_comparison(card):
    assert "<figure>" not in render_index(HEAD, [card("a")])


def test_a_study_of_failures_only_is_still_a_page(card):
    page = render_index(HEAD, [card("a", status="failed", reason="no")])
    assert "0 of 1 reports good" in page


def test_hostile_names_stay_text(card, hostile, read_page):
    head = {"study": hostile, "title": hostile}
    cards = [card("a"), card("b", hostile), card("c", hostile, "failed", hostile)]
    read = read_page(render_index(head, cards))
    assert read.wrong == []
    assert not read.named("script")
    assert len(read.named("h1")) == 1
