"""Counts and row numbers as messages write them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["counted", "some_rows"]


def counted(n: int, noun: str, plural: str = "") -> str:
    """A number and its noun.

    >>> counted(1, "row"), counted(1200, "row"), counted(2, "entry", "entries")
    ('1 row', '1,200 rows', '2 entries')
    """
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"


def some_rows(rows: Sequence[int] | np.ndarray, most: int = 5) -> str:
    """Row numbers, and how many more there are.

    >>> some_rows([3, 4, 9], most=2)
    'rows 3, 4 and 1 more'
    """
    head = ", ".join(str(row) for row in rows[:most])
    more = f" and {len(rows) - most} more" if len(rows) > most else ""
    return f"{'row' if len(rows) == 1 else 'rows'} {head}{more}"
