"""One thread to a matrix product, here and in the kernels; and how often garbage is looked for.

Runs side by side, and the process that gets their packages ready while a study is linked, would
fight for the processors; and the rounding of sums depends on how they are shared out.
"""

from __future__ import annotations

import os

__all__ = ["SELDOM", "one_thread"]

SELDOM = 20_000
"""New objects after which garbage is looked for. The imported packages are a million that stay, and
looking at them again and again is a twentieth of a run.
"""


def one_thread() -> dict[str, str]:
    """What says so to the libraries that multiply matrices; what the user states stays.

    They read it when numpy is imported first.
    """
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return {name: os.environ.get(name, "1") for name in names}
