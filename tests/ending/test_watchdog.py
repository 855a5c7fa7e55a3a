"""A test run ends, whatever hangs in it, and names the test."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Final

import pytest

_TESTS: Final = Path(__file__).parents[1]
# Ten times what it takes on a quiet machine.
ENDS_S: Final = 60

CONFTEST = """
    from watchdog import Watchdog

    def pytest_configure(config):
        config.pluginmanager.register(Watchdog(config, grace_s=1, exit_s=2))
"""

# Files of tests in which something hangs; what is reported of each.
HANGS: Final = {
    "a test and its clean-up": (
        """
        import pytest, threading

        @pytest.fixture
        def database():
            yield
            threading.Event().wait()

        def test_that_hangs(database):
            threading.Event().wait()
        """,
        ["HANGS: ", "::test_that_hangs has not ended", "in database"],
    ),
    "a test that goes on when it is interrupted": (
        """
        import threading

        def test_that_hangs():
            while True:
                try:
                    threading.Event().wait()
                except BaseException:
                    pass
        """,
        ["HANGS: ", "::test_that_hangs has not ended", "in test_that_hangs"],
    ),
    "a test inside C code": (
        """
        import collections, itertools

        def test_that_hangs():
            collections.deque(itertools.repeat(0), maxlen=0)
        """,
        ["Timeout", "in test_that_hangs"],
    ),
    "a fixture of the session": (
        """
        import pytest, threading

        @pytest.fixture(scope="session")
        def server():
            yield
            while True:
                try:
                    threading.Event().wait()
                except BaseException:
                    pass

        def test_that_hangs(server):
            pass
        """,
        ["HANGS: ", "::test_that_hangs has not ended", "in server"],
    ),
    "a thread that outlives the tests": (
        """
        import threading

        def test_that_leaves_a_thread():
            threading.Thread(target=threading.Event().wait).start()
        """,
        ["HANGS: the end of the test run has not ended"],
    ),
}


def run(folder: Path, code: str, *words: str) -> subprocess.CompletedProcess[str]:
    """pytest in a process of its own, on a file that holds this code."""
    (folder / "conftest.py").write_text(dedent(CONFTEST))
    (folder / "test_it.py").write_text(dedent(code))
    pytest_ = [sys.executable, "-m", "pytest", "-p", "no:frontrun", "-p", "no:cacheprovider"]
    return subprocess.run(
        [*pytest_, "--rootdir", str(folder), "--timeout=1", *words, str(folder / "test_it.py")],
        capture_output=True,
        text=True,
        timeout=ENDS_S,
        cwd=folder,
        env={"PYTHONPATH": str(_TESTS), "PATH": "/usr/bin:/bin"},
    )


@pytest.mark.parametrize("what", HANGS)
def test_the_watchdog_ends_a_run_that_hangs(what: str, tmp_path: Path) -> None:
    """The process ends as failed, and shows the test and where each thread stands."""
    code, reports = HANGS[what]
    done = run(tmp_path, code)
    assert 1 == done.returncode, done.stdout + done.stderr
    for report in reports:
        assert report in done.stderr


def test_the_watchdog_ends_a_worker_and_the_others_go_on(tmp_path: Path) -> None:
    """Under xdist the test that hung is a failure by name, and those behind it are run."""
    code = dedent(HANGS["a test and its clean-up"][0]) + "\ndef test_behind_it(): pass\n"
    done = run(tmp_path, code, "-n1")
    assert 1 == done.returncode, done.stdout + done.stderr
    assert "crashed while running 'test_it.py::test_that_hangs'" in done.stdout
    assert "1 passed" in done.stdout
    assert "in database" in done.stderr


def test_the_watchdog_leaves_tests_alone_that_end(tmp_path: Path) -> None:
    """A test that is too slow is a failure of pytest-timeout, and the rest of the run is shown."""
    code = """
        import threading

        def test_that_hangs():
            threading.Event().wait()

        def test_behind_it():
            pass
    """
    done = run(tmp_path, code)
    assert (1, "") == (done.returncode, done.stderr)
    assert "1 failed, 1 passed" in done.stdout
