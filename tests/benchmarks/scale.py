"""Fifty million interactions to a linked panel and a two-way within fit.

Each run is a process of its own, which reports its time and its peak of resident memory (VmHWM).
The rows are drawn from a seed and written in pieces; teams differ, months differ, and a team's
handle time moves with its mood of the month.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.timing import Line, compared, shown

PIECE = 2_500_000
SMALL, LARGE = 5_000_000, 50_000_000
TEAMS, MONTHS = 400, 36
MEMORY, THREADS = "1500MB", 2
MOST_GB = 4.0
ENGINES = ("duckdb", "pandas", "memory")
PEERS = {"pandas": "pandas by hand", "memory": "read_parquet + measure_source"}
ROUNDS = 3


def moods() -> pd.DataFrame:
    """The other side: one row per team and month."""
    rng = np.random.default_rng(7)
    team, month = np.divmod(np.arange(TEAMS * MONTHS), MONTHS)
    stamps = np.datetime64("2021-01", "M") + month
    return pd.DataFrame(
        {
            "team": names()[team],
            "month": stamps.astype("datetime64[us]"),
            "mood": 3.5 + rng.normal(scale=0.3, size=TEAMS)[team] + rng.normal(0, 0.4, len(team)),
        }
    )


def names() -> np.ndarray:
    return np.array([f"team {at:04d}" for at in range(TEAMS)], dtype=object)


def write_piece(path: Path, at: int) -> None:
    """`PIECE` interactions, the same for the same `at`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng([20240501, at])
    team = rng.integers(0, TEAMS, PIECE)
    second = rng.integers(0, MONTHS * 30 * 86_400, PIECE)
    when = np.datetime64("2021-01-01", "s") + second.astype("timedelta64[s]")
    month = when.astype("datetime64[M]").astype(int) - np.datetime64("2021-01", "M").astype(int)
    mood = moods()["mood"].to_numpy()[team * MONTHS + month]
    handled = (rng.random(PIECE) < 0.93).astype(np.int8)
    handle = np.where(handled == 1, rng.gamma(4.0, (520 - 40 * mood) / 4), 0.0).round(1)
    answered = rng.random(PIECE) < 0.25
    score = np.clip(np.rint(6.5 + 0.5 * (mood - 3.5) + rng.normal(0, 2.2, PIECE)), 0, 10)
    columns = {
        "team": pa.DictionaryArray.from_arrays(pa.array(team.astype(np.int32)), pa.array(names())),
        "started": pa.array(when.astype("datetime64[us]")),
        "customer": pa.array(rng.integers(0, 12_000_000, PIECE)),
        "handled": pa.array(handled),
        "handle_s": pa.array(handle),
        "recommend": pa.array(score, mask=~answered),
        "resolved": pa.array(np.where(rng.random(PIECE) < 0.75, "yes", "no"), mask=~answered),
    }
    columns["team"] = columns["team"].cast(pa.string())
    pq.write_table(pa.table(columns), path)


