"""docs/study_files.md: its example checks as printed, and it names every key that there is."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import get_args

import pytest
from ruamel.yaml import YAML

from ex_cx.estimation.conventions import Vcov
from ex_cx.linkage.linkspec import DeriveSpec, LinkSpec, WhereSpec
from ex_cx.linkage.schema import DatabaseSpec, Frequency, MeasureSpec, Metric, ReadSpec, SourceSpec
from ex_cx.linkage.validation import check
from ex_cx.linkage.weightspec import WeightingSpec
from ex_cx.models.spec import Estimator
from ex_cx.studies.checking import check_study
from ex_cx.studies.parameters import NOTEBOOKS
from ex_cx.studies.study import DataSection, ExtraRun, Roles, Study

TEXT = (Path(__file__).parents[2] / "docs" / "study_files.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)


def write_exports(folder: Path) -> None:
    """Six months of six stores, with the headers and first rows that the document shows."""
    pulse, till = blocks("csv")
    answers = [
        f"2024-{month:02d}-{day:02d},{7 + store:03d},{2 + (store + month + day) % 3},2\n"
        for store in range(6)
        for month in range(1, 7)
        for day in range(10, 16)
    ]
    days = [
        f"2024-{month:02d}-20,{7 + store:03d},{100 + 7 * month},{2 + (store * month) % 5},"
        f"{'Leeds' if store % 2 == 0 else 'Hull'}\n"
        for store in range(6)
        for month in range(1, 7)
    ]
    (folder / "pulse.csv").write_text(pulse + "".join(answers))
    (folder / "till.csv").write_text(till + "".join(days))


def test_the_example_checks_as_printed(tmp_path):
    example, _ = blocks("yaml")
    (tmp_path / "store_mood.yaml").write_text(example)
    write_exports(tmp_path)
    lines = list(check_study(tmp_path / "store_mood.yaml"))
    assert "panel 6 units x 6 periods (2024-01 to 2024-06), 36 rows" in lines
    assert lines[-1] == "store_mood.yaml is good: 7 runs."
    assert "run   panel_regression--cx_complaints_pct--city-leeds--lag-1" in lines


def test_the_measures_of_several_columns_are_measures():
    _, measures = blocks("yaml")
    found = YAML(typ="safe").load(measures)
    assert len(found) == 7
    for name, given in found.items():
        measure, complaints = check(MeasureSpec, given)
        assert not complaints, name
        assert measure.added("numerator")


@pytest.mark.parametrize(
    "kind", [Study, DataSection, Roles, ExtraRun, *NOTEBOOKS.values()], ids=lambda k: k.__name__
)
def test_every_key_of_a_model_is_named(kind):
    assert [name for name in kind.model_fields if f"`{name}`" not in TEXT] == []


@pytest.mark.parametrize(
    "kind",
    [
        SourceSpec,
        ReadSpec,
        DatabaseSpec,
        MeasureSpec,
        WeightingSpec,
        LinkSpec,
        DeriveSpec,
        WhereSpec,
    ],
)
def test_every_key_of_a_source_is_named(kind):
    names = [field.name for field in dataclasses.fields(kind)]
    assert [name for name in names if not re.search(rf"`{name}\b", TEXT)] == []


@pytest.mark.parametrize("choices", [Metric, Frequency, Vcov, Estimator])
def test_every_choice_is_named(choices):
    assert [name for name in get_args(choices) if f"`{name}`" not in TEXT] == []
