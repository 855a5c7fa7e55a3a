"""Which values do environment variables give, and which variables are wrong?

A text that is not plainly a number stays text, and the setting's own check refuses it in words.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeAlias

import attrs

from ..errors import ConfigurationError, quoted
from .problems import Fields, problems, raise_if_any

Read: TypeAlias = Callable[[str], object]

ENV_PREFIX: Final = "XPAY_"
STORE_VARIABLE: Final = "XPAY_STORE"

# Variables with our prefix that are read elsewhere: the store's URL by `Flow.open()` and the
# command line, the keys of the local xPay by `xpay-flow sandbox`.
_READ_ELSEWHERE: Final = frozenset({"STORE", "SANDBOX_PRIVATE_KEY", "SANDBOX_SIGNING_KEY"})


def store_url(environ: Mapping[str, str] | None = None) -> str:
    """The URL of the store, from `XPAY_STORE`.

    Raises:
        ConfigurationError: the variable is not set, or is empty.
    """
    url = (os.environ if environ is None else environ).get(STORE_VARIABLE)
    if not url:
        raise ConfigurationError(
            f"no store is named: set {STORE_VARIABLE} to its URL, such as sqlite:///payments.db, "
            "or pass the URL"
        )
    return url


def read_environment(environ: Mapping[str, str], prefix: str, fields: Fields) -> dict[str, object]:
    """The values that variables give, by the names of `fields`; empty variables give none.

    Raises:
        ConfigurationError: once, naming every variable that is missing, wrong or unknown.
    """
    names = {_variable(field, prefix): field for field in fields}
    given = {
        field.name: field.metadata["read"](environ[name])
        for name, field in names.items()
        if environ.get(name)
    }
    raise_if_any((*_unknown(environ, names, prefix), *_wrong(given, names)))
    return given


def read_int(text: str) -> object:
    """Up to twelve decimal digits."""
    # Not int() alone, which also takes "1_0" and digits of other scripts.
    return int(text) if re.fullmatch(r"[0-9]{1,12}", text, re.ASCII) else text


def read_float(text: str) -> object:
    """A plain decimal number: no sign, no exponent, no infinity."""
    return float(text) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,6})?", text, re.ASCII) else text


def read_words(text: str) -> object:
    """What stands between commas."""
    return tuple(word.strip() for word in text.split(","))


def read_ints(text: str) -> object:
    """What stands between commas, each as `read_int` reads it."""
    return tuple(read_int(word.strip()) for word in text.split(","))


def _variable(field: attrs.Attribute[Any], prefix: str) -> str:
    return prefix + str(field.metadata["env"]).removeprefix(ENV_PREFIX)


def _unknown(environ: Mapping[str, str], names: Mapping[str, object], prefix: str) -> Iterator[str]:
    for name in sorted(environ):
        known = name in names or name.removeprefix(prefix) in _READ_ELSEWHERE
        if name.startswith(prefix) and not known:
            yield f"{quoted(name)} is not a setting: {_hint(name, names)}"


def has_factory(field: attrs.Attribute[Any]) -> bool:
    """Whether the default is made of the other settings."""
    return isinstance(field.default, attrs.Factory)  # type: ignore[arg-type]  # a class at run time


def _hint(name: str, names: Mapping[str, object]) -> str:
    # Imported late: only typing errors need it.
    from difflib import get_close_matches

    close = get_close_matches(name, names, n=1)
    return f"did you mean {close[0]}?" if close else "remove it or use another prefix"


def _wrong(given: Mapping[str, object], names: Mapping[str, attrs.Attribute[Any]]) -> Iterator[str]:
    fields = tuple(names.values())
    # A default that depends on another setting passes its check, if that one does.
    plain = (f for f in fields if f.default is not attrs.NOTHING and not has_factory(f))
    defaults = {f.name: f.default for f in plain}
    values = defaults | dict(given)
    found = dict(problems(values, fields))
    for name, field in names.items():
        if field.name not in values and not has_factory(field):
            yield f"{name} is missing: {field.metadata['help']}"
        elif field.name in found:
            yield f"{name} {found[field.name]}"
