"""What it costs to begin: importing, a first fit, the command line's help."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from benchmarks.timing import Line, interleave_processes, shown

FIRST_FIT = """
import numpy as np, pandas as pd
from ex_cx import Panel, PanelSpec, fit_panel
rng = np.random.default_rng(1)
rows = pd.DataFrame({"unit": np.repeat(np.arange(48), 24), "period": np.tile(np.arange(24), 48)})
rows["x"] = rng.normal(size=len(rows))
rows["y"] = rows["x"] + rng.normal(size=len(rows))
panel = Panel.from_frame(rows, unit="unit", period="period")
fit_panel(panel, PanelSpec(outcome="y", exposures=("x",))).tidy()
"""

BARE_TYPER = """
import typer
app = typer.Typer()
@app.command()
def first(name: str) -> None: ...
@app.command()
def second(name: str) -> None: ...
app()
"""


def startups(rounds: int = 11) -> list[Line]:
    """CPU of fresh processes with warm bytecode; wall time for the command line."""
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder) / "bare.py"
        bare.write_text(BARE_TYPER, encoding="utf-8")
        python = [sys.executable, "-c"]
        median = interleave_processes(
            {
                "import pandas": [*python, "import pandas"],
                "import ex_cx": [*python, "import ex_cx"],
                "names": [*python, "from ex_cx import Panel, PanelSpec, fit_panel"],
                "first fit": [*python, FIRST_FIT],
                "ex-cx --help": [str(Path(sys.executable).parent / "ex-cx"), "--help"],
                "bare typer": [sys.executable, str(bare), "--help"],
            },
            rounds,
        )

    def line(task: str, ours: str, peer: str, most: float, clock: int) -> Line:
        """`most`: at most so many times the peer; the ratio wanted is its inverse."""
        mine, theirs = median[ours][clock], median[peer][clock]
        return Line(
            task=f"{task}, {'CPU' if clock else 'wall'}",
            peer=peer,
            ours=shown(mine),
            theirs=shown(theirs),
            ratio=theirs / mine,
            wanted=1 / most,
            note=f"at most {most:g} times the peer is wanted; it is {mine / theirs:.2f}",
        )

    return [
        line("`import ex_cx`", "import ex_cx", "import pandas", 1.15, 1),
        line("`from ex_cx import Panel, PanelSpec, fit_panel`", "names", "import pandas", 1.15, 1),
        line("import, first `fit_panel` and `tidy()`", "first fit", "import pandas", 2.0, 1),
        line("`ex-cx --help`", "ex-cx --help", "bare typer", 2.0, 0),
    ]
