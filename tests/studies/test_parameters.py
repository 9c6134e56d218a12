"""Notebook parameters: what is misspelt or of the wrong type stops before any data is read."""

from __future__ import annotations

from typing import get_args

import pandas as pd
import pytest

from ex_cx.errors import ParameterError
from ex_cx.estimation.conventions import Vcov
from ex_cx.models.spec import Estimator
from ex_cx.studies.parameters import (
    NOTEBOOKS,
    PanelRegressionParameters,
    asked_change,
    check_parameters,
)

REGRESSION = PanelRegressionParameters().model_dump()
DEFAULTS = {name: model().model_dump() for name, model in NOTEBOOKS.items()}


def namespace(*cells: str, **changes) -> dict:
    """A notebook's globals after its parameters cell and the given further cells."""
    declared = "\n".join(f"{name} = {value!r}" for name, value in DEFAULTS["mediation"].items())
    values: dict = {"In": ["", declared, *cells]}
    for cell in (declared, *cells):
        exec(cell, values)
    return values | changes


def message(notebook: str, values: dict) -> str:
    with pytest.raises(ParameterError) as caught:
        check_parameters(notebook, values)
    return str(caught.value)


def test_the_declared_cell_is_accepted_and_frozen():
    found = check_parameters("mediation", namespace())
    assert found.mediators == ("cx_effort", "cx_fcr_pct")
    with pytest.raises(ValueError, match="frozen"):
        found.seed = 1


def test_a_misspelt_name_that_papermill_injects_stops_with_the_nearest():
    assert message("mediation", namespace("# Parameters\nmediater = 'cx_effort'\n")) == (
        "1 parameter of the mediation notebook cannot be used:\n"
        "- mediater: there is no such parameter. Did you mean 'mediators'?"
    )


def test_a_name_misspelt_in_the_cell_itself_is_found_twice_over():
    values = namespace()
    values["In"][1] = values["In"][1].replace("\noutcome =", "\noutcom =")
    values["outcom"] = values.pop("outcome")
    assert message("mediation", values) == (
        "2 parameters of the mediation notebook cannot be used:\n"
        "- outcom: there is no such parameter. Did you mean 'outcome'?\n"
        "- outcome: is missing from the parameters cell."
    )


def test_later_cells_may_hold_names_of_their_own():
    cells = ("panel = 1", "scratch = 'x'", "check_again = True")
    assert check_parameters("mediation", namespace(*cells)).seed == 20240501


def test_a_corrected_cell_is_not_held_against_its_earlier_self():
    values = namespace("outcom = 'cx_nps'; seed = 1")
    values["In"].append(values["In"][1])
    assert check_parameters("mediation", values).outcome == "cx_nps"


def test_outside_ipython_every_plain_value_is_a_parameter():
    values = DEFAULTS["mediation"] | {"mediater": "x", "check": check_parameters}
    assert "mediater: there is no such parameter" in message("mediation", values)
    assert check_parameters("mediation", DEFAULTS["mediation"]).n_boot == 4999


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"segment": 7},
            (
                "segment: must be text; found the number 7. Put it in quotes (with papermill: "
                "-r, not "
                "-p)."
            ),
        ),
        (
            {"segment": "North"},
            "segment: must read `column=value`, or be empty; found the text 'North'.",
        ),
        ({"lag_outcome": 1.5}, "lag_outcome: must be a whole number; found the number 1.5."),
        ({"lag_outcome": True}, "lag_outcome: must be a whole number; found true."),
        ({"n_boot": "4999"}, "n_boot: must be a whole number; found the text '4999'."),
        ({"conf_level": 95}, "conf_level: must be less than 1; found the number 95."),
        (
            {"absorb": ["unit", "periods"]},
            (
                "absorb item 2: must be 'unit' or 'period'; found the text 'periods'. Did you mean "
                "'period'?"
            ),
        ),
        ({"outcome": ""}, "outcome: is empty; name a column."),
        ({"cluster": None}, "cluster: must be text; found nothing."),
        ({"mediators": []}, "mediators: is empty; name a column."),
    ],
)
def test_a_wrong_type_or_choice_is_named(changes, line):
    assert message("mediation", namespace(**changes)) == (
        f"1 parameter of the mediation notebook cannot be used:\n- {line}"
    )


def test_papermill_passes_a_list_as_one_text():
    found = check_parameters("mediation", namespace(mediators="cx_effort, cx_fcr_pct"))
    assert found.mediators == ("cx_effort", "cx_fcr_pct")


def test_tuples_are_as_good_as_lists():
    assert check_parameters("mediation", namespace(absorb=("unit",))).absorb == ("unit",)


def test_values_that_are_not_plain_are_named():
    import numpy as np

    assert "not plain text or number" in message("mediation", namespace(seed=np.int64(3)))


def test_required_columns_see_through_products_squares_and_segments():
    changes = {"exposures": ["a:b", "c^2"], "outcome": "y", "segment": "region=North"}
    values = DEFAULTS["panel_regression"] | changes
    found = check_parameters("panel_regression", values)
    assert found.required_columns() == ("region", "y", "a", "b", "c")


