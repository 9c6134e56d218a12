"""Pages: a run's parts to one self-contained report, a study's runs to one index.

Pages ask nothing of the network, follow light and dark, and print. All of one is read without its
script, which sorts tables and enlarges figures; the page's policy lets no other script run.
"""

from __future__ import annotations

import base64
import hashlib
import html
import itertools
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from ex_cx.reporting.clean import cleaned
from ex_cx.reporting.numbers import count
from ex_cx.reporting.report import SHOWN
from ex_cx.reporting.tables import html_table
from ex_cx.reporting.theme import themed

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup
    from nbconvert import HTMLExporter

__all__ = ["mathml", "notebook_body", "render_page", "report_body"]

VERDICTS = {"clear": "clear", "caution": "caution", "limits": "limits the claim"}
SIGNS = {"clear": "●", "caution": "▲", "limits": "■"}
LIGHTS = {"red": "limits", "amber": "caution", "green": "clear"}
"""Light of a diagnostic, the worst first -> the verdict whose sign and colour it has."""


def render_page(
    run_dir: Path | str, manifest: Mapping[str, Any], notebook_html: str, *, dated: str = ""
) -> str:
    """The report of one run, from the parts that `write_report_parts` left in `run_dir`.

    Parameters
    ----------
    run_dir : holds result.json and figures/.
    manifest : the run's record; shown under Provenance and embedded as JSON.
    notebook_html : the executed notebook, from `notebook_body`; folded away at the end.
    dated : day of the report, for its head; empty takes the manifest's `started`.
    """
    from markupsafe import Markup

    folder = Path(run_dir)
    report = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    svgs = {
        figure["name"]: (folder / "figures" / f"{figure['name']}.svg").read_text(encoding="utf-8")
        for part in (report, *report.get("evidence", ()), *report.get("checks", ()))
        for figure in part["figures"]
    }
    study = str(manifest.get("title") or manifest.get("study") or "")
    day = dated or str(manifest.get("started", ""))[:10]
    record = template("record.html.j2").render(
        **_record(manifest, report.get("counts", {})), notebook=Markup(notebook_html)
    )
    body = Markup(report_body(report, svgs, dated=day, study=study)) + Markup(record)
    return whole_page(report["title"], body, embedded=manifest)


def report_body(
    report: Mapping[str, Any], svgs: Mapping[str, str], *, dated: str = "", study: str = ""
) -> str:
    """Title to method, as HTML: what a notebook shows and what a page is built around."""
    from markupsafe import Markup

    shown = partial(_shown, svgs=svgs, numbers=itertools.count(1), places=itertools.count(1))
    return template("body.html.j2").render(
        report=report,
        main=shown(report),
        evidence=[shown(part) for part in report.get("evidence", ())],
        guards=[{**g, "finding": parts_of(g["finding"])} for g in report["guards"]],
        checks=[shown(part) for part in report.get("checks", ())],
        diagnostics=by_diagnostic(report.get("diagnostics", ())),
        words=VERDICTS,
        signs=SIGNS,
        study=study,
        method=[Markup(mathml(line)) for line in report["method"]],
        dated=dated,
    )


def _shown(
    part: Mapping[str, Any],
    *,
    svgs: Mapping[str, str],
    numbers: Iterator[int],
    places: Iterator[int],
) -> dict[str, Any]:
    """A section, or the report itself, with its figures and tables numbered."""
    from markupsafe import Markup

    figures = [
        {
            "svg": inline_svg(svgs[figure["name"]], figure["alt"]),
            "caption": figure["caption"],
            "number": next(numbers),
        }
        for figure in part["figures"]
    ]
    tables = [
        Markup(
            html_table(
                pd.DataFrame(table["rows"], columns=table["columns"]),
                table["caption"],
                text_columns=table["text_columns"],
                answer_rows=table["answer_rows"],
                name=f"Table {next(places)}",
            )
        )
        for table in part["tables"]
    ]
    return {**part, "figures": figures, "tables": tables}


