"""What the answers of a source say for averaging its scales, and for comparing its waves.

Computed while a study is linked, since only then the single answers are there; the audit keeps the
tables. Of a scale with few respondents nothing is shown.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from ex_cx.linkage.agreement import aggregation_report
from ex_cx.linkage.check import check_table
from ex_cx.linkage.confidentiality.withholding import PeopleCells
from ex_cx.linkage.invariance import FEWEST, wave_invariance
from ex_cx.linkage.periods import (
    MISSING,
    coarse_positions,
    dates_needed,
    period_label,
    period_positions,
)
from ex_cx.linkage.scales import score_scale
from ex_cx.linkage.schema import MIN_N_SHARES, ColumnRule, MeasureSpec, SourceSpec, TableSchema

__all__ = ["ScaleEvidence", "scale_evidence", "without_totals"]

_MOST_OPTIONS = 101
"""A scale of more whole numbers has no answer options to speak of."""
_MOST_WAVES = 24
"""Waves compared; of more, so many are taken at even steps from the first to the last."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScaleEvidence:
    """Of the scales of one source or of several.

    Attributes
    ----------
    scales : source, scale, index, value, customary, met, reading: as `aggregation_report` has them
        for the units of every wave, and a last row on the sameness of waves.
    waves : source, scale, wave, n, mean, alpha, congruence: as `wave_invariance` has them.
    """

    scales: pd.DataFrame = field(default_factory=pd.DataFrame)
    waves: pd.DataFrame = field(default_factory=pd.DataFrame)

    @classmethod
    def joined(cls, parts: Sequence[ScaleEvidence]) -> ScaleEvidence:
        """The evidence of several sources."""
        return cls(
            scales=_stacked([part.scales for part in parts]),
            waves=_stacked([part.waves for part in parts]),
        )


def scale_evidence(
    frame: pd.DataFrame, spec: SourceSpec, name: str, people: PeopleCells | None = None
) -> ScaleEvidence:
    """Agreement, reliability and sameness over waves of every scale that a source measures.

    Parameters
    ----------
    frame : one row per respondent, as read. Units are those of the file; rows without unit or
        period are left out, as in the measures.
    spec, name : of the source; one without a measure `scale_mean` has no evidence.
    people : those behind the units' values. A wave of all who answered every item less its units
        would tell of the others: where they are fewer than `min_n`, its n and mean are missing.
    """
    wanted = {n: m for n, m in spec.measures.items() if m.metric == "scale_mean"}
    if not wanted:
        return ScaleEvidence()
    rows, position = _known(frame, spec, name, wanted)
    labels = {at: period_label(int(at), spec.frequency) for at in np.unique(position)}
    group = pd.factorize(rows[spec.unit])[0] * (len(labels) + 1) + pd.factorize(position)[0]
    scales, waves = [], []
    for scale, measure in wanted.items():
        items = list(dict.fromkeys(measure.items))
        answers = _turned(rows, items, measure)
        if len(answers.dropna()) < MIN_N_SHARES:
            continue
        answers = answers.assign(_group=group, _wave=position)
        found = aggregation_report(
            answers,
            items,
            "_group",
            _options(answers[items], measure),
            min_share=measure.min_share,
            noun="unit-wave",
        )
        same, compared = _sameness(answers, items, labels)
        found = pd.concat([found, same], ignore_index=True) if len(same) else found
        if len(compared):
            few = _few_apart(answers, items, measure.min_share, spec, people, scale)
            hidden = compared["wave"].isin({labels[at] for at in few})
            numbers = compared[["n", "mean"]].astype(float).mask(hidden)
            compared = compared.assign(n=numbers["n"], mean=numbers["mean"])
        scales.append(found.assign(source=name, scale=scale))
        waves.append(compared.assign(source=name, scale=scale))
    return ScaleEvidence(scales=_keys_first(scales), waves=_keys_first(waves))


def _known(
    frame: pd.DataFrame, spec: SourceSpec, name: str, wanted: dict[str, MeasureSpec]
) -> tuple[pd.DataFrame, np.ndarray]:
    """Rows with unit and period, their items as numbers, and the period's position."""
    rules = {spec.unit: ColumnRule(name=spec.unit, kind="text")}
    dated = dates_needed(spec.frequency) or spec.period in spec.read.dates
    rules[spec.period] = ColumnRule(name=spec.period, kind="date" if dated else "number")
    for measure in wanted.values():
        for item in measure.items:
            rules[item] = ColumnRule(name=item, low=measure.low, high=measure.high)
    schema = TableSchema(name=name, columns=tuple(rules.values()))
    rows = check_table(frame[list(rules)], schema)
    position = period_positions(rows[spec.period], spec.frequency, table=name)
    keep = rows[spec.unit].notna().to_numpy() & (position != MISSING)
    return rows[keep].reset_index(drop=True), position[keep]


