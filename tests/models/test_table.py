"""Moments and fits of a table in DuckDB are those of the same rows in memory."""

from __future__ import annotations

import traceback
from dataclasses import replace

import duckdb
import ibis
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from ex_cx.errors import ExCxError, RankError, SourceError, SpecError
from ex_cx.estimation.database_moments import TableMoments, compress_table
from ex_cx.estimation.design import DesignTerm
from ex_cx.linkage.panel import Panel
from ex_cx.linkage.stores import open_table
from ex_cx.models.regress import PanelResult, compress_panel, fit_panel
from ex_cx.models.spec import PanelSpec
from ex_cx.models.table import fit_table

SPEC = PanelSpec(outcome="y", exposures=("x",), controls=("z",))
KEYS = {"unit": "unit", "period": "period"}
COLUMNS = ("y", "x", "z")


@pytest.fixture(scope="module")
def connection() -> ibis.BaseBackend:
    return ibis.duckdb.connect(threads=1)


def rows(seed: int = 1, n_units: int = 60, n_periods: int = 8) -> pd.DataFrame:
    """Unbalanced, with holes, singletons, missing values, a level far from zero."""
    rng = np.random.default_rng(seed)
    unit, period = np.divmod(np.arange(n_units * n_periods), n_periods)
    effect = rng.normal(size=n_units)[unit] * 3 + rng.normal(size=n_periods)[period]
    x = effect + rng.normal(size=len(unit))
    z = 1e4 + effect / 2 + rng.normal(size=len(unit))
    frame = pd.DataFrame(
        {
            "unit": [f"u'{at:03d}" for at in unit],
            "period": 2010 + period,
            "site": [f"site {at // 4:02d}" for at in unit],
            "y": x - z + effect + rng.normal(size=len(unit)),
            "x": x,
            "z": z,
        }
    )
    frame.loc[rng.random(len(frame)) < 0.05, "x"] = np.nan
    frame.loc[rng.random(len(frame)) < 0.05, "z"] = np.nan
    kept = (rng.random(len(frame)) < 0.7) | (frame["unit"] == "u'000")
    first = (frame["unit"] != "u'001") | (frame["period"] == 2010)
    return frame[kept & first & ((frame["period"] != 2017) | (frame["unit"] == "u'000"))]


def table_of(connection: ibis.BaseBackend, frame: pd.DataFrame) -> ibis.Table:
    shuffled = frame.sample(frac=1, random_state=3)
    return connection.create_table(ibis.util.gen_name("t"), shuffled)


@pytest.mark.parametrize("vcov", ["cluster", "jackknife", "unadjusted"])
@pytest.mark.parametrize("absorb", [("unit", "period"), ("unit",)])
@pytest.mark.parametrize("cluster", [None, "site"])
def test_a_fit_where_the_rows_are_is_the_fit_in_memory(connection, cluster, absorb, vcov):
    frame = rows()
    spec = replace(SPEC, absorb=absorb, vcov=vcov, cluster=cluster)
    found = fit_table(table_of(connection, frame), spec, **KEYS)
    wanted = fit_panel(Panel.from_frame(frame, **KEYS), spec)
    assert_allclose(found.coef, wanted.coef, rtol=1e-10)
    assert_allclose(found.vcov, wanted.vcov, rtol=1e-9, atol=1e-12 * np.abs(wanted.vcov).max())
    ours, theirs = (result.tidy()["std_error"] for result in (found, wanted))
    assert_allclose(ours, theirs, rtol=1e-10)
    pd.testing.assert_frame_equal(
        found.glance().drop(columns="warnings"), wanted.glance().drop(columns="warnings")
    )


