"""What else must hold? Promises of your own, as plain functions of what can be seen.

    @always
    def two_attempts_at_most(view: View) -> bool:
        return len(view.intents) <= 2

Put them into the module that is checked, or hand them to `check`. They see a `View`: the records,
xPay, the customer and the calls of handlers. A promise is broken where its function returns False,
or a sentence about what is wrong.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Literal, cast

import attrs

When = Literal["always", "on_change", "eventually", "sometimes"]
Holds = Callable[..., "bool | str | None"]


@attrs.frozen
class Own:
    """A promise of the user's own.

    Args:
        when: at every moment; at every change, of the moments before and after it; from every
            moment some way must still lead to one; or at one moment at least.
    """

    when: When
    holds: Holds

    @property
    def name(self) -> str:
        return getattr(self.holds, "__name__", "unnamed")

    @property
    def sentence(self) -> str:
        """Its sentence: the first line of its docstring."""
        return (inspect.getdoc(self.holds) or self.name.replace("_", " ")).split("\n")[0]

    def __call__(self, *views: Any) -> str | None:
        """What is wrong; None if it holds."""
        held = self.holds(*views)
        if isinstance(held, str):
            return held or None
        return None if held or held is None else f"it is not so that: {self.sentence}"


def always(holds: Holds) -> Own:
    """`holds(view)` is true at every moment."""
    return Own("always", holds)


def on_change(holds: Holds) -> Own:
    """`holds(before, after)` is true of every two moments that follow each other.

    What one flow does before others can come is one step, such as a commit with its answer.
    """
    return Own("on_change", holds)


def eventually(holds: Holds) -> Own:
    """From every moment some way leads to one at which `holds(view)` is true: never stuck."""
    return Own("eventually", holds)


def sometimes(holds: Holds) -> Own:
    """`holds(view)` is true at one moment at least, so that a check is not passed by nothing."""
    return Own("sometimes", holds)


def owned_by(module: Any) -> tuple[Own, ...]:
    """The promises that stand in a module, in the order in which they stand there."""
    names = cast(dict[str, object], vars(module))
    return tuple(value for value in names.values() if isinstance(value, Own))
