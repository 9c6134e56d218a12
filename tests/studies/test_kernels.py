"""A fresh kernel for each notebook, of this interpreter, and none left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from ex_cx.errors import RunError
from ex_cx.studies.kernels import execute_notebook

DRIVER = """
import sys
from pathlib import Path
from ex_cx.studies.kernels import execute_notebook, stop_signals_interrupt
try:
    with stop_signals_interrupt():
        execute_notebook(Path(sys.argv[1]), Path(sys.argv[2]), {})
except KeyboardInterrupt:
    sys.exit(130)
"""


def write_notebook(path: Path, *cells: str) -> Path:
    """A notebook of code cells; the first is the parameters cell."""
    import nbformat

    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    book.cells[0].metadata["tags"] = ["parameters"]
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "x", "language": "python"}
    nbformat.write(book, path)
    return path


def outputs(path: Path) -> list[str]:
    cells = json.loads(path.read_text())["cells"]
    return ["".join(o["text"]) for cell in cells for o in cell.get("outputs", []) if "text" in o]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] != "Z"
    except FileNotFoundError:
        return False


def test_a_kernel_is_this_interpreter_and_gets_its_parameters(tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "no kernels here"))
    book = write_notebook(
        tmp_path / "{x} in.ipynb", "a = 1", "import sys; print(sys.executable, a + 1)"
    )
    execute_notebook(book, tmp_path / "{out}.ipynb", {"a": 41})
    assert outputs(tmp_path / "{out}.ipynb") == [f"{sys.executable} 42\n"]


def test_a_failing_cell_is_told_by_its_own_error(tmp_path):
    book = write_notebook(tmp_path / "in.ipynb", "a = 1", "raise ValueError('a is <wrong>')")
    with pytest.raises(RunError) as caught:
        execute_notebook(book, tmp_path / "out.ipynb", {})
    assert str(caught.value) == "ValueError: a is <wrong>"
    assert (tmp_path / "out.ipynb").is_file()


def test_a_dead_kernel_says_how_it_ended(tmp_path):
    book = write_notebook(tmp_path / "in.ipynb", "a = 1", "import os; os._exit(9)")
    with pytest.raises(RunError, match=r"The kernel died \(exit code 9\); most often the machine"):
        execute_notebook(book, tmp_path / "out.ipynb", {})


@pytest.mark.skipif(os.name != "posix", reason="no sockets in folders there")
def test_sockets_of_a_killed_runner_are_swept(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "t"))
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    kept = {f"ex_cx-{os.getpid()}-a", f"ex_cx-{os.getppid()}-b", "ex_cx-notes"}
    for name in (*kept, f"ex_cx-{ended.pid}-c"):
        (tmp_path / "t" / name).mkdir(parents=True)
    book = write_notebook(tmp_path / "in.ipynb", "a = 1", "a")
    execute_notebook(book, tmp_path / "out.ipynb", {})
    assert {path.name for path in (tmp_path / "t").iterdir()} == kept


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_kernel_outlives_its_runner(tmp_path, number):
    note = tmp_path / "pid"
    wait = f"import os, time; open({str(note)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    book = write_notebook(tmp_path / "in.ipynb", "a = 1", wait)
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(book), str(tmp_path / "out.ipynb")]
    )
    deadline = time.monotonic() + 60
    while not (note.exists() and note.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    kernel = int(note.read_text())
    assert is_running(kernel)

    os.kill(driver.pid, number)

    assert driver.wait(timeout=30) == (-9 if number == signal.SIGKILL else 130)
    deadline = time.monotonic() + 15
    while is_running(kernel) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(kernel)
