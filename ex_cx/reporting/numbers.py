"""How numbers and labels are written: enough digits for the interval, a real minus sign."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from decimal import Decimal

__all__ = [
    "capital",
    "count",
    "equals",
    "interval",
    "label",
    "number",
    "p_value",
    "plain",
    "split_unit",
]


def number(value: float, spread: float | None = None) -> str:
    """A number with as many digits as its uncertainty deserves.

    Parameters
    ----------
    value : the number.
    spread : width that sets the digits (an interval's width, a standard error): two significant
        digits of it are shown. None shows three significant digits of `value`.

    >>> number(-1.52347, spread=0.61)
    '−1.52'
    >>> number(1234.5), number(float("nan"))
    ('1,234', '–')
    """
    if value is None or not math.isfinite(value):
        return "–" if value is None or math.isnan(value) else ("∞" if value > 0 else "−∞")
    if spread is None or not (math.isfinite(spread) and spread > 0):
        spread = abs(value) / 10
    digits = 0 if spread == 0 else 1 - math.floor(math.log10(spread))
    if digits > 8 or abs(value) >= 1e9:
        return _minus(f"{value:.2e}")
    return _minus(f"{value:,.{max(digits, 0)}f}")


def interval(low: float, high: float) -> str:
    """Both ends with the digits that the width deserves.

    >>> interval(-0.1042, 0.0751), interval(float("nan"), float("nan"))
    ('−0.104 to 0.075', 'no interval')
    """
    if math.isnan(low) and math.isnan(high):
        return "no interval"
    spread = (high - low) / 2 if math.isfinite(high - low) else None
    return f"{number(low, spread)} to {number(high, spread)}"


def p_value(value: float) -> str:
    """Three decimals, never 0.000.

    >>> p_value(0.0004), p_value(0.0412)
    ('<0.001', '0.041')
    """
    if value is None or math.isnan(value):
        return "–"
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def equals(p: float) -> str:
    """A p-value after `p`.

    >>> equals(0.0004), equals(0.0412)
    ('<0.001', '= 0.041')
    """
    shown = p_value(p)
    return shown if shown.startswith("<") else f"= {shown}"


def count(value: float) -> str:
    """A whole number with thousands marked.

    >>> count(50936)
    '50,936'
    """
    return f"{int(value):,}"


def capital(text: str) -> str:
    """The text with a capital first letter, and the rest as it is; a column's name stays one.

    >>> capital("mean NPS"), capital("cx_nps per 1 more ex_load")
    ('Mean NPS', 'cx_nps per 1 more ex_load')
    """
    if "_" in text.partition(" ")[0]:
        return text
    return text[:1].upper() + text[1:]


def label(name: str, labels: Mapping[str, str]) -> str:
    """The reader's name of a column or term; a lag or lead stays visible.

    >>> label("ex_load_lag1", {"ex_load": "Workload (%)"})
    'Workload, 1 period earlier (%)'
    >>> label("ex_load^2", {"ex_load": "Workload (%)"})
    'Workload squared'
    """
    if name in labels:
        return labels[name]
    stem, power = (name[:-2], "squared") if name.endswith("^2") else (name, "")
    if power:
        return f"{split_unit(label(stem, labels))[0]} {power}"
    if ":" in name and all(part in labels for part in name.split(":")):
        return " x ".join(split_unit(labels[part])[0] for part in name.split(":"))
    for mark, words in (("_lag", "earlier"), ("_lead", "later")):
        stem, found, by = name.rpartition(mark)
        if found and by.isdigit():
            text, unit = split_unit(label(stem, labels))
            periods = "period" if by == "1" else "periods"
            return f"{text}, {by} {periods} {words}" + (f" ({unit})" if unit else "")
    return name


def plain(text: str) -> str:
    """A sentence whose small numbers are written without powers of ten.

    >>> plain("0.04 (-7.98e-05 to 2e-07), item e-05")
    '0.04 (-0.0000798 to 0.0000002), item e-05'
    """
    small = r"(?<![\w.])\d(?:\.\d+)?e-\d\d\b"
    return re.sub(small, lambda match: format(Decimal(match[0]), "f"), text)


def split_unit(text: str) -> tuple[str, str]:
    """A label's words and the unit that it ends on in brackets.

    >>> split_unit("NPS (points)"), split_unit("cx_nps")
    (('NPS', 'points'), ('cx_nps', ''))
    """
    if text.endswith(")") and " (" in text:
        words, _, unit = text[:-1].rpartition(" (")
        return words, unit
    return text, ""


def _minus(text: str) -> str:
    if set(text) <= set("-0.,"):
        text = text.lstrip("-")
    return text.replace("-", "−")
