"""What the tests of figures share."""

from __future__ import annotations

__all__ = ["inside"]


def inside(ax, margin: float = 0.03) -> None:
    """All that is drawn lies within the figure, to `margin` inches: nothing is cut off."""
    figure = ax.get_figure()
    figure.draw_without_rendering()
    drawn, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert -margin <= drawn.x0, drawn
    assert drawn.x1 <= width + margin, drawn
    assert -margin <= drawn.y0, drawn
    assert drawn.y1 <= height + margin, drawn
