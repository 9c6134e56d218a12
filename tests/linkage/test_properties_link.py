"""What linking may never do, on companies drawn at random: change an estimate, or lose a row.

Each property begins with files: written, read, measured, linked, fitted.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from pandas.testing import assert_frame_equal

from ex_cx.errors import LinkError
from ex_cx.linkage.crosswalk import Crosswalk
from ex_cx.linkage.derive import keep_where
from ex_cx.linkage.link import Linked, link_sources
from ex_cx.linkage.linkspec import WhereSpec
from ex_cx.linkage.measure import measure_source
from ex_cx.linkage.schema import CrosswalkSpec
from tests.linkage.companies import (
    MONTHS,
    SOURCES,
    draw_company,
    estimate,
    expected_losses,
    flow_of,
    link_company,
    measure,
    messes,
    quick,
    read_company,
)

OF = {"answers": "answers", "load": "ex_load", "people": "ex_leavers_pct_n"}
"""A column of each source that is there wherever the source is."""
EXACT = {"rtol": 1e-10, "atol": 1e-12}
LABELS = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1
).map(str.strip)
TRICKY = ("007", "7", "7.0", "NA", "nan", "None", "null", "1e5", "-", "=A1", 'a"b', "a,b", "é", "É")


def assert_sums(flow: pd.DataFrame) -> None:
    """Each step begins with what the last one kept."""
    assert (flow["rows_in"] == flow["rows_kept"] + flow["rows_lost"]).all()
    assert (flow["rows_lost"] >= 0).all()
    assert (flow["rows_in"].iloc[1:].to_numpy() == flow["rows_kept"].iloc[:-1].to_numpy()).all()


def assert_sides(linked: Linked) -> None:
    """Every unit-period is linked, or not linked, or absent, for each source."""
    size, both = len(linked.panel), int(linked.panel.frame["linked"].sum())
    for side in linked.audit.unmatched.to_dict("records"):
        assert side["linked"] == both
        assert side["unit_periods"] == side["linked"] + side["not_linked"]
        assert size == side["unit_periods"] + side["absent"]
        assert side["unit_periods"] == linked.panel.frame[OF[side["source"]]].notna().sum()


def same_panel(one: pd.DataFrame, other: pd.DataFrame) -> None:
    assert_frame_equal(one, other, rtol=1e-12, atol=1e-12, check_dtype=True)


@quick(8)
@given(mess=messes(), seed=st.integers(0, 2**32 - 1))
def test_the_order_of_rows_changes_nothing(mess, seed):
    tables = draw_company(mess)
    rng = np.random.default_rng(seed)
    shuffled = {name: table.sample(frac=1, random_state=rng) for name, table in tables.items()}
    one, other = link_company(tables), link_company(shuffled)
    same_panel(one.panel.frame, other.panel.frame)
    assert_allclose(estimate(one.panel), estimate(other.panel), **EXACT)
    plain = ["flow", "unmatched", "suppressed"]
    for part in plain:
        assert_frame_equal(getattr(one.audit, part), getattr(other.audit, part))


@quick(8)
@given(
    mess=messes(),
    labels=st.lists(LABELS | st.sampled_from(TRICKY), min_size=7, max_size=7, unique=True),
)
def test_the_names_of_units_change_nothing(mess, labels):
    """Also names that look like numbers, like nothing, or that a spreadsheet would compute."""
    tables = draw_company(mess)
    names = {f"T{at}": label or f"blank {at}" for at, label in enumerate(labels)}
    renamed = {
        name: table.assign(team=[names.get(team, team) for team in table["team"]])
        for name, table in tables.items()
    }
    one, other = link_company(tables), link_company(renamed)
    assert set(other.panel.frame["unit"]) == set(list(names.values())[: mess.units])
    back = {label: name for name, label in names.items()}
    frame = other.panel.frame.assign(unit=other.panel.frame["unit"].map(back).astype("str"))
    frame = frame.sort_values(["unit", "period"], ignore_index=True)
    same_panel(one.panel.frame, frame[one.panel.frame.columns])
    assert_allclose(estimate(one.panel), estimate(other.panel), **EXACT)


@quick(8)
@given(mess=messes(), share=st.floats(0, 1))
def test_a_file_in_two_parts_is_the_file(mess, share):
    tables = draw_company(mess)
    whole = read_company(tables)
    cut = {name: 1 + int(share * (len(table) - 2)) for name, table in tables.items()}
    first = read_company({name: table.iloc[: cut[name]] for name, table in tables.items()})
    second = read_company({name: table.iloc[cut[name] :] for name, table in tables.items()})
    joined = {
        name: pd.concat([first[name].frame, second[name].frame], ignore_index=True)
        for name in tables
    }
    one, other = link_sources(measure(whole)), link_sources(measure(joined))
    same_panel(one.panel.frame, other.panel.frame)
    assert_frame_equal(one.audit.flow, other.audit.flow)
    assert_allclose(estimate(one.panel), estimate(other.panel), **EXACT)


@quick(8)
@given(mess=messes())
def test_every_row_is_kept_or_lost_for_its_reason(mess):
    tables = draw_company(mess)
    linked = link_company(tables)
    for name, table in tables.items():
        flow = flow_of(linked, name)
        rows = flow[flow["counting"] == "rows"]
        assert rows["rows_in"].iloc[0] == len(table)
        assert_sums(rows)
        lost = rows[rows["rows_lost"] > 0].set_index("reason")["rows_lost"].to_dict()
        assert lost == expected_losses(table, name)
        assert rows["rows_kept"].iloc[-1] == len(table) - sum(lost.values())
    frame = linked.panel.frame
    kept = flow_of(linked, "answers").query("counting == 'rows'")["rows_kept"].iloc[-1]
    assert frame["answers"].sum() == kept
    blank = linked.audit.suppressed.set_index("measure")["blank_answers"]["cx_score"]
    assert frame["cx_score_n"].sum() + blank == kept
    assert_sides(linked)


@quick(8)
@given(mess=messes())
def test_rows_without_a_key_change_nothing_but_the_audit(mess):
    """The same company without its spoilt rows gives the same panel."""
    tables = draw_company(mess)
    clean = {
        name: table[(table["team"] != "") & (table.iloc[:, 1] != "")].reset_index(drop=True)
        for name, table in tables.items()
    }
    one, other = link_company(tables), link_company(clean)
    same_panel(one.panel.frame, other.panel.frame)
    lost = one.audit.flow["rows_lost"].sum() - other.audit.flow["rows_lost"].sum()
    assert lost == 3 * (mess.no_unit + mess.no_date)


@quick(8)
@given(mess=messes(), doubled=st.integers(1, 9))
def test_repeated_keys_are_refused_or_counted_never_joined_many_to_many(mess, doubled):
    tables = draw_company(mess)
    good = expected_losses(tables["load"], "load")
    inside = tables["load"][
        (tables["load"]["team"] != "") & tables["load"]["month"].between("2023-11", "2024-03")
    ]
    assert len(inside) == len(tables["load"]) - sum(good.values())
    twice = pd.concat([tables["load"], inside.iloc[:doubled]], ignore_index=True)
    with pytest.raises(LinkError, match=rf"^{doubled} of {len(inside) + doubled} rows of 'load'"):
        link_company({**tables, "load": twice})
    many = pd.concat([tables["answers"]] * 2, ignore_index=True)
    one, other = link_company(tables), link_company({**tables, "answers": many})
    assert len(one.panel) == len(other.panel) == mess.units * MONTHS
    for column in ("answers", "cx_score_n"):
        expected = 2 * one.panel.frame[column].to_numpy()
        np.testing.assert_array_equal(other.panel.frame[column], expected)
    both = one.panel.frame["cx_score"].notna()
    assert_allclose(other.panel.frame["cx_score"][both], one.panel.frame["cx_score"][both], **EXACT)
    for column in ("ex_load", "ex_leavers_pct"):
        np.testing.assert_array_equal(other.panel.frame[column], one.panel.frame[column])


@quick(8)
@given(mess=messes(), merged=st.integers(0, 2), unlisted=st.sampled_from(["lose", "keep"]))
def test_a_crosswalk_maps_or_counts_every_row(mess, merged, unlisted):
    """T0 .. become M for all time, T2 is not listed, every other unit is itself."""
    tables = draw_company(mess)
    lines = [
        (f"T{at}", "M" if at < merged else f"T{at}", "2020-01")
        for at in range(mess.units)
        if at != 2
    ]
    frame = pd.DataFrame(lines, columns=["source_unit", "target_unit", "valid_from"])
    wanted = CrosswalkSpec(path="units.csv", unlisted=unlisted)
    spec = replace(SOURCES["answers"], crosswalk=wanted)
    read = read_company({"answers": tables["answers"]})["answers"]
    crosswalk = Crosswalk.from_frame(frame, wanted)
    found = measure_source(read, spec, "answers", crosswalk=crosswalk)
    rows = found.flow.frame().query("counting == 'rows'")
    assert_sums(rows)
    usable = tables["answers"][
        (tables["answers"]["team"] != "")
        & tables["answers"]["date"].between("2023-11-01", "2024-03-31")
    ]
    stranger = int((usable["team"] == "T2").sum()) if unlisted == "lose" else 0
    lost = rows[rows["rows_lost"] > 0].set_index("reason")["rows_lost"].to_dict()
    assert lost.pop("not in the crosswalk", 0) == stranger
    assert lost == expected_losses(tables["answers"], "answers")
    assert found.frame["answers"].sum() == len(usable) - stranger
    of_m = usable["team"].isin([f"T{at}" for at in range(merged)]).sum()
    assert found.frame.loc[found.frame["unit"] == "M", "answers"].sum() == of_m
    record = found.crosswalk
    assert record["rows"].sum() == len(usable)
    assert record.loc[record["outcome"].str.startswith("lost"), "rows"].sum() == stranger


@quick(8)
@given(mess=messes(), at_least=st.floats(40, 100), wanted=st.integers(1, 3))
def test_a_filter_counts_what_it_drops(mess, at_least, wanted):
    linked = link_company(draw_company(mess))
    frame = linked.panel.frame
    units = tuple(f"T{at}" for at in range(wanted))
    filters = [
        WhereSpec(column="ex_load", at_least=at_least),
        WhereSpec(column="unit", any_of=units),
    ]
    keep = (frame["ex_load"] >= at_least) & frame["unit"].isin(units)
    if not keep.any():
        with pytest.raises(LinkError, match=r"^The filter on .* leaves none of the"):
            keep_where(linked, filters)
        return
    found = keep_where(linked, filters)
    assert len(found.panel) == keep.sum()
    steps = flow_of(found, "linked panel")
    steps = steps.iloc[int(np.flatnonzero(steps["step"] == "filtered")[0]) :]
    assert_sums(steps)
    assert steps["rows_in"].iloc[0] == len(frame)
    assert steps["rows_kept"].iloc[-1] == keep.sum()
