"""Spark in local mode, DuckDB and memory give the same numbers; `make spark` runs these."""

from __future__ import annotations

import itertools
import shutil
import traceback
from collections.abc import Callable
from dataclasses import fields, replace
from importlib.util import find_spec
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_equal

from ex_cx.errors import SourceError
from ex_cx.estimation.database_moments import compress_table
from ex_cx.estimation.design import DesignTerm
from ex_cx.linkage.measure import measure_source
from ex_cx.linkage.panel import Panel
from ex_cx.linkage.schema import ReadSpec, SourceSpec
from ex_cx.models.regress import fit_panel
from ex_cx.models.spec import PanelSpec
from ex_cx.models.table import fit_table
from tests.linkage.databases import (
    ATTRITION,
    MEASURES,
    RETENTION,
    UNITS,
    assert_same,
    contact_spec,
    contacts,
    spell_spec,
    spells,
)
from tests.linkage.test_database_crosswalk import (
    ADDED,
    CHANGES,
    KEEP,
    NAMED,
    SPLITS,
    assert_same_mapping,
    lines,
)
from tests.models.test_table import (
    COLUMNS,
    KEYS,
    SPEC,
    assert_moments_of_memory,
    assert_same_fit,
    close,
    rows,
    with_weights,
)

if find_spec("pyspark") is None:
    pytest.skip("pyspark is not installed; `make spark` runs these", allow_module_level=True)
if shutil.which("java") is None:
    pytest.skip("Spark needs Java, which is not there", allow_module_level=True)


@pytest.fixture(scope="module")
def opened(tmp_path_factory) -> Callable[[pd.DataFrame], Any]:
    """A frame as a table of Spark, by way of Parquet."""
    import ibis
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
    builder = builder.config("spark.sql.shuffle.partitions", "1")
    session = builder.config("spark.sql.session.timeZone", "America/New_York").getOrCreate()
    connection, folder = ibis.pyspark.connect(session), tmp_path_factory.mktemp("spark")
    number = itertools.count()

    def write(frame: pd.DataFrame) -> Any:
        path = folder / f"t{next(number)}.parquet"
        frame.to_parquet(path, index=False, coerce_timestamps="us")
        return connection.read_parquet(str(path))

    yield write
    session.stop()


@pytest.fixture(scope="module")
def duck() -> Callable[[pd.DataFrame], Any]:
    """A frame as a table of DuckDB."""
    import ibis

    connection, number = ibis.duckdb.connect(threads=1), itertools.count()
    return lambda frame: connection.create_table(f"t{next(number)}", frame)


def assert_all_three(
    opened: Callable,
    duck: Callable,
    frame: pd.DataFrame,
    spec: SourceSpec,
    *,
    stored: pd.DataFrame | None = None,
    first: str = "",
) -> None:
    """Every number of Spark, of DuckDB and of memory, in pairs; databases hold `stored`."""
    memory = measure_source(frame, spec, "s", first=first)
    held = frame if stored is None else stored
    spark, embedded = (measure_source(t(held), spec, "s", first=first) for t in (opened, duck))
    assert len(memory.frame) > 5
    for found, wanted in itertools.combinations((spark, embedded, memory), 2):
        assert_same(found, wanted)


def test_units_are_mapped_where_the_rows_are(opened, duck):
    rows = contacts(4, 900).assign(region="all")
    merged = [(unit, "one" if at % 2 else "two", "2023", "", 1.0) for at, unit in enumerate(UNITS)]
    cases = [
        (rows, contact_spec(crosswalk=NAMED), lines(CHANGES)),
        (rows, contact_spec(crosswalk=KEEP, measures=ADDED), lines(SPLITS, KEEP)),
        (spells(1, 600), spell_spec(RETENTION, crosswalk=NAMED), lines(merged)),
    ]
    for frame, spec, crosswalk in cases:
        memory = measure_source(frame, spec, "s", crosswalk=crosswalk)
        for table in (opened(frame), duck(frame)):
            assert_same_mapping(measure_source(table, spec, "s", crosswalk=crosswalk), memory)


