"""Cells as they came from a file, before anything is made of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from ex_cx.errors import SourceError, some
from ex_cx.linkage.wording import counted

__all__ = ["Cells", "check_header"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cells:
    """A table, and how its file turned out to be written.

    Attributes
    ----------
    frame : one column per name of the header.
    encoding, delimiter : empty where the format has none.
    guess_numbers : is text that looks like numbers meant as numbers? Not in a typed format.
    """

    frame: pd.DataFrame
    encoding: str = ""
    delimiter: str = ""
    guess_numbers: bool = True


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
