"""An attack on everything that a study writes and prints: small cells, names, wrong values."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from matplotlib import rc_context
from matplotlib.figure import Figure
from pypdf import PdfReader

from ex_cx.errors import SchemaError
from ex_cx.linkage import check, compute, link, measure
from ex_cx.studies.printing import BROWSERS
from ex_cx.studies.runner import run_study
from tests.studies.leaky_company import KEY, NAMES, SMALL, SMALL_EFFORT, write_company

HERE = "from ex_cx.studies.cli import main; main()"
AXES = {
    "ex_mood": (2.4, 9.0),
    "ex_mood, net of effects and other terms": (2.4, 9.0),
    "cx_effort": (0.0, 5.2),
    "cx_effort, net of the same": (0.0, 5.2),
}
"""Label of an axis of cells -> the ends between which lie those that may be shown."""
COORDINATES = re.compile(
    r'\s(?:d|x|y|x1|x2|y1|y2|cx|cy|width|height|points|transform|viewBox)="[^"]*"'
)
SVG = "{http://www.w3.org/2000/svg}"


def ex_cx(*arguments: object) -> str:
    """What `ex-cx` prints, on both streams."""
    command = [sys.executable, "-c", HERE, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


# -- what is looked for ---------------------------------------------------------------------------


def forms(name: str) -> list[str]:
    """A name as it is, its hashes without a key, and in base64 at any position."""
    plain = name.encode()
    hashes = [hashlib.new(kind, plain).hexdigest()[:24] for kind in ("md5", "sha1", "sha256")]
    padded = [base64.b64encode(b"\0" * at + plain).decode() for at in range(3)]
    return [name.casefold(), *hashes, *(text[4:-4].casefold() for text in padded)]


LOOKED_FOR = tuple(form for name in (*NAMES, KEY) for form in forms(name))


def of_means(means: tuple[float, ...]) -> re.Pattern[str]:
    """The means with three decimals or more, and a hundred times as much."""
    wanted = [f"{mean:.5f}"[:5] for mean in means] + [f"{100 * mean:.5f}"[:6] for mean in means]
    return re.compile(rf"(?<![\d.])(?:{'|'.join(map(re.escape, wanted))})\d*")


MEANS = (*SMALL.values(), *SMALL_EFFORT.values())
PLANTED = of_means(MEANS)


def leaks_of_text(text: str) -> list[str]:
    """Planted names and means in a text."""
    plain = text.casefold()
    return [form for form in LOOKED_FOR if form in plain] + PLANTED.findall(text)


def leaks_of_frame(frame: pd.DataFrame) -> list[str]:
    """Planted values in a table, and numbers of people below five."""
    found = leaks_of_text(" ".join(map(str, frame.columns)))
    for name, column in frame.items():
        if pd.api.types.is_numeric_dtype(column) and column.dtype != bool:
            values = column.dropna().to_numpy(dtype=float)
            near = np.abs(values[:, None] - np.array(MEANS)).min(axis=1, initial=9)
            found += [f"{name}: {value}" for value in values[near < 5e-4]]
            if str(name).startswith(("ex_", "cx_")) and str(name).endswith("_n"):
                found += [f"{name}: {value}" for value in values if 0 < value < 5]
        else:
            found += leaks_of_text(" ".join(map(str, column.dropna())))
    return found


# -- pictures -------------------------------------------------------------------------------------


def leaks_of_svg(text: str) -> list[str]:
    """Words and, of an axis of mood, every point that lies where only a small cell can lie."""
    found = leaks_of_text(COORDINATES.sub("", text))
    root = ElementTree.fromstring(text)
    words = [
        (float(each.get("x", 0)), float(each.get("y", 0)), "".join(each.itertext()))
        for each in root.iter(f"{SVG}text")
    ]
    points = np.array(list(_points(root)) or np.empty((0, 2)))
    for label in {word for _, _, word in words} & set(AXES):
        line = _axis(words, at=int(label.startswith("cx")))
        if line is not None:
            values = line[1] + line[0] * points[:, int(label.startswith("cx"))]
            wrong = (values < AXES[label][0]) | (values > AXES[label][1])
            found += [f"{label} = {value:.3f}" for value in values[wrong]]
    return found


def _points(root: ElementTree.Element) -> Iterator[tuple[float, float]]:
    """Vertices of all paths, and where markers are."""
    for path in root.iter(f"{SVG}path"):
        pairs = re.findall(r"(-?\d+\.?\d*) (-?\d+\.?\d*)", path.get("d", ""))
        yield from ((float(x), float(y)) for x, y in pairs if "stroke" in path.get("style", ""))
    for mark in root.iter(f"{SVG}use"):
        yield float(mark.get("x", 0)), float(mark.get("y", 0))


def _axis(words: list[tuple[float, float, str]], at: int) -> tuple[float, float] | None:
    """Slope and start from the picture to the data, by the labels of an axis; None: no axis."""
    lines: dict[float, list[tuple[float, float]]] = {}
    for x, y, word in words:
        number = re.fullmatch(r"[\u2212-]?\d+(\.\d+)?", word.strip())
        if number:
            place = (x, y)
            value = float(word.strip().replace("\u2212", "-"))
            lines.setdefault(round(place[1 - at], 1), []).append((place[at], value))
    longest = max(lines.values(), key=len, default=[])
    if len(longest) < 3:
        return None
    where, value = np.array(longest).T
    slope, start = np.polyfit(where, value, 1)
    if not np.allclose(start + slope * where, value, atol=1e-3 * np.ptp(value)):
        return None
    return float(slope), float(start)


# -- files ----------------------------------------------------------------------------------------


def leaks_of_page(text: str) -> list[str]:
    """Words, attributes, data in the page, and its pictures."""
    pictures = re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL)
    found = [leak for picture in pictures for leak in leaks_of_svg(_alone(picture))]
    encoded = re.findall(r"base64,([A-Za-z0-9+/=]{40,})", text)
    plain = re.sub(r"<svg.*?</svg>", "", text, flags=re.DOTALL)
    found += leaks_of_text(re.sub(r"base64,[A-Za-z0-9+/=]{40,}", "", plain))
    for data in encoded:
        found += leaks_of_text(base64.b64decode(data + "==").decode("utf-8", errors="ignore"))
    return found


def _alone(picture: str) -> str:
    """An SVG of a page as a document: names of its own are not declared in HTML."""
    head, rest = picture.split(">", 1)
    for prefix, where in (
        ("", "http://www.w3.org/2000/svg"),
        ("xlink", "http://www.w3.org/1999/xlink"),
    ):
        declared = f"xmlns:{prefix}" if prefix else "xmlns"
        head += "" if f"{declared}=" in head else f' {declared}="{where}"'
    return f"{head}>{rest}".replace("&nbsp;", "\u00a0")


def leaks_of_notebook(text: str) -> list[str]:
    """Every output of every cell, tracebacks among them, and the cells."""
    found = []
    for cell in json.loads(text)["cells"]:
        found += leaks_of_text("".join(cell["source"]))
        for output in cell.get("outputs", []):
            for kind, data in output.get("data", {}).items():
                words = "".join(data) if isinstance(data, list | str) else json.dumps(data)
                if kind == "image/svg+xml":
                    found += leaks_of_svg(words)
                elif kind != "image/png":
                    found += leaks_of_page(words)
            told = [output.get("evalue", ""), *output.get("traceback", []), *output.get("text", "")]
            found += leaks_of_text("\n".join(told))
    return found


def leaks_of_parquet(path: Path) -> list[str]:
    """Every column, and what is written beside them."""
    kept = pq.read_schema(path).metadata or {}
    beside = [part.decode("utf-8", errors="ignore") for pair in kept.items() for part in pair]
    return leaks_of_frame(pd.read_parquet(path)) + leaks_of_text("\n".join(beside))


def leaks_of_book(path: Path) -> list[str]:
    """Every sheet, and every part of the file: properties, comments, shared texts."""
    sheets = pd.read_excel(path, sheet_name=None)
    found = [leak for frame in sheets.values() for leak in leaks_of_frame(frame)]
    with zipfile.ZipFile(path) as parts:
        for name in parts.namelist():
            found += leaks_of_text(name + parts.read(name).decode("utf-8", errors="ignore"))
    return found


def leaks_of_pdf(path: Path) -> list[str]:
    """The text of every page, with and without its spaces, notes, attachments and properties."""
    document = PdfReader(path)
    pages = "\n".join(page.extract_text() for page in document.pages)
    assert pages.strip(), path
    notes = [str(a.get_object()) for page in document.pages for a in page.get("/Annots") or ()]
    files = [data.decode("latin-1") for each in document.attachments.values() for data in each]
    beside = "\n".join((str(document.metadata), str(document.xmp_metadata or ""), *notes, *files))
    names = [name for name in LOOKED_FOR if re.sub(r"\s", "", name) in re.sub(r"\s", "", pages)]
    return [*leaks_of_text(f"{pages}\n{beside}"), *names]


def leaks_of_file(path: Path) -> list[str]:
    """What a file of a run gives away; a kind of file that is not known is an error."""
    kind = path.suffix
    if kind == ".parquet":
        return leaks_of_parquet(path)
    if kind == ".xlsx":
        return leaks_of_book(path)
    if kind == ".pdf":
        return leaks_of_pdf(path)
    if kind == ".png":
        assert path.stat().st_size > 500
        return leaks_of_text(path.read_bytes().decode("latin-1"))
    text = path.read_text(encoding="utf-8")
    if kind == ".csv":
        frame = pd.read_csv(path) if text.strip() else pd.DataFrame()
        return leaks_of_frame(frame) + leaks_of_text(text)
    assert kind in (*READERS, ".json", ".log"), path
    return READERS.get(kind, leaks_of_text)(text)


READERS = {".svg": leaks_of_svg, ".html": leaks_of_page, ".ipynb": leaks_of_notebook}


def leaks_of_folder(folder: Path) -> dict[str, list[str]]:
    """File -> what it gives away."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    found = {str(path.relative_to(folder)): leaks_of_file(path) for path in files}
    return {name: leaks for name, leaks in found.items() if leaks}


