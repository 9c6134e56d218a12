"""Matrix products take one thread, unless the user says otherwise."""

import os
import subprocess
import sys

import pytest

CODE = """
import os, sys
from ex_cx.studies import cli
assert "numpy" not in sys.modules, "numpy has read its settings already"
cli.app = lambda: print(os.environ["OPENBLAS_NUM_THREADS"], os.environ["MKL_NUM_THREADS"])
cli.main()
"""


@pytest.mark.parametrize(("stated", "said"), [({}, "1 1"), ({"OPENBLAS_NUM_THREADS": "3"}, "3 1")])
def test_a_command_takes_one_thread_unless_told_otherwise(stated, said):
    kept = {name: value for name, value in os.environ.items() if not name.endswith("NUM_THREADS")}
    ran = subprocess.run(
        [sys.executable, "-c", CODE], env={**kept, **stated}, capture_output=True, text=True
    )
    assert ran.stdout.split("\n")[0] == said, ran.stderr
