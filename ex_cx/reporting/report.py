"""A report as data: its sentence, facts, figures, tables, guards; shown, or written to a folder."""

from __future__ import annotations

import json
import math
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from ex_cx.errors import RunError, some
from ex_cx.reporting.placing import svg_of
from ex_cx.reporting.tables import neutralise_frame
from ex_cx.reporting.theme import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as MatplotlibFigure

__all__ = ["Figure", "Report", "Section", "Table", "draw_figure", "write_report_parts"]

Verdict = Literal["clear", "caution", "limits"]

PRINT_DPI = 300
SHOWN = "<!-- ex_cx report -->"
"""Marks a report shown in a notebook, which the page of a run need not repeat."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A drawn figure: `svg` text, a caption that says what is drawn, and alt text.

    `drawn` is what it was drawn from, so that it can be stored in other forms.
    """

    name: str
    svg: str
    caption: str
    alt: str
    drawn: MatplotlibFigure | None = field(default=None, repr=False, compare=False)

    def _repr_svg_(self) -> tuple[str, dict[str, str]]:
        return self.svg, {"alt": self.alt}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Table:
    """A table for readers.

    Attributes
    ----------
    frame : what is shown.
    text_columns : set flush left.
    answer_rows : positions of the rows that hold the answer, set in bold.
    """

    name: str
    frame: pd.DataFrame
    caption: str
    text_columns: tuple[str, ...] = ()
    answer_rows: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Section:
    """A part of a report under a heading of its own.

    Attributes
    ----------
    heading : what it answers.
    text : sentences that a reader always sees.
    figures, tables : below them, in order.
    fold : the line behind which figures and tables lie folded; empty leaves them open.
    """

    heading: str
    text: tuple[str, ...] = ()
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    fold: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Report:
    """Everything a study report says, in the order in which a reader wants it.

    Attributes
    ----------
    title, eyebrow, meta : the head: the question, what kind of study, on which rows.
    answer : one computed sentence with its interval and unit.
    grade, verdict : what the design earns, in words and as clear, caution or limits.
    facts : three pairs of a number and what it is.
    figures, tables : in order; figures above tables.
    guards : columns guard, finding, verdict.
    limits : what the study does not show.
    method : lines; text between dollar signs is LaTeX.
    results : tidy rows with model, outcome, exposure: what is pooled across runs.
    counts : facts for the record (rows in, used, lost by reason), as JSON.
    evidence : sections after figures and tables. checks : sections after the guards.
    diagnostics : columns diagnostic, term, value, p_value, reading, light; folded below `checks`.
    """

    title: str
    eyebrow: str
    meta: str
    answer: str
    grade: str
    verdict: Verdict
    facts: tuple[tuple[str, str], ...]
    figures: tuple[Figure, ...]
    tables: tuple[Table, ...]
    guards: pd.DataFrame
    limits: tuple[str, ...]
    method: tuple[str, ...]
    results: pd.DataFrame
    counts: Mapping[str, Any] = field(default_factory=dict)
    evidence: tuple[Section, ...] = ()
    checks: tuple[Section, ...] = ()
    diagnostics: pd.DataFrame = field(default_factory=pd.DataFrame)

    def every_figure(self) -> list[Figure]:
        """The figures of the report and of its sections, in the order of the page."""
        return [*self.figures, *(f for part in self._sections() for f in part.figures)]

    def every_table(self) -> list[Table]:
        """The tables of the report and of its sections, in the order of the page."""
        return [*self.tables, *(t for part in self._sections() for t in part.tables)]

    def _sections(self) -> tuple[Section, ...]:
        return (*self.evidence, *self.checks)

    def _repr_html_(self) -> str:
        from ex_cx.reporting.page import notebook_view

        return notebook_view(as_json(self), {f.name: f.svg for f in self.every_figure()})


def draw_figure(ax: Axes, name: str, *, caption: str, alt: str) -> Figure:
    """The SVG of a plot; the same plot gives the same bytes.

    Parameters
    ----------
    name : letters, digits and underscores; the file's name.
    """
    import matplotlib as mpl

    figure = ax.get_figure(root=True)
    if figure is None:
        raise RunError(f"The axes of figure {name!r} belong to no figure, so nothing is drawn.")
    with style(), mpl.rc_context({"svg.hashsalt": name}), warnings.catch_warnings():
        # The reader's browser has letters that the font measured with lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        svg = _bare(svg_of(figure), name)
    return Figure(name=name, svg=svg, caption=caption, alt=alt, drawn=figure)


