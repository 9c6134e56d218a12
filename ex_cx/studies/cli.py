"""The command line. What a command needs it imports late, so that `--help` answers at once."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

try:
    import typer
except ModuleNotFoundError:
    message = "ex-cx needs more packages than the functions do: pip install 'ex-cx[study]'"
    raise SystemExit(message) from None

from ex_cx.errors import ExCxError
from ex_cx.studies.threads import SELDOM, one_thread

__all__ = ["app", "main"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Link employee experience to customer outcomes: data in, study report out.",
)

Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        "-j",
        min=1,
        help="Reports made at a time, each in its own process; default: 1, on a cluster all.",
    ),
]
OfShard = Annotated[
    str, typer.Option("--shard", help="i/n: the i-th of n parts; all may run at the same time.")
]
Out = Annotated[Path, typer.Option(help="Folder that receives the reports.")]
DataRoot = Annotated[
    Path | None, typer.Option(help="Folder of the data files; default: the study file's own.")
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
INTERRUPTED = 130
ADDRESSES = "rfc3987_syntax"
"""Parses international addresses for jsonschema, which takes 1 to 2 s to import; no notebook has
any that are checked."""


@app.command()
def demo(out: Out = Path("runs")) -> None:
    """Run the study that comes with ex_cx: a simulated contact centre."""
    from ex_cx.linkage.sources import shared_path

    run(shared_path("data", "contact_centre", "study.yaml"), out=out, jobs=2)


@app.command()
def simulate(
    out: Annotated[Path, typer.Option(help="Folder to write; it must not exist or be empty.")],
    units: Annotated[int, typer.Option(min=2, help="Number of teams.")] = 48,
    periods: Annotated[int, typer.Option(min=2, help="Number of months.")] = 24,
    seed: Annotated[int, typer.Option(min=0, help="Equal seeds give equal files.")] = 20240501,
    reverse: Annotated[
        float, typer.Option(help="Effect of last month's NPS on engagement; 0 switches it off.")
    ] = 0.0,
) -> None:
    """Write the five exports of a simulated contact centre, and a study file for them."""
    from ex_cx.studies.narration import short
    from ex_cx.studies.simulating import write_simulated_study

    with _ending():
        for path in write_simulated_study(
            out, n_units=units, n_periods=periods, seed=seed, reverse=reverse
        ):
            typer.echo(short(path))


@app.command()
def new(
    folder: Annotated[Path, typer.Argument(help="Folder to write; it must not exist or be empty.")],
    data: Annotated[Path, typer.Option(help="Table with one row per unit and period.")],
) -> None:
    """Begin a study around a table of your own; what is guessed is marked."""
    from ex_cx.studies.scaffold import scaffold_study

    with _ending():
        for line in scaffold_study(folder, data):
            typer.echo(line)


@app.command("map")
def map_file(
    path: Annotated[Path, typer.Argument(help="CSV, Parquet or Excel file of a system.")],
    out: Annotated[
        Path | None, typer.Option(help="File to write; it must not exist. Default: stdout.")
    ] = None,
) -> None:
    """Propose a mapping file for a system's export; what is guessed is marked, nothing is asked."""
    from ex_cx.studies.proposing import propose_for_file

    with _ending():
        text, told = propose_for_file(path, out)
        if out is None:
            typer.echo(text, nl=False)
        for line in told:
            typer.echo(line, err=True)


@app.command()
def check(path: Path, data_root: DataRoot = None) -> None:
    """Check a study file and its data, or tell how a table would be read; nothing is run."""
    from ex_cx.studies.checking import check_study, check_table_file

    with _ending():
        is_study = path.suffix.lower() in (".yaml", ".yml")
        for line in check_study(path, data_root) if is_study else check_table_file(path):
            typer.echo(line)


