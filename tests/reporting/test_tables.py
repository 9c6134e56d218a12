"""Tables: text numbers, accessible HTML, nothing that a browser or a spreadsheet would run."""

from __future__ import annotations

from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from ex_cx.reporting.tables import format_tidy, html_table, neutralise, neutralise_frame


class Cells(HTMLParser):
    """Collects tags with their attributes and the text between them."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(markup)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)

    def named(self, name: str) -> list[dict[str, str | None]]:
        return [attrs for tag, attrs in self.tags if tag == name]


def test_hostile_cells_headers_and_captions_are_text(hostile):
    page = Cells(html_table(pd.DataFrame({hostile: [hostile], "b": [1.5]}), hostile))
    assert not page.named("script")
    assert page.text.count(hostile) == 3  # caption, header, cell
    assert page.named("div")[0]["aria-label"] == hostile


def test_headers_have_scope_and_the_table_a_caption():
    frame = pd.DataFrame({"term": ["x", "y"], "estimate": [1.0, 2.0]})
    page = Cells(html_table(frame, "Two terms.", answer_rows=(1,)))
    scopes = [attrs["scope"] for attrs in page.named("th")]
    assert scopes == ["col", "col", "row", "row"]
    assert len(page.named("caption")) == 1
    assert page.named("tr")[1:] == [{}, {"class": "answers"}]
    assert page.named("div")[0]["tabindex"] == "0"  # a region that scrolls takes the keyboard


def test_missing_cells_are_a_dash():
    frame = pd.DataFrame({"a": ["x"], "b": [np.nan], "c": [None], "d": [pd.NA]})
    assert Cells(html_table(frame, "c")).text.count("–") == 3


def test_an_empty_table_is_still_a_table():
    assert "<tbody></tbody>" in html_table(pd.DataFrame({"a": []}), "nothing")
    assert "<table>" in html_table(pd.DataFrame(), "nothing")


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\t", "\r", " ="])
def test_text_that_a_spreadsheet_would_run_is_quoted(sign):
    assert neutralise(f"{sign}cmd()") == f"'{sign}cmd()"


def test_numbers_are_left_alone():
    frame = pd.DataFrame({"=head": ["=1+1", None], "n": [-1.5, 2.0], "m": [-3, 4]})
    out = neutralise_frame(frame)
    assert list(out.columns) == ["'=head", "n", "m"]
    assert out["'=head"].tolist()[0] == "'=1+1"
    assert out[["n", "m"]].equals(frame[["n", "m"]])
    assert frame.columns[0] == "=head"  # the caller's frame stays


def test_two_columns_of_one_name_both_stay():
    frame = pd.DataFrame([["=a", "-b"]], columns=["x", "x"])
    assert neutralise_frame(frame).to_numpy().tolist() == [["'=a", "'-b"]]


def test_tidy_is_written_with_labels_counts_and_level(tidy_rows):
    rows = tidy_rows(("x", "within", -0.0144, -0.104, 0.075), conf_level=0.9)
    shown = format_tidy(rows, {"x": "Engagement (1-5)"})
    assert shown.to_dict("records") == [
        {
            "term": "Engagement (1-5)",
            "estimate by": "within",
            "estimate": "−0.014",
            "std. error": "0.045",
            "90 % interval": "−0.104 to 0.075",
            "p": "<0.001",
            "rows": "1,069",
            "clusters": "142",
        }
    ]
