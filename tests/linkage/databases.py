"""Hostile rows, and specs that ask every metric of them; for DuckDB and Spark alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.testing import assert_allclose

from ex_cx.linkage.measure import MeasuredSource, measure_source
from ex_cx.linkage.schema import MeasureSpec, SourceSpec

UNITS = ["A", "B'", 'C"q"', "Ünit ß", "007", "日本", "a;--", "Z\\n", "empty"]
Open = Callable[[pd.DataFrame], Any]


def contacts(seed: int, n: int = 4_000) -> pd.DataFrame:
    """Contacts with ties, blanks, month ends, times before 1970, units with hardly an answer."""
    rng = np.random.default_rng(seed)
    days = pd.to_datetime(
        ["2023-12-31T23:59:59", "2024-01-31", "2024-02-01", "2024-02-29", "2024-03-31T12:00"],
        format="ISO8601",
    )
    when = pd.Series(days[rng.integers(0, len(days), n)]) + pd.to_timedelta(
        rng.integers(0, 9, n), "D"
    )
    when[rng.random(n) < 0.02] = pd.NaT
    when[rng.random(n) < 0.01] = pd.Timestamp("1969-12-31 23:30:00")
    unit = pd.Series(rng.choice(UNITS, n, p=[0.3, 0.2, 0.2, 0.1, 0.1, 0.05, 0.03, 0.01, 0.01]))

    def blank(values: np.ndarray, share: float = 0.1) -> pd.Series:
        return pd.Series(values).where(rng.random(n) >= share)

    answer = blank(rng.integers(0, 11, n).astype(float))
    answer[unit == "empty"] = np.nan
    return pd.DataFrame(
        {
            "the unit": unit.where(rng.random(n) >= 0.03),
            'when "it" was': when,
            "nps": answer,
            "effort": blank(rng.integers(1, 6, n).astype(float), 0.6),
            "i1": blank(rng.integers(1, 8, n).astype(float), 0.3),
            "i2": blank(rng.integers(1, 8, n).astype(float), 0.3),
            "i3": blank(rng.integers(1, 8, n).astype(float), 0.3),
            "revenue": blank(1e6 + rng.normal(size=n)),
            "money": blank(rng.normal(size=n) * 1e3),
            "resolved": pd.Series(rng.choice(["ja", "nein, 'nie'", "Ja"], n), dtype="str").where(
                rng.random(n) >= 0.2
            ),
            "who": pd.Series(rng.integers(0, n // 6, n).astype(str), dtype="str").where(
                rng.random(n) >= 0.05
            ),
            "handle": blank(rng.gamma(2.0, 100.0, n), 0.05),
            "staffed": blank(rng.choice([0.0, 300.0, 900.0], n), 0.05),
            "calls": rng.integers(0, 4, n),
            "region": np.where(unit.isin(UNITS[:4]), "North", "South"),
        }
    )


MEASURES = {
    "nps": MeasureSpec(metric="nps", score="nps"),
    "effort": MeasureSpec(metric="effort", score="effort", low=1, high=5, direction="high_is_bad"),
    "scale": MeasureSpec(
        metric="scale_mean", items=("i1", "i2", "i3"), reverse=("i2",), low=1, high=7
    ),
    "whole": MeasureSpec(
        metric="scale_mean", items=("i1", "i2", "i3"), low=1, high=7, min_share=1.0
    ),
    "revenue": MeasureSpec(metric="mean", score="revenue"),
    "said": MeasureSpec(metric="fcr", score="resolved", positive=("ja", "Ja")),
    "never": MeasureSpec(metric="share", score="resolved", positive=("nein, 'nie'",)),
    "again": MeasureSpec(metric="fcr", customer="who"),
    "again_2": MeasureSpec(metric="fcr", customer="who", days=2),
    "occupancy": MeasureSpec(metric="occupancy", numerator="handle", denominator="staffed"),
    "aht": MeasureSpec(metric="aht", numerator="handle", denominator="calls"),
    "per_100": MeasureSpec(metric="ratio", numerator="money", denominator="calls", per=100),
    "money": MeasureSpec(metric="sum", score="money"),
    "efforts": MeasureSpec(metric="sum", score="effort"),
    "n": MeasureSpec(metric="count"),
}


def contact_spec(**options: Any) -> SourceSpec:
    return SourceSpec(
        path="contacts.parquet",
        unit="the unit",
        period='when "it" was',
        measures=options.pop("measures", MEASURES),
        attributes={"region": "region"},
        **options,
    )


def spells(seed: int, n: int = 1_500) -> pd.DataFrame:
    """Employments, or accounts, some without an end, a kind, a weight, a start or a unit."""
    rng = np.random.default_rng(seed)
    start = pd.Series(pd.Timestamp("2022-06-01") + pd.to_timedelta(rng.integers(0, 900, n), "D"))
    end = start + pd.to_timedelta(rng.integers(0, 500, n), "D")
    return pd.DataFrame(
        {
            "team": pd.Series(rng.choice(UNITS, n), dtype="str").where(rng.random(n) >= 0.02),
            "start": start.where(rng.random(n) >= 0.02),
            "end": end.where(rng.random(n) >= 0.4),
            "why": pd.Series(rng.choice(["voluntary", "dismissal"], n), dtype="str").where(
                rng.random(n) >= 0.2
            ),
            "revenue": pd.Series(rng.gamma(2.0, 500.0, n)).where(rng.random(n) >= 0.1),
        }
    )


ATTRITION = {
    "all": MeasureSpec(metric="attrition", hire="start", exit="end"),
    "chosen": MeasureSpec(
        metric="attrition", hire="start", exit="end", exit_type="why", types=("voluntary",)
    ),
}
RETENTION = {
    "kept": MeasureSpec(metric="retention", start="start", end="end"),
    "kept_3": MeasureSpec(metric="retention", start="start", end="end", window=3),
    "revenue": MeasureSpec(metric="retention", start="start", end="end", weight="revenue"),
}


def spell_spec(measures: dict[str, MeasureSpec], **options: Any) -> SourceSpec:
    window = {"first": "2023-01", "last": "2024-03"} | options
    return SourceSpec(path="spells.parquet", unit="team", measures=measures, **window)


def assert_same(found: MeasuredSource, wanted: MeasuredSource) -> None:
    """Every number of two measured sources, to 1e-10."""
    assert found.frame.columns.tolist() == wanted.frame.columns.tolist()
    assert found.frame["unit"].tolist() == wanted.frame["unit"].tolist()
    assert found.frame["period"].tolist() == wanted.frame["period"].tolist()
    assert found.frame.dtypes.tolist() == wanted.frame.dtypes.tolist()
    for column in wanted.frame.columns[2:]:
        ours, theirs = (f[column].to_numpy(dtype=float) for f in (found.frame, wanted.frame))
        assert np.array_equal(np.isnan(ours), np.isnan(theirs)), column
        assert_allclose(ours, theirs, rtol=1e-10, atol=1e-10, err_msg=column)
    pd.testing.assert_frame_equal(found.flow.frame(), wanted.flow.frame())
    pd.testing.assert_frame_equal(found.suppressed, wanted.suppressed)
    sides = [s.attributes.sort_values("unit", ignore_index=True) for s in (found, wanted)]
    pd.testing.assert_frame_equal(*sides, check_dtype=False)
    assert found.definitions == wanted.definitions
    assert found.provenance == wanted.provenance
    assert found.carried == wanted.carried
    assert found.people.frequency == wanted.people.frequency
    pd.testing.assert_frame_equal(
        people_of(found), people_of(wanted), check_dtype=False, rtol=1e-10, atol=1e-10
    )


def people_of(source: MeasuredSource) -> pd.DataFrame:
    """The people behind each cell that has some, and what is summed over them, sorted."""
    cells = source.people
    parts = [
        pd.DataFrame(
            {
                "measure": name,
                "unit": np.asarray(cells.labels, dtype=object)[cells.unit].astype(str),
                "position": cells.position,
                "n": n,
                "sum": cells.sums.get(name, np.full(len(n), np.nan)),
            }
        )
        for name, n in cells.n.items()
    ]
    keys = ["measure", "unit", "position"]
    found = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*keys, "n"])
    return found[found["n"] > 0].sort_values(keys, ignore_index=True)


def both(
    frame: pd.DataFrame, spec: SourceSpec, opened: Open, **options: Any
) -> tuple[MeasuredSource, MeasuredSource]:
    """The source as the database measures it, and as memory does."""
    return (
        measure_source(opened(frame), spec, "s", **options),
        measure_source(frame, spec, "s", **options),
    )
