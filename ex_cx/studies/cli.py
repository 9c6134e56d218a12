"""The command line: `ex-cx demo | simulate | check | run`. What a command needs it imports late."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

try:
    import typer
except ModuleNotFoundError:
    message = "ex-cx needs more packages than the functions do: pip install 'ex-cx[study]'"
    raise SystemExit(message) from None

from ex_cx.errors import ExCxError

if TYPE_CHECKING:
    from ex_cx.studies.runner import Progress, RunOutcome, StudyOutcome

__all__ = ["app", "main"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Link employee experience to customer outcomes: data in, study report out.",
)

Jobs = Annotated[int, typer.Option(min=1, help="Reports made at a time, each in its own process.")]
Out = Annotated[Path, typer.Option(help="Folder that receives the reports.")]
DataRoot = Annotated[
    Path | None, typer.Option(help="Folder of the data files; default: the study file's own.")
]
INTERRUPTED = 130


@app.command()
def demo(out: Out = Path("runs")) -> None:
    """Run the study that comes with ex_cx: a simulated contact centre."""
    from ex_cx.linkage.sources import shared_path

    with _ending():
        _run(shared_path("data", "contact_centre", "study.yaml"), None, out, jobs=2)


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
    from ex_cx.studies.simulating import write_simulated_study

    with _ending():
        for path in write_simulated_study(
            out, n_units=units, n_periods=periods, seed=seed, reverse=reverse
        ):
            typer.echo(_short(path))


@app.command()
def check(path: Path, data_root: DataRoot = None) -> None:
    """Check a study file and its data, or tell how a table would be read; nothing is run."""
    from ex_cx.studies.checking import check_study, check_table_file

    with _ending():
        is_study = path.suffix.lower() in (".yaml", ".yml")
        for line in check_study(path, data_root) if is_study else check_table_file(path):
            typer.echo(line)


@app.command()
def run(study: Path, data_root: DataRoot = None, out: Out = Path("runs"), jobs: Jobs = 1) -> None:
    """Run a study file: what is unchanged is skipped, one failing report never stops the others."""
    with _ending():
        _run(study, data_root, out, jobs)


def main() -> None:
    """Entry point of the `ex-cx` command."""
    app()


@contextlib.contextmanager
def _ending() -> Iterator[None]:
    """Errors a user can act on are one message and exit code 2; an interrupt is 130."""
    try:
        yield
    except ExCxError as error:
        typer.echo(f"{type(error).__name__}: {error}", err=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        typer.echo("Interrupted; what is in place is whole. Run again to go on.", err=True)
        raise typer.Exit(INTERRUPTED) from None


def _run(study: Path, data_root: Path | None, out: Path, jobs: int) -> None:
    from ex_cx.studies.runner import run_study

    with _narration() as notify:
        outcome = run_study(study, data_root=data_root or "", out=out, jobs=jobs, notify=notify)
    for line in _closing(outcome):
        typer.echo(line)
    raise typer.Exit(outcome.exit_code)


@contextlib.contextmanager
def _narration() -> Iterator[Callable[[Progress], None]]:
    """How progress is told: a bar on a terminal, one plain line a run otherwise."""
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        yield lambda progress: _plain_line(progress, typer.echo)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = (SpinnerColumn(), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("linking the sources", total=None)

        def show(progress: Progress) -> None:
            bar.update(task, total=progress.total, description=progress.run)
            bar.advance(task, 0 if progress.outcome is None else 1)
            _plain_line(progress, console.print)

        yield show


def _plain_line(progress: Progress, write: Callable[[str], None]) -> None:
    if progress.outcome is not None:
        width = len(str(progress.total))
        count = f"[{progress.position:>{width}}/{progress.total}]"
        write(f"{count} {progress.run}: {_state(progress.outcome)}")


def _state(outcome: RunOutcome) -> str:
    if outcome.status == "unchanged":
        return "unchanged, skipped"
    if outcome.status == "ok":
        return f"done in {outcome.seconds:.1f} s"
    return f"FAILED after {outcome.seconds:.1f} s: {outcome.reason}"


def _closing(outcome: StudyOutcome) -> Iterator[str]:
    failed = [run for run in outcome.runs if run.status == "failed"]
    if failed:
        yield f"{len(failed)} of {len(outcome.runs)} runs failed; their logs:"
        yield from (f"  {_short(run.folder / 'run.log')}" for run in failed)
    yield _short(outcome.index)


def _short(path: Path) -> str:
    """A path below the working folder without it."""
    whole = path.absolute()
    here = Path.cwd()
    return str(whole.relative_to(here) if whole.is_relative_to(here) else whole)
