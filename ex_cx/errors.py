"""What can go wrong, by room: every error a user can cause is an `ExCxError`.

Messages say what was found, how many, which, and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "ExCxError",
    "InferenceError",
    "LinkError",
    "PanelError",
    "ParameterError",
    "RankError",
    "RunError",
    "SchemaError",
    "SourceError",
    "SpecError",
    "StudyError",
    "nearest",
    "some",
]


LONGEST_SHOWN = 100
"""Letters of one value in a message; a cell that holds a whole page is cut in its middle."""


class ExCxError(Exception):
    """Base of every error that ex_cx raises on purpose."""


class SourceError(ExCxError):
    """A file cannot be read as a table."""


class SchemaError(ExCxError):
    """A table or a mapping does not hold what it must."""


class LinkError(ExCxError):
    """Sources cannot be linked without losing or doubling rows."""


class PanelError(ExCxError):
    """Rows do not form a unit x period panel."""


class SpecError(ExCxError):
    """A specification asks for something that does not exist."""


class RankError(ExCxError):
    """A coefficient is not identified, or too ill-conditioned to be trusted."""


class InferenceError(ExCxError):
    """Standard errors or intervals cannot be computed from these data."""


class ParameterError(ExCxError):
    """A notebook parameter is unknown, misspelt or of the wrong type."""


class StudyError(ExCxError):
    """A study file is not valid."""


class RunError(ExCxError):
    """A run could not be carried out or stored."""


def nearest(name: str, options: Iterable[str]) -> str:
    """A hint that names the option most like `name`, or nothing.

    >>> nearest("exposure", ["exposures", "outcome"])
    " Did you mean 'exposures'?"
    >>> nearest("zzz", ["exposures", "outcome"])
    ''
    """
    match = difflib.get_close_matches(str(name), [str(option) for option in options], n=1)
    return f" Did you mean {match[0]!r}?" if match else ""


def some(values: Iterable[object], most: int = 3) -> str:
    """The first few of `values`, and how many more there are; of a long one its two ends.

    >>> some(["R0A", "RXA", "RYJ", "R1F"])
    "'R0A', 'RXA', 'RYJ' and 1 more"
    >>> some(["a" * 500 + "z"]) == repr("a" * 60 + "..." + "a" * 19 + "z")
    True
    """
    shown = list(values)
    head = ", ".join(repr(_shortened(str(value))) for value in shown[:most])
    return f"{head} and {len(shown) - most} more" if len(shown) > most else head


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_SHOWN else f"{text[:60]}...{text[-20:]}"