# -- the attack -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def company(tmp_path_factory) -> Path:
    """The study file of the company, with figures as PNG, too."""
    return write_company(tmp_path_factory.mktemp("company"))


@pytest.fixture(scope="module")
def told(company) -> str:
    """What `ex-cx run` prints of the study; its files are in `runs`, one report has failed."""
    pdf = ["--pdf"] if any(map(shutil.which, BROWSERS)) else []
    return ex_cx("run", company, "--out", company.parent / "runs", *pdf)


def test_nothing_that_was_planted_is_in_any_file_of_a_run_or_on_the_terminal(company, told):
    runs = company.parent / "runs"
    assert "1 of 7 runs failed" in told
    assert leaks_of_text(told) == []
    kinds = {path.suffix for path in runs.rglob("*") if path.is_file()}
    assert kinds >= {*READERS, ".png", ".csv", ".json", ".parquet", ".xlsx", ".log"}
    assert (".pdf" in kinds) == any(map(shutil.which, BROWSERS))
    assert leaks_of_folder(runs) == {}
    panel = pd.read_parquet(runs / "company" / "panel.parquet").set_index(["unit", "period"])
    for name, small in (("ex_mood", SMALL), ("cx_effort", SMALL_EFFORT)):
        for team, month in small:
            row = panel.loc[(f"team{team:02d}", f"2024-{month + 1:02d}")]
            assert row.filter(like=name).isna().all()


