"""`xpay-flow init` finds the app, and its lines, pasted as they are, make a mount that works."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
from click.testing import CliRunner, Result

from xpay_flow import Settings
from xpay_flow.cli.probes import check_app_mount
from xpay_flow.cli.project import apps_in
from xpay_flow.cli.root import xpay_flow

# A file of each framework, as its own documentation begins.
APPS: Final = {
    "fastapi": "from fastapi import FastAPI\n\napp = FastAPI()\n",
    "starlette": "from starlette.applications import Starlette as Star\n\nshop = Star(routes=[])\n",
    "flask": "import flask\n\napp = flask.Flask(__name__)\n",
    "quart": "from quart import Quart\n\napp: Quart = Quart(__name__)\n",
    "litestar": "from litestar import Litestar\n\napp = Litestar([])\n",
    "aiohttp": "from aiohttp import web\n\napp = web.Application()\n",
}


def run(*arguments: str) -> Result:
    clean: dict[str, str | None] = {name: None for name in os.environ if name.startswith("XPAY")}
    return CliRunner().invoke(xpay_flow, ["init", *arguments], env=clean)


def blocks(output: str) -> list[str]:
    """The lines under each number, as one would paste them."""
    parts = re.split(r"^\d\. .*\n", output.partition("\nThen:")[0], flags=re.M)[1:]
    return ["".join(line[4:] or "\n" for line in part.splitlines(True)) for part in parts]


def variables(folder: Path) -> dict[str, str]:
    """What the stub sets."""
    lines = (folder / "xpay.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if not line.startswith("#"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("XPAY_")]:
        monkeypatch.delenv(name)
    return tmp_path


@pytest.mark.parametrize("framework", APPS)
def test_the_lines_of_init_make_a_mount(
    framework: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stub and the first block, pasted below the app, are all that `doctor --app` wants."""
    name = f"shop_init_{framework}"
    (folder / f"{name}.py").write_text(APPS[framework])
    result = run("--tables")
    assert 0 == result.exit_code, result.output
    mount, view = blocks(result.output)
    (folder / f"{name}.py").write_text(APPS[framework] + mount)
    compile(f"async def view():\n{_indented(view)}", "view", "exec")
    assert 12 >= sum("xpay_flow" in line for line in mount.splitlines())
    for variable, value in variables(folder).items():
        monkeypatch.setenv(variable, value)
    (target,) = re.findall(r"doctor --app (\S+)", result.output)
    assert name in target
    findings = check_app_mount(target, "/xpay/webhook", None, None)
    assert [] == [each.text for each in findings if each.verdict == "wrong"]
    assert any("byte for byte" in each.text for each in findings)
    _forget(name)


def _indented(lines: str) -> str:
    return "".join(f"    {line}" for line in lines.splitlines(True))


def _forget(name: str) -> None:
    module: Any = sys.modules.pop(name)
    close = module.flow.close()
    if close is not None:
        close.close()
    importlib.invalidate_caches()


def test_the_lines_of_init_make_a_django_project_work(folder: Path) -> None:
    """A new project, the lines in the places that are named, and the steps below them."""

    def do(*words: str, **more: str) -> str:
        paths = os.pathsep.join(path for path in sys.path if path)
        kept = {name: value for name, value in os.environ.items() if "DJANGO" not in name}
        done = subprocess.run(
            [sys.executable, *words],
            env={**kept, **more, "PYTHONPATH": paths},
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert 0 == done.returncode, done.stdout + done.stderr
        return done.stdout

    do("-m", "django", "startproject", "shop", ".")
    result = run()
    assert 0 == result.exit_code, result.output
    settings, payments, urls, _ = blocks(result.output)
    for path, lines in (("settings", settings), ("payments", payments), ("urls", urls)):
        assert f"shop/{path}.py" in result.output
        with (folder / "shop" / f"{path}.py").open("a") as file:
            file.write(lines)
    do("manage.py", "migrate", **variables(folder))
    words = ("-m", "xpay_flow.cli", "doctor", "--app", "shop.wsgi:application")
    assert " ".join(words[2:]) in result.output
    assert "Ready to take payments." in do(*words, **variables(folder))


def test_the_stub_of_init_is_the_local_xpays(folder: Path) -> None:
    """Its variables are the sandbox's; it is its owner's alone, and what is there is kept."""
    (folder / "main.py").write_text(APPS["fastapi"])
    assert "written     xpay.env" in run("--store", "sqlite:///mine.db").output
    found = variables(folder)
    assert "sqlite:///mine.db" == found["XPAY_STORE"]
    assert Settings.sandbox() == Settings.from_env(found)
    assert 0o600 == (folder / "xpay.env").stat().st_mode & 0o777
    (folder / "xpay.env").write_text("XPAY_MODE=live\n")
    assert "kept        xpay.env" in run().output
    assert "XPAY_MODE=live\n" == (folder / "xpay.env").read_text()


def test_init_looks_past_other_peoples_code(folder: Path) -> None:
    """Environments, tests and broken files are passed over; the nearest to the top is first."""
    places = {
        ".venv/lib/x.py": APPS["flask"],
        "env2/pyvenv.cfg": "",
        "env2/x.py": APPS["flask"],
        "tests/app.py": APPS["flask"],
        "test_app.py": APPS["flask"],
        "broken.py": "app = Flask(\n",
        "other.py": "class Flask: ...\napp = Flask()\n",
        "shop/deep/__init__.py": APPS["litestar"],
        "shop/main.py": APPS["fastapi"],
    }
    for place, text in places.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_text(text)
    found = apps_in(folder)
    assert ["shop.main:app", "shop.deep:app"] == [each.target(folder) for each in found]


def test_init_names_a_factory(folder: Path) -> None:
    """An app that is made in a function is found with it, and no target is claimed for it."""
    (folder / "main.py").write_text(
        "from flask import Flask\n\ndef create_app():\n    shop = Flask('x')\n    return shop\n"
    )
    output = run().output
    assert "found       flask, shop in main.py in create_app()" in output
    assert "shop.register_blueprint(" in output
    assert "doctor --app" not in output


def test_init_finds_nothing_in_an_empty_folder(folder: Path) -> None:
    """Without an app nothing is written, unless a framework is named."""
    result = run()
    assert (1, "name the framework" in result.output) == (result.exit_code, True)
    assert [] == list(folder.iterdir())
    assert "app.register_blueprint(" in run("--framework", "flask").output
