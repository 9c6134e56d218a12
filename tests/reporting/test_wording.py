"""Sentences are computed: association with its interval and unit, never an effect."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from ex_cx.errors import SpecError
from ex_cx.reporting.mediation_wording import answer_mediation
from ex_cx.reporting.wording import answer_panel, grade

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
                "(95 % interval 1.0 to 3.0). Between units the sign is the opposite, −4.0 "
                "points (95 % interval −6.0 to −2.0): comparing units would mislead."
            ),
        ),
        (
            (WITHIN_UP, BETWEEN_NONE),
            (
                "Within units, Engagement higher by 1 is associated with NPS higher by 2.0 points "
                "(95 % interval 1.0 to 3.0). Between units none is shown: 0.5 points (95 % "
                "interval −2.0 to 3.0)."
            ),
        ),
        (
            (WITHIN_NONE, BETWEEN_DOWN),
            (
                "Within units, no association of Engagement with NPS is shown: 0.2 points (95 % "
                "interval −1.0 to 1.4) per 1 more, which holds zero. Between units it is −4.0 "
                "points (95 % interval −6.0 to −2.0): a lasting difference, not change within a "
                "unit."
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


NONE = (0.1, -0.4, 0.6)


def mediation(tidy_rows, indirect, direct, *, m=None, x=None, total=None):
    rows = {"indirect": indirect, "direct": direct, "indirect:m": m, "indirect:x": x}
    rows |= {"total": total or indirect}
    return answer_mediation(
        tidy_rows(*((name, "", *(row or indirect)) for name, row in rows.items())),
        exposure="w",
        outcome="y",
        mediators=("m", "x"),
        labels=LABELS,
    )


def test_a_path_that_is_not_shown_is_told_beside_the_sum(tidy_rows):
    answer = mediation(tidy_rows, (-1.3, -1.6, -1.0), (-0.5, -0.9, 0.1), x=NONE)
    assert (
        "(95 % interval −1.60 to −1.00); through Engagement alone it is 0.10 points (95 % interval "
        "−0.40 to 0.60), which holds zero; the direct path is"
    ) in answer
    assert "through Effort alone" not in answer


def test_paths_that_cancel_are_told_apart(tidy_rows):
    up, down = (2.0, 1.0, 3.0), (-2.2, -3.0, -1.4)
    answer = mediation(tidy_rows, (-0.2, -1.0, 0.6), (0.2, -0.5, 0.9), m=up, x=down)
    assert answer.startswith("Within units, no path altogether from Load through Effort and Eng")
    assert (
        "; through Effort alone it is 2.0 points (95 % interval 1.0 to 3.0), which does" in answer
    )
    assert "; through Engagement alone it is −2.20 points" in answer
    answer = mediation(tidy_rows, (-1.2, -2.0, -0.6), (0.2, -0.5, 0.9), m=up, x=down)
    assert "through Effort alone it is 2.0 points" in answer


def test_opposite_direct_and_indirect_are_told(tidy_rows):
    answer = mediation(tidy_rows, (-1.3, -1.6, -1.0), (0.5, 0.1, 0.9), total=(-0.8, -1.7, 0.1))
    assert answer.endswith(
        "the direct path is 0.50 points (95 % interval 0.10 to 0.90), which does not hold zero, "
        "the other way: the two offset each other; the total is −0.80 points (95 % interval −1.70 "
        "to 0.10), which holds zero."
    )


def test_a_lag_is_set_off_by_commas(tidy_rows):
    rows = tidy_rows(("w_lag1", "within", 2.0, 1.0, 3.0))
    assert answer_panel(rows, term="w_lag1", outcome="y", labels=LABELS).startswith(
        "Within units, Load, 1 period earlier, higher by 1 percentage point is associated"
    )


@pytest.mark.parametrize(
    ("other", "reminder"),
    [
        ("x:w", "the slope where Load is 0: the model also holds Engagement x Load."),
        ("x^2", "the slope at Engagement of 0: the model also holds Engagement squared."),
        ("m", ""),
        ("m:w", ""),
    ],
)
def test_a_slope_that_depends_on_another_term_says_so(tidy_rows, other, reminder):
    rows = tidy_rows(WITHIN_UP, (other, "within", 2.0, 1.0, 3.0))
    answer = answer_panel(rows, term="x", outcome="y", labels=LABELS)
    assert answer.endswith(f"(95 % interval 1.0 to 3.0).{' This is ' * bool(reminder)}{reminder}")


def test_mediation_names_what_runs_through_and_what_is_left(tidy_rows):
    assert mediation(tidy_rows, (-1.3, -1.6, -1.0), (-0.5, -0.9, 0.1)) == (
        "Within units, Load higher by 1 percentage point is associated with NPS lower by 1.30 "
        "points through Effort and Engagement (95 % interval −1.60 to −1.00); the direct path is "
        "−0.50 points (95 % interval −0.90 to 0.10), which holds zero."
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
            ("clear", "limits"),
            WITHIN_NONE,
            "within",
            ("Earned claim: no association within units is shown; limited by: guard 1", "limits"),
        ),
        *(
            (
                ("clear",),
                ("x", kind, 2.0, 1.0, 3.0),
                kind,
                ("Earned claim: an association over all rows, not a change within units", "limits"),
            )
            for kind in ("pooled", "random", "no_effects")
        ),
        (
            ("clear",),
            ("x", "random", 2.0, -1.0, 3.0),
            "random",
            ("Earned claim: no association over all rows is shown", "limits"),
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
            for kind in ("fama_macbeth", "within_period")
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


def test_an_indirect_claim_is_called_one(tidy_rows):
    row = tidy_rows(WITHIN_UP).iloc[0]
    assert grade(guards("clear"), row, what="indirect association") == (
        "Earned claim: an indirect association within units",
        "clear",
    )
