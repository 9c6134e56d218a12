"""Numbers have the digits that their uncertainty deserves, and labels stay readable."""

from __future__ import annotations

import math

import pytest

from ex_cx.reporting.numbers import count, interval, label, number, p_value, split_unit


@pytest.mark.parametrize(
    ("value", "spread", "shown"),
    [
        (-0.0144, 0.0896, "−0.014"),
        (-0.0076, 0.0019, "−0.0076"),
        (1234.567, 45.0, "1,235"),
        (0.0, 0.5, "0.00"),
        (-0.0001, 0.5, "0.00"),  # no minus before a zero
        (1e-12, 1e-13, "1.00e−12"),
        (math.inf, None, "∞"),
        (-math.inf, 1.0, "−∞"),
        (math.nan, 1.0, "–"),
        (5.0, math.nan, "5.00"),
        (5.0, 0.0, "5.00"),
    ],
)
def test_number_has_two_digits_of_its_spread(value, spread, shown):
    assert number(value, spread) == shown


def test_interval_ends_share_their_digits():
    assert interval(-0.5964, -0.1293) == "−0.60 to −0.13"
    assert interval(0.7, 1.1) == "0.70 to 1.10"


def test_missing_interval_is_said_not_drawn_as_dashes():
    assert interval(math.nan, math.nan) == "no interval"


def test_small_p_is_never_zero():
    assert [p_value(p) for p in (0.0, 0.00099, 0.001, 1.0, math.nan)] == [
        "<0.001",
        "<0.001",
        "0.001",
        "1.000",
        "–",
    ]


def test_labels_follow_lags_leads_squares_and_products():
    names = {"ex_load": "Workload (%)", "ex_eng": "Engagement (1-5)"}
    assert label("ex_load_lead2", names) == "Workload, 2 periods later (%)"
    assert label("ex_load^2", names) == "Workload squared"
    assert label("ex_load:ex_eng", names) == "Workload x Engagement"
    assert label("unknown", names) == "unknown"


def test_a_unit_is_the_last_bracket_only():
    assert split_unit("NPS (0-10) (points)") == ("NPS (0-10)", "points")
    assert split_unit("no unit") == ("no unit", "")


def test_counts_mark_thousands():
    assert count(1069) == "1,069"