@pytest.mark.parametrize("frequency", ["month", "quarter", "year", "day", "hour"])
def test_measures_of_dated_rows(opened, duck, frequency):
    first = {"day": "2023-12-01", "hour": "2023-12-01"}.get(frequency, "")
    spec = contact_spec(frequency=frequency, read=ReadSpec(dates=('when "it" was',)))
    assert_all_three(opened, duck, contacts(1, 600), spec, first=first)


def test_windows_thresholds_and_padded_text(opened, duck):
    frame = contacts(11, 600)
    unit = ("  " + frame["the unit"] + "\t").fillna("   ")
    chosen = {name: MEASURES[name] for name in ("nps", "said", "per_100", "n")}
    spec = contact_spec(
        measures=chosen, first="2024-01", last="2024-04", carry=2, min_n=12, min_n_shares=30
    )
    assert_all_three(opened, duck, frame, spec, stored=frame.assign(**{"the unit": unit}))


@pytest.mark.parametrize("measures", [ATTRITION, RETENTION], ids=["attrition", "retention"])
def test_rates_of_spells(opened, duck, measures):
    assert_all_three(opened, duck, spells(2, 300), spell_spec(measures))


@pytest.mark.parametrize("absorb", [("unit", "period"), ("unit",)])
@pytest.mark.parametrize("cluster", [None, "site"])
def test_moments(opened, duck, cluster, absorb):
    frame = rows(2, n_units=20)
    spark, embedded = (
        compress_table(table(frame), COLUMNS, cluster=cluster, absorb=absorb, **KEYS)
        for table in (opened, duck)
    )
    for found in (spark, embedded):
        assert_moments_of_memory(found, frame, cluster, absorb)
    for field in fields(spark):
        ours, theirs = getattr(spark, field.name), getattr(embedded, field.name)
        if isinstance(ours, np.ndarray) and ours.dtype.kind == "f" and ours.size:
            close(ours, theirs)
        else:
            assert_equal(ours, theirs)


@pytest.mark.parametrize("cluster", [None, "site"])
def test_a_fit(opened, duck, cluster):
    frame = rows(n_units=20)
    spec: PanelSpec = replace(SPEC, cluster=cluster)
    fits = [fit_table(table(frame), spec, **KEYS) for table in (opened, duck)]
    fits.append(fit_panel(Panel.from_frame(frame, **KEYS), spec))
    for found, wanted in itertools.combinations(fits, 2):
        assert_allclose(found.coef, wanted.coef, rtol=1e-10)
        assert_allclose(found.tidy()["std_error"], wanted.tidy()["std_error"], rtol=1e-10)


@pytest.mark.parametrize("absorb", [("unit", "period"), ("unit",)])
@pytest.mark.parametrize("dated", [False, True], ids=["numbers", "timestamps"])
def test_a_fit_with_a_lag_and_weights(opened, duck, dated, absorb):
    frame = with_weights(n_units=20)
    if dated:
        frame["period"] = pd.to_datetime({"year": frame["period"], "month": 1, "day": 1})
    spec = replace(SPEC, lag=1, weights="w", absorb=absorb, vcov="jackknife", cluster="site")
    fits = [fit_table(table(frame), spec, **KEYS) for table in (opened, duck)]
    fits.append(fit_panel(Panel.from_frame(frame, **KEYS), spec))
    for found, wanted in itertools.combinations(fits, 2):
        assert_same_fit(found, wanted)


def test_moments_of_a_lag_and_weights(opened):
    frame, columns = with_weights(3, n_units=20), ("y", DesignTerm("x", -1), "z")
    found = compress_table(opened(frame), columns, weights="w", cluster="site", **KEYS)
    assert_moments_of_memory(found, frame, "site", ("unit", "period"), lag=-1, weights="w")


def test_what_spark_refuses_is_told_without_its_values(opened):
    table = opened(rows(n_units=20).assign(text="Ann Lee, 12 May 1980"))
    with pytest.raises(SourceError, match="The database cannot answer") as told:
        fit_table(table.mutate(x=table["text"].cast("float64")), SPEC, **KEYS)
    shown = "".join(traceback.format_exception(told.value))
    assert "Ann" not in shown
    assert "1980" not in shown
