"""Fifty million interactions to a linked panel and a two-way within fit.

Each run is a process of its own, timed from its start to its end, and reports its peak of resident
memory (VmHWM). The rows are drawn from a seed and written in pieces; teams differ, months differ,
and a team's handle time moves with its mood of the month.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd

from benchmarks.timing import Line, children_cpu, processor, shown

PIECE = 2_500_000
TEAMS, MONTHS = 400, 36
MEMORY, THREADS = "1500MB", 2
MOST_GB, LEAST_RATIO, MOST_GROWTH = 4.0, 3.0, 1.25
DISK_GB = 4.0
TASKS = {"sums": "score, share, ratio, count", "repeats": "repeat contacts too"}
WAYS = {
    "duckdb": "DuckDB",
    "pandas": "pandas by hand",
    "memory": "`measure_source(pd.read_parquet(...))`",
}
ROUNDS = {"sums": 3, "repeats": 1}
VERSIONS = {"pandas": "pandas", "ibis": "ibis-framework", "duckdb": "duckdb", "pyarrow": "pyarrow"}
PAGE = Path(__file__).resolve().parents[2] / "docs" / "databases.md"
MARKS = ("<!-- written by make bench-scale -->", "<!-- end of what make bench-scale writes -->")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Rows: of all ways, twice; of the demands on DuckDB.

    Plain sums are compared with pandas by hand also at `large`, which takes 6 GB.
    """

    small: int = 5_000_000
    compared: int = 25_000_000
    large: int = 50_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """One way at one size: median seconds of the clock and of all processors, highest peak."""

    task: str
    rows: int
    engine: str
    wall: float
    cpu: float
    gb: float


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


