"""`fit_mediation` beside refitted regressions, the bare matrix product, and its peers."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable

import numpy as np
import pandas as pd

from benchmarks.timing import Job, Line, compared, interleave, shown

DRAWS = 5000
PERIODS = 60
REFITS = 20


def rows(n_units: int, n_periods: int, observed: float = 1.0, seed: int = 20261122) -> pd.DataFrame:
    """x moves m moves y within units, under unit and period effects."""
    rng = np.random.default_rng(seed)
    n = n_units * n_periods
    unit, period = np.repeat(np.arange(n_units), n_periods), np.tile(np.arange(n_periods), n_units)
    level, season = rng.normal(size=n_units)[unit], rng.normal(size=n_periods)[period]
    x = rng.normal(size=n) + 0.5 * level
    m = 0.5 * x + level + season + rng.normal(size=n)
    y = 0.4 * m + 0.1 * x + level + season + rng.normal(size=n)
    frame = pd.DataFrame({"unit": unit, "period": period, "x": x, "m": m, "y": y})
    if observed == 1:
        return frame
    return frame[rng.random(n) < observed].reset_index(drop=True)


def fit_ex_cx(panel, absorb: tuple[str, ...]):
    from ex_cx import MediationSpec, fit_mediation

    spec = MediationSpec(outcome="y", exposure="x", mediators=("m",), absorb=absorb)
    return fit_mediation(panel, spec, n_boot=DRAWS, rng=np.random.default_rng(1)).tidy()


def fresh_ex_cx(frame: pd.DataFrame, absorb: tuple[str, ...]):
    """A maker of jobs: each on a panel of its own, built outside the clock."""
    from ex_cx import Panel

    def maker() -> Job:
        panel = Panel.from_frame(frame, unit="unit", period="period")
        return lambda: fit_ex_cx(panel, absorb)

    return maker


def indirect(tidy: pd.DataFrame) -> float:
    return float(tidy.set_index("term").loc["indirect", "estimate"])


def refit_pyfixest(frame: pd.DataFrame, rng: np.random.Generator) -> float:
    """One draw by hand: the drawn units' rows under new labels, both equations fitted again."""
    import pyfixest as pf

    starts = np.flatnonzero(np.diff(frame["unit"], prepend=-1))
    lengths = np.diff(starts, append=len(frame))
    drawn = rng.integers(0, len(starts), len(starts))
    taken = np.concatenate([np.arange(starts[g], starts[g] + lengths[g]) for g in drawn])
    draw = frame.iloc[taken].assign(unit=np.repeat(np.arange(len(drawn)), lengths[drawn]))
    options = {"vcov": "iid", "copy_data": False, "store_data": False, "lean": True}
    a = pf.feols("m ~ x | unit + period", draw, **options).coef()["x"]
    return a * pf.feols("y ~ m + x | unit + period", draw, **options).coef()["m"]