@app.command()
def run(
    study: Path,
    data_root: DataRoot = None,
    out: Out = Path("runs"),
    jobs: Jobs = None,
    only: Annotated[str, typer.Option(help="Only runs whose name fits, such as 'med*'.")] = "",
    shard: OfShard = "",
    executor: Annotated[str, typer.Option(help="Where runs are made: here, or dask.")] = "here",
    scheduler: Annotated[
        str, typer.Option(help="Address of the dask scheduler, such as tcp://host:8786.")
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Also what is current.")] = False,
    fail_fast: Annotated[
        bool, typer.Option("--fail-fast", help="Start no further run after a failure.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell what would run, and why; write nothing.")
    ] = False,
    timeout: Annotated[
        float | None, typer.Option(min=0.1, help="Seconds that one run may take.")
    ] = None,
    pdf: Annotated[
        bool, typer.Option("--pdf", help="Also print each report as report.pdf, by Chromium.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run a study file: what is unchanged is skipped, one failing report never stops the others."""
    from ex_cx.studies import narration

    with _ending(as_json):
        if dry_run:
            from ex_cx.studies.telling import planned_lines

            for line in planned_lines(
                study, data_root, out, only=only, shard=shard, force=force, pdf=pdf, as_json=as_json
            ):
                typer.echo(line)
            return
        from ex_cx.studies.runner import Executor, run_study

        where = Executor(kind=executor, scheduler=scheduler)
        with narration.narration(sys.stderr if as_json else sys.stdout) as notify:
            outcome = run_study(
                study,
                data_root=data_root or "",
                out=out,
                jobs=jobs,
                only=only,
                shard=shard,
                executor=where,
                force=force,
                fail_fast=fail_fast,
                timeout=timeout,
                pdf=pdf,
                notify=notify,
            )
        told = [narration.outcome_json(outcome)] if as_json else narration.closing(outcome)
        for line in told:
            typer.echo(line)
        raise typer.Exit(outcome.exit_code)


@app.command()
def status(
    study: Path,
    data_root: DataRoot = None,
    out: Out = Path("runs"),
    gather: Annotated[
        bool, typer.Option("--gather", help="Also write the index and results anew; runs nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Tell of each run whether it is current, stale (and why), failed or missing."""
    from ex_cx.studies.telling import status_lines

    with _ending(as_json):
        for line in status_lines(study, data_root, out, gather=gather, as_json=as_json):
            typer.echo(line)


@app.command()
def verify(folder: Path, data_root: DataRoot = None) -> None:
    """Hash a run's files again, its inputs too with --data-root; exit 1 if anything differs."""
    from ex_cx.studies.verifying import verify_run

    with _ending():
        lines, good = verify_run(folder, data_root)
        for line in lines:
            typer.echo(line)
        raise typer.Exit(int(not good))


@app.command()
def rerun(
    report: Annotated[Path, typer.Argument(help="A report.html, or the folder of a run.")],
    data_root: Annotated[Path, typer.Option(help="Folder of the data files.")],
    timeout: Annotated[
        float | None, typer.Option(min=0.1, help="Seconds that the run may take.")
    ] = None,
    releases: Annotated[
        Path | None,
        typer.Option(help="Register of releases, if it is not beside the reports."),
    ] = None,
) -> None:
    """Run again what a report came from, and tell whether the numbers are the same."""
    from ex_cx.studies.rerunning import rerun_report

    with _ending():
        lines, same = rerun_report(report, data_root, timeout=timeout, releases=releases)
        for line in lines:
            typer.echo(line)
        raise typer.Exit(int(not same))


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs, or their report.html.")],
    pool: Annotated[
        bool, typer.Option("--pool", help="Pool two runs too; three or more always are.")
    ] = False,
) -> None:
    """Two runs side by side; more, or with --pool, pooled: segments, or runs of different data."""
    from ex_cx.errors import RunError
    from ex_cx.studies.comparing import compare_runs, pool_runs

    with _ending():
        if len(runs) < 2:
            raise RunError(f"There is one run, {runs[0]}; name a second one to compare it with.")
        for line in pool_runs(runs) if pool or len(runs) > 2 else compare_runs(*runs):
            typer.echo(line)


@app.command()
def releases(
    study: Path,
    data_root: DataRoot = None,
    out: Out = Path("runs"),
    forget: Annotated[
        str, typer.Option(help="Take a release out, by the beginning of its name; or all.")
    ] = "",
) -> None:
    """Tell which releases of a study the register holds; what is taken back can be forgotten."""
    from ex_cx.studies.releasing import release_lines

    with _ending():
        for line in release_lines(study, data_root, out, forget):
            typer.echo(line)


@app.command()
def doctor(out: Out = Path("runs")) -> None:
    """Tell whether everything that a study needs is here; exit 1 if something essential lacks."""
    from ex_cx.studies.doctor import examine

    findings = examine(out)
    for finding in findings:
        typer.echo(finding.line())
    raise typer.Exit(int(any(finding.essential and not finding.good for finding in findings)))


def main() -> None:
    """Entry point of the `ex-cx` command."""
    os.environ.update(one_thread())  # before anything imports numpy
    gc.set_threshold(SELDOM, 20, 20)
    sys.modules.setdefault(ADDRESSES, None)  # type: ignore[arg-type]  # as if not installed
    try:
        app()
    except Exception as error:  # nobody foresaw it
        sys.exit(_tell_unexpected(error))
    finally:
        if "_duckdb" not in sys.modules:  # which tells of all that is frozen as a leak
            gc.freeze()  # or the end would look at all that was imported once more: half a second


@contextlib.contextmanager
def _ending(as_json: bool = False) -> Iterator[None]:
    """Errors a user can act on are one message and exit code 2; an interrupt is 130."""
    try:
        yield
    except ExCxError as error:
        typer.echo(f"{type(error).__name__}: {error}", err=True)
        _echo_error(as_json, f"{type(error).__name__}: {error}", 2)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        message = "Interrupted; what is in place is whole. Run again to go on."
        typer.echo(message, err=True)
        _echo_error(as_json, message, INTERRUPTED)
        raise typer.Exit(INTERRUPTED) from None


def _tell_unexpected(error: Exception) -> int:
    from ex_cx.studies.unexpected import SOFTWARE, unexpected_lines

    lines = list(unexpected_lines(error))
    for line in lines:
        typer.echo(line, err=True)
    _echo_error("--json" in sys.argv, "\n".join(lines), SOFTWARE)
    return SOFTWARE


def _echo_error(as_json: bool, message: str, code: int) -> None:
    if as_json:
        import json

        typer.echo(json.dumps({"error": message, "exit_code": code, "runs": []}, indent=2))