def linked(folder: Path, rows: int, large: Path) -> None:
    """The first pieces of a larger folder, not written again."""
    folder.mkdir()
    for part in sorted(large.iterdir())[: rows // PIECE]:
        os.link(part, folder / part.name)


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
    """One run in this process: its peak and the estimates."""
    from ex_cx import Panel, PanelSpec, fit_panel

    frame = measured(folder, engine, repeats=repeats == "repeats")
    frame["period"] = frame["period"].astype(
        "period[M]" if engine != "pandas" else "datetime64[us]"
    )
    other = moods().rename(columns={"team": "unit", "month": "period"})
    if engine != "pandas":
        other["period"] = other["period"].dt.to_period("M")
    both = frame.merge(other, on=["unit", "period"], how="outer", validate="one_to_one")
    panel = Panel.from_frame(both, unit="unit", period="period")
    controls = ("cx_once_pct",) if repeats == "repeats" else ()
    fit = fit_panel(
        panel, PanelSpec(outcome="cx_nps", exposures=("ex_aht_s", "mood"), controls=controls)
    )
    return {
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


def child(folder: Path, engine: str, task: str) -> dict:
    """A run in a process of its own; the clock runs from its start to its end."""
    wall, cpu = time.perf_counter(), children_cpu()
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.scale", str(folder), engine, task],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"{engine} on {folder.name}, {task}:\n{done.stderr}")
    found = json.loads(done.stdout.splitlines()[-1])
    return found | {"wall": time.perf_counter() - wall, "cpu": children_cpu() - cpu}


def ways(folder: Path, rows: int, task: str, engines: tuple[str, ...]) -> list[Ran]:
    """Each way in turn, again and again; all must give the same estimates and errors."""
    found: dict[str, list[dict]] = {engine: [] for engine in engines}
    for turn in range(ROUNDS[task]):
        at = turn % len(engines)
        for engine in engines[at:] + engines[:at]:
            found[engine].append(child(folder, engine, task))
            print(f"{rows:,} {task} {engine}: {found[engine][-1]}", file=sys.stderr, flush=True)
    for one in (one for each in found.values() for one in each):
        for what in ("coef", "std_error", "n_obs"):
            np.testing.assert_allclose(one[what], found["duckdb"][0][what], rtol=1e-8)
    return [
        Ran(
            task=task,
            rows=rows,
            engine=engine,
            wall=median(one["wall"] for one in each),
            cpu=median(one["cpu"] for one in each),
            gb=max(one["gb"] for one in each),
        )
        for engine, each in found.items()
    ]


def runs(sizes: Sizes) -> list[Ran]:
    """All runs, after each way has been warmed on the small rows."""
    if (free := shutil.disk_usage(tempfile.gettempdir()).free / 1e9) < DISK_GB:
        raise SystemExit(f"{free:.1f} GB are free in the temporary folder; {DISK_GB:g} are needed.")
    with tempfile.TemporaryDirectory(prefix="ex_cx-scale-") as place:
        small, compared, large = (Path(place) / name for name in ("small", "compared", "large"))
        write(large, sizes.large)
        linked(compared, sizes.compared, large)
        linked(small, sizes.small, large)
        for engine in WAYS:
            child(small, engine, "sums")
        ran = []
        for task in TASKS:
            ran += ways(small, sizes.small, task, tuple(WAYS))
            ran += ways(compared, sizes.compared, task, tuple(WAYS))
            last = ("duckdb", "pandas") if task == "sums" else ("duckdb",)
            ran += ways(large, sizes.large, task, last)
    return ran


def demands(ran: list[Ran], sizes: Sizes) -> list[Line]:
    """What was wanted of each task, and what came out.

    The same work on pandas is ours on its frames, with checks, errors and counts of what is lost;
    by hand it is less work: shown, and nothing is wanted of it.
    """
    lines = []
    for task, told in TASKS.items():
        of = {(one.rows, one.engine): one for one in ran if one.task == task}
        small, large = of[sizes.small, "duckdb"], of[sizes.large, "duckdb"]
        growth = MOST_GROWTH * sizes.large / sizes.small * small.wall
        lines += [
            Line(
                task=f"{millions(rows)}, {told}: time",
                peer=WAYS[engine],
                ours=shown(of[rows, "duckdb"].wall),
                theirs=shown(of[rows, engine].wall),
                ratio=of[rows, engine].wall / of[rows, "duckdb"].wall,
                wanted=LEAST_RATIO if (rows, engine) == (sizes.compared, "memory") else None,
            )
            for rows, engine in of
            if engine != "duckdb"
        ]
        lines += [
            Line(
                task=f"{millions(sizes.large)}, {told}: peak",
                peer=f"{MOST_GB:g} GB",
                ours=f"{large.gb:.2f} GB",
                theirs=f"{MOST_GB:g} GB",
                ratio=MOST_GB / large.gb,
                wanted=1.0,
            ),
            Line(
                task=f"{millions(sizes.large)}, {told}: time",
                peer=f"that of {millions(sizes.small)}, "
                f"{MOST_GROWTH * sizes.large / sizes.small:g} times",
                ours=shown(large.wall),
                theirs=shown(growth),
                ratio=growth / large.wall,
                wanted=1.0,
            ),
        ]
    return lines


def millions(rows: int) -> str:
    return f"{rows / 1e6:g} million"


def page(ran: list[Ran], lines: list[Line]) -> str:
    """Machine, runs and demands, as Markdown."""
    versions = ", ".join(f"{p} {metadata.version(d)}" for p, d in VERSIONS.items())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    machine = (
        f"{datetime.date.today():%Y-%m-%d}, {os.cpu_count()} cores, {processor()}, {memory:.0f} GB "
        f"of memory, load {os.getloadavg()[0]:.1f}; Python {platform.python_version()}, {versions}."
    )
    parts = [
        f"{machine}\n",
        "| rows | what | way | time | all processors | peak |\n" + "| --- " * 6 + "|",
        *(
            f"| {millions(one.rows)} | {TASKS[one.task]} | {WAYS[one.engine]} | {one.wall:.1f} s "
            f"| {one.cpu:.1f} s | {one.gb:.2f} GB |"
            for one in ran
        ),
        "\n| what | against | DuckDB | against it | ratio |\n" + "| --- " * 5 + "|",
        *(
            f"| {one.task} | {one.peer}{over(one)} | {one.ours} | {one.theirs}{over(one)} "
            f"| {one.ratio:.2f}{one.verdict and f': {one.verdict}'} |"
            for one in lines
        ),
    ]
    return "\n".join(parts) + "\n"


def over(line: Line) -> str:
    return f" / {line.wanted:g}" if line.wanted not in (1, None) else ""


def scales() -> list[Line]:
    """The demands alone, for the table of all benchmarks."""
    sizes = Sizes()
    return demands(runs(sizes), sizes)


def main(sizes: Sizes, target: Path) -> int:
    """Run all, print the tables and put them between the marks of a page; 1 if one is missed."""
    ran = runs(sizes)
    lines = demands(ran, sizes)
    text = page(ran, lines)
    print(text)
    before, rest = target.read_text(encoding="utf-8").split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    target.write_text(f"{before}{MARKS[0]}\n\n{text}\n{MARKS[1]}{after}", encoding="utf-8")
    return int(any(one.verdict == "MISSED" for one in lines))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(run(Path(sys.argv[1]), sys.argv[2], sys.argv[3])))
    else:
        sys.exit(main(Sizes(), PAGE))
