"""A report as PDF, printed by the Chromium of this machine; the same page gives the same bytes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from ex_cx.errors import RunError

__all__ = ["BROWSERS", "PDF", "find_browser", "print_page"]

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PDF = "report.pdf"
"""Name of a printed report in the folder of its run."""
LONGEST = 120
"""Seconds that one page may take."""
_FLAGS = (
    *("--headless", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-extensions", "--no-pdf-header-footer", "--hide-scrollbars"),
)
_DATES = re.compile(rb"(/(?:CreationDate|ModDate) \(D:)[0-9]{14}")
_EPOCH = rb"\g<1>20000101000000"


def find_browser() -> str:
    """Where the browser that prints lies.

    Raises
    ------
    RunError : there is none.
    """
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        raise RunError(
            f"--pdf needs Chromium, and none of {', '.join(BROWSERS)} is on the search path. "
            "Install one (Debian, Ubuntu: apt install chromium), or leave out --pdf; a browser "
            "prints a report.html as well."
        )
    return found


def print_page(page: str, pdf: Path) -> None:
    """Print a page's HTML into the file `pdf`; dates in it are set to a fixed day.

    Raises
    ------
    RunError : no Chromium, or one that fails or takes more than two minutes.
    """
    browser = find_browser()
    with tempfile.TemporaryDirectory(prefix="ex_cx_print-") as place:
        source, made = Path(place, "report.html"), Path(place, "report.pdf")
        source.write_text(page, encoding="utf-8")
        # Chromium refuses its sandbox to root; the page runs no script but its own.
        as_root = ["--no-sandbox"] if getattr(os, "geteuid", lambda: 1)() == 0 else []
        command = [
            *(browser, *_FLAGS, *as_root, f"--user-data-dir={place}/profile"),
            *(f"--print-to-pdf={made}", source.as_uri()),
        ]
        told = _run(command)
        if not made.is_file() or not made.read_bytes().startswith(b"%PDF"):
            raise RunError(
                f"{browser} printed no PDF: {told or 'it gave no reason'}. Leave out --pdf, or "
                "print report.html from a browser."
            )
        pdf.write_bytes(_DATES.sub(_EPOCH, made.read_bytes()))


def _run(command: list[str]) -> str:
    """Run it to its end; the last line that it said."""
    try:
        done = subprocess.run(command, capture_output=True, timeout=LONGEST, check=False)
    except subprocess.TimeoutExpired:
        raise RunError(
            f"{command[0]} took more than {LONGEST} s to print a page and was ended. Leave out "
            "--pdf, or print report.html from a browser."
        ) from None
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    return lines[-1][-200:] if lines else ""
