"""Small results whose figures, tables and pages are known before they are drawn."""

from __future__ import annotations

from collections.abc import Callable
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from ex_cx.linkage.simulate import simulate_panel
from ex_cx.models.compare import compare_estimators, within_bins
from ex_cx.models.regress import PanelSpec, fit_panel
from ex_cx.reporting.compose import panel_report
from ex_cx.reporting.report import Report

HOSTILE = (
    "<script>alert(1)</script> $\\frac{a}{0}$ ]]> & \"two\" 'one' =cmd() \x00\x1b\u202e "
    "従業員 an_unbroken_name_that_goes_on_and_on_and_on_and_on_and_on_and_on (points & <b>)"
)


class Page(HTMLParser):
    """A page's tags, attributes and text, as a browser would see them."""

    VOID = ("meta", "br", "img", "link", "col", "hr", "input")

    def __init__(self, markup: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: dict[str, list[str]] = {}
        self.wrong: list[str] = []
        self.feed(markup)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data):
        if self.open:
            self.text.setdefault(self.open[-1], []).append(data)

    def named(self, name: str) -> list[dict[str, str | None]]:
        return [attrs for tag, attrs in self.tags if tag == name]


@pytest.fixture
def read_page() -> type[Page]:
    """Reads a page's markup."""
    return Page


@pytest.fixture
def hostile() -> str:
    """A label that would inject, break XML, mathematics and layout, or turn the line round."""
    return HOSTILE


@pytest.fixture
def tidy_rows() -> Callable[..., pd.DataFrame]:
    """Makes tidy rows of (term, estimator, estimate, conf_low, conf_high)."""

    def make(*rows: tuple[str, str, float, float, float], conf_level: float = 0.95) -> pd.DataFrame:
        frame = pd.DataFrame(
            rows, columns=["term", "estimator", "estimate", "conf_low", "conf_high"]
        )
        return frame.assign(
            std_error=(frame["conf_high"] - frame["conf_low"]) / 4,
            statistic=1.0,
            p_value=0.0004,
            conf_level=conf_level,
            n_obs=1069,
            n_clusters=142,
        )

    return make


@pytest.fixture
def mediation_rows(tidy_rows: Callable[..., pd.DataFrame]) -> Callable[..., pd.DataFrame]:
    """Makes a mediation's tidy frame for these mediators."""

    def make(*mediators: str) -> pd.DataFrame:
        rows = []
        for name in mediators:
            rows += [(f"a:{name}", "", -0.0076, -0.0095, -0.0058), (f"b:{name}", "", 0.9, 0.7, 1.1)]
        rows.append(("direct", "", -0.012, -0.016, 0.008))
        rows += [(f"indirect:{name}", "", -0.0072, -0.0096, -0.0051) for name in mediators]
        rows += [("indirect", "", -0.0144, -0.019, -0.01), ("total", "", -0.0264, -0.034, -0.018)]
        return tidy_rows(*rows, ("proportion_mediated", "", 0.55, 0.4, 0.7))

    return make


def make_report(labels: dict[str, str], *, title: str = "", segment: str = "") -> Report:
    """A panel regression on simulated rows, with one guard of each verdict."""
    panel = simulate_panel(n_units=24, n_periods=10, rng=np.random.default_rng(20240501))
    spec = PanelSpec(outcome="cx_nps", exposures=("ex_occupancy_pct",))
    guards = pd.DataFrame(
        {
            "guard": ["Enough clusters", "One source for both sides", "Lead placebo"],
            "finding": ["24 clusters.", "cx_nps <b>and</b> more; the same people.", "None."],
            "verdict": ["clear", "caution", "limits"],
        }
    )
    return panel_report(
        fit_panel(panel, spec),
        compare_estimators(panel, spec),
        within_bins(panel, spec),
        guards,
        title=title,
        segment=segment,
        labels=labels,
    )


@pytest.fixture(scope="session")
def report() -> Report:
    return make_report({"cx_nps": "NPS (points)", "ex_occupancy_pct": "Occupancy (%)"})


@pytest.fixture(scope="session")
def hostile_report() -> Report:
    labels = {"cx_nps": HOSTILE, "ex_occupancy_pct": HOSTILE}
    return make_report(labels, title=HOSTILE, segment=HOSTILE)
