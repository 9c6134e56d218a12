"""What the tests of real files compare panels by."""

from __future__ import annotations

from ex_cx.linkage.panel import Panel


def correlations(panel: Panel, x: str, y: str) -> tuple[float, float]:
    """Pooled, and after removing unit and period means, one after the other until none is left."""
    rows = panel.frame[["unit", "period", x, y]].dropna()
    flat = rows[[x, y]]
    for _ in range(60):
        for key in ("unit", "period"):
            flat = flat - flat.groupby(rows[key]).transform("mean")
    return rows[x].corr(rows[y]), flat[x].corr(flat[y])
