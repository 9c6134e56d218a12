"""What every answer looks like in a notebook: a table, and a picture that needs no library."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from ex_cx import Panel, PanelSpec, fit_panel
from ex_cx.results import intervals_svg

SVG = "{http://www.w3.org/2000/svg}"


def _rows(*rows: tuple[str, float, float, float]) -> pd.DataFrame:
    names = ["term", "estimate", "conf_low", "conf_high"]
    return pd.DataFrame(rows, columns=names).assign(conf_level=0.9)


def _drawn(tidy: pd.DataFrame) -> list[tuple[float, float, float, str]]:
    """Start, end and point of each line in units of the half width, and how the point is filled."""
    root = ElementTree.fromstring(intervals_svg(tidy))
    lines = [p.get("d") for p in root.iter(f"{SVG}path") if "H" in p.get("d")]
    spans = [tuple(map(float, re.match(r"M(\S+) \d+H(\S+)", d).groups())) for d in lines]
    points = [(float(c.get("cx")), c.get("fill")) for c in root.iter(f"{SVG}circle")]
    return [
        (*((x - 390) / 150 for x in (start, end, point)), fill)
        for (start, end), (point, fill) in zip(spans, points, strict=True)
    ]


def test_lines_lie_where_the_numbers_are():
    found = _drawn(_rows(("x", 2.0, 1.0, 4.0), ("y", -10.0, -40.0, 20.0)))
    # each line reaches as far as its interval: x to 4, y to -40
    assert found[0] == (0.25, 1, 0.5, "currentColor")
    assert found[1] == (-1, 0.5, -0.25, "none")


def test_the_picture_says_in_words_what_it_shows():
    svg = intervals_svg(_rows(("x", 2.0, 1.0, 4.0)))
    root = ElementTree.fromstring(svg)
    assert root.get("role") == "img"
    assert root.get("aria-label") == "90 % intervals. x 2 (1 to 4)."
    assert "filled: excludes zero" in svg


def test_rows_without_an_interval_are_not_drawn_and_many_are_told():
    none = _rows(("x", 2.0, np.nan, 4.0), ("y", np.inf, 1.0, 2.0))
    assert intervals_svg(none) == ""
    assert len(_drawn(pd.concat([none, _rows(("z", 1.0, 0.5, 2.0))]))) == 1
    many = _rows(*((f"t{at}", 1.0, 0.5, 2.0) for at in range(30)))
    assert len(_drawn(many)) == 24
    assert "6 further terms in the table" in intervals_svg(many)
    assert _drawn(_rows(("flat", 0.0, 0.0, 0.0))) == [(0, 0, 0, "none")]


def test_a_hostile_name_is_text():
    name = '"><script>alert(1)</script>&<b onclick="x">'
    svg = intervals_svg(_rows((name, 2.0, 1.0, 4.0)))
    root = ElementTree.fromstring(svg)  # one well-formed picture
    assert {element.tag for element in root.iter()} == {
        f"{SVG}{tag}" for tag in ("svg", "text", "g", "path", "circle")
    }
    assert root.get("aria-label").endswith(f"{name} 2 (1 to 4).")


@pytest.fixture
def result():
    rng = np.random.default_rng(2)
    x = rng.normal(size=120)
    rows = pd.DataFrame({"unit": np.repeat(np.arange(20), 6), "period": np.tile(np.arange(6), 20)})
    rows = rows.assign(x=x, y=0.5 * x + rng.normal(size=120))
    spec = PanelSpec(outcome="y", exposures=("x",))
    return fit_panel(Panel.from_frame(rows, unit="unit", period="period"), spec)


def test_a_result_shows_its_table_and_its_picture(result):
    page = result._repr_html_()
    row = result.tidy().iloc[0]
    assert f"{row['estimate']:.4g}</td>" in page
    label = re.search(r'aria-label="([^"]+)"', page)[1]
    assert f"x {row['estimate']:.3g} ({row['conf_low']:.3g} to {row['conf_high']:.3g})" in label
    assert page == result._repr_html_()


def test_the_picture_loads_no_plotting_library():
    code = (
        "import json, sys, pandas as pd\n"
        "from ex_cx.results import intervals_svg\n"
        "row = dict(term='x', estimate=1.0, conf_low=0.5, conf_high=2.0, conf_level=0.95)\n"
        "assert intervals_svg(pd.DataFrame([row]))\n"
        "heavy = ('matplotlib', 'seaborn')\n"
        "print(json.dumps([m for m in sys.modules if m.split('.')[0] in heavy]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