def _bare(svg: str, name: str) -> str:
    """The picture alone: no prolog, no metadata, and ids that are unique on a page of figures."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, count=1, flags=re.DOTALL)
    used = set(re.findall(r'(?:url\(#|xlink:href="#)([^)"]+)', svg))
    svg = re.sub(r' id="([^"]*)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", svg)
    return re.sub(r'(url\(#|xlink:href="#)', rf"\g<1>{name}-", svg)


def as_json(report: Report) -> dict[str, Any]:
    """The report without its pictures, as plain JSON values; what is not a number is null."""
    return {
        "title": report.title,
        "eyebrow": report.eyebrow,
        "meta": report.meta,
        "answer": report.answer,
        "grade": report.grade,
        "verdict": report.verdict,
        "facts": [list(fact) for fact in report.facts],
        "figures": list(map(_figure_json, report.figures)),
        "tables": list(map(_table_json, report.tables)),
        "evidence": list(map(_section_json, report.evidence)),
        "guards": _records(report.guards),
        "checks": list(map(_section_json, report.checks)),
        "diagnostics": _records(report.diagnostics),
        "limits": list(report.limits),
        "method": list(report.method),
        "results": _records(report.results),
        "counts": _plain(dict(report.counts)),
    }


def _figure_json(figure: Figure) -> dict[str, Any]:
    return {"name": figure.name, "caption": figure.caption, "alt": figure.alt}


def _table_json(table: Table) -> dict[str, Any]:
    return {
        "name": table.name,
        "caption": table.caption,
        "text_columns": list(table.text_columns),
        "answer_rows": list(table.answer_rows),
        **_frame(table.frame),
    }


def _section_json(section: Section) -> dict[str, Any]:
    return {
        "heading": section.heading,
        "text": list(section.text),
        "figures": list(map(_figure_json, section.figures)),
        "tables": list(map(_table_json, section.tables)),
        "fold": section.fold,
    }


def write_report_parts(report: Report, run_dir: Path | str, *, png: bool = False) -> Report:
    """Write result.json, tables/*.csv and figures/*.svg below `run_dir`, and hand the report on.

    With an empty `run_dir` nothing is written. Text cells that a spreadsheet would run are
    neutralised; the files of one report have the same bytes each time. With `png` each figure is
    stored as figures/*.png too, at print size (300 dots an inch, on white).

    Raises
    ------
    RunError : a name that is no file name, or a folder that cannot be written; with `png`, a figure
        of which only the SVG is there.
    """
    if not str(run_dir):
        return report
    _check_names(report)
    folder = Path(run_dir)
    try:
        _write_parts(report, folder)
        if png:
            _write_png(report, folder / "figures")
    except OSError as error:
        raise RunError(
            f"The report cannot be stored in {str(folder)!r}: {error.strerror}. Make room or "
            "permit writing there, or name another run_dir."
        ) from error
    return report


def _write_parts(report: Report, folder: Path) -> None:
    for name in ("tables", "figures"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for figure in report.every_figure():
        (folder / "figures" / f"{figure.name}.svg").write_text(figure.svg, encoding="utf-8")
    for table in report.every_table():
        _write_csv(table.frame, folder / "tables" / f"{table.name}.csv")
    _write_csv(report.guards, folder / "tables" / "guards.csv")
    _write_csv(report.results, folder / "tables" / "results.csv")
    if len(report.diagnostics):
        _write_csv(report.diagnostics, folder / "tables" / "diagnostics.csv")
    text = json.dumps(as_json(report), indent=1, ensure_ascii=False, allow_nan=False)
    (folder / "result.json").write_text(text + "\n", encoding="utf-8")


def _write_png(report: Report, folder: Path) -> None:
    """Figures at print size; no time and no version is in the bytes."""
    for figure in report.every_figure():
        if figure.drawn is None:
            raise RunError(
                f"Of the figure {figure.name!r} only the SVG is there, so that it cannot be stored "
                "as PNG. Draw it with `draw_figure`, or leave `png` out."
            )
        with style(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing from")
            figure.drawn.savefig(
                folder / f"{figure.name}.png",
                format="png",
                dpi=PRINT_DPI,
                facecolor="white",
                bbox_inches=None if figure.drawn.get_layout_engine() else "tight",
                metadata={"Software": None},
            )


def _check_names(report: Report) -> None:
    own = ("guards", "results", "diagnostics")
    tables = [*(table.name for table in report.every_table()), *own]
    for names in ([figure.name for figure in report.every_figure()], tables):
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise RunError(
                f"More than one figure or table of the report is called {some(twice)}, so that "
                "one file would overwrite another. Name each differently."
            )


def _write_csv(frame: pd.DataFrame, path: Path) -> None:
    neutralise_frame(frame).to_csv(path, index=False, encoding="utf-8", lineterminator="\n")


def _frame(frame: pd.DataFrame) -> dict[str, Any]:
    rows = [[_plain(value) for value in row] for row in frame.itertuples(index=False)]
    return {"columns": [str(name) for name in frame.columns], "rows": rows}


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(k): _plain(v) for k, v in row.items()} for row in frame.to_dict("records")]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, bool | str) or value is None:
        return value
    if hasattr(value, "item") and not isinstance(value, str):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, int | bool) else str(value)