def bare_product(n_units: int, balanced: bool, n_columns: int = 3) -> Job:
    """Counts times stacked moments: triangle of the columns (x, m, y) and their period sums; where
    the panel is unbalanced also the triangle of the period dummies' cross-products.
    """
    rng = np.random.default_rng(2)
    triangle = n_columns * (n_columns + 1) // 2
    width = triangle + n_columns * PERIODS + (0 if balanced else PERIODS * (PERIODS + 1) // 2)
    counts = rng.multinomial(n_units, np.full(n_units, 1 / n_units), size=DRAWS).astype(float)
    stacked = rng.normal(size=(n_units, width))
    return lambda: counts @ stacked


def two_way(rounds: int = 7) -> list[Line]:
    """1,000 units x 60 periods, two-way within, cluster bootstrap of 5,000 draws."""
    lines, makers = [], {}
    for label, observed in (("balanced", 1.0), ("85 % unbalanced", 0.85)):
        frame = rows(1000, PERIODS, observed)
        makers[label] = maker = fresh_ex_cx(frame, ("unit", "period"))
        product = bare_product(1000, observed == 1)
        median = interleave({"product": product}, rounds, {"ex_cx": maker})
        rng = np.random.default_rng(3)
        refit = interleave({"refit": lambda f=frame, r=rng: refit_pyfixest(f, r)}, REFITS)["refit"]
        task = f"`fit_mediation`, 5,000 cluster draws, 1,000 x 60, {label}"
        note = f"{REFITS} refits timed, {shown(refit)} each, times {DRAWS:,}"
        ours = median["ex_cx"]
        lines.append(
            compared(
                task,
                "pyfixest refitted",
                ours,
                DRAWS * refit,
                wanted=2000
                if observed == 1
                else None,  # unbalanced, the product alone takes as long
                note=note,
            )
        )
        note = "the demand is at most five times the product: a ratio of 0.2"
        lines.append(
            compared(task, "the one matrix product", ours, median["product"], wanted=0.2, note=note)
        )
    return [*lines, against_balanced(task, makers, rounds)]


def against_balanced(task: str, makers: dict[str, Callable[[], Job]], rounds: int) -> Line:
    """The second maker's job over the first's, which is of a balanced panel; taken in turns."""
    balanced, unbalanced = interleave({}, rounds, makers).values()
    note = "the demand is at most four times as long as balanced: a ratio of 0.25"
    return compared(task, "itself, balanced", unbalanced, balanced, wanted=0.25, note=note)


CHAIN = ("m1", "m2", "m3")
HELD = tuple(f"c{at}" for at in range(10))


def chain_rows(observed: float, seed: int = 20261122) -> pd.DataFrame:
    """x moves m1 moves m2 moves m3 moves y within 1,000 units x 60 periods; 10 controls."""
    frame = rows(1000, PERIODS, seed=seed)
    rng = np.random.default_rng(seed + 1)
    before = "m"
    for name in CHAIN:
        frame[name] = 0.5 * frame[before] + rng.normal(size=len(frame))
        before = name
    frame["y"] += 0.4 * frame["m3"]
    frame[list(HELD)] = rng.normal(size=(len(frame), len(HELD)))
    return frame if observed == 1 else frame[rng.random(len(frame)) < observed]


def fit_chain(panel) -> float:
    from ex_cx import MediationSpec, fit_mediation

    spec = MediationSpec(
        outcome="y", exposure="x", mediators=CHAIN, controls=HELD, structure="serial"
    )
    fitted = fit_mediation(panel, spec, n_boot=DRAWS, rng=np.random.default_rng(1))
    return indirect(fitted.tidy())


def serial(rounds: int = 7) -> list[Line]:
    """Three mediators in a chain and 10 controls: 7 paths, 15 columns."""
    from ex_cx import Panel

    lines, makers = [], {}
    for label, observed in (("balanced", 1.0), ("85 % unbalanced", 0.85)):
        frame = chain_rows(observed)

        def maker(frame: pd.DataFrame = frame) -> Job:
            panel = Panel.from_frame(frame, unit="unit", period="period")
            return lambda: fit_chain(panel)

        columns = 2 + len(CHAIN) + len(HELD)
        product = bare_product(1000, observed == 1, columns)
        makers[label] = maker
        median = interleave({"product": product}, rounds, {"ex_cx": maker})
        task = f"`fit_mediation`, chain of 3, 10 controls, 5,000 cluster draws, {label}"
        lines.append(
            compared(
                task,
                "the one matrix product",
                median["ex_cx"],
                median["product"],
                wanted=0.2,
                note="the demand is at most five times the product: a ratio of 0.2",
            )
        )
    return [*lines, against_balanced(task, makers, rounds)]


def packages(rounds: int = 5) -> list[Line]:
    """5,000 rows, 100 clusters, one mediator, no effects absorbed: the equations of the peers."""
    import pingouin
    import statspai as sp
    from pyprocessmacro import Process

    frame = rows(100, 50)

    def process() -> float:
        with contextlib.redirect_stdout(io.StringIO()):
            model = Process(data=frame, model=4, x="x", y="y", m=["m"], boot=DRAWS, suppr_init=True)
        return float(model.indirect_model.coeff_summary()["Effect"].iloc[0])

    def statspai() -> float:
        fitted = sp.mediate(frame, y="y", treat="x", mediator="m", n_boot=DRAWS)
        return float(fitted.estimate)

    def ping() -> float:
        table = pingouin.mediation_analysis(frame, x="x", m="m", y="y", n_boot=DRAWS, seed=1)
        return float(table.set_index("path").loc["Indirect", "coef"])

    maker = fresh_ex_cx(frame, ())
    ours = indirect(maker()())
    for name, theirs in (("process", process), ("statspai", statspai), ("pingouin", ping)):
        np.testing.assert_allclose(theirs(), ours, rtol=1e-3, err_msg=name)
    peers: dict[str, Job] = {"pyprocessmacro": process, "StatsPAI": statspai, "pingouin": ping}
    both = {"ex_cx": maker, "ex_cx two-way within": fresh_ex_cx(frame, ("unit", "period"))}
    median = interleave(peers, rounds, both)
    wanted = {"pyprocessmacro": 12.0, "StatsPAI": 20.0, "pingouin": 40.0}
    task = "`fit_mediation`, 5,000 draws, 5,000 rows, 100 clusters, pooled"
    note = "the peer draws single rows"
    lines = [
        compared(task, peer, median["ex_cx"], median[peer], wanted=wanted[peer], note=note)
        for peer in wanted
    ]
    lines.append(statsmodels_line(frame, task, median["ex_cx"], ours))
    task, seconds = task.replace("pooled", "two-way within"), median["ex_cx two-way within"]
    note = "the peer has no such estimate; its pooled one beside ours"
    return [*lines, compared(task, "pyprocessmacro", seconds, median["pyprocessmacro"], note=note)]


def statsmodels_line(frame: pd.DataFrame, task: str, seconds: float, estimate: float) -> Line:
    """statsmodels draws rows, refits both models and simulates in every draw: few are timed."""
    import statsmodels.api as sm
    from statsmodels.stats.mediation import Mediation

    ones = np.ones(len(frame))
    outcome = sm.OLS(frame["y"].to_numpy(), np.column_stack([ones, frame["x"], frame["m"]]))
    mediator = sm.OLS(frame["m"].to_numpy(), np.column_stack([ones, frame["x"]]))
    few = 40
    np.random.seed(1)  # its draws come from the global state
    start = time.perf_counter()
    fitted = Mediation(outcome, mediator, [1, 1], 2).fit(method="bootstrap", n_rep=few)
    each = (time.perf_counter() - start) / few
    found = fitted.summary()["Estimate"]["ACME (average)"]
    spread = float(np.std(fitted.ACME_avg, ddof=1)) / np.sqrt(few)
    if abs(found - estimate) > 5 * spread:
        raise RuntimeError(f"statsmodels gives {found}, ex_cx {estimate}.")
    return compared(
        task,
        "statsmodels",
        seconds,
        each * DRAWS,
        wanted=2000.0,
        note=f"the peer draws single rows; {few} draws timed, {shown(each)} each, times {DRAWS:,}",
    )
