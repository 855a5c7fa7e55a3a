"""Which calls wait for a thread, a process, a queue or a socket, and say no limit?"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs

# Methods that wait, and the place of the limit among the arguments, where it has no name.
WAITS: Final = {
    "join": 0,
    "wait": 0,
    "result": 0,
    "acquire": 1,
    "get": 1,
    "communicate": 1,
    "shutdown_default_executor": 0,
}
# At the end of their block these wait for threads and processes, whatever those are at.
POOLS: Final = frozenset({"ThreadPoolExecutor", "ProcessPoolExecutor"})
# Functions and methods that wait unless they are called with this word.
LIMITED_BY_WORD: Final = {
    "run": "timeout",
    "call": "timeout",
    "check_call": "timeout",
    "check_output": "timeout",
}
# Those that have no limit of their own: another line must see to it.
WITHOUT_LIMIT: Final = frozenset({"recv", "readline", "accept"})
# Within these, what is awaited ends.
LIMITS: Final = frozenset({"timeout", "timeout_at", "wait_for", "fail_after", "move_on_after"})


@attrs.frozen
class Wait:
    """One call, by its place and its text."""

    path: str
    line: int
    code: str

    @property
    def name(self) -> str:
        return f"{self.path}: {self.code}"


def unlimited_waits(path: Path, root: Path) -> Iterator[Wait]:
    """The waits without a limit in one file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    limited = {id(node) for node in _limited(tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and id(node) not in limited and _waits(node):
            yield Wait(str(path.relative_to(root)), node.lineno, ast.unparse(node))


def _waits(call: ast.Call) -> bool:
    if not isinstance(call.func, ast.Attribute):
        return isinstance(call.func, ast.Name) and call.func.id in POOLS
    name, words = call.func.attr, {word.arg: word.value for word in call.keywords}
    if name in LIMITED_BY_WORD and ast.unparse(call.func.value) == "subprocess":
        return LIMITED_BY_WORD[name] not in words
    if name in WITHOUT_LIMIT:
        return not call.args and not words
    if name not in WAITS or _is_no_wait(call):
        return False
    if _is_false(words.get("blocking", words.get("block"))):
        return False
    limit = words.get("timeout", words.get("timeout_s"))
    if limit is None and len(call.args) > WAITS[name]:
        limit = call.args[WAITS[name]]
    return limit is None or (isinstance(limit, ast.Constant) and limit.value is None)


def _is_no_wait(call: ast.Call) -> bool:
    """`", ".join(…)`, `mapping.get(…)` and `rate_limiter.acquire(now_ms)` wait for nothing."""
    assert isinstance(call.func, ast.Attribute)
    name, words = call.func.attr, {word.arg for word in call.keywords}
    if name == "acquire":
        # A lock's first word is whether to wait.
        return bool(call.args) and not isinstance(call.args[0], ast.Constant)
    if name == "get":
        return bool(call.args or words - {"timeout", "block"})
    return name == "join" and bool(call.args)


def _is_false(value: ast.expr | None) -> bool:
    return isinstance(value, ast.Constant) and value.value is False


def _limited(tree: ast.AST) -> Iterator[ast.AST]:
    """All that stands within a block or a call that ends what it awaits."""
    for node in ast.walk(tree):
        if isinstance(node, ast.AsyncWith | ast.With):
            if any(_is_limit(item.context_expr) for item in node.items):
                for inner in node.body:
                    yield from ast.walk(inner)
        elif isinstance(node, ast.Call) and _is_limit(node):
            for argument in node.args:
                yield from ast.walk(argument)


def _is_limit(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in LIMITS
    )
