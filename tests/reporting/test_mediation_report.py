"""The report of a mediation: chains, moderators, interaction, levels and sensitivity."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from ex_cx.linkage.simulate import simulate_panel
from ex_cx.models.mediation import MediationSpec, fit_mediation
from ex_cx.reporting.compose import mediation_report
from ex_cx.reporting.page import render_page
from ex_cx.reporting.report import write_report_parts
from ex_cx.robustness.mediation_checks import (
    every_mediation_guard,
    levels_of_paths,
    sensitivity_of_paths,
)

PLAIN = MediationSpec(
    outcome="cx_nps",
    exposure="ex_occupancy_pct",
    mediators=("cx_effort", "cx_fcr_pct"),
    controls=("ex_engagement",),
)
SPECS = {
    "plain": PLAIN,
    "chain": replace(PLAIN, structure="serial"),
    "moderated": replace(PLAIN, controls=(), moderator="ex_engagement", moderated=("a", "b")),
    "interaction": replace(PLAIN, interaction=True),
}
LABELS = {
    "cx_nps": "NPS (points)",
    "ex_occupancy_pct": "Occupancy (%)",
    "cx_effort": "Effort (1-5)",
    "cx_fcr_pct": "Resolved (%)",
    "ex_engagement": "Engagement (1-5)",
}


@pytest.fixture(scope="module")
def panel():
    return simulate_panel(n_units=24, n_periods=10, rng=np.random.default_rng(20240501))


def rng():
    return np.random.default_rng(1)


def study(panel, spec, labels=LABELS, **options):
    result = fit_mediation(panel, spec, n_boot=199, rng=rng())
    return result, mediation_report(
        result,
        every_mediation_guard(panel, spec, result, n_boot=99, rng=rng()),
        levels=levels_of_paths(panel, spec, n_boot=199, rng=rng()),
        sensitivity=sensitivity_of_paths(panel, spec, n_boot=99, rng=rng()),
        labels=labels,
        **options,
    )


def text_of(report, heading):
    part = next(p for p in (*report.evidence, *report.checks) if heading in p.heading)
    return " ".join(part.text)


def table_of(report, name):
    return next(table for table in report.every_table() if table.name == name)


@pytest.mark.parametrize("kind", SPECS)
def test_every_term_is_in_one_table_and_every_name_is_the_readers(panel, kind, tmp_path):
    result, report = study(panel, SPECS[kind])
    names = ("paths", "steps", "products")
    shown = sum(len(t.frame) for t in report.every_table() if t.name in names)
    left_out = sum(term.startswith("interaction:") for term in result.terms)
    assert shown == len(result.terms) - left_out
    write_report_parts(report, tmp_path)
    page = render_page(tmp_path, {"study": "s"}, "")
    assert len(page) < 400_000
    assert not re.search(r">[^<]*(cx_effort|cx_fcr_pct|ex_occupancy_pct)", page)
    assert json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))["checks"]


def test_levels_stand_side_by_side_and_repeat_the_headline(panel):
    result, report = study(panel, PLAIN)
    frame = table_of(report, "levels").frame
    assert frame["level"].tolist() == [
        "within units", "between units", "between less within", "pooled",
    ]  # fmt: skip
    assert frame["95 % interval"].iloc[0] == report.facts[0][1].partition("(")[2].rstrip(")")
    assert "of neither kind" in frame["what it says"].iloc[3]
    within = result.tidy().set_index("term").loc["indirect"]
    levels = levels_of_paths(panel, PLAIN, n_boot=199, rng=rng()).set_index(["term", "level"])
    for end in ("estimate", "conf_low", "conf_high"):
        assert levels.loc[("indirect", "within"), end] == pytest.approx(within[end], rel=1e-9)


def test_what_cannot_be_compared_says_why(panel):
    few = panel.where(panel.frame["unit"].isin(panel.frame["unit"].unique()[:4]).to_numpy())
    result = fit_mediation(few, PLAIN, n_boot=199, rng=rng())
    report = mediation_report(
        result,
        every_mediation_guard(few, PLAIN, result, n_boot=99, rng=rng()),
        levels=levels_of_paths(few, PLAIN, n_boot=199, rng=rng()),
        sensitivity="In a chain each link may be confounded",
    )
    said = text_of(report, "Change within units")
    assert "no comparison: The means of 4 units cannot carry 5 coefficients" in said
    assert text_of(report, "How strong").startswith("Not computed: In a chain")


def test_a_chain_tells_its_paths_and_assumes_their_order(panel):
    _, report = study(panel, SPECS["chain"])
    assert "through the chain Effort → Resolved" in report.answer
    assert "in the order of the chain only" in text_of(report, "What must hold")
    paths = table_of(report, "contrasts").frame["term"].tolist()
    assert paths == [
        "Effort less Resolved",
        "Effort less Effort → Resolved",
        "Resolved less Effort → Resolved",
    ]
    assert "one correlation does not say how" in text_of(report, "How strong")


def test_a_moderator_has_a_sentence_a_figure_and_its_values(panel):
    result, report = study(panel, SPECS["moderated"])
    assert "This holds where Engagement is at its mean; per 1 more of it" in report.answer
    said = text_of(report, "Does it depend on Engagement?")
    assert said.startswith("At its mean, 1 more Engagement (1-5) changes the indirect")
    assert "conditional_indirect" in [figure.name for figure in report.every_figure()]
    values = len(result.conditional()["moderator"].unique())
    assert len(table_of(report, "conditional").frame) == 4 * values
    findings = report.guards.set_index("guard")["finding"]
    assert findings["Placebo mediator"].endswith("Looked at without the moderator.")
    assert table_of(report, "levels").caption.endswith("Without the moderator.")


def test_an_interaction_splits_the_total_in_four(panel):
    result, report = study(panel, SPECS["interaction"])
    frame = table_of(report, "four_way").frame
    assert len(frame) == 7
    row = result.decomposition().set_index("term").loc["mediated_interaction"]
    said = text_of(report, "Mediation, interaction, or both?")
    assert ("which holds zero; mediation" in said) == (row["conf_low"] <= 0 <= row["conf_high"])


def test_assumptions_stand_under_the_table_in_plain_words(panel):
    _, report = study(panel, PLAIN)
    assert report.evidence[0].heading == "What must hold to read this as an effect"
    said = text_of(report, "What must hold")
    assert "nothing unmeasured may move both Occupancy and NPS" in said
    assert "the order from Occupancy to NPS is assumed" in said
    assert "what the controls hold" in said
    lagged = replace(PLAIN, lag_mediator=1, lag_outcome=1, controls=(), absorb=("unit",))
    said = text_of(study(panel, lagged)[1], "What must hold")
    assert "Occupancy comes before what it is said to move" in said
    assert "Ruled out is what is always so in a unit, and nothing else." in said


def test_what_undoes_a_path_is_told_with_its_curve(panel):
    _, report = study(panel, PLAIN)
    found = sensitivity_of_paths(panel, PLAIN, n_boot=99, rng=rng()).tidy()
    said = text_of(report, "How strong")
    assert f"correlated at {found['rho_zero'].iloc[0]:.3g}".replace("-", "−") in said
    names = [f.name for part in report.checks for f in part.figures]
    assert sorted(names) == ["sensitivity_cx_effort", "sensitivity_cx_fcr_pct"]
    assert not report.checks[0].fold
    assert report.checks[1].fold


def test_hostile_labels_stay_text(panel, hostile, tmp_path):
    labels = dict.fromkeys(LABELS, hostile)
    _, report = study(panel, SPECS["moderated"], labels=labels, title=hostile, segment=hostile)
    write_report_parts(report, tmp_path)
    page = render_page(tmp_path, {"study": hostile}, "")
    assert "<script>alert" not in page
    assert page.count("<script") == 2  # the manifest and the page's own


def test_levels_of_one_effect_stand_together(panel):
    _, report = study(panel, PLAIN)
    effects = table_of(report, "levels_of_paths").frame["effect"].tolist()
    assert effects == [name for name in dict.fromkeys(effects) for _ in range(4)]


def test_many_paths_are_counted_not_listed(panel):
    chain = replace(SPECS["chain"], mediators=("cx_fcr_pct", "ex_attrition_pct", "cx_effort"))
    result, report = study(panel, chain)
    rows = result.tidy().set_index("term")
    paths = rows[rows.index.str.startswith("indirect:")]
    clear = ((paths["conf_low"] > 0) | (paths["conf_high"] < 0)).sum()
    assert 0 < clear < len(paths) == 7
    assert f"of its 7 paths alone, {clear} exclude zero" in report.answer


def test_one_moderated_path_is_not_said_to_be_the_same(panel):
    alone = replace(SPECS["moderated"], mediators=("cx_effort",), moderated=("a",))
    report = study(panel, alone)[1]
    assert "per 1 more of it the indirect association changes by" in report.answer
    assert "1 more Engagement (1-5) changes" in text_of(report, "Does it depend")
    direct = study(panel, replace(alone, moderated=("direct",)))[1]
    assert direct.answer.endswith("it changes the direct path only.")
