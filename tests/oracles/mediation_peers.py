"""Writes mediation_peers.json: what pingouin, semopy and pyprocessmacro say.

Run in this folder with Python 3.11, pingouin 0.7.0, semopy 2.3.11, pyprocessmacro 2.2.0, pandas 2.
"""

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pingouin
import semopy
from pyprocessmacro import Process

tal = pd.read_csv("mediation_talor.csv").rename(columns={"import": "importance"})


def planted() -> pd.DataFrame:
    """100 units x 50 rows: a = 0.5, b = 0.4 within units; units differ in m and y together."""
    rng = np.random.default_rng(20261122)
    unit = np.repeat(np.arange(100), 50)
    level = 2 * rng.normal(size=100)[unit]
    x = rng.normal(size=5000)
    m = 0.5 * x + rng.normal(size=5000)
    y = 0.4 * m + 0.1 * x + rng.normal(size=5000)
    return pd.DataFrame({"unit": unit, "x": x, "m": m + level, "y": y + level})


def process(**options) -> dict[str, float]:
    with contextlib.redirect_stdout(io.StringIO()):
        model = Process(
            data=planted(),
            model=4,
            x="x",
            y="y",
            m=["m"],
            boot=500,
            seed=1,
            suppr_init=True,
            **options,
        )
    row = model.indirect_model.coeff_summary().iloc[0]
    return {"effect": float(row["Effect"]), "se": float(row["Boot SE"])}


table = pingouin.mediation_analysis(
    tal,
    x="cond",
    m=["pmi", "importance"],
    y="reaction",
    covar=["age", "gender"],
    n_boot=100,
    seed=1,
).set_index("path")["coef"]
parallel = {
    name: float(table[path])
    for name, path in {
        "a:pmi": "pmi ~ X",
        "a:import": "importance ~ X",
        "direct": "Direct",
        "total": "Total",
        "indirect:pmi": "Indirect pmi",
        "indirect:import": "Indirect importance",
    }.items()
}
sem = semopy.Model(
    "importance ~ cond + age\npmi ~ cond + importance + age\n"
    "reaction ~ cond + importance + pmi + age"
)
sem.fit(tal)
found = sem.inspect().set_index(["lval", "rval"])["Estimate"]
serial = {
    "a:import": float(found["importance", "cond"]),
    "a:pmi": float(found["pmi", "cond"]),
    "d:import->pmi": float(found["pmi", "importance"]),
    "b:import": float(found["reaction", "importance"]),
    "b:pmi": float(found["reaction", "pmi"]),
    "direct": float(found["reaction", "cond"]),
}
answer = {
    "pingouin": parallel,
    "semopy": serial,
    "pyprocessmacro": {"plain": process(), "cluster": process(cluster="unit")},
}
Path("mediation_peers.json").write_text(json.dumps(answer, indent=2) + "\n", encoding="utf-8")