def by_diagnostic(lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Diagnostics as one row each, the worst light of its lines, and the line that sums them up.

    >>> lines = [{"diagnostic": "Leverage", "asks": "", "reading": text, "light": light}
    ...          for text, light in (("x: fine", "green"), ("z: odd", "amber"))]
    >>> found = by_diagnostic(lines)
    >>> found["rows"][0]["readings"], found["rows"][0]["light"], found["fold"]
    (['x: fine', 'z: odd'], 'amber', 'Diagnostics: 1 amber (Leverage)')
    """
    rows = []
    for name in dict.fromkeys(line["diagnostic"] for line in lines):
        own = [line for line in lines if line["diagnostic"] == name]
        light = min((line["light"] for line in own), key=list(LIGHTS).index)
        rows.append(
            {
                "name": name,
                "asks": own[0]["asks"],
                "readings": [line["reading"] for line in own],
                "light": light,
                "verdict": LIGHTS[light],
            }
        )
    told = []
    for light in LIGHTS:
        names = [row["name"] for row in rows if row["light"] == light]
        listed = f" ({', '.join(names)})" if light != "green" else ""
        told += [f"{len(names)} {light}{listed}"] if names else []
    return {"rows": rows, "fold": f"Diagnostics: {', '.join(told)}"}


def notebook_view(report: Mapping[str, Any], svgs: Mapping[str, str]) -> str:
    """The report as an output of a notebook: on a light sheet, its style held to itself."""
    css = _text("style.css").replace("color-scheme: light dark", "color-scheme: light")
    css = re.sub(
        r"@media screen and \(prefers-color-scheme: dark\) \{.*?\}\s*\}", "", css, flags=re.S
    )
    css = re.sub(r"@page *\{(?:[^{}]|\{[^{}]*\})*\}", "", css)
    css = re.sub(r"(?<![\w.-])(?::root|body)(?= *\{)", "&", css)
    style = f".ex-cx.ex-cx.ex-cx {{ {css} }} .ex-cx {{ padding: 1rem 1.25rem; max-width: 51rem; }}"
    body = report_body(report, svgs)
    return f'{SHOWN}<div class="ex-cx"><style>{style}</style><div>{body}</div></div>'


def parts_of(finding: str) -> list[str]:
    """A finding as paragraphs: split at semicolons, but not within brackets.

    >>> parts_of("x: clear (1 lost; 2 odd); z: odd.")
    ['x: clear (1 lost; 2 odd)', 'z: odd.']
    """
    return re.split(r"; (?![^()]*\))", finding)


def whole_page(title: str, body: Markup, *, embedded: Mapping[str, Any] | None = None) -> str:
    """A page around `body`; `embedded` lies in it as JSON that no label can break out of."""
    from markupsafe import Markup

    data = Markup("")
    if embedded is not None:
        text = json.dumps(embedded, ensure_ascii=False, sort_keys=True)
        for sign in "<>&\u2028\u2029":
            text = text.replace(sign, f"\\u{ord(sign):04x}")
        data = Markup('<script type="application/json" id="manifest">{}</script>').format(
            Markup(text)
        )
    script = _text("page.js")
    return template("page.html.j2").render(
        title=title,
        css=Markup(_text("style.css")),
        body=body,
        data=data,
        script=Markup(script),
        script_hash=f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}",
    )


def notebook_body(path: Path | str) -> str:
    """The cells of an executed notebook as HTML: code folded, outputs open, formulae as MathML.

    Outputs keep their tables and text; scripts, styles and links are left out. A report that the
    notebook shows is not repeated.
    """
    import nbformat
    from nbconvert import TemplateExporter

    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = mathml(cell.source, escape=False)
        for output in cell.get("outputs", []):
            _harmless(output)
    with _ONE_AT_A_TIME:  # HTMLExporter's own would parse the page again, for what is here already
        body, _ = TemplateExporter.from_notebook_node(_exporter(), notebook)
    return _named(_demoted(body))


_ONE_AT_A_TIME = threading.Lock()


@cache
def _exporter() -> HTMLExporter:
    """Made once: its templates are compiled when they are first used."""
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(
        template_file=str(files("ex_cx.reporting") / "templates" / "notebook.html.j2"),
        exclude_anchor_links=True,
        optimistic_validation=True,  # once, not around every step that is switched off
    )
    exporter.register_filter("cleaned", cleaned)
    return exporter


_SENTENCE = re.compile(r"<td>([^<]{41,})</td>")
"""A cell of words, which is read from the left and may have several lines."""


def _harmless(output: Any) -> None:
    """Make an output's HTML safe and its drawings pictures, in place."""
    data = output.get("data", {})
    if "text/html" in data:
        shown = "<p>The report above.</p>" if SHOWN in data["text/html"] else data["text/html"]
        data["text/html"] = _SENTENCE.sub(r'<td class="l"><span>\1</span></td>', cleaned(shown))
    if "image/svg+xml" in data:
        alt = output.get("metadata", {}).get("image/svg+xml", {}).get("alt", "")
        drawing = base64.b64encode(data.pop("image/svg+xml").encode()).decode()
        data["text/html"] = (
            f'<img alt="{html.escape(alt or "Figure of the notebook")}" '
            f'src="data:image/svg+xml;base64,{drawing}">'
        )


def mathml(text: str, *, escape: bool = True) -> str:
    r"""Text with its `$...$` and `$$...$$` turned into MathML, the rest escaped.

    A dollar before a space, after one or behind a backslash is money, code between backticks stays
    code, and what cannot be read as a formula stays as it is written.

    >>> mathml("a < b"), mathml("\\$5 or $6 a day"), "<math" in mathml("slope $\beta$")
    ('a &lt; b', '$5 or $6 a day', True)
    """
    plain = _escaped if escape else str
    parts = _FORMULA.split(text)
    parts[1::2] = [_formula(part, plain) for part in parts[1::2]]
    parts[0::2] = map(plain, parts[0::2])
    return "".join(parts)


_FORMULA = re.compile(
    r"""( ```.*?``` | `[^`\n]+` | \$\$.+?\$\$ | (?<!\\)\$(?![\s$])[^$\n]*(?<![\s\\])\$(?!\d) )""",
    flags=re.DOTALL | re.VERBOSE,
)


def _formula(part: str, plain: Callable[[str], str]) -> str:
    from latex2mathml.converter import convert

    if part.startswith("`"):
        return plain(part)
    try:
        shown = convert(
            part.strip("$").strip(), display="block" if part.startswith("$$") else "inline"
        )
    except Exception:  # its parser raises as it likes on what is no formula, such as a label
        return plain(part)
    return cleaned(shown)


def _escaped(text: str) -> str:
    return html.escape(text.replace("\\$", "$"), quote=False)


def _demoted(body: str) -> str:
    """Headings one level down from h3, so that the page keeps a single h1 and its outline."""
    return re.sub(r"<(/?)h([1-4])(?=[\s>])", lambda m: f"<{m[1]}h{min(int(m[2]) + 2, 6)}", body)


def _named(body: str) -> str:
    """Each output a region of its own name, and corners of tables cells instead of headers."""
    places = itertools.count(1)
    body = re.sub('aria-label="Output"', lambda _: f'aria-label="Output {next(places)}"', body)
    return re.sub(r"<th[^>]*></th>", "<td></td>", body)


def inline_svg(svg: str, alt: str) -> Markup:
    """An SVG for the page: it follows the page's colours and says its alt text."""
    from markupsafe import Markup

    name = html.escape(alt, quote=True)
    opened = re.sub(r"<svg ", f'<svg role="img" aria-label="{_sub(name)}" ', svg, count=1)
    sized = re.sub(r'(<svg [^>]*?) width="[^"]*"', r"\1", opened, count=1)
    sized = re.sub(r'(<svg [^>]*?) height="[^"]*"', r"\1", sized, count=1)
    return Markup(themed(re.sub(r"<metadata>.*?</metadata>", "", sized, flags=re.DOTALL)))


def _sub(text: str) -> str:
    return text.replace("\\", "\\\\")


def _record(manifest: Mapping[str, Any], counts: Mapping[str, Any]) -> dict[str, Any]:
    """What Provenance shows of a manifest and of a report's counts."""
    facts = [
        ("study", manifest.get("study", "")),
        ("run", manifest.get("run", "")),
        ("notebook", f"{manifest.get('notebook', '')}, code {_short(manifest, 'code_sha256')}"),
        ("seed", manifest.get("seed")),
        ("git revision", manifest.get("git_revision")),
        ("started", manifest.get("started")),
        ("wall time", f"{manifest.get('wall_seconds', '')} s"),
        *((name, count(v) if isinstance(v, int) else v) for name, v in counts.items()),
    ]
    parameters = manifest.get("parameters", {})
    inputs = manifest.get("inputs", {})
    named = inputs.items() if isinstance(inputs, Mapping) else enumerate(inputs)
    return {
        "facts": [(name, value) for name, value in facts if value not in (None, "")],
        "inputs": [(name, _one_line(value)) for name, value in named],
        "groups": [
            ("Parameters given", _pairs(parameters.get("given", {}))),
            ("Parameters left at their defaults", _pairs(parameters.get("defaulted", {}))),
            ("Versions", _pairs(manifest.get("versions", {}))),
        ],
    }


def _short(manifest: Mapping[str, Any], key: str) -> str:
    return str(manifest.get(key, ""))[:12]


def _pairs(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(str(name), _one_line(value)) for name, value in values.items()]


def _one_line(value: Any) -> str:
    if isinstance(value, str):
        return value or "(empty)"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_one_line(part)}" for name, part in value.items())
    if isinstance(value, Sequence):
        return ", ".join(map(_one_line, value)) or "(none)"
    return str(value)


def _text(name: str) -> str:
    return (files("ex_cx.reporting") / "templates" / name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FunctionLoader

    return Environment(
        loader=FunctionLoader(_text), autoescape=True, trim_blocks=True, keep_trailing_newline=False
    )


def template(name: str) -> Any:
    """The Jinja template of that name; what it is given is escaped unless it is Markup."""
    return _environment().get_template(name)
