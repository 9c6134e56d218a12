"""What a data audit says about scales: may answers be averaged, and are waves comparable?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from ex_cx.linkage.audit import LinkAudit
from ex_cx.reporting.numbers import capital, count, label, number, split_unit
from ex_cx.reporting.report import Section, Table

__all__ = ["scale_guards", "scale_sections"]

_SAME = "same in every wave"
_FOLD = "The evidence, index by index, and the waves"
_NOTE = (
    "Units are taken in each wave, from the answers in the file. Cut-offs are customary, no more: "
    "a mean of unreliable answers draws its coefficient towards zero, and a change of a scale that "
    "is not measured the same way in every wave may be a change of wording. Waves are compared by "
    "one-factor models that take answers for continuous and respondents for independent; a step "
    "holds if it costs at most 0.01 of the comparative fit index."
)


def scale_guards(audit: LinkAudit, names: Mapping[str, str]) -> pd.DataFrame:
    """A line for each scale on averaging, and one on waves: guard, finding, verdict."""
    rows = []
    found = audit.scales
    for scale in dict.fromkeys(found["scale"]) if len(found) else ():
        own = found[found["scale"] == scale]
        same = own["index"].str.startswith(_SAME)
        # ICC(1) and indices that do not exist have no cut-off to miss
        missed = own[~same & own["met"].eq(False)]
        called = capital(split_unit(label(scale, names))[0])
        text = f"{called}: every index reaches its customary cut-off."
        if len(missed):
            told = "; ".join(
                f"{row['index']} {number(row['value'])} ({row['reading']})"
                for row in missed.to_dict("records")
            )
            text = f"{called} misses a customary cut-off: {told}."
        rows.append(("Averaging answers", text, "caution" if len(missed) else "clear"))
        for row in own[same].to_dict("records"):
            verdict = "clear" if row["met"] is True else "caution"
            rows.append(("Same scale in every wave", f"{called}: {row['reading']}", verdict))
    return pd.DataFrame(rows, columns=["guard", "finding", "verdict"])


def scale_sections(audit: LinkAudit, names: Mapping[str, str]) -> tuple[Section, ...]:
    """The evidence behind those lines, folded; nothing where no source has a scale."""
    if not len(audit.scales):
        return ()
    tables = [_indices(audit.scales, names)]
    if len(audit.waves):
        tables.append(_waves(audit.waves, names))
    return (
        Section(
            heading="May the answers be averaged?",
            text=(_NOTE,),
            tables=tuple(tables),
            fold=_FOLD,
        ),
    )


def _indices(found: pd.DataFrame, names: Mapping[str, str]) -> Table:
    shown = pd.DataFrame(
        {
            "scale": [label(name, names) for name in found["scale"]],
            "index": found["index"],
            "value": [number(value) for value in found["value"]],
            "customary": [number(value) for value in found["customary"]],
            "met": ["" if met is None else "yes" if met else "no" for met in found["met"]],
            "reading": found["reading"],
        }
    )
    caption = (
        "Agreement within units and reliability of their means, beside customary cut-offs and what "
        "they would need. Agreement is shown of units with five respondents or more; of the last "
        "line, the value is the largest loss of fit in a step."
    )
    words = ("scale", "index", "met", "reading")
    return Table(name="scale_evidence", frame=shown, caption=caption, text_columns=words)


def _waves(found: pd.DataFrame, names: Mapping[str, str]) -> Table:
    shown = pd.DataFrame(
        {
            "scale": [label(name, names) for name in found["scale"]],
            "wave": found["wave"].astype(str),
            "respondents": ["–" if np.isnan(n) else count(n) for n in found["n"].astype(float)],
            "mean": [number(value) for value in found["mean"]],
            "alpha": [number(value) for value in found["alpha"]],
            "congruence": [number(value) for value in found["congruence"]],
        }
    )
    caption = (
        "The scale in each wave: complete respondents (50 or more), mean, consistency, and "
        "Tucker's congruence of the loadings with those of the first wave (.95 and more: alike). "
        "Numbers from which a few people's answers would follow are left out."
    )
    return Table(name="scale_waves", frame=shown, caption=caption, text_columns=("scale", "wave"))
