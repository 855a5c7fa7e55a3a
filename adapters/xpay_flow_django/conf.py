"""Which settings does the project give? The `XPAY_FLOW` dictionary, with the names of `Settings`.

    XPAY_FLOW = {
        "DATABASE": "default",
        "MODE": "live",
        "PUBLIC_KEY": os.environ["XPAY_PUBLIC_KEY"],
        ...
    }

A setting that it does not name has its default. If it names no setting at all, the environment is
read.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Final

import attrs
from django.conf import settings as project
from django.db import DEFAULT_DB_ALIAS

from xpay_flow import ConfigurationError, Settings
from xpay_flow.errors import quoted
from xpay_flow.settings import ENV_PREFIX

NAME: Final = "XPAY_FLOW"
DATABASE: Final = "DATABASE"
POOLER: Final = "POOLER"
# These are for the store, and the others for `Settings`.
_OF_STORE: Final = (DATABASE, POOLER)

_FIELDS: Final[Mapping[str, str]] = {
    str(field.metadata["env"]).removeprefix(ENV_PREFIX): field.name
    for field in attrs.fields(Settings)
}
_NEEDED: Final = [
    name
    for name, member in _FIELDS.items()
    if attrs.fields_dict(Settings)[member].default is attrs.NOTHING
]


def flow_settings() -> Settings:
    """The project's settings, or those of the environment.

    Raises:
        ConfigurationError: as `Settings`.
    """
    given = {name: value for name, value in _project_settings().items() if name not in _OF_STORE}
    if not given:
        return Settings.from_env()
    problems = [_hint(name) for name in sorted(set(given) - set(_FIELDS))]
    problems += [f"{name} is missing" for name in _NEEDED if name not in given]
    if problems:
        raise ConfigurationError("\n".join([f"{NAME} is not right:", *problems]))
    return Settings(**{_FIELDS[name]: _value(value) for name, value in given.items()})


def database_alias() -> str:
    """Which of `DATABASES` keeps the payments."""
    return str(_project_settings().get(DATABASE, DEFAULT_DB_ALIAS))


def is_behind_pooler() -> bool:
    """Whether a connection pooler in transaction mode is between Django and the database."""
    mode = _project_settings().get(POOLER)
    if mode not in (None, "transaction"):
        raise ConfigurationError(
            f'{POOLER} in {NAME} must be "transaction", or left out: other modes need none'
        )
    return mode is not None


def _project_settings() -> Mapping[str, Any]:
    given: dict[str, Any] = getattr(project, NAME, {})
    if type(given) is not dict:
        raise ConfigurationError(f"{NAME} must be a dictionary")
    return given


def _value(value: Any) -> Any:
    # A list is what people write in a settings file.
    return tuple(value) if type(value) in (list, set) else value


def _hint(name: str) -> str:
    close = get_close_matches(name, [*_OF_STORE, *_FIELDS], n=1)
    hint = f"did you mean {close[0]}?" if close else "remove it"
    return f"{quoted(name)} is not a setting: {hint}"
