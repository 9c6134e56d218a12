"""A report made again from its own record, and whether the numbers are the same."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ex_cx.errors import RunError, StudyError
from ex_cx.linkage.confidentiality.protect import ReleaseAsked
from ex_cx.linkage.document import Document
from ex_cx.linkage.validation import check, spelled
from ex_cx.linkage.wording import counted
from ex_cx.studies.comparing import estimates_by_term
from ex_cx.studies.data import store_linked
from ex_cx.studies.kernels import execute_notebook, stop_signals_interrupt
from ex_cx.studies.layout import read_json
from ex_cx.studies.manifest import decisive_parts, differences
from ex_cx.studies.parameters import NOTEBOOKS, base_columns, parse_parameters
from ex_cx.studies.plan import PlannedRun
from ex_cx.studies.preparing import link_anew, notebook_path
from ex_cx.studies.records import brief_results, start_manifest
from ex_cx.studies.releasing import REGISTER, read_register
from ex_cx.studies.study import ExtraRun, LoadedStudy, Study
from ex_cx.studies.verifying import read_manifest

__all__ = ["rerun_report", "result_differences"]

TOLERANCE = 1e-9
"""Relative difference up to which two numbers are the same: rounding, by other processors."""
NUMBERS = ("estimate", "std_error", "conf_low", "conf_high", "conf_level")


def rerun_report(
    report: Path,
    data_root: Path,
    *,
    timeout: float | None = None,
    releases: Path | None = None,
) -> tuple[list[str], bool]:
    """Run the notebook of a report again, with its parameters, on its inputs.

    Parameters
    ----------
    report : a report.html, which holds all that is needed but the data; or the folder of a run.
    data_root : folder of the data files, named as in the study. Nothing is written there.
    timeout : seconds that the run may take.
    releases : the register of releases, read only where values of the report are withheld because
        of earlier ones; None means the one beside the reports.

    Returns
    -------
    Lines: what is different today in what decides the result, then `same numbers` or each
    estimate that differs; and whether the numbers are the same.

    Raises
    ------
    RunError : no manifest, one without results or data section, no register where one is needed,
        or the run fails. Else what linking the data raises.
    """
    manifest = read_manifest(report)
    if "results" not in manifest or "data" not in manifest:
        raise RunError(f"{report} did not record enough to be run again; make the report anew.")
    loaded, run = _study_of(manifest)
    asked = _releases_asked(manifest, report, releases)
    with stop_signals_interrupt(), tempfile.TemporaryDirectory(prefix="ex_cx_rerun-") as place:
        folder = Path(place)
        linked, linkage, _ = link_anew(loaded, data_root.absolute(), asked)
        notebook = notebook_path(run.notebook)
        more = linkage.manifest_part()
        today = start_manifest(loaded, run, notebook, linkage.reads, None, more=more)
        stored = store_linked(linked, folder)
        (folder / "run").mkdir()
        places = {"panel_path": str(stored.panel), "run_dir": str(folder / "run")}
        given = {**decisive_parts(manifest)["parameters"], **places}
        execute_notebook(notebook, folder / "out.ipynb", given, timeout=timeout)
        result = read_json(folder / "run" / "result.json")
    if result is None:
        raise RunError(f"The notebook {run.notebook} ended without a result.json.")
    lines = [f"differs today: {line}" for line in differences(manifest, today)]
    wrong = list(result_differences(manifest["results"], brief_results(result)))
    count = len(manifest["results"])
    ending = f"same numbers: {count} estimates" if not wrong else f"{len(wrong)} differences"
    return [*lines, *wrong, ending], not wrong


def _releases_asked(
    manifest: Mapping[str, Any], report: Path, releases: Path | None
) -> ReleaseAsked | None:
    """The releases before the report, if any of its values are withheld because of them."""
    held = manifest.get("earlier_releases")
    if not held:
        return None
    folder = report if report.is_dir() else report.parent
    path = folder.absolute().parent.parent / REGISTER if releases is None else releases
    if not path.is_file():
        raise RunError(
            f"{counted(int(held['withheld']), 'value')} of the report are withheld because of "
            f"earlier releases, and their register is not at {path}. Name it by --releases."
        )
    return ReleaseAsked(past=read_register(path), study=manifest["study"], made="")


def _study_of(manifest: Mapping[str, Any]) -> tuple[LoadedStudy, PlannedRun]:
    """The study that a manifest came from, as far as one run needs it."""
    notebook, values = manifest["notebook"], decisive_parts(manifest)["parameters"]
    if notebook not in NOTEBOOKS:
        raise RunError(f"The report is of a notebook {notebook!r}, which this ex_cx has not.")
    parameters, words = parse_parameters(notebook, values)
    if words:
        raise RunError(f"This ex_cx refuses the report's parameters: {'; '.join(words)}")
    labels = {parameters.segment.partition("=")[0].strip(), values.get("cluster", "")}
    weights = values.get("weights", "")
    columns = [c for c in base_columns(parameters.required_columns()) if c not in labels]
    content = {
        "study": manifest["study"],
        "title": manifest["title"],
        "data": manifest["data"],
        "unit": parameters.unit,
        "period": parameters.period,
        "cluster": values.get("cluster", ""),
        "roles": {"controls": [c for c in columns if c != weights], "weights": weights},
    }
    study, complaints = check(Study, content)
    if study is None:
        told = "; ".join(f"{spelled(place)}: {text}" for place, text in complaints)
        raise StudyError(f"This ex_cx refuses the report's data section: {told}")
    again = study.model_copy(update={"runs": (ExtraRun(notebook=notebook),)})
    document = Document(name="the report", data=content, lines={})
    run = PlannedRun(
        name=manifest["run"],
        notebook=notebook,
        segment=manifest["segment"],
        given=manifest["parameters"]["given"],
        parameters=parameters,
    )
    return LoadedStudy(study=again, path=Path("the report").absolute(), document=document), run


def result_differences(
    before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    """Each number that is not the same in two runs' results, up to rounding."""
    one, other = estimates_by_term(before), estimates_by_term(after)
    yield from (f"{' '.join(key)}: is no longer estimated" for key in one if key not in other)
    yield from (f"{' '.join(key)}: was not in the report" for key in other if key not in one)
    for key in one:
        for name in NUMBERS if key in other else ():
            was, now = one[key].get(name), other[key].get(name)
            if not _is_same(was, now):
                yield f"{' '.join(key)}: {name} was {was}, is {now}"


def _is_same(was: float | None, now: float | None) -> bool:
    if was is None or now is None:
        return was is now
    return math.isclose(was, now, rel_tol=TOLERANCE, abs_tol=1e-12)
