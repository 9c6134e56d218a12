"""Errors that nobody foresaw: what is told of them without their text, which may quote the data.

Errors of ours say what was found without quoting a value. Those of other packages do quote
("could not convert string to float: ..."), so that only their kind and their place are told, on the
terminal, in logs and in the notebooks of failed runs. Who sets `EX_CX_TRACEBACK` sees all of it.
"""

from __future__ import annotations

import json
import os
import re
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ex_cx import errors
from ex_cx.errors import ExCxError

__all__ = [
    "SOFTWARE",
    "VARIABLE",
    "hide_messages",
    "told_of_cell",
    "told_of_error",
    "unexpected_lines",
]

VARIABLE = "EX_CX_TRACEBACK"
SOFTWARE = 70
"""Exit code of an error in the program itself, as `sysexits.h` has it."""
_PACKAGE = Path(errors.__file__).resolve().parent
_OURS = frozenset(name for name in errors.__all__ if name.endswith("Error"))
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_FRAME = re.compile(r"^(?:File )(.+?):(\d+)(?:, in (\w+|<\w+>))?", flags=re.MULTILINE)
_CHAINED = ("direct cause of the following", "another exception occurred")
_HIDDEN = "its text may hold values of the data and is not kept"


def told_of_error(error: BaseException) -> str:
    """One line: an error of ours in its words, another by its kind and its place.

    >>> told_of_error(errors.RankError("It is not identified."))
    'It is not identified.'
    >>> try:
    ...     int("Ann Lee")
    ... except ValueError as wrong:
    ...     told_of_error(wrong)
    'ValueError (its text may hold values of the data and is not kept; EX_CX_TRACEBACK=1 keeps it)'
    """
    if isinstance(error, ExCxError):
        return str(error)
    if _is_wished() or _is_of_system(type(error).__name__, str(error)):
        return f"{type(error).__name__}: {error}"
    frames = traceback.extract_tb(error.__traceback__)
    return _without_text(
        type(error).__name__, [(f.filename, f.lineno or 0, f.name) for f in frames]
    )


def told_of_cell(name: str, text: str, lines: str | Sequence[str]) -> str:
    """The same of an error in a cell of a notebook, by its name, text and traceback as shown.

    What the cell itself raises is in its author's words, and kept.
    """
    shown = lines if isinstance(lines, str) else "\n".join(lines)
    return (
        f"{name}: {text}" if _may_stay(name, text, shown) else _without_text(name, _frames(shown))
    )


def hide_messages(notebook: Path) -> None:
    """Take texts that may quote the data out of the errors of an executed notebook, if it exists.

    Of a traceback with an error behind the error only the places stay. A notebook that was cut off
    while it was written is removed.
    """
    if _is_wished() or not notebook.is_file():
        return
    try:
        content = json.loads(notebook.read_text(encoding="utf-8"))
    except ValueError:
        notebook.unlink()
        return
    outputs = [o for cell in content["cells"] for o in cell.get("outputs", ())]
    failed = [output for output in outputs if output.get("output_type") == "error"]
    changed = [_hide(output) for output in failed]
    if any(changed):
        text = json.dumps(content, indent=1, ensure_ascii=False)
        notebook.write_text(text + "\n", encoding="utf-8")


def unexpected_lines(error: BaseException) -> Iterator[str]:
    """What the terminal shows of an error that nobody foresaw."""
    if _is_wished():
        yield "".join(traceback.format_exception(error)).rstrip()
        yield "This may hold values of your data: read it before you pass it on."
        return
    yield f"This is an error in ex_cx, not in your study: {told_of_error(error)}."
    yield "Reports in place are whole. Please tell its authors this line, the versions that"
    yield f"`ex-cx doctor` prints and what you did. {VARIABLE}=1 shows the whole traceback here."


def _is_wished() -> bool:
    return os.environ.get(VARIABLE, "") not in ("", "0")


def _may_stay(name: str, text: str, shown: str) -> bool:
    """Is it a wish, the cell's own error, or one of ours, which is raised in our package?"""
    frames = _frames(shown)
    ours = bool(frames) and name in _OURS and _is_here(frames[-1][0])
    return _is_wished() or not frames or ours or _is_of_system(name, text)


def _is_of_system(name: str, text: str) -> bool:
    """Is it an error of the system, such as a full disk? Its text names files, no values."""
    return name.endswith("Error") and text.startswith("[Errno ")


def _frames(shown: str) -> list[tuple[str, int, str]]:
    """File, line and function of the frames in a traceback of IPython, but for those of cells."""
    found = _FRAME.findall(_COLOUR.sub("", shown))
    return [(path, int(line), function) for path, line, function in found]


def _is_here(path: str) -> bool:
    try:
        return Path(path).expanduser().resolve().is_relative_to(_PACKAGE)
    except (OSError, RuntimeError, ValueError):  # no path at all
        return False


def _without_text(name: str, frames: Sequence[tuple[str, int, str]]) -> str:
    ours = [frame for frame in frames if _is_here(frame[0])]
    place = f" in {_place(ours[-1])}" if ours else ""
    return f"{name}{place} ({_HIDDEN}; {VARIABLE}=1 keeps it)"


def _place(frame: tuple[str, int, str]) -> str:
    path, line, function = frame
    within = Path(path).expanduser().resolve()
    shown = within.relative_to(_PACKAGE.parent).as_posix() if _is_here(path) else within.name
    return f"{shown}:{line}" + (f", {function}" if function else "")


def _hide(output: dict[str, Any]) -> bool:
    """Take the texts out of one error; whether there was something to take."""
    name, shown = str(output.get("ename", "")), "\n".join(output.get("traceback", ()))
    stays = _may_stay(name, str(output.get("evalue", "")), shown)
    plain = _COLOUR.sub("", shown)
    if stays and not any(mark in plain for mark in _CHAINED):
        return False
    if not stays:
        output["evalue"] = _HIDDEN
    places = [_place(frame) for frame in _frames(shown)]
    output["traceback"] = [*places, f"{name}: {output.get('evalue', '')}"]
    return True