@pytest.mark.parametrize("command", ["check", "status", "run"])
def test_other_commands_print_nothing_that_was_planted(company, told, command):
    options = {"check": [], "status": [], "run": ["--json", "--dry-run"]}[command]
    out = [] if command == "check" else ["--out", company.parent / "runs"]
    text = ex_cx(command, company, *out, *options)
    assert "panel_regression" in text
    assert leaks_of_text(text) == []


@pytest.fixture(scope="module")
def unprotected(company) -> Path:
    """The same study, run where nothing is withheld."""
    out = company.parent / "unprotected"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            compute,
            "_suppress",
            lambda values, *_: (values, {"suppressed": 0, "shares_suppressed": 0}),
        )
        patch.setattr(measure, "withhold", lambda frame, *_: (frame, {}))
        patch.setattr(link, "protect_sources", lambda found: (list(found), frozenset()))
        compared = link.protect_release
        patch.setattr(
            link, "protect_release", lambda all_, asked: (all_, *compared(all_, asked)[1:])
        )
        run_study(company, out=out, only="panel_regression--cx_effort")
        run_study(company, out=out, only="data_audit")
    return out / "company"


@pytest.mark.parametrize("kind", [".parquet", "curve.svg", "trajectories.svg", ".html", ".ipynb"])
def test_the_attack_finds_small_cells_where_nothing_is_withheld(unprotected, kind):
    found = leaks_of_folder(unprotected)
    assert any(name.endswith(kind) for name in found)


