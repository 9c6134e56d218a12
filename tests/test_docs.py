"""The Python of the documents runs as it is printed, from top to bottom of each document."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
WITH_CODE = sorted(path for path in DOCS.glob("*.md") if "```python" in path.read_text())


@pytest.mark.parametrize("document", WITH_CODE, ids=lambda path: path.name)
def test_python_of_a_document_runs(document, tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", document.read_text(), flags=re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(blocks)], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
