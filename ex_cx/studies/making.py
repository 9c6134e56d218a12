"""One run, from what is asked for to what was made: all that a run needs travels in its spec."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ex_cx.errors import RunError, some
from ex_cx.studies.kernels import execute_notebook
from ex_cx.studies.layout import (
    begin_building,
    discard_failed,
    failed_folder,
    put_in_place,
    read_json,
    write_json,
    write_text,
)
from ex_cx.studies.manifest import (
    FileStamp,
    code_cells_sha256,
    file_sha256,
    installed_sha256,
    package_sha256,
    versions,
)
from ex_cx.studies.preparing import notebook_path
from ex_cx.studies.printing import PDF, print_page
from ex_cx.studies.records import brief_results, finish, hide_places, now, outputs_of, run_log
from ex_cx.studies.unexpected import hide_messages, told_of_error

if TYPE_CHECKING:
    import threading

    from ex_cx.studies.nursery import Nursery

__all__ = ["RunRecord", "RunSpec", "make_run", "publish_run", "record_failure"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """Everything that one run needs, as plain values: it can be made in any process.

    Attributes
    ----------
    run : name of the run and of its folder. notebook : name without `.ipynb`.
    given : parameters that the study decides.
    manifest : all that decides the result, with the key made from it.
    study_dir : folder of the study's reports, which every machine must see at the same path.
    panel : the stored panel, and `files` what must not change while the run goes on.
    timeout : seconds that the run may take.
    pdf : also print the report, as report.pdf.
    only_pdf : the report lies there and is current: it is printed, and nothing else is made.
    """

    run: str
    notebook: str
    given: Mapping[str, Any]
    manifest: Mapping[str, Any]
    study_dir: Path
    panel: Path
    files: Mapping[Path, FileStamp]
    timeout: float | None = None
    pdf: bool = False
    only_pdf: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """What was made of a spec: a report or a failure's log, complete but not yet in place.

    Attributes
    ----------
    status : `printed` is a report that was there, with its PDF made anew.
    built : temporary folder; `publish_run` puts it in place.
    manifest : as it lies in that folder; `reason` is in it when the run failed.
    seconds : time it took.
    """

    run: str
    status: Literal["ok", "printed", "failed"]
    built: Path
    manifest: Mapping[str, Any]
    seconds: float


def make_run(
    spec: RunSpec,
    stop: threading.Event | None = None,
    nursery: Nursery | None = None,
    executed: Callable[[], None] | None = None,
) -> RunRecord:
    """Execute a run's notebook, and lay out its report in a temporary folder of the study's.

    With `only_pdf` no notebook is executed: the report that lies there is copied and printed.

    Parameters
    ----------
    stop : once it is set, the kernel is ended and KeyboardInterrupt raised.
    nursery : makes the kernel, if there is one.
    executed : called when the notebook has come to its end and its kernel is gone; the page is
        still to be laid out.

    Raises
    ------
    OSError : not even a failure can be stored. KeyboardInterrupt : stopped. Nothing is left then.
    """
    manifest = dict(spec.manifest) | {"started": now()}
    started = time.monotonic()
    folder = begin_building(spec.study_dir, spec.run)
    try:
        try:
            _refuse_other_code(spec)
            _refuse_changes(spec)
            if spec.only_pdf:
                manifest = _print_again(spec, folder)
            else:
                manifest["peak_memory_bytes"] = _execute(spec, folder, stop, nursery)
                if executed is not None:
                    executed()
                manifest |= finish("ok", started)
                _complete(spec, manifest, folder)
        except Exception as error:
            manifest = dict(spec.manifest) | {"started": manifest["started"]}
            manifest |= finish("failed", started) | {"reason": told_of_error(error)}
            _keep_log(manifest, folder)
            return _record(spec, "failed", folder, manifest, started)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return _record(spec, "printed" if spec.only_pdf else "ok", folder, manifest, started)


def _record(
    spec: RunSpec,
    status: Literal["ok", "printed", "failed"],
    built: Path,
    manifest: Mapping[str, Any],
    started: float,
) -> RunRecord:
    seconds = round(time.monotonic() - started, 2)
    return RunRecord(run=spec.run, status=status, built=built, manifest=manifest, seconds=seconds)


def record_failure(spec: RunSpec, reason: str) -> RunRecord:
    """The record of a run that was lost on the way, with a log that says so."""
    folder, started = begin_building(spec.study_dir, spec.run), time.monotonic()
    manifest = dict(spec.manifest) | {"started": now()}
    manifest |= finish("failed", started) | {"reason": reason}
    _keep_log(manifest, folder)
    return _record(spec, "failed", folder, manifest, started)


def publish_run(record: RunRecord, final: Path) -> Path:
    """Put what was made in place, at once; a failure's log goes beside the last good report."""
    if record.status == "failed":
        kept = failed_folder(final)
        put_in_place(record.built, kept)
        return kept
    put_in_place(record.built, final)
    discard_failed(final)
    return final


