"""Darfur example of Cinelli and Hazlett (2020), section 5, by PySensemakr (0.0.8, pandas < 2.3).

Run: python tests/oracles/sensitivity_sensemakr.py; writes sensitivity_sensemakr.json and the
columns used of its data (Hazlett 2019, J. Conflict Resolution 64(5)) as sensitivity_darfur.csv.gz.
"""

import json
from importlib.metadata import version
from pathlib import Path

import sensemakr as smkr
import statsmodels.formula.api as smf

HERE = Path(__file__).parent
CONTROLS = ["age", "farmer_dar", "herder_dar", "pastvoted", "hhsize_darfur", "female"]
data = smkr.load_darfur()
formula = "peacefactor ~ directlyharmed + village + " + " + ".join(CONTROLS)
model = smf.ols(formula, data).fit()
found = smkr.Sensemakr(
    model, treatment="directlyharmed", benchmark_covariates=["female", "age"], kd=[1, 2, 3]
)
half = smkr.robustness_value(model=model, covariates="directlyharmed", q=0.5, alpha=0.1)
strong = {
    f"{t}": float(smkr.robustness_value(t_statistic=t, dof=12, q=1, alpha=0.05).iloc[0])
    for t in (1.0, 3.0, 8.0, 40.0)
}
out = {
    "versions": {name: version(name) for name in ("PySensemakr", "statsmodels", "pandas")},
    "stats": {name: float(value) for name, value in found.sensitivity_stats.items()},
    "half": float(half.iloc[0]),
    "by_t_with_12_dof": strong,
    "bounds": json.loads(found.bounds.to_json(orient="records", double_precision=15)),
}
(HERE / "sensitivity_sensemakr.json").write_text(json.dumps(out, indent=1) + "\n")
columns = ["village", "peacefactor", "directlyharmed", *CONTROLS]
data[columns].to_csv(
    HERE / "sensitivity_darfur.csv.gz", index=False, compression={"method": "gzip", "mtime": 0}
)