def spoiled(company: Path, folder: Path, name: str, column: str, value: str) -> Path:
    """The study in `folder`, with one value in row 9 of one of its files."""
    shutil.copytree(company.parent, folder, ignore=shutil.ignore_patterns("runs", "unprotected"))
    frame = pd.read_csv(folder / name, dtype=str)
    frame.loc[7, column] = value
    frame.to_csv(folder / name, index=False)
    return folder / company.name


WRONG = {
    "text for an answer": ("pulse.csv", "mood", NAMES[3]),
    "a mean for an answer": ("contacts.csv", "effort", "671.913"),
    "a name for a date": ("pulse.csv", "answered", NAMES[0]),
    "a number for a date": ("contacts.csv", "day", NAMES[2]),
    "two values of an attribute": ("contacts.csv", "site", NAMES[1]),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_in_a_file_is_told_by_its_row_and_never_quoted(company, tmp_path, case):
    name, column, value = WRONG[case]
    study = spoiled(company, tmp_path / "bad", name, column, value)
    text = ex_cx("run", study, "--out", tmp_path / "runs")
    assert "Error" in text
    assert leaks_of_text(text) == []
    if column != "site":
        assert f"'{column}'" in text
        assert "row 9" in text
    assert leaks_of_folder(tmp_path / "runs") == {}


@pytest.mark.parametrize("spoil", ["a row too wide", "an open quotation", "no workbook"])
def test_a_file_that_cannot_be_read_is_told_without_its_text(company, tmp_path, spoil):
    study = spoiled(company, tmp_path / "bad", "pulse.csv", "mood", "3")
    file = study.with_name("pulse.csv")
    if spoil == "a row too wide":
        file.write_text(file.read_text() + ",".join([*NAMES, *NAMES, "1"]) + "\n")
    elif spoil == "an open quotation":
        file.write_text(file.read_text() + f'"{NAMES[0]},{NAMES[1]}\n{NAMES[3]}\n')
    else:
        file.with_name("pulse.xlsx").write_text(f"{NAMES[0]},{NAMES[1]}\n{NAMES[3]}\n")
        study.write_text(study.read_text().replace("pulse.csv", "pulse.xlsx"))
    text = ex_cx("run", study, "--out", tmp_path / "runs")
    assert text.startswith("SourceError: 'pulse.")
    assert leaks_of_text(text) == []


def test_the_attack_finds_a_quoted_value(company, tmp_path, monkeypatch):
    monkeypatch.setattr(check, "written_like", lambda values: repr(list(values)))
    study = spoiled(company, tmp_path / "bad", "pulse.csv", "mood", NAMES[3])
    with pytest.raises(SchemaError) as caught:
        run_study(study, out=tmp_path / "runs")
    assert leaks_of_text(str(caught.value)) == [NAMES[3]]


def test_the_attack_finds_what_is_hidden_in_files(tmp_path):
    name, mean = NAMES[1], MEANS[0]
    frame = pd.DataFrame({"x": [mean], "y": ["n"]})
    encoded = base64.b64encode(f"<svg>{name}</svg>".encode()).decode()
    (tmp_path / "a.html").write_text(f'<p title="{name}">t</p>')
    (tmp_path / "b.html").write_text(f'<img src="data:image/svg+xml;base64,{encoded}">')
    (tmp_path / "c.json").write_text(json.dumps({"a": hashlib.sha256(name.encode()).hexdigest()}))
    (tmp_path / "d.log").write_text(f"{100 * mean:.3f} %")
    frame.to_csv(tmp_path / "e.csv", index=False)
    frame.to_parquet(tmp_path / "f.parquet")
    frame.rename(columns={"x": "ex_a_n"}).assign(ex_a_n=2).to_parquet(tmp_path / "g.parquet")
    with pd.ExcelWriter(tmp_path / "h.xlsx") as book:
        pd.DataFrame({"x": [1]}).to_excel(book)
        book.book.set_properties({"subject": name})
    figure = Figure()
    figure.text(0.1, 0.5, f"of {name}, {mean:.3f}")
    with rc_context({"pdf.fonttype": 42}):
        figure.savefig(tmp_path / "i.pdf")
    found = leaks_of_folder(tmp_path)
    assert len(found) == 9
    assert set(found["i.pdf"]) == {name.casefold(), f"{mean:.3f}"}
