"""Cells as they came from a file, before anything is made of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ex_cx.errors import SourceError, some
from ex_cx.linkage.files.places import looks_like_data
from ex_cx.linkage.wording import counted

__all__ = ["Cells", "check_header", "refuse_data_for_names"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cells:
    """A table, and how its file turned out to be written.

    Attributes
    ----------
    frame : one column per name of the header.
    encoding, delimiter : empty where the format has none.
    guess_numbers : is text that looks like numbers meant as numbers? Not in a typed format.
    rows : number of each row in the file, shape (rows,); None: the header is row 1, no line blank.
    """

    frame: pd.DataFrame
    encoding: str = ""
    delimiter: str = ""
    guess_numbers: bool = True
    rows: np.ndarray | None = None


def check_header(name: str, header: Sequence[str]) -> list[str]:
    """Names for all columns (`column_3` for a blank one); a repeated one is an error."""
    names = [text.strip() or f"column_{i}" for i, text in enumerate(header, start=1)]
    repeated = [column for column, count in Counter(names).items() if count > 1]
    if repeated:
        raise SourceError(
            f"{name!r} has {counted(len(repeated), 'column name')} more than once "
            f"({some(repeated)}). Rename the columns in the file, so that each name means one."
        )
    return names


def refuse_data_for_names(name: str, header: Sequence[str], below: Sequence[Sequence[str]]) -> None:
    """Refuse a table without a row of names, or its first row would be shown as such.

    Raises
    ------
    SourceError : the first row looks like data; nothing of it is quoted.
    """
    if looks_like_data(header, below):
        raise SourceError(
            f"The first row of {name!r} does not look like column names: most of its "
            f"{counted(len(header), 'cell')} are numbers, dates, addresses or values that stand "
            "below, too. Put a row of names above it; if lines stand above the names, state "
            "`above_header` in a mapping."
        )
