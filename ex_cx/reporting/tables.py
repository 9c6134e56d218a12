"""Tables for readers: numbers as text, hostile cells harmless in HTML and in spreadsheets."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

import pandas as pd

from ex_cx.reporting.numbers import count, interval, label, number, p_value

__all__ = ["by_term", "format_tidy", "html_table", "neutralise", "neutralise_frame"]


def neutralise(value: object) -> object:
    """Text that a spreadsheet would run as a formula gets a leading apostrophe; all else stays.

    >>> neutralise("=cmd()"), neutralise("-5 points"), neutralise("plain"), neutralise(-5.0)
    ("'=cmd()", "'-5 points", 'plain', -5.0)
    """
    if isinstance(value, str) and value.lstrip(" ")[:1] in ("=", "+", "-", "@", "\t", "\r", "\n"):
        return f"'{value}"
    return value


def neutralise_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """A copy whose text cells and headers cannot run as formulas."""
    columns = [
        column if pd.api.types.is_numeric_dtype(column) else column.astype(object).map(neutralise)
        for _, column in frame.items()
    ]
    out = pd.concat(columns, axis=1) if columns else frame.copy()
    return out.set_axis([neutralise(name) for name in frame.columns], axis=1)


def by_term(tidy: pd.DataFrame) -> dict[str, pd.Series]:
    """The rows of a tidy frame whose terms are unique, each under its term.

    >>> by_term(pd.DataFrame({"term": ["a:m", "b:m"], "estimate": [0.5, 2.0]}))["b:m"]["estimate"]
    2.0
    """
    return {str(row["term"]): row for _, row in tidy.iterrows()}


def format_tidy(tidy: pd.DataFrame, labels: Mapping[str, str] | None = None) -> pd.DataFrame:
    """A tidy frame as readers take it: term, estimate, standard error, interval, p.

    Columns beyond the tidy ones that the frame has (estimator, n_obs, n_clusters) are kept.

    >>> tidy = pd.DataFrame({"term": ["x"], "estimate": [-0.0144], "std_error": [0.0456],
    ...     "statistic": [-0.3], "p_value": [0.75], "conf_low": [-0.104], "conf_high": [0.075],
    ...     "conf_level": [0.95]})
    >>> format_tidy(tidy).iloc[0].tolist()
    ['x', '−0.014', '0.046', '−0.104 to 0.075', '0.750']
    """
    level = tidy["conf_level"].iloc[0] if len(tidy) else 0.95
    out = pd.DataFrame(
        {
            "term": [label(term, labels or {}) for term in tidy["term"]],
            "estimate": list(map(number, tidy["estimate"], tidy["std_error"])),
            "std. error": list(map(number, tidy["std_error"], tidy["std_error"])),
            f"{100 * level:g} % interval": list(map(interval, tidy["conf_low"], tidy["conf_high"])),
            "p": list(map(p_value, tidy["p_value"])),
        }
    )
    if "estimator" in tidy:
        out.insert(1, "estimate by", tidy["estimator"].str.replace("_", " ").to_numpy())
    for name, head in (("n_obs", "rows"), ("n_clusters", "clusters")):
        if name in tidy:
            out[head] = [count(value) for value in tidy[name]]
    return out


def html_table(
    frame: pd.DataFrame,
    caption: str,
    *,
    text_columns: Sequence[str] = (),
    answer_rows: Sequence[int] = (),
    name: str = "",
) -> str:
    """An accessible table: caption, scoped headers, every cell escaped, scrolls where narrow.

    Parameters
    ----------
    text_columns : columns set flush left; the first column and those of text are anyway.
    answer_rows : positions of the rows that hold the answer, set in bold.
    name : such as `Table 1`: begins the caption and is read aloud where the table begins.
    """
    left = {frame.columns[0], *text_columns} if len(frame.columns) else set()
    heads = "".join(
        f'<th scope="col"{_left(name in left)}>{_cell(name)}</th>' for name in frame.columns
    )
    body = []
    for position, row in enumerate(frame.itertuples(index=False)):
        head, *values = row if len(row) else ("",)
        cells = zip(frame.columns[1:], values, strict=True)
        line = "".join(
            f'<td class="l"><span>{_cell(v)}</span></td>' if n in left else f"<td>{_cell(v)}</td>"
            for n, v in cells
        )
        answer = ' class="answers"' if position in answer_rows else ""
        body.append(
            f'<tr{answer}><th scope="row" class="l"><span>{_cell(head)}</span></th>{line}</tr>'
        )
    lines = "".join(body)
    region = html.escape(name or caption, quote=True)
    told = f"{name}. {caption}" if name else caption
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{region}">'
        f"<table><caption><span>{_cell(told)}</span></caption>"
        f"<thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table></div>"
    )


def _left(is_left: bool) -> str:
    return ' class="l"' if is_left else ""


def _cell(value: object) -> str:
    if isinstance(value, float):
        return html.escape(number(value))
    if value is None or value is pd.NA or value is pd.NaT:
        return "–"
    return html.escape(str(value))
