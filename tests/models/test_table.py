"""Moments and fits of a table in DuckDB are those of the same rows in memory."""

from __future__ import annotations

from dataclasses import replace

import ibis
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from ex_cx.errors import RankError, SpecError
from ex_cx.estimation.database_moments import TableMoments, compress_table
from ex_cx.linkage.panel import Panel
from ex_cx.models.regress import compress_panel, fit_panel
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
    found: TableMoments, frame: pd.DataFrame, cluster: str | None, absorb: tuple[str, ...]
) -> None:
    """All that `ClusterMoments` gives of these rows, to 1e-10 of the greatest of its kind."""
    spec = replace(SPEC, cluster=cluster, absorb=absorb)
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


def test_what_needs_the_rows_is_refused(connection):
    table = table_of(connection, rows())
    for spec, told in [
        (replace(SPEC, lag=1), "lag=1 needs the rows in memory"),
        (replace(SPEC, weights="z"), "weights='z' needs the rows in memory"),
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
