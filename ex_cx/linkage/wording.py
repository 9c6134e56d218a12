"""Counts, row numbers and forms of values as messages write them; a value of a file never is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np

from ex_cx.errors import nearest

__all__ = ["almost_there", "counted", "some_rows", "written_like"]

_LONGEST = 24
"""Characters of a form that is shown."""


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


def written_like(values: Iterable[object], most: int = 3) -> str:
    """The forms of values, in place of the values: who answered what, and names, stay in the file.

    A digit is a 9 (more than eight in a row: 9..9), letters are an a, other signs a ?, but for
    spaces and what stands in numbers and dates. Long forms are cut.

    >>> written_like(["31/12/2024", "01/02/2024", "n/a", "E-1000417", "Ann Lee, team 7"])
    "'99/99/9999', 'a/a', 'a-9999999' and 1 more"
    """
    forms = list(dict.fromkeys(_form(str(value)) for value in values))
    more = f" and {len(forms) - most} more" if len(forms) > most else ""
    return ", ".join(map(repr, forms[:most])) + more


def almost_there(wanted: str, seen: Iterable[object]) -> str:
    """A hint that a value of the file is almost the one that is stated, without quoting it.

    >>> almost_there("Yes", ["yes", "no"]), almost_there("Yes", ["perhaps"])
    (' One of them is almost the same; look at the spelling.', '')
    """
    like = nearest(wanted, [str(value) for value in seen])
    return " One of them is almost the same; look at the spelling." if like else ""


def _form(text: str) -> str:
    plain = re.sub(r"[^\W\d_]+", "a", text.strip()[:200])
    plain = re.sub(r"\d", "9", plain)
    plain = re.sub(r"9{9,}", "9..9", plain)
    plain = re.sub(r"\s+", " ", plain)
    plain = re.sub(r"[^a9 .,:;/%()+<>=\u2212-]", "?", plain)
    return plain if len(plain) <= _LONGEST else plain[:_LONGEST] + "..."
