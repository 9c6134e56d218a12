"""Linking keeps everything, counts everything, and refuses what would double or lose rows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ex_cx.errors import LinkError, PanelError, SchemaError
from ex_cx.linkage.audit import LinkAudit
from ex_cx.linkage.derive import derive, keep_where
from ex_cx.linkage.link import Linked, link_sources, link_study_data
from ex_cx.linkage.linkspec import DeriveSpec, LinkSpec, WhereSpec
from ex_cx.linkage.measure import MeasuredSource, measure_source
from ex_cx.linkage.schema import MeasureSpec, SourceSpec


def ready(
    name: str, rows: list[tuple[object, ...]], column: str, **options: object
) -> MeasuredSource:
    frame = pd.DataFrame(rows, columns=["team", "month", column])
    settings = {"frequency": "month", **options}
    spec = SourceSpec(
        path=f"{name}.csv", unit="team", period="month", columns={column: column}, **settings
    )
    return measure_source(frame, spec, name)


@pytest.fixture
def two() -> list[MeasuredSource]:
    staff = [
        ("A", "2024-01", 1.0),
        ("A", "2024-02", 2.0),
        ("B", "2024-01", 3.0),
        ("X", "2024-01", 9),
    ]
    customers = [("A", "2024-02", 20.0), ("A", "2024-03", 30.0), ("B", "2024-01", 40.0)]
    return [ready("staff", staff, "ex_score"), ready("customers", customers, "cx_score")]


def test_the_outer_join_is_kept_and_every_side_counted(two: list[MeasuredSource]):
    linked = link_sources(two)
    frame = linked.panel.frame
    assert frame.columns.tolist() == ["unit", "period", "ex_score", "cx_score", "linked"]
    assert [*zip(frame["unit"], frame["period"].astype(str), frame["linked"], strict=True)] == [
        ("A", "2024-01", False),
        ("A", "2024-02", True),
        ("A", "2024-03", False),
        ("B", "2024-01", True),
        ("X", "2024-01", False),
    ]
    np.testing.assert_array_equal(frame["ex_score"], [1, 2, np.nan, 3, 9])
    np.testing.assert_array_equal(frame["cx_score"], [np.nan, 20, 30, 40, np.nan])
    assert linked.audit.unmatched.to_dict("records") == [
        {
            "source": "staff",
            "units": 3,
            "units_only_here": 1,
            "first_only_here": "'X'",
            "unit_periods": 4,
            "carried": 0,
            "linked": 2,
            "not_linked": 2,
            "absent": 1,
        },
        {
            "source": "customers",
            "units": 2,
            "units_only_here": 0,
            "first_only_here": "",
            "unit_periods": 3,
            "carried": 0,
            "linked": 2,
            "not_linked": 1,
            "absent": 2,
        },
    ]
    assert linked.panel.provenance == {"ex_score": "staff", "cx_score": "customers"}


def test_the_order_of_rows_does_not_matter(two: list[MeasuredSource]):
    shuffled = [
        measure_source(
            pd.DataFrame({"team": f["unit"], "month": f["period"].astype(str), c: f[c]}).sample(
                frac=1, random_state=1
            ),
            SourceSpec(path="x.csv", unit="team", period="month", columns={c: c}),
            source.name,
        )
        for source in two
        for f, c in [(source.frame, source.frame.columns[-1])]
    ]
    pd.testing.assert_frame_equal(link_sources(shuffled).panel.frame, link_sources(two).panel.frame)


def test_one_source_alone_is_a_panel(two: list[MeasuredSource]):
    linked = link_sources(two[:1])
    assert linked.panel.frame["linked"].all()
    assert linked.audit.unmatched["units_only_here"].tolist() == [0]


def test_sources_without_a_common_unit_are_refused_with_a_hint():
    left = ready("staff", [("Team A", "2024-01", 1.0)], "x")
    right = ready("calls", [("team a", "2024-01", 1.0), ("team b", "2024-01", 1.0)], "y")
    with pytest.raises(LinkError) as caught:
        link_sources([left, right])
    assert str(caught.value) == (
        "'staff' has no unit in common with the other sources: 1 unit here ('Team A'), 2 elsewhere "
        "('team a', 'team b'). Some differ only in capitals or spaces. Check that all name units "
        "by "
        "the same code."
    )


def test_sources_without_a_common_period_are_refused():
    left = ready("staff", [("A", "2023-01", 1.0), ("A", "2023-04", 1.0)], "x")
    right = ready("calls", [("A", "2024-01", 1.0)], "y")
    with pytest.raises(LinkError) as caught:
        link_sources([left, right])
    assert str(caught.value) == (
        "'staff' has no month in common with the other sources: it runs from 2023-01 to 2023-04, "
        "they run from 2024-01 to 2024-01. Check the dates."
    )


def test_different_frequencies_are_refused():
    left = ready("staff", [("A", "2024-01", 1.0)], "x", frequency="quarter")
    right = ready("calls", [("A", "2024-01", 1.0)], "y")
    with pytest.raises(LinkError) as caught:
        link_sources([left, right])
    assert str(caught.value) == (
        "The sources have 2 frequencies ('staff' by quarter, 'calls' by month). State one "
        "`frequency` for all; a survey wave can be carried over the following periods with `carry`."
    )


def test_a_column_of_two_sources_is_refused(two: list[MeasuredSource]):
    with pytest.raises(LinkError) as caught:
        link_sources([two[0], two[0]])
    assert str(caught.value) == "Both 'staff' and 'staff' bring a column 'ex_score'. Rename one."


def test_an_attribute_named_like_a_column_is_refused(two: list[MeasuredSource]):
    other = ready_with_site("calls", "y", [("A", "2024-01", 1.0, "Hull")])
    clash = ready("staff", [("A", "2024-01", 1.0)], "site")
    with pytest.raises(LinkError) as caught:
        link_sources([clash, other])
    assert str(caught.value) == (
        "'site' is an attribute in 'calls' and a column of 'staff'. Rename one."
    )
    with pytest.raises(LinkError) as caught:
        link_sources([])
    assert str(caught.value) == "There are no sources to link. Measure at least one."


def test_attributes_reach_every_row_of_the_unit_and_must_agree():
    left = ready_with_site("staff", "x", [("A", "2024-01", 1.0, "Hull"), ("A", "2024-02", 2, None)])
    right = ready_with_site(
        "calls", "y", [("A", "2024-03", 1.0, "Hull"), ("A", "2024-01", 1, None)]
    )
    frame = link_sources([left, right]).panel.frame
    assert frame["site"].tolist() == ["Hull"] * 3
    other = ready_with_site("calls", "y", [("A", "2024-01", 1.0, "York")])
    with pytest.raises(LinkError) as caught:
        link_sources([left, other])
    assert str(caught.value) == (
        "The sources disagree on 'site' of 1 unit ('A'). Correct one, or take 'site' from one "
        "source only."
    )


def ready_with_site(name: str, column: str, rows: list[tuple[object, ...]]) -> MeasuredSource:
    frame = pd.DataFrame(rows, columns=["team", "month", column, "site"])
    spec = SourceSpec(
        path=f"{name}.csv",
        unit="team",
        period="month",
        columns={column: column},
        attributes={"site": "site"},
    )
    return measure_source(frame, spec, name)


def test_a_random_link_loses_no_row_and_matches_a_pandas_merge():
    rng = np.random.default_rng(2)
    sides = []
    for name in ("left", "right"):
        keys = pd.MultiIndex.from_product([[f"T{i}" for i in range(30)], range(2000, 2020)])
        picked = keys[np.sort(rng.choice(len(keys), 350, replace=False))].to_frame(index=False)
        sides.append(picked.set_axis(["team", "year"], axis=1).assign(**{name: rng.random(350)}))
    measured = [
        measure_source(
            side.sample(frac=1, random_state=3),
            SourceSpec(
                path="x.csv", unit="team", period="year", frequency="year", columns={name: name}
            ),
            name,
        )
        for name, side in zip(("left", "right"), sides, strict=True)
    ]
    found = link_sources(measured).panel.frame
    oracle = sides[0].merge(sides[1], on=["team", "year"], how="outer", indicator=True)
    np.testing.assert_array_equal(found["left"], oracle["left"])
    np.testing.assert_array_equal(found["right"], oracle["right"])
    np.testing.assert_array_equal(found["linked"], oracle["_merge"] == "both")


# -- derived columns and filters ------------------------------------------------------------------


def panel_of(**columns: list[object]) -> Linked:
    n = len(next(iter(columns.values())))
    frame = pd.DataFrame({"team": ["A", "B"] * (n // 2), "year": np.repeat(range(n // 2), 2)})
    frame = frame.assign(**columns)
    spec = SourceSpec(
        path="x.csv",
        unit="team",
        period="year",
        frequency="integer",
        respondents="staff",
        columns={name: name for name in columns},
    )
    return link_sources([measure_source(frame, spec, "x")])


def values(linked: Linked, name: str) -> list[float]:
    return linked.panel.frame.sort_values(["period", "unit"])[name].tolist()


STEPS = [
    (DeriveSpec(name="d", difference=("a", "b")), [-1.0, 2.0, 3.0, np.nan]),
    (DeriveSpec(name="d", ratio=("a", "b")), [0.5, 2.0, np.nan, np.nan]),
    (DeriveSpec(name="d", product=("a", "b")), [2.0, 8.0, 0.0, np.nan]),
    (DeriveSpec(name="d", multiply="a", by=100), [100.0, 400.0, 300.0, np.nan]),
    (DeriveSpec(name="d", mean_of=("a", "b")), [1.5, 3.0, 1.5, np.nan]),
    (DeriveSpec(name="d", mean_of=("a", "b"), min_share=0.5), [1.5, 3.0, 1.5, 8.0]),
    (DeriveSpec(name="d", first_present=("a", "b")), [1.0, 4.0, 3.0, 8.0]),
    # within period 0: 1 and 4 around 2.5, sd 3 / sqrt(2); period 1 has one value only
    (
        DeriveSpec(name="d", standardise=("a",), within="period"),
        [-(0.5**0.5), 0.5**0.5, np.nan, np.nan],
    ),
]


@pytest.mark.parametrize(("step", "expected"), STEPS, ids=lambda case: getattr(case, "verb", ""))
def test_each_verb_by_hand(step: DeriveSpec, expected: list[float]):
    linked = panel_of(a=[1.0, 4.0, 3.0, None], b=[2.0, 2.0, 0.0, 8.0])
    found = derive(linked, [step])
    np.testing.assert_allclose(values(found, "d"), expected)
    assert found.panel.provenance["d"] == "staff"
    assert found.audit.definitions["column"].tolist() == ["a", "b", "d"]
    assert "d" not in linked.panel.frame  # the input stands


def test_standardising_all_rows_at_once_names_the_column_z():
    found = derive(panel_of(a=[1.0, 2.0, 3.0, 4.0]), [DeriveSpec(standardise=("a",))])
    z = np.array(values(found, "a_z"))
    assert abs(z.mean()) < 1e-15
    assert z.std(ddof=1) == pytest.approx(1)


def test_a_column_without_variation_has_no_z_score():
    found = derive(panel_of(a=[0.1] * 4), [DeriveSpec(standardise=("a",))])
    assert np.isnan(values(found, "a_z")).all()


def test_part_of_a_text():
    found = derive(panel_of(a=[1.0, 2.0]), [DeriveSpec(name="d", text_part="unit", stop=1)])
    assert values(found, "d") == ["A", "B"]


def test_derived_columns_that_cannot_be():
    linked = panel_of(a=[1.0, 2.0])
    with pytest.raises(PanelError, match=r"There is no column 'aa' .* Did you mean 'a'\?"):
        derive(linked, [DeriveSpec(name="d", multiply="aa")])
    with pytest.raises(SchemaError) as caught:
        derive(linked, [DeriveSpec(name="a", multiply="a")])
    assert str(caught.value) == "There is a column 'a' already. Name the derived one anew."
    with pytest.raises(SchemaError) as caught:
        derive(linked, [DeriveSpec(name="d", multiply="unit")])
    assert str(caught.value) == (
        "'unit' holds str, not numbers. Name a numeric column, or read it as numbers."
    )


def test_filters_count_what_they_drop_by_reason():
    linked = panel_of(a=[1.0, 4.0, 3.0, None], b=[2.0, 2.0, 0.0, 8.0])
    kept = keep_where(
        linked,
        [WhereSpec(column="a", at_least=2, at_most=10), WhereSpec(column="unit", any_of=("B",))],
    )
    assert values(kept, "a") == [4.0]
    assert kept.audit.flow.iloc[-4:][
        ["rows_in", "rows_kept", "rows_lost", "reason"]
    ].to_numpy().tolist() == [
        [4, 4, 0, ""],
        [4, 3, 1, "'a' missing"],
        [3, 2, 1, "'a' below 2"],
        [2, 1, 1, "'unit' none of those wanted"],
    ]
    assert len(linked.panel) == 4


def test_a_filter_on_linked_rows(two: list[MeasuredSource]):
    kept = keep_where(link_sources(two), [WhereSpec(column="linked", any_of=(True,))])
    assert kept.panel.frame["unit"].tolist() == ["A", "B"]


def test_a_filter_that_leaves_nothing():
    with pytest.raises(LinkError) as caught:
        keep_where(panel_of(a=[1.0, 2.0]), [WhereSpec(column="a", at_least=5)])
    assert str(caught.value) == ("The filter on 'a' leaves none of the 2 linked rows. Loosen it.")


# -- the audit ------------------------------------------------------------------------------------


def test_the_audit_survives_json(two: list[MeasuredSource]):
    audit = link_sources(two).audit
    again = LinkAudit.from_dict(json.loads(json.dumps(audit.to_dict(), allow_nan=False)))
    pd.testing.assert_frame_equal(again.flow, audit.flow)
    pd.testing.assert_frame_equal(again.unmatched, audit.unmatched)
    assert "What matched" in again._repr_html_()


HOSTILE = ("../../x", "<script>alert(1)</script>", "=cmd()", "NA", "007", 'Ünit; "x"')


def test_hostile_names_are_only_names(tmp_path: Path):
    rows = [
        (unit, f"2024-0{month}-01", 9) for unit in HOSTILE for month in (1, 2) for _ in range(6)
    ]
    frame = pd.DataFrame(rows, columns=["team", "date", "score"])
    frame.to_csv(tmp_path / "survey.csv", index=False)
    frame.drop_duplicates(["team", "date"]).iloc[2:].to_csv(tmp_path / "ops.csv", index=False)
    sources = {
        "<b>survey</b>": SourceSpec(
            path="survey.csv",
            unit="team",
            period="date",
            measures={"cx_nps": MeasureSpec(metric="nps", score="score")},
        ),
        "ops": SourceSpec(path="ops.csv", unit="team", period="date", columns={"x": "score"}),
    }
    linked = link_study_data(sources, root=tmp_path)
    assert sorted(set(linked.panel.frame["unit"])) == sorted(HOSTILE)
    page = linked.audit._repr_html_()
    assert "<script>" not in page
    assert "<b>survey" not in page
    assert linked.audit.unmatched["first_only_here"].tolist() == ["'../../x'", ""]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["ops.csv", "survey.csv"]


def test_no_value_of_a_small_group_is_in_the_audit(tmp_path: Path):
    rows = [("A", "2024-01-01", 3.377)] * 3 + [("B", "2024-01-01", 4.0)] * 6
    rows += [("C", "2024-01-01", 2.0)] * 7
    pd.DataFrame(rows, columns=["team", "date", "mood"]).to_csv(tmp_path / "s.csv", index=False)
    spec = SourceSpec(
        path="s.csv",
        unit="team",
        period="date",
        measures={"ex_mood": MeasureSpec(metric="mean", score="mood", low=1, high=5)},
    )
    linked = link_study_data({"s": spec}, root=tmp_path)
    assert linked.panel.frame["ex_mood"].isna().tolist() == [True, True, False]
    assert "3.377" not in json.dumps(linked.audit.to_dict()) + linked.audit._repr_html_()
    assert linked.audit.suppressed["suppressed"].tolist() == [1]


def test_the_embedded_company_links_and_every_raw_row_is_counted():
    from ex_cx.linkage.sources import shared_path

    folder = shared_path("data", "contact_centre")
    sources = {
        "hris": SourceSpec(
            path="hris_employees.csv",
            unit="team",
            respondents="employees",
            measures={
                "ex_attrition_pct": MeasureSpec(
                    metric="attrition", hire="hire_date", exit="exit_date"
                )
            },
            attributes={"region": "region"},
        ),
        "customers": SourceSpec(
            path="customer_survey.csv",
            unit="team",
            period="date",
            respondents="customers",
            measures={"cx_nps": MeasureSpec(metric="nps", score="nps_score")},
        ),
    }
    linked = link_study_data(sources, LinkSpec(first="2023-01", last="2024-06"), folder)
    flow = linked.audit.flow
    assert (flow["rows_in"] == flow["rows_kept"] + flow["rows_lost"]).all()
    for read in linked.audit.reads.itertuples():
        steps = flow[(flow["source"] == read.source) & (flow["counting"] == "rows")]
        assert steps["rows_in"].iloc[0] == read.rows
        assert steps["rows_lost"].sum() + steps["rows_kept"].iloc[-1] == read.rows
        assert (steps["rows_in"].iloc[1:].to_numpy() == steps["rows_kept"].iloc[:-1]).all()
    shown = linked.panel.frame["cx_nps_n"].sum()
    assert 0 < steps["rows_kept"].iloc[-1] - shown < 0.05 * shown  # too few, and for their sake
    assert str(linked.panel.frame["period"].max()) == "2024-06"
    assert linked.panel.frame["region"].notna().all()


def test_nothing_to_link():
    with pytest.raises(LinkError) as caught:
        link_study_data({})
    assert str(caught.value) == ("There are no sources to link. List at least one under `sources`.")
