"""Where the rows of a delimited file are: their numbers as a spreadsheet shows them."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

__all__ = ["looks_like_data", "row_places"]

_BLANK_LINE = re.compile(rb"(?:\A|\n|\r)(?:\r\n|\r(?!\n)|(?<!\r)\n)")
_VALUE = re.compile(
    r"[+-]?\d+(?:[.,]\d+)*|\d{1,4}[./-]\d{1,2}[./-]\d{1,4}(?:[ T].*)?|[^@\s]+@[^@\s]+\.[^@\s]+"
)
_YEAR = re.compile(r"(?:19|20)\d\d(?:[-/ ]?(?:0?[1-9]|1[0-2]|Q[1-4]))?")


def row_places(plain: bytes, mark: str, above: int = 0) -> np.ndarray | None:
    r"""The number of each row, the header's first; None where row n is simply the n-th.

    A blank line has a number, too. A line break in quotation marks begins no row.

    Parameters
    ----------
    plain : utf-8 text of the table; mark : what stands between its columns.
    above : lines of the file above the text.

    >>> row_places(b'a,b\n1,2\n\n"x\n\ny",4\n', ",").tolist()
    [1, 2, 4]
    """
    if not above and not _BLANK_LINE.search(plain):
        return None
    reader = csv.reader(io.StringIO(plain.decode("utf-8"), newline=""), delimiter=mark)
    try:
        filled = np.array([len(record) > 0 for record in reader], dtype=bool)
    except csv.Error:  # a cell longer than the module reads: the n-th row it is
        return None
    return np.flatnonzero(filled) + 1 + above


def looks_like_data(header: Sequence[str], below: Sequence[Sequence[str]]) -> bool:
    """Does a first row hold values, not names, so that it must not be told as names?

    So it is where a name is an e-mail address, or where most of at least two names are numbers,
    dates or values that stand more than once below them. Years and months, and three or more
    whole numbers or dates that rise from column to column, are names; so is a row that comes again.

    >>> looks_like_data(["T1", "2024-01-31", "7"], [["T1", "2024-02-01", "8"]])
    True
    >>> looks_like_data(["team", "2023", "2024"], [["T1", "2023", "7"]])
    False
    >>> looks_like_data(["team", "1", "2", "3"], [["T1", "6", "7", "1"]])
    False
    """
    names = [name.strip() for name in header]
    if any("@" in name and _VALUE.fullmatch(name) for name in names):
        return True
    if any([cell.strip() for cell in row] == names for row in below):
        return False
    values = [bool(_VALUE.fullmatch(name)) for name in names]
    if _rise([name for name, is_value in zip(names, values, strict=True) if is_value]):
        values = [False] * len(names)
    odd = [
        (is_value or _is_below(name, at, below)) and not _YEAR.fullmatch(name)
        for at, (name, is_value) in enumerate(zip(names, values, strict=True))
    ]
    return sum(odd) >= 2 and 2 * sum(odd) > sum(map(bool, names))


def _rise(values: Sequence[str]) -> bool:
    """Are they three or more whole numbers, or dates, each after the one before?"""
    if len(values) < 3:
        return False
    if all(value.isdecimal() for value in values):
        return all(int(one) < int(later) for one, later in pairwise(values))
    dated = all(re.fullmatch(r"\d{4}-\d\d-\d\d", value) for value in values)
    return dated and all(one < later for one, later in pairwise(values))


def _is_below(name: str, at: int, below: Sequence[Sequence[str]]) -> bool:
    same = [len(row) > at and row[at].strip() == name for row in below]
    return bool(name) and sum(same) > 1
