"""Sentences are computed: association with its interval and unit, never an effect."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from ex_cx.errors import SpecError
from ex_cx.reporting.wording import answer_mediation, answer_panel, grade

LABELS = {"x": "Engagement (1-5)", "y": "NPS (points)", "m": "Effort (1-5)", "w": "Load (%)"}
WITHIN_UP, WITHIN_NONE = ("x", "within", 2.0, 1.0, 3.0), ("x", "within", 0.2, -1.0, 1.4)
BETWEEN_UP, BETWEEN_DOWN = ("x", "between", 4.0, 2.0, 6.0), ("x", "between", -4.0, -6.0, -2.0)
BETWEEN_NONE = ("x", "between", 0.5, -2.0, 3.0)


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (
            (WITHIN_UP, BETWEEN_UP),
            (
                "Within units, Engagement higher by 1 is associated with NPS higher by 2.0 points "
                "(95 % interval 1.0 to 3.0)."
            ),
        ),
        (
            (WITHIN_UP, BETWEEN_DOWN),
            (
                "Within units, Engagement higher by 1 is associated with NPS higher by 2.0 points "
                "(95 % interval 1.0 to 3.0). Between units the sign is the opposite, −4.0 (95 % "
                "interval −6.0 to −2.0): site mix would have misled."
            ),
        ),
        (
            (WITHIN_UP, BETWEEN_NONE),
            (
                "Within units, Engagement higher by 1 is associated with NPS higher by 2.0 points "
                "(95 % interval 1.0 to 3.0). Between units no such difference is shown: 0.5 (95 % "
                "interval −2.0 to 3.0)."
            ),
        ),
        (
            (WITHIN_NONE, BETWEEN_DOWN),
            (
                "Within units, no association of Engagement with NPS is shown: 0.2 points (95 % "
                "interval −1.0 to 1.4) per 1 more, which holds zero. Units do differ lastingly, by "
                "−4.0 (95 % interval −6.0 to −2.0): that is not change within a unit."
            ),
        ),
        (
            (WITHIN_NONE, BETWEEN_NONE),
            (
                "Within units, no association of Engagement with NPS is shown: 0.2 points (95 % "
                "interval −1.0 to 1.4) per 1 more, which holds zero."
            ),
        ),
        (
            (WITHIN_UP,),
            (
                "Within units, Engagement higher by 1 is associated with NPS higher by 2.0 points "
                "(95 % interval 1.0 to 3.0)."
            ),
        ),
    ],
)
def test_the_answer_says_where_within_and_between_disagree(tidy_rows, rows, sentence):
    assert answer_panel(tidy_rows(*rows), term="x", outcome="y", labels=LABELS) == sentence


def test_another_level_is_said(tidy_rows):
    rows = tidy_rows(WITHIN_UP, conf_level=0.9)
    assert "(90 % interval 1.0 to 3.0)" in answer_panel(rows, term="x", outcome="y")


def test_a_missing_interval_shows_no_association(tidy_rows):
    rows = tidy_rows(("x", "within", 2.0, np.nan, np.nan))
    answer = answer_panel(rows, term="x", outcome="y", labels=LABELS)
    assert answer.startswith("Within units, no association of Engagement with NPS is shown")
    assert "no interval can be given" in answer


def test_an_estimate_that_was_not_made_is_refused(tidy_rows):
    with pytest.raises(
        SpecError,
        match=re.escape(
            "The comparison has no 'first_difference' estimate of 'x'; it has 'within', 'between' "
            "of 'x'. Name it in the estimators of compare_estimators."
        ),
    ):
        answer_panel(
            tidy_rows(WITHIN_UP, BETWEEN_UP), term="x", outcome="y", estimator="first_difference"
        )


def mediation(tidy_rows, indirect, direct):
    return answer_mediation(
        tidy_rows(("indirect", "", *indirect), ("direct", "", *direct)),
        exposure="w",
        outcome="y",
        mediators=("m", "x"),
        labels=LABELS,
    )


def test_mediation_names_what_runs_through_and_what_is_left(tidy_rows):
    assert mediation(tidy_rows, (-1.3, -1.6, -1.0), (-0.5, -0.9, 0.1)) == (
        "Within units, Load higher by 1 percentage point goes with NPS lower by 1.30 points "
        "through Effort and Engagement (95 % interval −1.60 to −1.00); the direct path is −0.50 "
        "points (95 % interval −0.90 to 0.10), which holds zero."
    )


def test_mediation_without_a_path_says_so(tidy_rows):
    answer = mediation(tidy_rows, (-1.3, -1.6, 1.0), (-0.5, -0.9, -0.1))
    assert answer.startswith("Within units, no path from Load through Effort and Engagement to NPS")
    assert answer.endswith("which does not hold zero.")


def test_no_sentence_claims_an_effect(tidy_rows):
    said = [
        answer_panel(tidy_rows(within, between), term="x", outcome="y", labels=LABELS)
        for within in (WITHIN_UP, WITHIN_NONE)
        for between in (BETWEEN_UP, BETWEEN_DOWN, BETWEEN_NONE)
    ]
    said += [mediation(tidy_rows, (1.0, low, 2.0), (1.0, low, 2.0)) for low in (-1.0, 0.5)]
    banned = r"\b(effect|affect|cause|impact|lead|drive|improve|reduce|increase|raise)"
    assert not [sentence for sentence in said if re.search(banned, sentence, re.IGNORECASE)]


def guards(*verdicts: str) -> pd.DataFrame:
    names = [f"Guard {i}" for i in range(len(verdicts))]
    return pd.DataFrame({"guard": names, "finding": "", "verdict": list(verdicts)}, dtype=object)


@pytest.mark.parametrize(
    ("verdicts", "row", "estimator", "expected"),
    [
        (("clear",), WITHIN_UP, "within", ("Earned claim: an association within units", "clear")),
        (
            ("clear", "caution"),
            WITHIN_UP,
            "within",
            ("Earned claim: an association within units, with cautions", "caution"),
        ),
        (("caution", "limits"), WITHIN_UP, "within", ("Claim limited by: guard 1", "limits")),
        (
            ("clear",),
            WITHIN_NONE,
            "within",
            ("Earned claim: no association within units is shown", "caution"),
        ),
        (
            ("clear",),
            BETWEEN_UP,
            "between",
            ("Earned claim: a difference between units, not a change within them", "limits"),
        ),
        *(
            (
                ("clear",),
                (*WITHIN_UP[:1], kind, *WITHIN_UP[2:]),
                kind,
                ("Earned claim: a difference between units, not a change within them", "limits"),
            )
            for kind in ("pooled", "random", "fama_macbeth", "within_period", "no_effects")
        ),
        (
            ("clear",),
            BETWEEN_NONE,
            "between",
            ("Earned claim: no difference between units is shown", "limits"),
        ),
        *(
            (("clear",), WITHIN_UP, kind, ("Earned claim: an association within units", "clear"))
            for kind in ("first_difference", "correlated_random")
        ),
        ((), WITHIN_UP, "within", ("Earned claim: an association within units", "clear")),
    ],
)
def test_the_grade_is_no_better_than_the_design_and_the_worst_guard(
    tidy_rows, verdicts, row, estimator, expected
):
    assert grade(guards(*verdicts), tidy_rows(row).iloc[0], estimator) == expected
