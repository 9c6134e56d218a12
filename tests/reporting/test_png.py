"""Figures at print size: asked for only, on white, the same bytes each time."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from ex_cx.errors import RunError
from ex_cx.reporting.report import Figure, draw_figure, write_report_parts
from ex_cx.reporting.theme import axes


def _chunks(path: Path) -> dict[str, bytes]:
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    found, at = {}, 8
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        found[kind.decode()] = data[at + 8 : at + 8 + size]
        at += 12 + size
    return found


@pytest.fixture
def drawn(report):
    ax = axes(None, 4.0, 2.0)
    ax.plot([0, 1], [0, 1])
    ax.set_title("従業員")  # letters that the font lacks warn of nothing
    figure = draw_figure(ax, "line", caption="A line.", alt="A line.")
    return replace(report, figures=(figure,), evidence=(), checks=())


def test_pictures_are_written_only_where_asked_for(drawn, tmp_path):
    write_report_parts(drawn, tmp_path / "plain")
    write_report_parts(drawn, tmp_path / "both", png=True)
    names = [
        sorted(path.name for path in (tmp_path / kind / "figures").iterdir())
        for kind in ("plain", "both")
    ]
    assert names == [["line.svg"], ["line.png", "line.svg"]]


def test_a_picture_is_of_print_size_on_white_and_without_a_time(drawn, tmp_path):
    write_report_parts(drawn, tmp_path, png=True)
    path = tmp_path / "figures" / "line.png"
    chunks = _chunks(path)
    assert set(chunks) == {"IHDR", "pHYs", "IDAT", "IEND"}  # no text, no time
    assert struct.unpack(">II", chunks["IHDR"][:8]) == (1200, 600)  # 4 x 2 inches
    across, down, unit = struct.unpack(">IIB", chunks["pHYs"])
    assert (across, down, unit) == (11811, 11811, 1)  # 300 dots an inch, by metres
    pixels = matplotlib.image.imread(path)
    assert np.all(pixels[[0, 0, -1, -1], [0, -1, 0, -1]] == 1)
    assert (pixels[..., :3] < 0.5).any()  # something is drawn


def test_two_writes_have_the_same_bytes(drawn, tmp_path):
    for name in ("one", "two"):
        write_report_parts(drawn, tmp_path / name, png=True)
    one, two = ((tmp_path / n / "figures" / "line.png").read_bytes() for n in ("one", "two"))
    assert one == two


def test_the_other_files_are_the_same_with_pictures_and_without(drawn, tmp_path):
    write_report_parts(drawn, tmp_path / "plain")
    write_report_parts(drawn, tmp_path / "both", png=True)
    for path in (p for p in (tmp_path / "plain").rglob("*") if p.is_file()):
        beside = tmp_path / "both" / path.relative_to(tmp_path / "plain")
        assert beside.read_bytes() == path.read_bytes()


def test_a_figure_of_which_only_the_svg_is_there_is_told(report, tmp_path):
    figure = Figure(name="old", svg="<svg/>", caption="", alt="")
    bare = replace(report, figures=(figure,), evidence=(), checks=())
    write_report_parts(bare, tmp_path / "svg")
    with pytest.raises(RunError, match=r"Of the figure 'old' only the SVG is there"):
        write_report_parts(bare, tmp_path, png=True)
