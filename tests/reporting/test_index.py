"""The index of a study: failures on top with their reason, runs side by side and pooled."""

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


def test_each_run_has_a_line_that_holds_its_answer_and_grade(card, report):
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


def shifted(card, by: float, **facts):
    """The card with its headline moved, as another segment would have it."""
    for row in card["report"]["results"]:
        row.update(
            {name: row[name] + by for name in ("estimate", "conf_low", "conf_high")}, **facts
        )
    return card


def three(card):
    names = ("North", "South", "West")
    return [shifted(card(n, f"region {n}"), 0.02 * at) for at, n in enumerate(names)]


def drawn(page):
    return re.findall(r"<text[^>]*>([^<]*)</text>", page)


def test_segments_are_drawn_side_by_side_and_pooled_without_all_units(card):
    page = render_index(HEAD, [card("a"), *three(card)])
    lines = drawn(page)
    assert page.count("<figure") == 1
    names = ["all units", "region North", "region South", "region West"]
    assert [t for t in lines if t in {*names, "segments pooled", "one more segment"}] == [
        *names, "segments pooled", "one more segment",
    ]  # fmt: skip
    assert "Pooled: the 3 segments weighed" in page
    assert "share their periods" in page


def test_two_segments_are_pooled_and_allow_no_prediction(card):
    page = render_index(HEAD, [card("a"), *three(card)[:2]])
    assert "segments pooled" in drawn(page)
    assert "one more segment" not in drawn(page)
    assert "Two segments allow no prediction interval." in page


def test_what_cannot_be_pooled_is_drawn_and_the_reason_said(card):
    cards = [*three(card)[:2], shifted(card("x", "region North"), 0.1)]
    page = render_index(HEAD, cards)
    assert "segments pooled" not in drawn(page)
    assert "Segments are not pooled:" in page
    assert "occurs more than once" in page


def test_segments_of_different_columns_are_not_pooled_with_each_other(card):
    by_site = [shifted(card(f"s{i}", f"site {i}"), 0.03 * i) for i in range(2)]
    page = render_index(HEAD, [*three(card), *by_site])
    assert page.count("<figure") == 2
    assert "Pooled: the 3 segments" in page
    assert "Pooled: the 2 segments" in page


def test_runs_are_filtered_by_outcome_without_a_script(card):
    other = shifted(card("b"), 0.0, outcome="cx_effort")
    page = render_index(HEAD, [card("a"), other])
    assert page.count("<script") == 1  # which only counts what the choice leaves
    for value in ("1", "2"):  # the line, and the question whose only line it is
        assert page.count(f'<li class="card" data-f1="{value}"') == 1
        assert page.count(f'<section data-f1="{value}"') == 1
    assert '[data-f1]:not([data-f1~="2"])' in page
    assert "Show only some" not in render_index(HEAD, [card("a")])


def lines(page, group: str) -> list[str]:
    """Text of what `group` matches, without its markup."""
    return [" ".join(re.sub("<[^>]+>", " ", found).split()) for found in re.findall(group, page)]


def test_counts_stand_on_top_by_verdict_and_by_what_is_missing(card):
    clear = card("c", "region South")
    clear["report"]["verdict"] = "clear"
    stale = card("d", "region East", "not asked") | {"note": "Stale: lag.", "current": False}
    absent = card("e", "region West", "not started") | {"note": "Missing.", "href": ""}
    failed = card("b", status="failed", reason="no")
    page = render_index(HEAD, [card("a"), failed, clear, stale, absent])
    top = re.search(r'<ul class="tally">(.*?)</ul>', page, re.DOTALL)[1]
    counted = ["1 ✕ failed", "1 ● clear", "2 ■ limits the claim", "1 of them stale"]
    assert card("a")["report"]["verdict"] == "limits"
    assert lines(top, "(?s)<li.*?</li>") == [*counted, "1 without a report"]
    assert page.index("tally") < page.index("<h2>Failed</h2>")
    assert page.count('<span class="caution">stale</span>') == 1


def test_a_line_says_where_how_much_and_with_what_verdict(card):
    one = card("a", "region North")
    row = next(row for row in one["report"]["results"] if row["headline"])
    row |= {"estimate": -0.3137, "conf_low": -0.4237, "conf_high": -0.2037}
    page = render_index(HEAD, [card("b"), one])
    assert len(re.findall("<section", page)) == 1  # one question
    line = lines(page, r"(?s)<li class=\"card\".*?<details")[1]
    assert line.startswith("region North −0.31 (−0.42 to −0.20) ")
    assert "NPS (points) per 1 more Occupancy (%); 95 % intervals" in page


def test_variants_of_one_question_are_told_apart_and_not_pooled_together(card):
    def with_lag(cards, lag):
        return [one | {"variant": f"lag-{lag}", "name": f"{one['name']}-{lag}"} for one in cards]

    page = render_index(HEAD, [*with_lag(three(card), 0), *with_lag(three(card)[:2], 1)])
    assert "region North · lag-0" in page
    assert "region North · lag-1" in page
    assert page.count("<figure") == 2
    assert "Pooled: the 3 segments" in page
    assert "Pooled: the 2 segments" in page


def test_runs_that_failed_for_one_reason_are_told_together(card):
    failed = [card(name, status="failed", reason="No rows.") for name in ("b", "c")]
    page = render_index(HEAD, [card("a"), *failed, card("d", status="failed", reason="Other.")])
    assert page.count("No rows.") == 1
    assert page.count('<div class="card failed">') == 2


def test_more_than_two_figures_are_opened_one_by_one(card):
    some = three(card)
    many = [one | {"variant": str(at)} for at in range(3) for one in three(card)]
    assert render_index(HEAD, some).count("<details open>") == 1
    page = render_index(HEAD, many)
    assert page.count("<details open>") == 0
    assert page.count("<summary>Side by side; segments pooled: ") == 3


def test_one_run_alone_is_no_comparison(card):
    assert "<figure" not in render_index(HEAD, [card("a")])


def test_a_study_of_failures_only_is_still_a_page(card):
    page = render_index(HEAD, [card("a", status="failed", reason="no")])
    assert "0 of 1 reports good" in page


def test_hostile_names_stay_text(card, hostile, read_page):
    head = {"study": hostile, "title": hostile}
    cards = [card("a"), card("b", hostile), card("c", hostile, "failed", hostile)]
    read = read_page(render_index(head, cards))
    assert read.wrong == []
    assert read.named("script") == [{}]
    assert len(read.named("h1")) == 1