def write(folder: Path, rows: int) -> None:
    folder.mkdir()
    for at in range(rows // PIECE):
        write_piece(folder / f"part-{at:03d}.parquet", at)


def measured(folder: Path, engine: str, *, repeats: bool) -> pd.DataFrame:
    """The unit-periods of the interactions, by one of three ways."""
    from ex_cx.linkage.measure import measure_source
    from ex_cx.linkage.stores import open_table

    if engine == "pandas":
        return by_hand(folder, repeats=repeats)
    table = (
        open_table(folder, memory=MEMORY, threads=THREADS)
        if engine == "duckdb"
        else pd.read_parquet(folder)
    )
    return measure_source(table, interactions(repeats=repeats), "interactions").frame


def interactions(*, repeats: bool):
    from ex_cx import MeasureSpec, SourceSpec

    measures = {
        "cx_nps": MeasureSpec(metric="nps", score="recommend"),
        "cx_fcr_pct": MeasureSpec(metric="fcr", score="resolved", positive=("yes",)),
        "ex_aht_s": MeasureSpec(metric="aht", numerator="handle_s", denominator="handled"),
        "contacts": MeasureSpec(metric="count"),
    }
    if repeats:
        measures["cx_once_pct"] = MeasureSpec(metric="fcr", customer="customer", days=7)
    return SourceSpec(path="interactions", unit="team", period="started", measures=measures)


def by_hand(folder: Path, *, repeats: bool) -> pd.DataFrame:
    """What a good pandas user writes: the columns needed, flags once, one groupby of plain sums."""
    needed = ["team", "started", "handled", "handle_s", "recommend", "resolved"]
    rows = pd.read_parquet(folder, columns=needed + ["customer"] * repeats)
    rows["period"] = rows["started"].to_numpy("datetime64[M]")
    rows["team"] = rows["team"].astype("category")
    rows["promoter"], rows["detractor"] = rows["recommend"] >= 9, rows["recommend"] <= 6
    rows["yes"] = rows["resolved"] == "yes"
    if repeats:
        rows = rows.sort_values(["customer", "started"])
        week = pd.Timedelta(days=7)
        gap = rows.groupby("customer")["started"].shift(-1) - rows["started"]
        rows["once"] = ((gap > week) | gap.isna()).astype(float)
        open_end = rows["started"] > rows["started"].max() - week
        rows.loc[open_end, "once"] = np.nan
    sums = rows.groupby(["team", "period"], observed=True).agg(
        n=("recommend", "count"),
        promoters=("promoter", "sum"),
        detractors=("detractor", "sum"),
        yes=("yes", "sum"),
        said=("resolved", "count"),
        handle=("handle_s", "sum"),
        handled=("handled", "sum"),
        contacts=("team", "size"),
        **({"once": ("once", "mean")} if repeats else {}),
    )
    found = pd.DataFrame(
        {
            "cx_nps": 100 * (sums["promoters"] - sums["detractors"]) / sums["n"],
            "cx_fcr_pct": 100 * sums["yes"] / sums["said"],
            "ex_aht_s": sums["handle"] / sums["handled"],
            "contacts": sums["contacts"].astype(float),
            **({"cx_once_pct": 100 * sums["once"]} if repeats else {}),
        }
    ).reset_index()
    return found.rename(columns={"team": "unit"}).astype({"unit": "str"})


def run(folder: Path, engine: str, repeats: str) -> dict[str, object]:
    """One run in this process: seconds, peak and the estimates."""
    start = time.perf_counter()
    from ex_cx import Panel, PanelSpec, fit_panel

    frame = measured(folder, engine, repeats=repeats == "repeats")
    frame["period"] = frame["period"].astype(
        "period[M]" if engine != "pandas" else "datetime64[us]"
    )
    other = moods().rename(columns={"team": "unit", "month": "period"})
    if engine != "pandas":
        other["period"] = other["period"].dt.to_period("M")
    linked = frame.merge(other, on=["unit", "period"], how="outer", validate="one_to_one")
    panel = Panel.from_frame(linked, unit="unit", period="period")
    controls = ("cx_once_pct",) if repeats == "repeats" else ()
    fit = fit_panel(
        panel, PanelSpec(outcome="cx_nps", exposures=("ex_aht_s", "mood"), controls=controls)
    )
    return {
        "seconds": time.perf_counter() - start,
        "gb": peak_gb(),
        "coef": fit.coef.tolist(),
        "std_error": np.sqrt(np.diag(fit.vcov)).tolist(),
        "n_obs": fit.n_obs,
    }


def peak_gb() -> float:
    """Most resident memory of this process so far."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    kilobytes = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    return int(kilobytes) / 2**20


def child(folder: Path, engine: str, repeats: str) -> dict:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.scale", str(folder), engine, repeats],
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def scales() -> list[Line]:
    """Small and large, with and without the search for repeat contacts."""
    with tempfile.TemporaryDirectory() as place:
        small, large = Path(place) / "small", Path(place) / "large"
        write(small, SMALL)
        write(large, LARGE)
        return [line for what in ("sums", "repeats") for line in compare_ways(small, large, what)]


def compare_ways(small: Path, large: Path, what: str) -> list[Line]:
    rounds = [{engine: child(small, engine, what) for engine in ENGINES} for _ in range(ROUNDS)]
    for one in rounds:
        for engine in ENGINES[1:]:
            np.testing.assert_allclose(one[engine]["coef"], one["duckdb"]["coef"], rtol=1e-8)
    seconds = {e: float(np.median([one[e]["seconds"] for one in rounds])) for e in ENGINES}
    peaks = {e: max(one[e]["gb"] for one in rounds) for e in ENGINES}
    big = child(large, "duckdb", what)
    size = sum(file.stat().st_size for file in large.iterdir()) / 1e9
    task = "5 million interactions to a two-way within fit" + (
        ", repeat contacts too" if what == "repeats" else ""
    )
    note = f"peak {peaks['duckdb']:.2f} GB, {{}} {{:.2f}} GB"
    lines = [
        compared(
            task,
            peer,
            seconds["duckdb"],
            seconds[engine],
            wanted=3.0,
            note=note.format(peer, peaks[engine]),
        )
        for engine, peer in (
            ("pandas", "pandas by hand"),
            ("memory", "read_parquet + measure_source"),
        )
    ]
    grown = big["seconds"] / seconds["duckdb"]
    lines.append(
        Line(
            task=f"{task.replace('5 million', '50 million')} ({size:.1f} GB of Parquet): peak",
            peer=f"{MOST_GB:g} GB",
            ours=f"{big['gb']:.2f} GB",
            theirs=f"{MOST_GB:g} GB",
            ratio=MOST_GB / big["gb"],
            wanted=1.0,
            note=f"DuckDB limited to {MEMORY} and {THREADS} threads",
        )
    )
    lines.append(
        Line(
            task=f"{task.replace('5 million', '50 million')}: time over that of 5 million",
            peer="ten times, and a quarter",
            ours=shown(big["seconds"]),
            theirs=shown(12.5 * seconds["duckdb"]),
            ratio=12.5 / grown,
            wanted=1.0,
        )
    )
    return lines


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(run(Path(sys.argv[1]), sys.argv[2], sys.argv[3])))
    else:
        for one in scales():
            print(f"{one.task} | {one.peer}: {one.ours} to {one.theirs}, {one.ratio:.2f}", end="; ")
            print(f"wanted {one.wanted}: {one.verdict}; {one.note}")
