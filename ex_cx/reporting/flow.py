"""What became of every row, drawn: kept and lost by reason in each source, matched or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from ex_cx.linkage.audit import LinkAudit
from ex_cx.reporting.numbers import count
from ex_cx.reporting.plots import shorten
from ex_cx.reporting.report import Figure, draw_figure
from ex_cx.reporting.theme import ACCENT, GREY, INK, LINE, SOFT, WIDE, axes, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_flow", "flow_parts", "plot_flow"]

_SHADES = (GREY, "#a9b1b9", LINE)
_MOST_REASONS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bar:
    """One bar: its name, what it counts, and (part, n); the first part is what was kept."""

    name: str
    counting: str
    parts: tuple[tuple[str, int], ...]

    @property
    def total(self) -> int:
        return sum(n for _, n in self.parts)


def flow_parts(audit: LinkAudit) -> pd.DataFrame:
    """The parts of the flow: source, counting, part, n. They sum to what came in.

    Rows of a source are kept or lost by reason; its unit-periods are seen in every source or not.
    """
    rows: list[tuple[str, str, str, int]] = []
    flow = audit.flow
    for source in flow["source"].unique() if len(flow) else ():
        steps = flow[(flow["source"] == source) & (flow["counting"] == "rows")]
        if len(steps):
            rows.append((source, "rows", "kept", int(steps["rows_kept"].iloc[-1])))
            lost = steps[steps["rows_lost"] > 0].groupby("reason", sort=False)["rows_lost"].sum()
            rows += [(source, "rows", str(reason), int(n)) for reason, n in lost.items()]
    for side in audit.unmatched.to_dict("records"):
        matched = int(side["unit_periods"]) - int(side["not_linked"])
        rows.append((side["source"], "unit-periods", "kept", matched))
        rows.append((side["source"], "unit-periods", "no match", int(side["not_linked"])))
    return pd.DataFrame(rows, columns=["source", "counting", "part", "n"])


def plot_flow(parts: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Two bars a source: its rows, and the unit-periods that they became; each part with its n.

    Parameters
    ----------
    parts : as `flow_parts` returns them.
    """
    bars = _bars(parts)
    with style():
        ax = axes(ax, WIDE, 0.7 + 0.5 * len(bars))
        for at, bar in enumerate(bars):
            _draw_bar(ax, -at, bar)
        ax.set_yticks([-at for at in range(len(bars))])
        ax.set_yticklabels([shorten(f"{bar.name}: {bar.counting}", 32) for bar in bars])
        for text in ax.get_yticklabels():
            text.set_parse_math(False)
        ax.set_xlim(0, 100)
        ax.set_ylim(-len(bars) + 0.35, 0.65)
        ax.set_xlabel("percent of what came in; blue: kept")
        ax.tick_params(length=0)
        ax.spines["left"].set_visible(False)
    return ax


def draw_flow(audit: LinkAudit) -> Figure | None:
    """The flow with caption and alt text; None where nothing was recorded."""
    parts = flow_parts(audit)
    if not len(parts):
        return None
    bars = _bars(parts)
    said = "; ".join(_said(bar) for bar in bars)
    caption = (
        "Rows of each source, kept or lost by reason, and the unit-periods they became, seen in "
        "every source or in this one only. Bars are percentages of what came in; the numbers are "
        f"counts. Rows read: {count(parts.loc[parts['counting'] == 'rows', 'n'].sum())}."
    )
    return draw_figure(plot_flow(parts), "row_flow", caption=caption, alt=f"Bars. {said}.")


def _bars(parts: pd.DataFrame) -> list[_Bar]:
    """One bar per source and counting; reasons past the third are one part."""
    bars = []
    for source in parts["source"].unique():
        own = parts[parts["source"] == source]
        for counting in own["counting"].unique():
            every = own[own["counting"] == counting]
            pairs = list(zip(every["part"], every["n"], strict=True))
            kept, lost = pairs[0], sorted(pairs[1:], key=lambda pair: -pair[1])
            shown = [pair for pair in lost[:_MOST_REASONS] if pair[1]]
            rest = sum(n for _, n in lost[_MOST_REASONS:])
            if rest:
                shown[-1] = ("other reasons", rest + shown[-1][1])
            bars.append(_Bar(name=str(source), counting=counting, parts=(kept, *shown)))
    return bars


def _said(bar: _Bar) -> str:
    lost = [f"{count(n)} {reason}" for reason, n in bar.parts[1:]]
    whole = f"{bar.name}, {count(bar.total)} {bar.counting}: {count(bar.parts[0][1])} kept"
    return whole + (f", lost: {', '.join(lost)}" if lost else "")


def _draw_bar(ax: Axes, y: float, bar: _Bar) -> None:
    left, colours = 0.0, (ACCENT, *_SHADES)
    for (_, n), colour in zip(bar.parts, colours, strict=False):
        width = 100 * n / max(bar.total, 1)
        ax.barh(y, width, left=left, height=0.36, color=colour, edgecolor="white", linewidth=0.8)
        left += width
    text = shorten(_label(bar.parts), 92)
    ax.text(0, y + 0.22, text, fontsize=8, color=SOFT if bar.parts[1:] else INK, parse_math=False)


def _label(parts: Sequence[tuple[str, int]]) -> str:
    lost = "".join(f" · {count(n)} {reason}" for reason, n in parts[1:])
    return f"{count(parts[0][1])} kept{lost}"
