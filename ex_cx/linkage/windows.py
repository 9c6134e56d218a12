"""The periods of a source: brought to those of the panel, and the window that is measured."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from ex_cx.errors import SchemaError
from ex_cx.linkage.periods import check_coarser, full_periods, period_label, period_position
from ex_cx.linkage.schema import Frequency, SourceSpec

__all__ = ["Edges", "aligned_spec", "window_edges", "window_words"]

Edges = tuple[int | None, int | None]
"""First and last position of a window, None where it is open."""
FARTHEST = 10**15
"""Position beyond which no period is: whole numbers of databases and of floats end not far off."""


def aligned_spec(spec: SourceSpec, name: str, frequency: Frequency | Literal[""]) -> SourceSpec:
    """The spec at the frequency of the panel; what cannot be brought there is refused."""
    if not frequency or frequency == spec.frequency:
        return spec
    check_coarser(spec.frequency, frequency, source=name)
    if spec.carry:
        raise SchemaError(
            f"{name!r} carries a wave over {spec.carry} periods of one {spec.frequency}, but the "
            f"link counts by {frequency}. Leave `carry` out, or state `frequency: {frequency}` "
            "and count `carry` in those."
        )
    windows = [new for new, measure in spec.measures.items() if measure.window > 1]
    if windows:
        raise SchemaError(
            f"{name!r}: {windows[0]!r} counts its `window` in periods of one {spec.frequency}, but "
            f"the link counts by {frequency}. State `frequency: {frequency}` and the window in "
            "those."
        )
    return replace(spec, frequency=frequency)


def window_edges(
    spec: SourceSpec, aligned: SourceSpec, name: str, first: str | int, last: str | int
) -> Edges:
    """The window in periods of the panel: only those that a source's own window covers in full."""
    own = [_edge(text, spec, name, which) for text, which in _named_edges(spec)]
    if spec.frequency != aligned.frequency:
        own = list(full_periods(own[0], own[1], spec.frequency, aligned.frequency))
    start = _edge(first, aligned, name, "first") if own[0] is None else own[0]
    end = _edge(last, aligned, name, "last") if own[1] is None else own[1]
    return start, end


def _named_edges(spec: SourceSpec) -> tuple[tuple[str | int, str], ...]:
    return (spec.first, "first"), (spec.last, "last")


def _edge(text: str | int, spec: SourceSpec, name: str, which: str) -> int | None:
    if text == "":
        return None
    found = period_position(text, spec.frequency, what=f"`{which}` of {name!r}")
    if abs(found) > FARTHEST:
        raise SchemaError(
            f"`{which}` of {name!r} is beyond {FARTHEST:.0e}, farther than periods are counted. "
            "Leave it out for an open end."
        )
    return found


def window_words(edges: Edges, spec: SourceSpec) -> str:
    """Such as "2024-01 to open"."""
    return " to ".join(
        "open" if edge is None else period_label(edge, spec.frequency) for edge in edges
    )
