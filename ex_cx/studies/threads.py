"""One thread to a matrix product, here and in the kernels.

Runs side by side, and the process that gets their packages ready while a study is linked, would
fight for the processors; and the rounding of sums depends on how they are shared out.
"""

from __future__ import annotations

import os

__all__ = ["one_thread"]


def one_thread() -> dict[str, str]:
    """What says so to the libraries that multiply matrices; what the user states stays.

    They read it when numpy is imported first.
    """
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return {name: os.environ.get(name, "1") for name in names}
