"""A first look at a study's data in one line: what is there, where the gaps are, what varies."""

from __future__ import annotations

import html
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from ex_cx.linkage.link import Linked
from ex_cx.linkage.panel import Described
from ex_cx.linkage.sources import shared_path
from ex_cx.studies.data import EMBEDDED, link_study
from ex_cx.studies.parameters import base_columns
from ex_cx.studies.study import LoadedStudy, load_study

if TYPE_CHECKING:
    from ex_cx.reporting.report import Figure

__all__ = ["Exploration", "explore", "open_study"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Exploration:
    """What `study.explore()` shows in a notebook; its parts are there to go on with.

    Attributes
    ----------
    study : as loaded.
    linked : its panel and audit.
    columns : the study's columns that the data hold, the outcome last; drawn over time.
    """

    study: LoadedStudy
    linked: Linked
    columns: tuple[str, ...]

    @property
    def contents(self) -> pd.DataFrame:
        """source, measured_on, rows_read, rows_lost, units, unit_periods: what is in the study."""
        audit = self.linked.audit
        flow = audit.flow[audit.flow["counting"] == "rows"]
        by_source = flow.groupby("source", sort=False)
        found = pd.DataFrame(
            {"rows_read": by_source["rows_in"].max(), "rows_lost": by_source["rows_lost"].sum()}
        ).rename_axis("source")
        if len(audit.unmatched):
            sides = audit.unmatched.set_index("source")[["units", "unit_periods"]]
            found = found.join(sides)
        if len(audit.definitions):
            on = audit.definitions.drop_duplicates("source").set_index("source")["measured_on"]
            found.insert(0, "measured_on", on.reindex(found.index))
        return found.reset_index()

    def describe(self) -> pd.DataFrame:
        """The study's columns as `panel.describe()` has them; all columns if it names none."""
        found = self.linked.panel.describe().set_index("column")
        names = [name for name in self.columns if name in found.index] or list(found.index)
        return Described(found.loc[names].reset_index())

    def figures(self) -> tuple[Figure, ...]:
        """Where the gaps are, and the course of the last column; needs matplotlib and seaborn."""
        from ex_cx.reporting.audit import draw_coverage, draw_trajectories

        if not self.columns:
            return ()
        panel, labels = self.linked.panel, self.study.study.labels
        coverage = draw_coverage(panel, self.columns)
        return coverage, draw_trajectories(panel, self.columns[-1], labels=labels)

    def __repr__(self) -> str:
        """One line; `.contents`, `.describe()`, `.figures()` and `.linked` hold the rest."""
        return f"<Exploration of {self.study.study.study!r}: {self.linked.panel.extent}>"

    def _repr_html_(self) -> str:
        study = self.study.study
        tables = [
            ("What is in the study", self.contents),
            ("What varies, between units and within them", self.describe()),
        ]
        shown = "".join(
            f"<p><strong>{title}</strong></p>{Described(frame)._repr_html_()}"
            for title, frame in tables
        )
        return (
            f"<h3>{html.escape(study.title or study.study)}</h3>"
            f"<p>{html.escape(self.linked.panel.extent)}</p>{shown}{self._pictures()}"
        )

    def _pictures(self) -> str:
        """The figures with their captions, or what to install for them."""
        try:
            figures = self.figures()
        except ImportError as error:
            missing = html.escape(str(error.name))
            return f"<p>Figures need {missing}: pip install 'ex-cx[study]'.</p>"
        return "".join(
            f'<figure style="margin:1em 0"><div role="img" aria-label="{html.escape(f.alt)}" '
            f'style="max-width:48rem;background:white">{f.svg}</div>'
            f"<figcaption>{html.escape(f.caption)}</figcaption></figure>"
            for f in figures
        )


def open_study(path: str | Path = "embedded:contact_centre") -> LoadedStudy:
    """The study file at `path`, checked; `embedded:` and a name open one that comes with ex_cx.

    >>> open_study().study.study
    'contact_centre'
    """
    name = str(path)
    if name.startswith(EMBEDDED):
        return load_study(shared_path("data", name.removeprefix(EMBEDDED), "study.yaml"))
    return load_study(path)


def explore(study: LoadedStudy, root: str | Path = "") -> Exploration:
    """Link the data of a study and look at them; see `LoadedStudy.explore`."""
    linked = link_study(study, Path(root).absolute() if root else study.path.parent)
    roles = study.study.roles
    terms = (*roles.controls, *roles.exposures, *roles.mediators, *roles.outcomes)
    known = linked.panel.frame.columns
    columns = tuple(name for name in dict.fromkeys(base_columns(terms)) if name in known)
    return Exploration(study=study, linked=linked, columns=columns)
