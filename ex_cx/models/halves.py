"""Noisy exposures: two halves of the respondents that instrument each other, in one estimate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pandas as pd

from ex_cx.errors import SpecError, some
from ex_cx.estimation.design import term_columns
from ex_cx.linkage.panel import Panel
from ex_cx.models.regress import PanelResult, fit_panel
from ex_cx.models.spec import PanelSpec, refuse_instruments

__all__ = ["fit_split_half"]

Halves = Mapping[str, tuple[str, str]]
_UNIT, _PERIOD = "unit, twice", "period, twice"


def fit_split_half(panel: Panel, spec: PanelSpec, halves: Halves | None = None) -> PanelResult:
    """Estimate a panel regression net of the noise in exposures that are means of few respondents.

    Every row enters twice: once with the first half of an exposure instrumented by the second, once
    the other way round, with effects of their own and one coefficient (obviously related
    instrumental variables). Noise that the halves do not share drops out of it.

    Parameters
    ----------
    panel, spec : as for `fit_panel`, without instruments; vcov cluster or jackknife, since the two
        appearances of a row are not independent.
    halves : exposure -> its two halves; None for every exposure x with columns x_half1 and x_half2
        in the panel. `split_half` makes them. Other exposures are taken as measured without noise.

    Returns
    -------
    Estimates named by the exposures; rows, units and periods are counted once. `first_stage` tells
    how well one half predicts the other, `overid` whether the two ways round agree.

    Raises
    ------
    SpecError : as `fit_panel`; no halves, an exposure that the spec does not have, errors of a kind
        that takes rows as independent.

    Notes
    -----
    Small-sample factors count a row twice; clusters, of which t has its degrees, once.
    The estimate is that of the mean of all respondents' true scores: noise must be independent
    between halves, and the same people must not be in both. What respondents share at a time
    (a bad week) is in both halves and counts as truth.
    Source: Gillen, Snowberg and Yariv (2019), J. Political Economy 127(4), 1826-1863.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(1)
    >>> truth = rng.normal(size=400)
    >>> rows = pd.DataFrame({"unit": np.arange(400) // 8, "period": np.arange(400) % 8, "y": truth})
    >>> rows["x_half1"], rows["x_half2"] = truth + rng.normal(size=(2, 400))
    >>> rows["x"] = (rows["x_half1"] + rows["x_half2"]) / 2
    >>> panel, spec = Panel.from_frame(rows, unit="unit", period="period"), PanelSpec(
    ...     outcome="y", exposures=("x",))
    >>> noisy, mended = fit_panel(panel, spec), fit_split_half(panel, spec)
    >>> bool(noisy.coef[0] < 0.75), bool(0.85 < mended.coef[0] < 1.15)
    (True, True)
    """
    refuse_instruments(spec, "An estimate from split halves")
    if spec.vcov not in ("cluster", "jackknife"):
        raise SpecError(
            f"vcov={spec.vcov!r} would count every row twice. With split halves use 'cluster' or "
            "'jackknife'."
        )
    if spec.estimator not in ("within", "first_difference") or not spec.absorb:
        raise SpecError(
            "Split halves need effects that keep the two appearances of a row apart: use "
            "estimator='within' or 'first_difference', with something in `absorb`."
        )
    pairs = _pairs(panel, spec, halves)
    asked = replace(spec, instruments=pairs, cluster=spec.cluster or panel.cluster or panel.unit)
    found = fit_panel(_stacked(panel, spec, pairs), asked)
    return replace(
        found,
        n_obs=found.n_obs // 2,
        n_units=found.n_units // 2,
        n_periods=found.n_periods // 2,
        rows_in=found.rows_in // 2,
        lost={reason: count // 2 for reason, count in found.lost.items()},
        convention=f"split halves, each row twice with effects of its own; {found.convention}",
    )


def _stacked(panel: Panel, spec: PanelSpec, pairs: dict[str, tuple[str, str]]) -> Panel:
    """Every row twice, as another unit in other periods; a half is 0 where it is the exposure."""
    first, second = panel.frame.copy(), panel.frame.copy()
    for exposure, (one, other) in pairs.items():
        halves = panel.frame[[one, other]]
        seen = halves.notna().all(axis=1)
        first[exposure], second[exposure] = halves[one].where(seen), halves[other].where(seen)
        first[one], first[other] = 0.0, halves[other].where(seen)
        second[one], second[other] = halves[one].where(seen), 0.0
    apart = panel.n_periods + abs(spec.lag) + 1
    for at, rows in enumerate((first, second)):
        rows[_UNIT] = panel.unit_codes + at * panel.n_units
        rows[_PERIOD] = panel.period_codes + at * apart
    return Panel.from_frame(
        pd.concat([first, second], ignore_index=True),
        unit=_UNIT,
        period=_PERIOD,
        cluster=panel.cluster,
        weights=panel.weights,
        provenance=panel.provenance,
    )


def _pairs(panel: Panel, spec: PanelSpec, halves: Halves | None) -> dict[str, tuple[str, str]]:
    """The halves of each exposure that has them."""
    columns = set(panel.frame.columns)
    if halves is None:
        own = {x: (f"{x}_half1", f"{x}_half2") for x in spec.exposures}
        halves = {x: pair for x, pair in own.items() if columns.issuperset(pair)}
        if not halves:
            raise SpecError(
                f"The panel has no halves of {some(spec.exposures)} (such as "
                f"{spec.exposures[0]}_half1 and _half2). Make them with `split_half`, or name them "
                "in `halves`."
            )
    strangers = [x for x in halves if x not in spec.exposures]
    if strangers or not halves:
        raise SpecError(
            f"halves names {some(strangers) or 'nothing'}, which is no exposure of the spec. The "
            f"exposures are {some(spec.exposures)}."
        )
    for exposure, pair in halves.items():
        if isinstance(pair, str) or len(pair) != 2 or pair[0] == pair[1]:
            raise SpecError(f"halves of {exposure!r} are {pair!r}. Name two different columns.")
        for name in pair:
            panel.column(name)
    _refuse_other_uses(panel, spec, halves)
    return {x: (pair[0], pair[1]) for x, pair in halves.items()}


def _refuse_other_uses(panel: Panel, spec: PanelSpec, halves: Halves) -> None:
    """A halved exposure, or a half, inside another term would keep its noise."""
    taken = {name for x, pair in halves.items() for name in (x, *pair)}
    others = [term for term in (*spec.exposures, *spec.controls) if term not in halves]
    for term in (spec.outcome, *others):
        if term in taken or taken & set(term_columns(panel, term)):
            raise SpecError(
                f"The term {term!r} holds an exposure that is halved, or one of its halves, and "
                "would keep its noise. Leave it out, or use `fit_panel` with instruments."
            )
    names = [name for x, pair in halves.items() for name in pair]
    if len(set(names)) < len(names):
        raise SpecError("Two exposures share a half. Name two columns of its own for each.")
