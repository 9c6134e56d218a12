"""What `ex-cx map` does: a mapping proposed for a file, and whether it reads the file."""

from __future__ import annotations

import tempfile
from pathlib import Path

from ex_cx.errors import ExCxError, StudyError
from ex_cx.linkage.wording import counted

__all__ = ["propose_for_file"]


def propose_for_file(path: Path, out: Path | None = None) -> tuple[str, list[str]]:
    """The proposal's text, and lines about what it reads of the file.

    Parameters
    ----------
    path : the export.
    out : file to write; it must not exist. None: nothing is written.

    Raises
    ------
    StudyError : `out` exists, or cannot be written.
    SourceError : the export cannot be read as a table.
    """
    from ex_cx.linkage.exportmaps.draft import propose_mapping

    if out is not None and (out.exists() or out.is_symlink()):
        raise StudyError(f"{out} exists, and is not written over. Name another file with --out.")
    text = propose_mapping(path)
    told = [*([] if out is None else [f"written: {out}"]), *_read_by(text, path)]
    if out is not None:
        try:
            with out.open("x", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise StudyError(f"{out} cannot be written: {error.strerror or error}.") from error
    return text, told


def _read_by(text: str, path: Path) -> list[str]:
    """What the proposal makes of the whole file."""
    from ex_cx.linkage.exportmaps.file import read_mapping
    from ex_cx.linkage.sources import read_table

    with tempfile.TemporaryDirectory(prefix="ex_cx_map-") as folder:
        place = Path(folder) / "proposal.yaml"
        place.write_text(text, encoding="utf-8")
        mapping = read_mapping(place)
    guesses = counted(text.count("# guess"), "guess", "guesses")
    try:
        table = read_table(path, mapping=mapping)
    except ExCxError as error:
        return [f"It does not read the file yet: {error}", f"{guesses} to check."]
    n, kept = table.report.rows, len(table.frame)
    lines = [
        f"It reads {kept:,} of {counted(n, 'row')} into {counted(table.frame.shape[1], 'column')}."
    ]
    lines += [f"left out, {reason}: {counted(lost, 'row')}" for reason, lost in table.lost]
    return [*lines, f"{guesses} to check."]