@pytest.mark.parametrize("absorb", [("unit", "period"), ("unit",)])
@pytest.mark.parametrize("cluster", [None, "site"])
@pytest.mark.parametrize(
    ("exposures", "controls"),
    [(("x", "z"), ("x:z",)), (("x", "x^2"), ("x^3",)), (("x:d:z",), ("d",)), (("x:w",), ())],
)
def test_products_and_powers_are_those_of_memory(connection, exposures, controls, cluster, absorb):
    frame = rows(4).assign(z=lambda at: at["z"] - 1e4)
    frame["d"] = np.arange(len(frame)) * 7 % 3
    frame["x:w"] = np.arange(len(frame)) * 11 % 13 / 2  # a column of that name goes first
    spec = PanelSpec(
        outcome="y", exposures=exposures, controls=controls, absorb=absorb, cluster=cluster
    )
    found = fit_table(table_of(connection, frame), spec, **KEYS)
    wanted = fit_panel(Panel.from_frame(frame, **KEYS), spec)
    assert found.lost == wanted.lost
    assert found.terms == wanted.terms
    assert_allclose(found.coef, wanted.coef, rtol=1e-8)
    assert_allclose(found.tidy()["std_error"], wanted.tidy()["std_error"], rtol=1e-8)
    pd.testing.assert_frame_equal(
        found.glance().drop(columns="warnings"), wanted.glance().drop(columns="warnings")
    )


def with_weights(seed: int = 7, n_units: int = 60) -> pd.DataFrame:
    """Rows with weights over four powers of ten, some missing, some zero; and holes for lags."""
    frame, rng = rows(seed, n_units), np.random.default_rng(seed)
    frame["w"] = 10 ** rng.uniform(-2, 2, len(frame))
    frame.loc[rng.random(len(frame)) < 0.05, "w"] = np.nan
    frame.loc[rng.random(len(frame)) < 0.05, "w"] = 0.0
    return frame


def assert_same_fit(found: PanelResult, wanted: PanelResult) -> None:
    """Estimates, errors (0 to rounding where the fit is perfect), counts, losses, conventions."""
    assert (found.terms, found.lost) == (wanted.terms, wanted.lost)
    assert list(found.lost) == list(wanted.lost)
    close(found.coef, wanted.coef)
    ours, theirs = found.tidy(), wanted.tidy()
    rounding = 1e-12 * max(1.0, np.abs(wanted.coef).max())
    assert_allclose(ours["std_error"], theirs["std_error"], rtol=1e-10, atol=rounding)
    ends = ["conf_low", "conf_high"]
    assert_allclose(ours[ends], theirs[ends], rtol=1e-9, atol=20 * rounding)
    pd.testing.assert_frame_equal(
        found.glance().drop(columns="warnings"), wanted.glance().drop(columns="warnings")
    )


@pytest.mark.parametrize("vcov", ["cluster", "jackknife", "unadjusted"])
@pytest.mark.parametrize("absorb", [("unit", "period"), ("unit",)])
@pytest.mark.parametrize("cluster", [None, "site"])
@pytest.mark.parametrize(("lag", "weights"), [(1, None), (-2, "w"), (0, "w")])
def test_lags_and_weights_are_those_of_memory(connection, cluster, absorb, vcov, lag, weights):
    frame = with_weights()
    spec = replace(SPEC, absorb=absorb, vcov=vcov, cluster=cluster, lag=lag, weights=weights)
    found = fit_table(table_of(connection, frame), spec, **KEYS)
    wanted = fit_panel(Panel.from_frame(frame, **KEYS), spec)
    assert_same_fit(found, wanted)
    assert lag == 0 or f"missing x (lag {lag})" in found.lost
    assert (weights is not None) == ("weight missing or zero (w)" in found.lost)


