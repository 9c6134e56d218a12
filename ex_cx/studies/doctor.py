"""What `ex-cx doctor` looks at: all that a study needs, or is quicker or nicer with."""

from __future__ import annotations

import importlib.util
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from ex_cx.studies.manifest import PACKAGES
from ex_cx.studies.printing import BROWSERS

__all__ = ["Finding", "examine"]

OLDEST = (3, 11)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing looked at; without an essential one no study runs."""

    what: str
    good: bool
    essential: bool
    advice: str = ""

    def line(self) -> str:
        """`ok`, `note` or `LACKS`, what was found, and what to do.

        >>> Finding(what="Chromium: not found", good=False, essential=False, advice="x").line()
        'note  Chromium: not found. x'
        """
        mark = "ok" if self.good else "LACKS" if self.essential else "note"
        advice = f". {self.advice}" if self.advice and not self.good else ""
        return f"{mark:<5} {self.what}{advice}"


def examine(out: Path) -> list[Finding]:
    """Python, packages, bytecode, kernels, Chromium, dask; can `out` be written, and locked?"""
    return [
        Finding(
            what=f"Python {platform.python_version()} ({sys.executable})",
            good=sys.version_info >= OLDEST,
            essential=True,
            advice="ex_cx needs 3.11 or newer.",
        ),
        *_packages(),
        _bytecode(),
        _forked(),
        _chromium(),
        _cluster(),
        _writable(out),
        *_locks(out),
    ]


def _packages() -> Iterator[Finding]:
    for name in PACKAGES:
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            advice = "pip install 'ex-cx[study]'"
            yield Finding(what=f"{name}: absent", good=False, essential=True, advice=advice)
        else:
            yield Finding(what=f"{name} {version}", good=True, essential=True)


def _bytecode() -> Finding:
    """Has a big package, which every start imports, cached bytecode?"""
    found = importlib.util.find_spec("pandas")
    source = found.origin if found is not None else None
    cached = bool(source) and Path(importlib.util.cache_from_source(str(source))).is_file()
    return Finding(
        what=f"bytecode: {'cached' if cached else 'not cached, so that every start is slow'}",
        good=cached,
        essential=False,
        advice=f"Compile once: {Path(sys.executable).name} -m compileall -q {sys.prefix}",
    )


def _forked() -> Finding:
    from ex_cx.studies.kernels import can_fork

    found = can_fork()
    return Finding(
        what=f"forked kernels: {'available' if found else 'not available'}",
        good=found,
        essential=False,
        advice="Batches take longer. They need Linux and ex_cx installed by pip as it is now.",
    )


def _chromium() -> Finding:
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    return Finding(
        what=f"Chromium: {path or 'not found'}",
        good=path is not None,
        essential=False,
        advice="Only --pdf needs it (Debian, Ubuntu: apt install chromium).",
    )


def _cluster() -> Finding:
    try:
        version = metadata.version("distributed")
    except metadata.PackageNotFoundError:
        version = ""
    return Finding(
        what=f"distributed: {version or 'not found'}",
        good=bool(version),
        essential=False,
        advice="Only --executor dask needs it: pip install 'ex-cx[dask]'",
    )


def _existing(out: Path) -> Path:
    """`out`, or the nearest folder above it that exists."""
    place = out.absolute()
    while not place.exists():
        place = place.parent
    return place


def _locks(out: Path) -> Iterator[Finding]:
    """Do two runners keep each other out there? Not looked at where nothing can be written."""
    from ex_cx.studies.claims import can_lock

    place = _existing(out)
    try:
        found = can_lock(place)
    except OSError:
        return
    yield Finding(
        what=f"locks on files in {place}: {'held' if found else 'not held'}",
        good=found,
        essential=False,
        advice="Two runners in one folder do not keep each other out there; start one at a time.",
    )


def _writable(out: Path) -> Finding:
    """Can a file be made in `out`, or in the nearest folder above it that exists?"""
    place = _existing(out)
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        what = f"writing to {place}: {error.strerror or error}"
        advice = "Permit it, make room, or name another folder by --out."
        return Finding(what=what, good=False, essential=True, advice=advice)
    return Finding(what=f"writing to {place}: permitted", good=True, essential=True)
