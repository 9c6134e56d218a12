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
from ex_cx.studies.kernels import WORTH_IT, environment, execute_notebook, nursery_for

FORKED = pytest.mark.skipif(sys.platform != "linux", reason="kernels are forked on Linux only")
DRIVER = """
import sys
from pathlib import Path
from ex_cx.studies.kernels import execute_notebook, nursery_for, stop_signals_interrupt
try:
    with stop_signals_interrupt():
        with nursery_for(int(sys.argv[3])) as nursery:
            execute_notebook(Path(sys.argv[1]), Path(sys.argv[2]), {}, None, nursery)
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
    book = write_notebook(tmp_path / "{in}.ipynb", "a = 1", "print(a)", "import os; os._exit(9)")
    with pytest.raises(RunError, match=r"The kernel died \(exit code 9\); most often the machine"):
        execute_notebook(book, tmp_path / "{out}.ipynb", {})
    assert outputs(tmp_path / "{out}.ipynb")[0] == "1\n"  # what it did until then is kept


def test_a_notebook_is_stored_once(tmp_path, monkeypatch):
    import papermill.execute

    stored = []
    monkeypatch.setattr(papermill.execute, "write_ipynb", lambda nb, path: stored.append(path))
    monkeypatch.setattr("papermill.engines.write_ipynb", lambda nb, path: stored.append(path))
    book = write_notebook(tmp_path / "in.ipynb", "a = 1", "print(a)")
    execute_notebook(book, tmp_path / "out.ipynb", {})
    assert stored == [str(tmp_path / "out.ipynb")]


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
@pytest.mark.parametrize("runs", [1, WORTH_IT], ids=["fresh", "forked"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_kernel_outlives_its_runner(tmp_path, number, runs):
    note = tmp_path / "pid"
    wait = f"import os, time; open({str(note)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    book = write_notebook(tmp_path / "in.ipynb", "a = 1", wait)
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(book), str(tmp_path / "out.ipynb"), str(runs)]
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


IDLE = """
import time
from ex_cx.studies.kernels import WORTH_IT, nursery_for
with nursery_for(WORTH_IT) as nursery:
    print(nursery._process.pid, flush=True)
    time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_forking_process_whose_runner_is_killed_does_not_import_on():
    driver = subprocess.Popen([sys.executable, "-c", IDLE], stdout=subprocess.PIPE, text=True)
    forking = int(driver.stdout.readline())
    time.sleep(0.2)
    driver.kill()
    driver.communicate()
    deadline = time.monotonic() + 10
    while is_running(forking) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_running(forking)


@pytest.mark.skipif(sys.platform != "linux", reason="kernels are forked on Linux")
def test_a_forking_process_that_is_not_needed_ends_at_once():
    start = time.monotonic()
    with pytest.raises(KeyError), nursery_for(WORTH_IT) as nursery:
        raise KeyError("the sources cannot be linked")
    assert time.monotonic() - start < 5
    assert not is_running(nursery._process.pid)


@pytest.fixture(scope="module")
def nursery():
    """One forking process for the tests of forked kernels."""
    with nursery_for(WORTH_IT) as found:
        yield found


@FORKED
def test_a_forked_kernel_gets_its_parameters_and_draws_into_the_notebook(tmp_path, nursery):
    draw = "import matplotlib.pyplot as plt; plt.plot([1, 2]); print(a + 1)"
    book = write_notebook(tmp_path / "in.ipynb", "a = 1", draw)
    execute_notebook(book, tmp_path / "out.ipynb", {"a": 41}, None, nursery)
    assert outputs(tmp_path / "out.ipynb") == ["42\n"]
    cells = json.loads((tmp_path / "out.ipynb").read_text())["cells"]
    shown = [o["data"] for o in cells[-1]["outputs"] if o["output_type"] == "display_data"]
    assert [list(data) for data in shown] == [["image/png", "text/plain"]]


@FORKED
def test_forked_kernels_share_nothing(tmp_path, nursery):
    cell = "import ex_cx, os; print(getattr(ex_cx, 'left', None)); ex_cx.left = os.getpid()"
    book = write_notebook(tmp_path / "in.ipynb", "a = 1", cell)
    for name in ("one.ipynb", "two.ipynb"):
        execute_notebook(book, tmp_path / name, {}, None, nursery)
        assert outputs(tmp_path / name) == ["None\n"]


@FORKED
def test_a_forked_kernel_that_dies_says_how_and_the_next_one_lives(tmp_path, nursery):
    for end, code in (("os._exit(9)", 9), ("os.kill(os.getpid(), 9)", -9)):
        book = write_notebook(tmp_path / "in.ipynb", "a = 1", f"import os; {end}")
        with pytest.raises(RunError, match=rf"The kernel died \(exit code {code}\); most often"):
            execute_notebook(book, tmp_path / "out.ipynb", {}, None, nursery)
    book = write_notebook(tmp_path / "in.ipynb", "a = 1", "print(a)")
    execute_notebook(book, tmp_path / "out.ipynb", {}, None, nursery)
    assert outputs(tmp_path / "out.ipynb") == ["1\n"]


@FORKED
def test_kernels_of_a_killed_nursery_are_told_as_dead(tmp_path):
    from ex_cx.studies.nursery import Nursery

    with Nursery(environment()) as doomed:
        kill = f"import os; os.kill({doomed._process.pid}, 9); import time; time.sleep(600)"
        book = write_notebook(tmp_path / "in.ipynb", "a = 1", kill)
        with pytest.raises(RunError, match=r"The kernel died \(exit code -9\)"):
            execute_notebook(book, tmp_path / "out.ipynb", {}, None, doomed)
        with pytest.raises(RunError, match=r"the process that forks them has ended"):
            execute_notebook(book, tmp_path / "out.ipynb", {}, None, doomed)


def test_few_runs_are_not_worth_a_nursery():
    with nursery_for(WORTH_IT - 1) as none:
        assert none is None