@pytest.mark.parametrize("lag", [1, 3, -1])
@pytest.mark.parametrize(
    "calendar",
    [
        lambda at: pd.to_datetime({"year": at, "month": 5, "day": 31}),
        lambda at: pd.to_datetime({"year": 2020, "month": at - 2005, "day": 1}).dt.date,
        lambda at: (at // 4 + 1500).astype(str) + "Q" + (at % 4 + 1).astype(str),
        lambda at: (at - 2010) * 1.0,
    ],
    ids=["timestamps", "dates", "text", "floats"],
)
def test_the_calendar_tells_what_is_earlier(connection, calendar, lag):
    frame = with_weights(9)
    frame["period"] = calendar(frame["period"])
    spec = replace(SPEC, lag=lag, weights="w", exposures=("x", "x:z"))
    frame["z"] -= 1e4
    found = fit_table(table_of(connection, frame), spec, **KEYS)
    assert_same_fit(found, fit_panel(Panel.from_frame(frame, **KEYS), spec))


def test_a_lag_over_a_gap_is_missing_and_a_lag_beyond_the_panel_leaves_nothing(connection):
    frame = rows()
    gone = frame[frame["period"] != 2013]
    found = fit_table(table_of(connection, gone), replace(SPEC, lag=1), **KEYS)
    wanted = fit_panel(Panel.from_frame(gone, **KEYS), replace(SPEC, lag=1))
    assert_same_fit(found, wanted)
    shut_up = gone.assign(period=gone["period"] - (gone["period"] > 2013))  # the row before
    assert (
        found.n_obs < fit_table(table_of(connection, shut_up), replace(SPEC, lag=1), **KEYS).n_obs
    )
    with pytest.raises(SpecError, match=r"None of the \d+ rows can be used \(.*x \(lag 30\)"):
        fit_table(table_of(connection, frame), replace(SPEC, lag=30), **KEYS)


def test_a_weighted_fit_is_that_of_linearmodels(connection):
    from linearmodels.panel import PanelOLS

    frame = with_weights(11)
    spec = replace(SPEC, weights="w", match="linearmodels")
    found = fit_table(table_of(connection, frame), spec, **KEYS)
    used = frame.dropna()[lambda at: at["w"] > 0].set_index(["unit", "period"])
    model = PanelOLS(
        used["y"],
        used[["x", "z"]] - used[["x", "z"]].mean(),
        weights=used["w"],
        entity_effects=True,
        time_effects=True,
        singletons=False,
    )
    wanted = model.fit(cov_type="clustered", cluster_entity=True)
    assert found.n_obs == wanted.nobs
    assert_allclose(found.coef, wanted.params, rtol=1e-8)
    assert_allclose(found.tidy()["std_error"], wanted.std_errors, rtol=1e-8)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@example(seed=2457, lag=1, weighted=False, kept=0.5, one_way=False)
@given(
    seed=st.integers(0, 10_000),
    lag=st.integers(-2, 3),
    weighted=st.booleans(),
    kept=st.floats(0.3, 1.0),
    one_way=st.booleans(),
)
def test_any_panel_lag_and_weight(connection, seed, lag, weighted, kept, one_way):
    rng = np.random.default_rng(seed)
    unit, period = np.divmod(np.arange(12 * 9), 9)
    frame = pd.DataFrame({"unit": unit, "period": period - 3, "w": rng.integers(0, 4, len(unit))})
    frame["x"], frame["y"] = rng.normal(size=(2, len(unit)))
    frame = frame[rng.random(len(frame)) < kept].sample(frac=1, random_state=seed)
    spec = PanelSpec(
        outcome="y",
        exposures=("x",),
        lag=lag,
        weights="w" if weighted else None,
        absorb=("unit",) if one_way else ("unit", "period"),
    )
    try:
        wanted = fit_panel(Panel.from_frame(frame, **KEYS), spec)
    except ExCxError as error:
        event(type(error).__name__)
        with pytest.raises(type(error)):
            fit_table(table_of(connection, frame), spec, **KEYS)
        return
    event("fitted")
    assert_same_fit(fit_table(table_of(connection, frame), spec, **KEYS), wanted)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_only_the_ratios_of_weights_matter(connection, scale):
    frame, spec = with_weights(), replace(SPEC, weights="w", vcov="jackknife")
    plain = fit_table(table_of(connection, frame), spec, **KEYS)
    scaled = frame.assign(w=frame["w"] * scale)
    assert_same_fit(fit_table(table_of(connection, scaled), spec, **KEYS), plain)


def test_weights_that_are_none_are_refused(connection):
    frame = with_weights().assign(label="a")
    at = np.arange(len(frame))
    for column, told in [
        (frame["w"].where(at > 1, -1.0), "2 weights in 'w' are negative"),
        (frame["w"].where(at > 0, np.inf), r"1 of \d+ values of 'w' are infinite"),
        (frame["label"], "Column 'w' must be numeric to enter a model"),
    ]:
        wrong, spec = frame.assign(w=column), replace(SPEC, weights="w")
        for fit in (
            lambda wrong=wrong, spec=spec: fit_table(table_of(connection, wrong), spec, **KEYS),
            lambda wrong=wrong, spec=spec: fit_panel(Panel.from_frame(wrong, **KEYS), spec),
        ):
            with pytest.raises(SpecError, match=told):
                fit()
    for spec, told in [
        (replace(SPEC, weights="ww"), "There is no weights column 'ww' in the table"),
        (replace(SPEC, match="fixst"), "match='fixst' is not one of .* Did you mean 'fixest'"),
        (replace(SPEC, lag=1.5), "lag=1.5 is not a whole number of periods"),
    ]:
        with pytest.raises(SpecError, match=told):
            fit_table(table_of(connection, frame), spec, **KEYS)


def test_a_period_written_in_two_ways_has_no_lag(connection):
    frame = rows().assign(period=lambda at: at["period"].astype(str))
    frame["period"] = frame["period"].where(np.arange(len(frame)) != 5, frame["period"] + " ")
    with pytest.raises(SpecError, match="1 periods in 'period' are written in two ways"):
        fit_table(table_of(connection, frame), replace(SPEC, lag=1), **KEYS)


def test_a_file_opened_for_reading_only_is_fitted_and_names_itself(tmp_path):
    frame, kept, broken = with_weights(), tmp_path / "kept.duckdb", tmp_path / "broken.duckdb"
    for path, stored in ((kept, "*"), (broken, "* replace (cast(unit as double) as x)")):
        with duckdb.connect(path) as file:
            file.register("frame", frame)
            file.execute("create table stored as select * from frame")
            file.execute(f"create view panel as select {stored} from stored")
    spec = replace(SPEC, lag=1, weights="w")
    found = fit_table(open_table(kept, table="panel"), spec, **KEYS)
    assert_same_fit(found, fit_panel(Panel.from_frame(frame, **KEYS), spec))
    with pytest.raises(SourceError, match=r"asked of 'broken\.duckdb.*does not fit") as told:
        fit_table(open_table(broken, table="panel"), spec, **KEYS)
    assert "u'" not in str(told.value)


@pytest.mark.parametrize("lag", [0, 1])
def test_what_the_database_refuses_is_told_without_its_values(connection, lag):
    frame = rows().assign(text="Ann Lee, 12 May 1980")
    table = table_of(connection, frame)
    for broken in (
        table.mutate(x=table["text"].cast("float64")),
        table.mutate(z=table["text"].cast("int64")),
        table.mutate(unit=table["text"].cast("int64")),
    ):
        for ask in (
            lambda broken=broken: fit_table(broken, replace(SPEC, lag=lag), **KEYS),
            lambda broken=broken: compress_table(broken, COLUMNS, **KEYS),
        ):
            with pytest.raises(SourceError, match=r"a value does not fit the type") as told:
                ask()
            shown = "".join(traceback.format_exception(told.value))
            assert "Ann" not in shown
            assert "1980" not in shown
    with pytest.raises(SpecError, match="An Ibis table is needed, not a DataFrame"):
        fit_table(frame, SPEC, **KEYS)


def test_a_product_too_large_is_refused(connection):
    frame = rows().assign(x=lambda at: at["x"] * 1e200)
    spec = replace(SPEC, exposures=("x^2",))
    for fit in (
        lambda: fit_table(table_of(connection, frame), spec, **KEYS),
        lambda: fit_panel(Panel.from_frame(frame, **KEYS), spec),
    ):
        with pytest.raises(SpecError, match=r"The term 'x\^2' is too large to compute"):
            fit()


def assert_moments_of_memory(
    found: TableMoments,
    frame: pd.DataFrame,
    cluster: str | None,
    absorb: tuple[str, ...],
    *,
    lag: int = 0,
    weights: str | None = None,
) -> None:
    """All that `ClusterMoments` gives of these rows, to 1e-10 of the greatest of its kind."""
    spec = replace(SPEC, cluster=cluster, absorb=absorb, lag=lag, weights=weights)
    wanted = compress_panel(Panel.from_frame(frame, **KEYS), spec).moments
    assert found.n_clusters == wanted.n_clusters
    close(found.total(), wanted.total)
    close(found.before, wanted.before)
    contrast = np.array([1.0, -0.7, 0.9])
    close(found.scores(contrast), wanted.scores(contrast)[0])
    counts = np.random.default_rng(5).multinomial(
        wanted.n_clusters, [1 / wanted.n_clusters] * wanted.n_clusters, 20
    )
    close(found.cross_products(counts), wanted.cross_products(counts))
    close(found.leave_one_out(), wanted.leave_one_out())


def close(found: np.ndarray, wanted: np.ndarray) -> None:
    """Equal to 1e-10, of each number or of the greatest where they cancel."""
    assert_allclose(found, wanted, rtol=1e-10, atol=1e-10 * np.abs(wanted).max(initial=0.0))


@pytest.mark.parametrize("absorb", [("unit", "period"), ("unit",)])
@pytest.mark.parametrize("cluster", [None, "site"])
def test_moments_are_those_of_memory_whatever_clusters_are_drawn(connection, cluster, absorb):
    frame = rows(2)
    found = compress_table(
        table_of(connection, frame), COLUMNS, cluster=cluster, absorb=absorb, **KEYS
    )
    assert_moments_of_memory(found, frame, cluster, absorb)


@pytest.mark.parametrize("absorb", [("unit", "period"), ("unit",)])
@pytest.mark.parametrize("cluster", [None, "site"])
@pytest.mark.parametrize(("lag", "weights"), [(1, None), (0, "w"), (1, "w")])
def test_moments_of_lags_and_weights_are_those_of_memory(connection, cluster, absorb, lag, weights):
    frame = with_weights(3)
    found = compress_table(
        table_of(connection, frame),
        ("y", DesignTerm("x", lag), "z"),
        cluster=cluster,
        absorb=absorb,
        weights=weights,
        **KEYS,
    )
    assert_moments_of_memory(found, frame, cluster, absorb, lag=lag, weights=weights)


def test_what_needs_the_rows_is_refused(connection):
    table = table_of(connection, rows())
    for spec, told in [
        (replace(SPEC, exposures=("x:zz",)), r"no column 'zz' in the table \(in the term 'x:zz'\)"),
        (replace(SPEC, exposures=("x^2.5",)), r"no column 'x\^2\.5' in the table"),
        (replace(SPEC, exposures=("x:site",)), "'site' must be numeric to enter a model"),
        (replace(SPEC, vcov="driscoll_kraay"), "vcov='driscoll_kraay' needs the rows"),
        (replace(SPEC, estimator="random"), "estimator='random' needs the rows"),
        (replace(SPEC, absorb=("period",)), r"absorb=\('period',\): in a database unit, or unit"),
        (replace(SPEC, controls=("zz",)), r"no column 'zz' in the table\. Did you mean 'z'"),
        (replace(SPEC, controls=("site",)), "'site' must be numeric to enter a model"),
    ]:
        with pytest.raises(SpecError, match=told):
            fit_table(table, spec, **KEYS)
    with pytest.raises(RankError, match="'w'"):
        fit_table(table.mutate(w=table["x"] * 2), replace(SPEC, controls=("w",)), **KEYS)


def test_a_table_that_is_no_panel_is_refused(connection):
    frame = rows()
    twice = pd.concat([frame, frame.head(3)])
    with pytest.raises(SpecError, match=r"3 of \d+ rows repeat a unit and period"):
        fit_table(table_of(connection, twice), SPEC, **KEYS)
    at = np.arange(len(frame))
    keyless = frame.assign(unit=frame["unit"].where(at > 1))
    with pytest.raises(SpecError, match=r"2 of \d+ rows have no value in 'unit', 'period' or"):
        fit_table(table_of(connection, keyless), SPEC, **KEYS)
    broken = frame.assign(x=frame["x"].where(at != 9, np.inf))
    with pytest.raises(SpecError, match=r"1 of \d+ values of 'x' are infinite"):
        fit_table(table_of(connection, broken), SPEC, **KEYS)
    moved = frame.assign(site=frame["period"].astype(str))
    with pytest.raises(SpecError, match=r"units are in more than one cluster"):
        fit_table(table_of(connection, moved), replace(SPEC, cluster="site"), **KEYS)
    with pytest.raises(SpecError, match=r"None of the \d+ rows can be used \(\d+ missing x"):
        fit_table(table_of(connection, frame.assign(x=np.nan)), SPEC, **KEYS)
