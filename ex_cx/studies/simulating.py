"""A simulated company as a folder that `ex-cx run` can take: exports, truth, study file."""

from __future__ import annotations

from pathlib import Path

from ex_cx.errors import StudyError

__all__ = ["write_simulated_study"]

FIRST_YEAR = 2023


def write_simulated_study(
    folder: Path, *, n_units: int, n_periods: int, seed: int, reverse: float
) -> list[Path]:
    """Write the five exports of a simulated contact centre, truth.json and study.yaml.

    Raises
    ------
    StudyError : `folder` exists and is not empty; nothing is overwritten.
    """
    import numpy as np

    from ex_cx.linkage.simulate import simulate_contact_centre, write_contact_centre
    from ex_cx.linkage.sources import shared_path

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StudyError(f"{folder} exists and is not an empty folder. Name a new one.")
    exports = simulate_contact_centre(
        n_units=n_units, n_periods=n_periods, reverse=reverse, rng=np.random.default_rng(seed)
    )
    written = write_contact_centre(exports, folder)
    study = folder / "study.yaml"
    text = shared_path("data", "contact_centre", "study.yaml").read_text(encoding="utf-8")
    year, month = divmod(n_periods - 1, 12)
    last = f"last: {FIRST_YEAR + year}-{month + 1:02d}"
    study.write_text(text.replace("last: 2024-12", last), encoding="utf-8")
    return [*written, study]
