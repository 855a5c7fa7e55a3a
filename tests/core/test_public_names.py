"""What `import xpay_flow` offers, and what it costs."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

import pytest

import xpay_flow


def test_the_list_is_sorted_and_holds_every_name_once() -> None:
    """The public names are listed as a person would look for them: constants, then the rest."""
    assert sorted(set(xpay_flow.__all__), key=_constants_first) == xpay_flow.__all__


def _constants_first(name: str) -> tuple[bool, bool, str]:
    return not name.isupper(), name[0].islower(), name


@pytest.mark.parametrize("name", xpay_flow.__all__)
def test_every_listed_name_is_there(name: str) -> None:
    """What the list promises can be imported."""
    assert getattr(xpay_flow, name) is not None


def test_nothing_public_is_missing_from_the_list() -> None:
    """A name without an underscore is listed, a module, or the annotations' own."""
    unlisted = {
        name
        for name, value in vars(xpay_flow).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    } - set(xpay_flow.__all__)
    assert {"TYPE_CHECKING", "Any", "annotations", "import_module"} == unlisted


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    """Loading names late does not swallow typing errors."""
    with pytest.raises(AttributeError, match="has no attribute 'Flwo'"):
        _ = xpay_flow.Flwo  # type: ignore[attr-defined]


def test_importing_it_loads_no_framework_no_http_client_and_no_event_loop() -> None:
    """A program that imports the package pays for attrs and transitions only."""
    heavy = ["asyncio", "httpx", "ssl", "sqlite3", "iso4217", "starlette", "fastapi", "click"]
    code = f"import sys, xpay_flow; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120
    )
    assert "[]" == done.stdout.strip()
