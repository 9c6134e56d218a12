"""Is the headline's association a straight line? Its curve, wherever the rows admit one."""

from __future__ import annotations

from ex_cx.errors import ExCxError
from ex_cx.linkage.panel import Panel
from ex_cx.models.curve import FEW_VALUES, CurveResult, fit_curve
from ex_cx.models.spec import PanelSpec, check_spec
from ex_cx.robustness.findings import why

__all__ = ["headline_curve"]


def headline_curve(panel: Panel, spec: PanelSpec) -> CurveResult | str:
    """A restricted cubic spline of the first exposure; or, in words, why these rows admit none.

    Parameters
    ----------
    panel, spec : as given to `fit_panel`, which admits them. Four knots are tried, then three.

    Raises
    ------
    SpecError : a spec that `fit_panel` refuses.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> rows = pd.DataFrame({"unit": np.arange(80) % 8, "period": np.arange(80) // 8})
    >>> rows["x"] = np.random.default_rng(3).integers(0, 2, size=80)
    >>> rows["y"] = rows["x"] + np.sin(np.arange(80.0))
    >>> panel = Panel.from_frame(rows, unit="unit", period="period")
    >>> headline_curve(panel, PanelSpec(outcome="y", exposures=("x",)))
    "'x' takes only 2 values"
    """
    check_spec(panel, spec)
    exposure = spec.exposures[0]
    if exposure in panel.frame:
        values = panel.frame[exposure].nunique()
        if values < FEW_VALUES:
            return f"{exposure!r} takes only {values} values"
    reason = ""
    for knots in (4, 3):
        try:
            return fit_curve(panel, spec, exposure, knots=knots)
        except ExCxError as error:
            reason = reason or why(error)
    return reason
