"""Which object does MODULE:NAME name? Found as `python -m` would find it."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from .errors import ConfigurationError, quoted


def named(target: str, example: str) -> tuple[Any, Any]:
    """The object, and the module it is looked up in; the current folder is importable.

    Args:
        example: a target to show in errors, such as `shop.payments:flow`.

    Raises:
        ConfigurationError: there is no such thing, or the target is not written like this.
    """
    module_name, colon, attribute = target.partition(":")
    if not (module_name and colon and attribute):
        raise ConfigurationError(f"write {example}, not {target!a}")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    module = _imported(module_name)
    found: Any = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise ConfigurationError(f"module {module_name} has no {quoted(attribute)}")
        found = getattr(found, part)
    return found, module


def _imported(module_name: str) -> Any:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # A module that the named one fails to import is shown with its trace.
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise ConfigurationError(f"there is no module {quoted(module_name)} here") from None
