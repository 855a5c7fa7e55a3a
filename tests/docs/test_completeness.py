"""What an operator may meet is explained: reasons for attention, counters, settings."""

from __future__ import annotations

import ast
import re
from typing import get_args

import attrs

from xpay_flow import Settings
from xpay_flow.records import Work
from xpay_flow.sandbox.faults import ApiFaultName, WebhookFaultName

from .pages import DOCS, ROOT, pages, read

DECIDE = ast.parse((ROOT / "xpay_flow" / "decide.py").read_text())


def reasons() -> set[str]:
    """Every reason for attention that `decide` can give, read off its source."""
    found: set[str] = set()
    for function in ast.walk(DECIDE):
        if isinstance(function, ast.FunctionDef) and function.name in ("_by_evidence", "_by_event"):
            found |= _keys_and_yields(function)
    return found


def _keys_and_yields(function: ast.FunctionDef) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Dict):
            found |= {_text(key).rstrip(":") for key in node.keys}
        elif isinstance(node, ast.Yield) and isinstance(node.value, ast.JoinedStr):
            found.add(_text(node.value.values[0]).rstrip(":"))
    return found


def _text(node: ast.expr | None) -> str:
    assert isinstance(node, ast.Constant)
    assert isinstance(node.value, str)
    return node.value


def counters() -> set[str]:
    """The fixed beginnings of all counters, read off the source."""
    sources = (ROOT / "xpay_flow").rglob("*.py")
    text = "\n".join(path.read_text() for path in sources)
    found = re.findall(r"from count\(f?\"((?:\{work\})?[^\"{]+)", text)
    return {name.replace("{work}", work) for name in found for work in get_args(Work)}


def test_every_reason_for_attention_has_a_section() -> None:
    """Whoever is called can look up why, and what to do; and no section is about nothing."""
    page = (DOCS / "how-to" / "handle-attention.md").read_text()
    assert 10 < len(reasons())
    assert reasons() == set(re.findall(r"^### `(\w+)`$", page, re.M))


def test_every_counter_is_on_the_page_about_going_live() -> None:
    """A counter that rises can be looked up."""
    page = (DOCS / "how-to" / "go-live.md").read_text()
    assert {"reconcile.", "create.unclear", "deliver.failed_job", "webhook."} <= counters()
    told = [name.rstrip("…") for name in re.findall(r"`([a-z]+\.[^`\n]+)`", page)]
    alike = {name for name in counters() for t in told if t.startswith(name) or name.startswith(t)}
    assert counters() == alike


def test_every_variable_on_a_page_is_a_setting() -> None:
    """No page names a variable that `Settings.from_env` would refuse."""
    known = {field.metadata["env"] for field in attrs.fields(Settings) if field.init}
    texts = [path.read_text() for path in (*ROOT.glob("*.md"), *DOCS.rglob("*.md"))]
    named = {name for text in texts for name in re.findall(r"\bXPAY_[A-Z_]+\b", text)}
    # Read by Flow.open() and the command line; the last is a setting of Django's.
    elsewhere = {"XPAY_STORE", "XPAY_SANDBOX_PRIVATE_KEY", "XPAY_SANDBOX_SIGNING_KEY", "XPAY_FLOW"}
    assert set() == named - known - elsewhere - {"XPAY_"}


def test_every_fault_of_the_sandbox_is_listed() -> None:
    """The page about tests lists the faults that there are, and no others."""
    text = (DOCS / "how-to" / "test-your-shop.md").read_text()
    for kind, names in (("Webhook", WebhookFaultName), ("API", ApiFaultName)):
        line = re.search(rf"^{kind} faults are (.*)\.$", text, re.M)
        assert line is not None
        assert set(get_args(names)) == set(re.findall(r"`(\w+)`", line[1]))


def test_the_readme_names_what_is_missing() -> None:
    """The status is told where people look first."""
    text = "\n".join(line for _, line in read(ROOT / "README.md").prose)
    for words in ("Alpha", "has never talked to the live xPay", "refund or cancel", "PostgreSQL"):
        assert words in text


def test_scripts_on_pages_use_what_the_browser_helper_has() -> None:
    """A page imports what the module exports, and passes options that its function takes."""
    script = (ROOT / "xpay_flow" / "browser" / "xpay-flow.js").read_text()
    exported = set(re.findall(r"^export (?:async )?function (\w+)", script, re.M))
    for page in pages():
        for block in page.blocks_in("html"):
            imported = set(re.findall(r"\w+", _between(block.text, "import {", "}")))
            assert imported
            assert imported <= exported, block.where
            for name in imported:
                given = set(re.findall(r"[{,\s](\w+)[:,}]", _options(block.text, name)))
                assert given, block.where
                assert given <= set(re.findall(r"\w+", _options(script, name))), block.where


def _options(script: str, function: str) -> str:
    """What stands in the braces with which a function is declared or called."""
    return "{" + _between(script, f"{function}({{", "})") + "}"


def _between(text: str, start: str, end: str) -> str:
    return text.partition(start)[2].partition(end)[0]
