"""The same expressions on Spark in local mode; `make spark` runs these in its own environment."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import pandas as pd
import pytest
from numpy.testing import assert_allclose

from ex_cx.linkage.panel import Panel
from ex_cx.models.regress import fit_panel
from ex_cx.models.spec import PanelSpec
from ex_cx.models.table import fit_table
from tests.linkage.databases import (
    ATTRITION,
    RETENTION,
    assert_same,
    both,
    contact_spec,
    contacts,
    spell_spec,
    spells,
)
from tests.models.test_table import KEYS, SPEC, rows

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
    session = builder.config("spark.sql.shuffle.partitions", "1").getOrCreate()
    connection, folder = ibis.pyspark.connect(session), tmp_path_factory.mktemp("spark")
    number = itertools.count()

    def write(frame: pd.DataFrame) -> Any:
        path = folder / f"t{next(number)}.parquet"
        frame.to_parquet(path, index=False, coerce_timestamps="us")
        return connection.read_parquet(str(path))

    yield write
    session.stop()


@pytest.mark.parametrize("frequency", ["month", "day"])
def test_measures_of_dated_rows(opened, frequency):
    spec = contact_spec(frequency=frequency)
    assert_same(
        *both(contacts(1, 600), spec, opened, first={"day": "2023-12-01"}.get(frequency, ""))
    )


@pytest.mark.parametrize("measures", [ATTRITION, RETENTION], ids=["attrition", "retention"])
def test_rates_of_spells(opened, measures):
    assert_same(*both(spells(2, 300), spell_spec(measures), opened))


@pytest.mark.parametrize("cluster", [None, "site"])
def test_a_fit(opened, cluster):
    frame = rows(n_units=20)
    spec: PanelSpec = replace(SPEC, cluster=cluster)
    found = fit_table(opened(frame), spec, **KEYS)
    wanted = fit_panel(Panel.from_frame(frame, **KEYS), spec)
    assert_allclose(found.coef, wanted.coef, rtol=1e-10)
    assert_allclose(found.tidy()["std_error"], wanted.tidy()["std_error"], rtol=1e-10)
