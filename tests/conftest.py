"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real public files beside the repository; they are no part of the project."""
    folder = REPOSITORY.parent / "shared" / "data"
    if folder.is_dir():
        return folder
    reason = "The real data files are not here: ../shared/data beside the repository is absent."
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(f"{reason} They must be there where CI=true.")
    pytest.skip(reason)
