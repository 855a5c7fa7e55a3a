"""How are the blocks of a page run? In order, as one program, in an empty folder.

A local xPay listens, and the environment holds its keys. Where a page names port 4010 or 8000, a
free port stands in, so that runs do not meet.

    ```python              run
    ```python title=a.py   written to a.py and imported; a file of the repository must be the same
    ```python title=a/b.py written, for commands to use
    ```python in=a/b.py    its functions take the place of those in a/b.py
    ```sh                  run, if its output is shown below it
    ```text output         what the block above it has printed; … stands for anything left out
    ```json title=b.json   written to b.json
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Generator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import web_servers

from xpay_flow import Flow, Settings
from xpay_flow.sandbox import Sandbox, SandboxConfig
from xpay_flow.sandbox.web import create_app

from . import showing
from .pages import ROOT, Block, Page

SANDBOX_PORT, SHOP_PORT = 4010, 8000
# The commands that a page may run, as this interpreter runs them.
PROGRAMS = {"xpay-flow": ("-m", "xpay_flow.cli"), "python": ()}


@attrs.frozen
class Ports:
    """Free ports that stand in for those of the pages."""

    sandbox: int
    shop: int

    def in_text(self, text: str) -> str:
        """The text of a page, with our ports."""
        return text.replace(f":{SANDBOX_PORT}", f":{self.sandbox}").replace(
            f":{SHOP_PORT}", f":{self.shop}"
        )


@attrs.define
class Program:
    """A page that is being run."""

    folder: Path
    ports: Ports
    names: dict[str, Any] = attrs.Factory(dict[str, Any])
    modules: dict[str, ModuleType] = attrs.Factory(dict[str, ModuleType])

    def run(self, page: Page) -> None:
        printed = ""
        for block, below in zip(page.blocks, (*page.blocks[1:], None), strict=True):
            if block.language == "python":
                printed = self._run(block)
            elif block.language == "sh" and below is not None and below.is_output:
                printed = "".join(map(self._said, block.text.splitlines()))
            elif block.is_output:
                fits = showing.fits(block.text, printed)
                assert fits, f"{block.where}: the block above prints\n{printed}"
            elif block.title is not None:
                self._write(block)

    def close(self) -> None:
        """Let go of what the blocks have opened."""
        for namespace in (self.names, *(vars(module) for module in self.modules.values())):
            for value in list(namespace.values()):
                flow = getattr(value, "flow", value)
                if isinstance(flow, Flow):
                    flow.close()
        for name in self.modules:
            sys.modules.pop(name, None)

    def _run(self, block: Block) -> str:
        if block.changes is not None:
            path = self.folder / block.changes
            path.write_text(showing.changed(path.read_text(), block.text))
            return ""
        if block.title is not None:
            self._write(block)
            if "/" not in block.title or (ROOT / block.title).exists():
                self._import(block.title)
            return ""
        # As many empty lines before it as on the page, so that a traceback names its line.
        code = compile("\n" * (block.line - 1) + block.text, str(block.page), "exec")
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(code, self.names)
        return out.getvalue()

    def _said(self, line: str) -> str:
        """What a command prints. Its exit code is its own business: a finding is one, too."""
        program, *arguments = shlex.split(line)
        done = subprocess.run(
            [sys.executable, *PROGRAMS[program], *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.stdout, f"{line} prints nothing, but:\n{done.stderr}"
        return done.stdout

    def _write(self, block: Block) -> None:
        assert block.title is not None
        ours = ROOT / block.title
        if ours.exists():
            assert ours.read_text() == block.text, f"{block.where}: {block.title} says otherwise"
        path = self.folder / block.title
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.ports.in_text(block.text))

    def _import(self, title: str) -> None:
        name = Path(title).stem
        with _on_path(self.folder / Path(title).parent):
            self.modules[name] = importlib.import_module(name)


@contextlib.contextmanager
def _on_path(folder: Path) -> Generator[None, None, None]:
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def free_ports() -> Ports:
    return Ports(free_port(), free_port())


def sandbox_settings(ports: Ports) -> Settings:
    return Settings.sandbox(base_url=f"http://127.0.0.1:{ports.sandbox}")


def environment(ports: Ports) -> Mapping[str, str]:
    """What an operator would set for the local xPay."""
    settings = sandbox_settings(ports)
    return {
        "XPAY_MODE": settings.mode,
        "XPAY_PUBLIC_KEY": settings.public_key,
        "XPAY_PRIVATE_KEY": settings.private_key,
        "XPAY_WEBHOOK_SECRETS": ",".join(settings.webhook_secrets),
        "XPAY_BASE_URL": settings.base_url,
        "XPAY_STORE": "sqlite:///payments.db",
    }


@contextlib.contextmanager
def local_xpay(ports: Ports) -> Generator[Sandbox, None, None]:
    """A local xPay on its port, which tells the shop's port what happens."""
    config = SandboxConfig(
        checkout_base_url=f"http://127.0.0.1:{ports.sandbox}",
        webhook_url=f"http://127.0.0.1:{ports.shop}/xpay/webhook",
    )
    sandbox = Sandbox(config, seed=0)
    with served(create_app(sandbox), ports.sandbox):
        yield sandbox


@contextlib.contextmanager
def served(app: Any, port: int) -> Generator[None, None, None]:
    """An ASGI app on a loopback port, in a thread."""
    with web_servers.uvicorn(app, on=web_servers.listening(port)):
        yield


@contextlib.contextmanager
def in_folder(folder: Path) -> Generator[None, None, None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
