"""How does a counterexample become a regression test? As source text, ready to be pasted."""

from __future__ import annotations

import re
from collections.abc import Iterator

from xpay_flow.drawing.text import cut

from .bounds import Bound
from .verdict import Violation

LINE_CHARS_MAX = 180


def emitted_test(violation: Violation, target: str, bound: Bound) -> str:
    """A pytest module that does the story again with the code as it is then.

    It fails while the story breaks its promise, and passes once it does not or can no longer
    happen.

    Args:
        target: `module:build`, as it was checked.

    Raises:
        ValueError: the violation has no seed, so it cannot be replayed.
    """
    if not violation.seed:
        raise ValueError("a violation without a seed cannot be replayed: check it once more")
    return "\n".join(_lines(violation, target, bound)) + "\n"


def _lines(violation: Violation, target: str, bound: Bound) -> Iterator[str]:
    yield f'"""{_plain(violation.promise)} was broken once. Found by the checker of xpay-flow."""'
    yield ""
    yield "from xpay_flow.checker import replay"
    yield ""
    yield f"TARGET = {_quoted(target)}"
    yield f"SEED = {_quoted(violation.seed)}"
    yield ""
    # As comments, since a story may hold any character.
    yield f"# Found within the bound {cut(bound.name, LINE_CHARS_MAX)}:"
    yield "#"
    for line in violation.as_text().split("\n"):
        yield f"# {cut(line, LINE_CHARS_MAX)}".rstrip()
    yield ""
    yield ""
    yield f"def test_{_name(violation.promise)}_in_{_name(violation.scene)}() -> None:"
    yield f'    """The story above ends well: {_plain(violation.promise)} holds."""'
    yield "    broken = replay(SEED, TARGET)"
    yield "    assert broken is None, broken.as_text()"


def _plain(words: str) -> str:
    """Words that cannot end a docstring."""
    return re.sub(r"[^\w .,-]", "", words)


def _name(words: str) -> str:
    return re.sub(r"\W+", "_", words).strip("_").lower()


def _quoted(words: str) -> str:
    """A literal in double quotes, as a formatter would write it."""
    if words.isprintable() and not set('"\\') & set(words):
        return f'"{words}"'
    return repr(words)
