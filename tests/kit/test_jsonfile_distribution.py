"""A stranger's store, from a distribution of its own: built, installed and found by its URL."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import pytest

from examples.xpay_flow_jsonfile.xpay_flow_jsonfile import JSONFileStore
from xpay_flow.checker.contract import SCENES, ContractBound, Scene, a_place, check_store

ROOT = Path(__file__).parents[2]
STRANGER = ROOT / "examples" / "xpay_flow_jsonfile"
SHOP = """
import sys
import xpay_flow, xpay_flow_jsonfile
from xpay_flow import Flow, Settings

for module in (xpay_flow, xpay_flow_jsonfile):
    assert module.__file__.startswith(sys.prefix), module.__file__
with Flow.open("jsonfile:///payments.json", Settings.sandbox(), background=False) as flow:
    print(type(flow.store).__module__, type(flow.store).__name__, flow.deliver())
"""


def run(*words: str | Path, cwd: Path) -> str:
    """What a program prints; it must end well."""
    # Neither the checkout nor the settings of this test run reach into it.
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PYTEST"))}
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env=kept,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert 0 == done.returncode, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def built(project: Path, into: Path) -> Path:
    """The wheel of a project."""
    # Without the network, where what builds it is here.
    here = ["--no-isolation"] if find_spec("hatchling") else []
    run(sys.executable, "-m", "build", "--wheel", *here, "--outdir", into, project, cwd=into)
    (wheel,) = into.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with both wheels, and none of the checkout."""
    folder = tmp_path_factory.mktemp("venv")
    wheels = [built(project, tmp_path_factory.mktemp("wheel")) for project in (ROOT, STRANGER)]
    venv.create(folder / "venv", symlinks=True)
    made = folder / "venv" / "bin" / "python"
    _install(made, wheels)
    # The dependencies of both come from here, behind what was installed there.
    paths = sysconfig.get_paths()
    (site,) = (folder / "venv").glob("lib/python*/site-packages")
    (site / "behind.pth").write_text("\n".join({paths["purelib"], paths["platlib"]}))
    return made


def _install(python: Path, wheels: Sequence[Path]) -> None:
    run(
        *(sys.executable, "-m", "pip", "--python", python, "install", "--quiet"),
        *("--disable-pip-version-check", "--no-deps", "--no-index", *wheels),
        cwd=python.parent,
    )


def test_the_store_is_opened_by_its_url(python: Path, tmp_path: Path) -> None:
    """To install the package is all that it takes: its entry point offers the scheme."""
    assert "xpay_flow_jsonfile JSONFileStore ()" == run(python, "-c", SHOP, cwd=tmp_path).strip()


def test_the_wheel_holds_one_module(tmp_path: Path) -> None:
    """What is published is the store, its metadata and nothing else."""
    names = zipfile.ZipFile(built(STRANGER, tmp_path)).namelist()
    files = {name for name in names if ".dist-info/" not in name}
    assert {"xpay_flow_jsonfile.py"} == files
    assert any(name.endswith("entry_points.txt") for name in names)


@pytest.mark.slow
def test_its_own_tests_pass_where_it_is_installed(python: Path, tmp_path: Path) -> None:
    """The suite comes with our wheel, and ten lines put a stranger's store to it."""
    tests = tmp_path / "test_jsonfile.py"
    tests.write_text((STRANGER / "test_jsonfile.py").read_text())
    printed = run(
        *(python, "-m", "pytest", "-v", "-W", "error", "-p", "no:cacheprovider", tests),
        *("-p", "no:xdist", "--rootdir", tmp_path),
        cwd=tmp_path,
    )
    assert " passed" in printed
    # Its processes, its crashes and its list of recent ones are tested; what it has not is absent.
    for duty in ("one_of_two_processes_wins", "a_commit_cut_short", "the_recent_ones_come"):
        assert f"test_{duty}" in printed
    assert "skipped" not in printed
    assert "test_work_is_called" not in printed


# Waiting for a lock on a file is only seen after a while, so a few scenes stand for the others.
SWITCHED: Final = [scene for scene in SCENES if scene.name in ("two makers", "two writers")]


@pytest.mark.parametrize(
    ("bound", "scenes"),
    [
        pytest.param(ContractBound(switches=0, faults=1), SCENES, id="a fault anywhere"),
        pytest.param(ContractBound(switches=1, faults=0), SWITCHED, id="a switch anywhere"),
    ],
)
def test_it_keeps_the_contract_between_any_two_calls(
    bound: ContractBound, scenes: Sequence[Scene]
) -> None:
    """No schedule of its file calls within the bound, and no death, breaks a rule of a store."""
    with a_place() as place:
        result = check_store(
            lambda: JSONFileStore(place.folder / "payments.json"),
            reset=place.reset,
            keep=place.keep,
            bound=bound,
            scenes=scenes,
        )
    assert "EXHAUSTED" == result.verdict, result.as_text()
    assert ("files",) == result.seen


def test_it_is_short() -> None:
    """A whole store, with its lock and its durability, is about sixty lines beside its imports."""
    code = (STRANGER / "xpay_flow_jsonfile.py").read_text()
    assert 62 > len([line for line in code[code.index("class ") :].splitlines() if line.strip()])