def _turned(rows: pd.DataFrame, items: list[str], measure: MeasureSpec) -> pd.DataFrame:
    ends = float(measure.low or 0) + float(measure.high or 0)
    turned = {item: ends - rows[item].astype(float) for item in measure.reverse}
    return rows[items].astype(float).assign(**turned)


def _options(answers: pd.DataFrame, measure: MeasureSpec) -> int | None:
    """Answer options, if answers are whole numbers between the ends of the scale."""
    low, high = float(measure.low or 0), float(measure.high or 0)
    values = answers.to_numpy()
    whole = np.all((values - low) % 1 == 0, where=~np.isnan(values)) and (high - low) % 1 == 0
    options = int(high - low) + 1
    return options if whole and options <= _MOST_OPTIONS else None


def _sameness(
    answers: pd.DataFrame, items: list[str], labels: dict[int, str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A row on the sameness of waves, and the waves; none where fewer than two can be compared."""
    sizes = answers.dropna().groupby("_wave").size()
    large = sizes.index[sizes >= FEWEST].to_numpy()
    if len(items) < 2 or len(large) < 2:
        return pd.DataFrame(), pd.DataFrame()
    steps = np.linspace(0, len(large) - 1, min(len(large), _MOST_WAVES)).round().astype(int)
    taken = np.concatenate([large[steps], sizes.index[sizes < FEWEST]])
    found = wave_invariance(answers[answers["_wave"].isin(taken)], items, "_wave")
    of = f"Of {len(large)} waves, " if len(large) > _MOST_WAVES else ""
    waves = found.waves["wave"].astype(int).map(labels)
    row = {
        "index": f"same in every wave: {found.level}",
        "value": found.models["cfi_step"].min() if len(found.models) else np.nan,
        "customary": -0.01 if len(found.models) else np.nan,
        "met": found.level == "scalar" if len(found.models) else None,
        "reading": of + found.reading,
    }
    return pd.DataFrame([row]), found.waves.assign(wave=waves)


def without_totals(waves: pd.DataFrame, hidden: Collection[tuple[str, str, str]]) -> pd.DataFrame:
    """Waves without n and mean where the total of all units may not be shown.

    Parameters
    ----------
    hidden : source, measure and period of those.
    """
    if not len(waves) or not hidden:
        return waves
    keys = zip(waves["source"], waves["scale"], waves["wave"].astype(str), strict=True)
    away = pd.Series([key in hidden for key in keys], index=waves.index)
    numbers = waves[["n", "mean"]].astype(float).mask(away)
    return waves.assign(n=numbers["n"], mean=numbers["mean"])


def _few_apart(
    answers: pd.DataFrame,
    items: list[str],
    min_share: float,
    spec: SourceSpec,
    people: PeopleCells | None,
    scale: str,
) -> list[int]:
    """Waves in which all who answered every item, and those behind the units, are apart by few.

    Apart are those who left an item out and have a score all the same, and those whose unit is not
    in the panel; both count, since one may come in where another goes.
    """
    scored = score_scale(answers, items=items, low=0, high=0, min_share=min_share).notna()
    partly = (scored & answers[items].isna().any(axis=1)).groupby(answers["_wave"]).sum()
    apart = partly
    if people is not None and scale in people.n:
        position = people.position
        if people.frequency != spec.frequency:
            position = coarse_positions(position, people.frequency, spec.frequency)
        measured = pd.Series(people.n[scale]).groupby(position).sum()
        given = scored.groupby(answers["_wave"]).sum()
        apart = partly + (given - measured.reindex(given.index, fill_value=0)).abs()
    return [int(at) for at in apart.index[(apart > 0) & (apart < spec.min_n)]]


def _keys_first(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    whole = _stacked(frames)
    if not len(whole):
        return whole
    return whole[["source", "scale", *whole.columns.drop(["source", "scale"])]]


def _stacked(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    filled = [frame for frame in frames if len(frame)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame()