@pytest.mark.parametrize("vcov", get_args(Vcov))
def test_every_kind_of_error_of_fit_panel_can_be_asked_for(vcov):
    assert check_parameters("panel_regression", REGRESSION | {"vcov": vcov}).vcov == vcov


def test_every_estimator_of_fit_panel_can_be_compared():
    text = ",".join(get_args(Estimator))
    found = check_parameters("panel_regression", REGRESSION | {"estimators": text})
    assert found.estimators == get_args(Estimator)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"estimators": "pooled, between"},
            "estimators: lacks 'within', the estimate that answers; add it.",
        ),
        ({"estimators": ["within", "within"]}, "estimators: names an estimator twice."),
        (
            {"estimators": ["within", "mundlak"]},
            (
                "estimators item 2: must be 'pooled', 'between', 'within', 'first_difference', "
                "'random', 'correlated_random' or 'fama_macbeth'; found the text 'mundlak'."
            ),
        ),
        (
            {"vcov": "driscol_kraay"},
            (
                "vcov: must be 'unadjusted', 'robust', 'cluster', 'cluster_two_way', "
                "'driscoll_kraay', 'jackknife' or 'bias_reduced'; found the text 'driscol_kraay'. "
                "Did you mean 'driscoll_kraay'?"
            ),
        ),
    ],
)
def test_a_wrong_estimator_or_kind_of_error_is_named(changes, line):
    assert message("panel_regression", REGRESSION | changes) == (
        f"1 parameter of the panel_regression notebook cannot be used:\n- {line}"
    )


def test_an_unknown_notebook_is_named():
    assert message("mediaton", {}) == "There is no notebook 'mediaton'. Did you mean 'mediation'?"


@pytest.mark.parametrize("given", [{"ex_engagement": 0.5}, "ex_engagement=0.5"])
def test_a_change_may_be_written_as_one_text(given):
    found = check_parameters("panel_regression", REGRESSION | {"change": given, "lag": 2})
    assert found.change == {"ex_engagement": 0.5}
    assert asked_change(found, pd.DataFrame()) == {"ex_engagement_lag2": 0.5}


def test_without_a_change_it_is_one_deviation_of_the_first_plain_exposure():
    rows = [("a:b", 7.0), ("b", 3.0), ("c", 2.0)]
    sizes = pd.DataFrame(
        [(term, f"one {kind}", size) for term, size in rows for kind in ("unit", "within-unit sd")],
        columns=["term", "change", "size"],
    )
    found = check_parameters("panel_regression", REGRESSION)
    assert asked_change(found, sizes) == {"b": 3.0}
    assert asked_change(found, sizes[:2]) == {"a:b": 7.0}


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"change": {"ex_engagment": 1}},
            (
                "change: the text 'ex_engagment' is neither an exposure nor a control; these are "
                "ex_occupancy_pct, ex_engagement. Did you mean 'ex_engagement'?"
            ),
        ),
        (
            {"change": {"ex_engagement": 0}},
            "change: the text 'ex_engagement' changes by 0; leave it out.",
        ),
        (
            {"change": "ex_engagement=much"},
            "change.ex_engagement: must be a number; found the text 'much'.",
        ),
        (
            {"instruments": {"cx_nps": "z"}},
            (
                "instruments: the text 'cx_nps' is no exposure; these are ex_occupancy_pct, "
                "ex_engagement."
            ),
        ),
        (
            {"instruments": {"ex_engagement": []}},
            "instruments: the text 'ex_engagement' has no instrument; name a column.",
        ),
        (
            {"match": "Stata"},
            (
                "match: must be 'fixest', 'stata', 'linearmodels' or 'clubsandwich'; found the "
                "text 'Stata'. Did you mean 'stata'?"
            ),
        ),
    ],
)
def test_a_wrong_change_instrument_or_convention_is_named(changes, line):
    assert message("panel_regression", REGRESSION | changes) == (
        f"1 parameter of the panel_regression notebook cannot be used:\n- {line}"
    )


@pytest.mark.parametrize("given", [{"ex_engagement": ["a", "b:c"]}, {"ex_engagement": "a, b:c"}])
def test_instruments_are_columns_that_must_exist(given):
    found = check_parameters("panel_regression", REGRESSION | {"instruments": given})
    assert found.instruments == {"ex_engagement": ("a", "b:c")}
    assert found.required_columns()[-3:] == ("a", "b", "c")


def test_a_moderator_and_its_paths_go_together():
    assert message("mediation", namespace("# Parameters\nmoderator = 'ex_engagement'\n")).endswith(
        "moderated: is empty; name what the moderator changes: a, b or direct."
    )
    assert message("mediation", namespace("# Parameters\nmoderated = ['a']\n")).endswith(
        "moderated: names paths, but there is no `moderator`."
    )
    assert message("mediation", namespace("# Parameters\nlag_serial = 1\n")).endswith(
        "lag_serial: is the time along a chain; it needs structure `serial`."
    )


def test_the_moderator_is_a_column_that_must_exist():
    cell = "# Parameters\nmoderator = 'load'\nmoderated = 'a, b'\n"
    found = check_parameters("mediation", namespace(cell))
    assert found.moderated == ("a", "b")
    assert "load" in found.required_columns()