def _refuse_other_code(spec: RunSpec) -> None:
    """What is installed here must be what the manifest says, or the record would be untrue."""
    here = {
        "code of ex_cx": package_sha256(),
        "versions of packages": dict(versions()),
        "code of the notebook": code_cells_sha256(notebook_path(spec.notebook)),
    }
    names = dict(zip(here, ("ex_cx_sha256", "versions", "code_sha256"), strict=True))
    other = [what for what, found in here.items() if found != spec.manifest[names[what]]]
    if other:
        raise RunError(
            f"Where this ran, another installation was found than where the study was begun "
            f"({', '.join(other)}). Install the same there, and start workers anew."
        )


def _refuse_changes(spec: RunSpec) -> None:
    changed = [path.name for path, stamp in spec.files.items() if not stamp.fits(path)]
    if changed:
        raise RunError(
            f"{len(changed)} of {len(spec.files)} data files changed while the study ran "
            f"({some(changed)}), so that nothing of this run was published. Run again when nothing "
            "writes to them."
        )


def _execute(
    spec: RunSpec, folder: Path, stop: threading.Event | None, nursery: Nursery | None
) -> int | None:
    """Run the notebook; the most memory it took."""
    places = {"panel_path": str(spec.panel), "run_dir": str(folder)}
    peak = execute_notebook(
        notebook_path(spec.notebook),
        folder / "notebook.ipynb",
        {**spec.given, **places},
        stop,
        nursery,
        spec.timeout,
    )
    if not (folder / "result.json").is_file():
        raise RunError(
            f"The notebook {spec.notebook} ended without a report: it wrote no result.json."
        )
    return peak


def _complete(spec: RunSpec, manifest: dict[str, Any], folder: Path) -> None:
    """Manifest, log and page, of data that are still the same."""
    from ex_cx.reporting.page import notebook_body, render_page

    executed = folder / "notebook.ipynb"
    result = read_json(folder / "result.json") or {}
    manifest |= {"rows": result.get("counts", {}), "results": brief_results(result)}
    hide_places(executed, {str(folder): ".", str(spec.study_dir): ".."})
    cells = notebook_body(executed)
    if spec.pdf:  # of the page without its own hash, which is not shown
        print_page(render_page(folder, manifest, cells), folder / PDF)
    manifest["outputs"] = outputs_of(folder)
    if installed_sha256() != manifest["ex_cx_sha256"]:
        manifest["changed_meanwhile"] = True
    write_json(folder / "manifest.json", manifest)
    write_text(folder / "run.log", run_log(manifest, executed))
    write_text(folder / "report.html", render_page(folder, manifest, cells))
    _refuse_changes(spec)


def _print_again(spec: RunSpec, folder: Path) -> dict[str, Any]:
    """Copy the report that lies there, print it, and put the PDF on its record; the manifest."""
    from ex_cx.reporting.page import notebook_body, render_page

    shutil.copytree(spec.study_dir / spec.run, folder, dirs_exist_ok=True)
    manifest = read_json(folder / "manifest.json") or {}
    cells = notebook_body(folder / "notebook.ipynb")
    print_page(render_page(folder, manifest, cells), folder / PDF)
    outputs = {**manifest["outputs"], PDF: file_sha256(folder / PDF)}
    manifest["outputs"] = dict(sorted(outputs.items()))
    write_json(folder / "manifest.json", manifest)
    write_text(folder / "report.html", render_page(folder, manifest, cells))
    return manifest


def _keep_log(manifest: Mapping[str, Any], folder: Path) -> None:
    """What is known of a failure, beside the notebook so far; a page of it is not kept."""
    hide_messages(folder / "notebook.ipynb")
    (folder / "report.html").unlink(missing_ok=True)
    write_json(folder / "manifest.json", manifest)
    write_text(folder / "run.log", run_log(manifest, folder / "notebook.ipynb"))
