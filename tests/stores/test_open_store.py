"""Which store a URL means."""

from __future__ import annotations

import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from xpay_flow import stores
from xpay_flow.errors import ConfigurationError, MissingExtra
from xpay_flow.stores import GROUP, open_store
from xpay_flow.stores.memory import MemoryStore
from xpay_flow.stores.sqlite import SQLiteStore


def offer(monkeypatch: pytest.MonkeyPatch, **points: str) -> None:
    """Installed packages offer these and nothing else."""
    found = tuple(EntryPoint(name, value, GROUP) for name, value in points.items())
    monkeypatch.setattr(stores, "entry_points", lambda *, group: found if group == GROUP else ())


class Strict:
    @classmethod
    def from_url(cls, url: str) -> Strict:
        raise MissingExtra("psycopg", "postgresql")


class NotAStore:
    pass


def test_the_shipped_stores_need_no_installation(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A plain source tree, without any metadata, has the two shipped stores."""
    offer(monkeypatch)
    assert isinstance(open_store("memory://"), MemoryStore)
    with open_store(f"sqlite:///{tmp_path}/payments.db") as store:  # type: ignore[attr-defined]
        assert isinstance(store, SQLiteStore)


def test_the_package_offers_what_it_ships() -> None:
    """The fallback metadata of a source tree is the same as the wheel's."""
    project = tomllib.loads((Path(stores.__file__).parents[2] / "pyproject.toml").read_text())
    shipped = {name: point.value for name, point in stores._SHIPPED.items()}
    assert shipped.items() <= project["project"]["entry-points"][GROUP].items()


def test_a_strangers_store_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package offers a store by naming a class for a scheme."""
    offer(monkeypatch, mine="xpay_flow.stores.memory:MemoryStore")
    with pytest.raises(ConfigurationError, match="memory://"):  # its own from_url answers
        open_store("mine://somewhere")


def test_a_stranger_cannot_take_the_place_of_a_shipped_store(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Installing a package does not move the payments into its store."""
    offer(monkeypatch, memory=f"{__name__}:NotAStore")
    assert isinstance(open_store("memory://"), MemoryStore)


@pytest.mark.parametrize("url", ["oracle://bob:hunter2@db/shop", "pay ments\n://bob:hunter2@"])
def test_an_unknown_scheme_lists_the_known_ones(url: str) -> None:
    """The text names the schemes there are and what to do, and no password."""
    with pytest.raises(ConfigurationError, match=r"memory.*sqlite.*Install") as caught:
        open_store(url)
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("url", ["", "payments.db", "sqlite:payments.db", "/srv/payments.db"])
def test_a_path_is_not_a_url(url: str) -> None:
    """A path alone is refused with the form that is meant."""
    with pytest.raises(ConfigurationError, match=r"sqlite:///payments\.db"):
        open_store(url)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("no_such_module:Store [postgresql]", r"pip install 'xpay-flow\[postgresql\]'"),
        ("no_such_module:Store", "pip install --force-reinstall xpay-flow"),
        ("xpay_flow.errors:NoSuchStore", "cannot be used.*NoSuchStore"),
        (f"{__name__}:NotAStore", "cannot be used.*from_url"),
    ],
)
def test_a_store_that_cannot_be_imported_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, value: str, words: str
) -> None:
    """A broken offer names the extra that its entry point asks for."""
    offer(monkeypatch, postgresql=value)
    with pytest.raises(ConfigurationError, match=words):
        open_store("postgresql://db/shop")


def test_a_missing_extra_is_told_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that knows which extra it lacks is quoted in its own words."""
    offer(monkeypatch, postgresql=f"{__name__}:Strict")
    with pytest.raises(MissingExtra, match=r"xpay-flow\[postgresql\]"):
        open_store("postgresql://db/shop")
