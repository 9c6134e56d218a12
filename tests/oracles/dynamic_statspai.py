"""Writes dynamic_statspai.json: what StatsPAI says of EmplUK with holes. Made with StatsPAI 1.40.2.

Run in this folder, in an environment that has StatsPAI. Capital is endogenous, wages predetermined,
instruments collapsed. The system is fitted without period effects: StatsPAI 1.40 gives it one fewer
than there are periods in levels, so that its constant is that of two periods together.
"""

import json
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import statspai as sp

firms = pd.read_csv("dynamic_empluk.csv")
firms = firms[np.arange(1, len(firms) + 1) % 17 != 0]
for new, old in {"n": "emp", "w": "wage", "k": "capital"}.items():
    firms[new] = np.log(firms[old])

found = {}
for method, steps, periods in product(("difference", "system"), (1, 2), (False, True)):
    if method == "system" and periods:
        continue
    result = sp.xtabond(
        firms,
        y="n",
        id="firm",
        time="year",
        method=method,
        twostep=steps == 2,
        predetermined=["w"],
        endogenous=["k"],
        collapse=True,
        time_dummies=periods,
    )
    info = result.model_info
    found[f"{method}_{steps}_{'periods' if periods else 'none'}"] = {
        "coef": result.detail["coefficient"].iloc[:3].tolist(),
        "std_error": result.detail["se"].iloc[:3].tolist(),
        "instruments": info["n_instruments"],
        "ar": [info["ar1_z"], info["ar2_z"]],
        "hansen": info["hansen_stat"],
        "df": info["hansen_df"],
    }
text = json.dumps(found, indent=1)
Path("dynamic_statspai.json").write_text(text + "\n", encoding="utf-8")
