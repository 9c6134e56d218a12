"""docs/mapping_files.md names every key and choice that there is."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from ex_cx.linkage.exportmaps import file as exportfile
from ex_cx.linkage.exportmaps.column import SCALES, ColumnMapping
from ex_cx.linkage.exportmaps.file import SourceHints, read_mapping
from ex_cx.linkage.exportmaps.spec import FileForm, RowFilter, RowRules, TimeRules

TEXT = (Path(__file__).parents[2] / "docs" / "mapping_files.md").read_text(encoding="utf-8")
KINDS = [exportfile._File, ColumnMapping, FileForm, RowFilter, RowRules, TimeRules, SourceHints]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_key_is_named(kind):
    names = [field.name for field in dataclasses.fields(kind)]
    assert [name for name in names if not re.search(rf"`{name}\b", TEXT)] == []


@pytest.mark.parametrize("kind", [ColumnMapping, RowRules, TimeRules], ids=lambda k: k.__name__)
def test_every_choice_is_named(kind):
    hints = get_type_hints(kind)
    words = {
        word
        for field in dataclasses.fields(kind)
        for word in get_args(hints[field.name])
        if isinstance(word, str) and len(word) > 1
    }
    assert words
    assert [word for word in sorted(words) if not re.search(rf"`{word}`", TEXT)] == []


def test_every_scale_is_named_with_its_ends():
    (line,) = re.findall(r"^\| `scale` \|.*$", TEXT, re.MULTILINE)
    for name, (low, high, _) in SCALES.items():
        ends = f"{low:g} to {high:g}" if low < 0 else f"{low:g}-{high:g}"
        assert f"`{name}` ({ends}" in line or name.startswith("likert")


def test_the_example_is_a_mapping(tmp_path):
    example = next(
        block
        for block in re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
        if block.startswith("mapping:")
    )
    (tmp_path / "pulse.yaml").write_text(example)
    assert read_mapping(tmp_path / "pulse.yaml").source.unit == "store"
