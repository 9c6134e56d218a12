"""Study files: every misspelling is an error with its line and the nearest right name."""

from __future__ import annotations

import pytest

from ex_cx.errors import StudyError
from ex_cx.linkage.sources import shared_path
from ex_cx.studies.plan import folder_name, plan_runs
from ex_cx.studies.study import load_study

SOURCES = """\
study: linked
data:
  sources:
    hris:
      path: hris.csv
      unit: team
      measures:
        ex_attrition_pct: {metric: attrition, hire: hired, exit: left}
    customers:
      path: customers.csv
      unit: team
      period: day
      measures:
        cx_nps: {metric: nps, score: answer}
roles: {exposures: [ex_attrition_pct], outcomes: [cx_nps]}
notebooks: [panel_regression]
"""


def message(path) -> str:
    with pytest.raises(StudyError) as caught:
        load_study(path)
    return str(caught.value)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            ("roles:", "rolls:"),
            "study.yaml, line 7: rolls: there is no such key. Did you mean 'roles'?",
        ),
        (
            ("  exposures:", "  exposure:"),
            "study.yaml, line 8: roles.exposure: there is no such key. Did you mean 'exposures'?",
        ),
        (
            ("[panel_regression]", "[panel_regresion]"),
            (
                "study.yaml, line 11: notebooks item 1: must be 'data_audit', 'panel_regression' "
                "or "
                "'mediation'; found the text 'panel_regresion'. Did you mean 'panel_regression'?"
            ),
        ),
        (
            ("unit: team", "unit: 7"),
            "study.yaml, line 5: unit: must be text; found the number 7. Put it in quotes.",
        ),
        (
            ("unit: team", "unit: true"),
            "study.yaml, line 5: unit: must be text; found true. Put it in quotes.",
        ),
        (("study: small\n", ""), "study.yaml: study: is required."),
        (
            ("[nps]", "nps"),
            "study.yaml, line 10: roles.outcomes: must be a list; found the text 'nps'.",
        ),
        (
            ("study: small", "study: ../../x"),
            (
                "study.yaml, line 1: study: names the folder of the runs, so it holds letters, "
                "digits, "
                "_ and - only (at most 64); found the text '../../x'."
            ),
        ),
        (
            ("  panel: panel.csv", "  read: {delimiter: ';'}"),
            "study.yaml, line 3: data: needs either `panel` or `sources`; state one of the two.",
        ),
        (
            ("notebooks: [panel_regression]\n", ""),
            (
                "study.yaml: notebooks: is empty, so there is nothing to run. Notebooks: "
                "data_audit, "
                "panel_regression, mediation."
            ),
        ),
    ],
)
def test_a_wrong_key_or_value_is_named_with_its_line(study_file, change, expected):
    assert message(study_file(change)) == expected


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (
            "defaults: {lagg: 1}\n",
            (
                "study.yaml, line 12: defaults.lagg: no notebook of this study has such a "
                "parameter. "
                "Did you mean 'lag'?"
            ),
        ),
        (
            "defaults: {run_dir: /tmp}\n",
            (
                "study.yaml, line 12: defaults.run_dir: is decided by the study's own fields, "
                "not by a "
                "parameter."
            ),
        ),
        (
            "grid: {lag: 1}\n",
            (
                "study.yaml, line 12: grid.lag: must be a list of the values to run; found the "
                "number 1."
            ),
        ),
        (
            "runs: [{notebook: mediation, parameters: {mediater: x}}]\n",
            (
                "study.yaml, line 12: runs item 1.parameters.mediater: no notebook of this study "
                "has "
                "such a parameter. Did you mean 'mediators'?"
            ),
        ),
        (
            "study: again\n",
            "study.yaml, line 12: the key 'study' is already given on line 1. Keep one of the two.",
        ),
    ],
)
def test_a_wrong_parameter_is_named_with_its_line(study_file, more, expected):
    assert message(study_file(more=more)) == expected


def test_several_problems_come_at_once(study_file):
    text = message(study_file(("roles:", "rolls:"), ("title:", "titel:")))
    assert text.splitlines() == [
        "study.yaml has 2 problems:",
        "- study.yaml, line 2: titel: there is no such key. Did you mean 'title'?",
        "- study.yaml, line 7: rolls: there is no such key. Did you mean 'roles'?",
    ]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            ("[cx_nps]}", "[cx_npss]}"),
            (
                "linked.yaml, line 15: roles.outcomes item 1: there is no column 'cx_npss' in "
                "the data. "
                "Did you mean 'cx_nps'?"
            ),
        ),
        (
            ("metric: nps", "metric: nsp"),
            (
                "linked.yaml, line 14: data.sources.customers.measures.cx_nps.metric: must be "
                "'nps', "
                "'effort', 'scale_mean', 'mean', 'share', 'fcr', 'attrition', 'retention', "
                "'occupancy', "
                "'aht', 'ratio', 'sum' or 'count'; found the text 'nsp'. Did you mean 'nps'?"
            ),
        ),
        (
            ("score: answer}", "score: answer, items: [a]}"),
            (
                "linked.yaml, line 14: data.sources.customers.measures.cx_nps: The metric 'nps' "
                "does "
                "not use 'items'. It takes: score, split_seed."
            ),
        ),
        (
            ("unit: team\n      measures", "unti: team\n      measures"),
            (
                "linked.yaml has 2 problems:\n"
                "- linked.yaml, line 4: data.sources.hris.unit: is required.\n"
                "- linked.yaml, line 6: data.sources.hris.unti: there is no such key. Did you mean "
                "'unit'?"
            ),
        ),
        (
            ("study: linked", "study: linked\nunit: team"),
            "linked.yaml, line 2: unit: linked sources have the key 'unit'; leave `unit` out here.",
        ),
    ],
)
def test_sources_are_held_to_the_same_strictness(tmp_path, change, expected):
    path = tmp_path / "linked.yaml"
    assert change[0] in SOURCES
    path.write_text(SOURCES.replace(*change, 1))
    assert message(path) == expected


