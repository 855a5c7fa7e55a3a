"""Which memory do runs of the user's code share? If it changes, the code has hidden state.

A flow is known by the answers to its effects, so it may depend on nothing else. What a flow leaves
behind in a global, a default argument, a closure, an attribute of a function or of a class is seen
by the next one, and by none of another process. So what the code can name is looked at before and
after; whatever has changed is refused by name.

Seen: lists, dictionaries, sets and their like, the attributes of the user's own classes and of
their instances, however deep. Not seen: what a library keeps for itself.
Code that depends on that is found when its past is run again; see `histories`.
"""

from __future__ import annotations

import functools
import itertools
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from types import CodeType, FunctionType
from typing import Any, cast

from .coverage import plain_function
from .hidden import HiddenState
from .theirs import is_theirs

# A structure of more values than these is not looked at further; a fixed place for the same reason.
VALUES_MAX = 2_000
_COUNTERS = (itertools.count, itertools.cycle)
# After so many looks only each so-manieth is taken: what has changed stays so, as a rule.
LOOKS_MAX, LOOKS_EVERY = 2_000, 16


class SharedState:
    """What some functions share with their other runs.

    Args:
        functions: of the user's.
        allows: names that may change all the same, such as `shop.payments.COUNTS`.
    """

    def __init__(self, functions: Iterable[object], allows: Iterable[str] = ()) -> None:
        self._places = {
            name: value for name, value in _places(functions) if name not in frozenset(allows)
        }
        self._before = self.look()
        self._looks = 0

    def note(self) -> None:
        """What has changed since the last look was another's to change."""
        if self._places:
            self._before = self.look()

    def refuse_changes(self, who: str) -> None:
        """Refuse what has changed since the last look.

        Raises:
            HiddenState: it names what has changed.
        """
        self._looks += 1
        if not self._places or (self._looks > LOOKS_MAX and self._looks % LOOKS_EVERY):
            return
        before, self._before = self._before, self.look()
        for name, seen in self._before.items():
            if seen != before[name]:
                raise HiddenState(
                    f"{who} changed {name}, which outlives it: another run sees that, and another "
                    f"process does not. Keep it in the store, or declare it: allows={{{name!r}}}"
                )

    def values(self) -> Iterator[tuple[str, Any]]:
        """What is at each place now, by name."""
        for name, get in self._places.items():
            yield name, get()

    def look(self) -> dict[str, Hashable]:
        """What each place holds now."""
        return {name: _seen(get(), [VALUES_MAX], ()) for name, get in self._places.items()}


def _places(functions: Iterable[object]) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Where memory may be that the functions share, by name."""
    todo, known = [found for f in functions if (found := plain_function(f))], set[int]()
    while todo:
        function = todo.pop()
        if id(function) in known or not is_theirs(function.__code__.co_filename):
            continue
        known.add(id(function))
        name = f"{function.__module__}.{function.__qualname__}"
        yield f"{name}'s defaults", functools.partial(_defaults, function)
        yield f"{name}'s attributes", functools.partial(getattr, function, "__dict__")
        for at, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            yield f"{name}'s {at}", functools.partial(_content, cell)
            todo += _functions_in(_content(cell))
        module = function.__globals__
        for at in sorted(_names(function.__code__)):
            if at in module:
                yield f"{function.__module__}.{at}", functools.partial(module.get, at)
                todo += _functions_in(module[at])


def _functions_in(value: Any) -> list[FunctionType]:
    """The functions behind a value that code names: its own, or the methods of its class."""
    found = plain_function(value)
    kind = value if isinstance(value, type) else type(value)
    methods = vars(kind).values() if _is_theirs(kind) else ()
    return [f for f in (found, *map(plain_function, methods)) if f is not None]


def _defaults(function: FunctionType) -> Any:
    return function.__defaults__, function.__kwdefaults__


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return None


def _names(code: CodeType) -> set[str]:
    """Every name of a global that code mentions, that of functions inside it included."""
    inner = (known for known in code.co_consts if isinstance(known, CodeType))
    return set(code.co_names).union(*map(_names, inner))


def _is_theirs(kind: type[Any]) -> bool:
    known = _OWNERS.get(id(kind))
    if known is None:
        # Kept with the class, so that no other comes to have its identity.
        known = _OWNERS[id(kind)] = (kind, _has_methods_of_theirs(kind))
    return known[1]


_OWNERS: dict[int, tuple[type[Any], bool]] = {}


def _has_methods_of_theirs(kind: type[Any]) -> bool:
    return any(
        is_theirs(method.__code__.co_filename)
        for method in map(plain_function, vars(kind).values())
        if method is not None
    ) or (kind.__module__ == "__main__")


def _seen(value: Any, left: list[int], above: tuple[int, ...]) -> Hashable:
    """What a value holds now; of one that is not understood, which one it is."""
    left[0] -= 1
    if left[0] < 0 or id(value) in above:
        return "…"
    within = (*above, id(value))
    kind = cast(Any, type)(value)
    if kind in (list, tuple, deque):
        return kind, tuple(_seen(item, left, within) for item in value)
    if isinstance(value, dict):
        pairs = cast(Any, value)
        items = tuple(itertools.chain.from_iterable(pairs.items()))
        return kind, tuple(_seen(item, left, within) for item in items)
    if kind in (set, frozenset):
        return kind, frozenset(_seen(item, left, within) for item in value)
    if kind in (str, int, float, bool, bytes, bytearray, type(None)):
        return kind, repr(value)
    if kind in _COUNTERS:
        return kind, repr(value)
    if isinstance(value, type):
        held = {n: v for n, v in vars(value).items() if _is_data(n, v)} if _is_theirs(value) else {}
        return id(value), _seen(held, left, within) if held else None
    if _is_theirs(kind):
        return id(value), _seen(dict(_attributes(value)), left, within)
    return kind, id(value)


def _is_data(name: str, value: Any) -> bool:
    return not (name.startswith("__") or callable(value) or hasattr(value, "__get__"))


def _attributes(value: Any) -> Iterator[tuple[str, Any]]:
    yield from getattr(value, "__dict__", {}).items()
    for base in type(value).__mro__:
        slots = vars(base).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            try:
                yield name, object.__getattribute__(value, name)
            except AttributeError:
                continue