def test_derived_and_accompanying_columns_may_have_roles(tmp_path):
    path = tmp_path / "linked.yaml"
    path.write_text(
        SOURCES.replace("outcomes: [cx_nps]}", "outcomes: [cx_nps_z], weights: cx_nps_n}").replace(
            "roles:", "  link: {derive: [{standardise: [cx_nps]}]}\nroles:"
        )
    )
    assert load_study(path).study.roles.weights == "cx_nps_n"


def test_embedded_study_is_valid():
    loaded = load_study(shared_path("data", "contact_centre", "study.yaml"))
    assert loaded.study.data.sources["customers"].measures["cx_fcr_pct"].positive == ("yes",)


def names(loaded, **segments) -> list[str]:
    return [run.name for run in plan_runs(loaded, segments)]


def test_runs_are_notebooks_by_roles_by_segments_by_grid(study_file):
    loaded = load_study(
        study_file(
            ("[panel_regression]", "[data_audit, panel_regression, mediation]"),
            more="segments: {region: [panel_regression]}\n"
            "grid: {panel_regression: {lag: [0, 1]}}\n"
            "runs: [{notebook: mediation, name: Long lag, parameters: {lag_outcome: 2}}]\n",
        )
    )
    assert names(loaded, region=["North", "South"]) == [
        "data_audit",
        "panel_regression--nps--lag-0",
        "panel_regression--nps--lag-1",
        "panel_regression--nps--region-north--lag-0",
        "panel_regression--nps--region-north--lag-1",
        "panel_regression--nps--region-south--lag-0",
        "panel_regression--nps--region-south--lag-1",
        "mediation--engagement--nps",
        "mediation--occupancy--nps",
        "long-lag",
    ]


def test_in_a_mediation_the_other_exposures_are_controls(study_file):
    loaded = load_study(study_file(("[panel_regression]", "[mediation]")))
    runs = plan_runs(loaded, {})
    assert [run.given["controls"] for run in runs] == [["occupancy"], ["engagement"]]
    assert [run.given["exposure"] for run in runs] == ["engagement", "occupancy"]


def test_defaults_reach_the_notebooks_that_know_them(study_file):
    loaded = load_study(
        study_file(
            ("[panel_regression]", "[panel_regression, mediation]"),
            more="defaults: {conf_level: 0.9, mediation: {n_boot: 199}}\n",
        )
    )
    regression, mediation, _ = plan_runs(loaded, {})
    assert regression.parameters.conf_level == mediation.parameters.conf_level == 0.9
    assert mediation.parameters.n_boot == 199
    assert "n_boot" not in regression.given


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (
            "defaults: {conf_level: 95}\n",
            (
                "study.yaml, line 12: defaults.conf_level: panel_regression: conf_level: must be "
                "less "
                "than 1; found the number 95."
            ),
        ),
        (
            "grid: {vcov: [cluster, clustr]}\n",
            (
                "study.yaml, line 12: grid.vcov: panel_regression: vcov: must be 'unadjusted', "
                "'robust', 'cluster', 'cluster_two_way', 'driscoll_kraay', 'jackknife' or "
                "'bias_reduced'; found the text 'clustr'. Did you mean 'cluster'?"
            ),
        ),
        (
            "runs: [{notebook: panel_regression}]\n",
            (
                "study.yaml, line 12: runs item 1: the run 'panel_regression--nps' is planned "
                "twice; give "
                "one of them a `name` of its own."
            ),
        ),
        (
            "runs: [{notebook: panel_regression, segment: North}]\n",
            (
                "study.yaml, line 12: runs item 1.segment: panel_regression: segment: must read "
                "`column=value`, or be empty; found the text 'North'."
            ),
        ),
    ],
)
def test_what_a_notebook_refuses_is_found_before_anything_runs(study_file, more, expected):
    loaded = load_study(study_file(more=more))
    with pytest.raises(StudyError) as caught:
        plan_runs(loaded, {})
    assert str(caught.value) == expected


def test_a_role_that_is_missing_is_named(study_file):
    loaded = load_study(
        study_file(("  mediators: [effort]\n", ""), ("[panel_r", "[mediation, panel_r"))
    )
    with pytest.raises(StudyError, match="mediation: mediators: is empty; name a column"):
        plan_runs(loaded, {})


@pytest.mark.parametrize(
    "name", ["../../x", "<script>alert(1)</script>", "=cmd()", "CON", "ü" * 90]
)
def test_folder_names_are_harmless_and_differ(name):
    folder = folder_name(name)
    assert folder.isascii()
    assert not set(folder) & set("./\\<>()=:|?*\"' ")
    assert 0 < len(folder) < 60
    assert folder_name(name + " ") != folder
