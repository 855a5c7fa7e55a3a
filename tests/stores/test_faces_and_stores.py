"""That a flow and a store of different worlds are refused when the program starts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from xpay_flow import AsyncFlow, Flow, Settings
from xpay_flow.cli.stores import existing_store
from xpay_flow.errors import ConfigurationError
from xpay_flow.events import EventIdentity
from xpay_flow.records import Change, Record
from xpay_flow.stores import blocking_store
from xpay_flow.stores.memory import MemoryStore

SETTINGS = Settings.sandbox()


class AwaitedStore(MemoryStore):
    """A store that is awaited."""

    async def commit(self, change: Change) -> bool:  # type: ignore[override]
        return super().commit(change)

    async def load(  # type: ignore[override]
        self, alias: str, event: EventIdentity | None = None
    ) -> Sequence[Record]:
        return super().load(alias, event)


class HalfAwaited(MemoryStore):
    """A store whose author has forgotten an `async`."""

    async def load(  # type: ignore[override]
        self, alias: str, event: EventIdentity | None = None
    ) -> Sequence[Record]:
        return super().load(alias, event)


@pytest.mark.parametrize("kind", [Flow, AsyncFlow])
def test_open_without_a_url_reads_xpay_store(
    kind: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """open() opens the store of XPAY_STORE with the settings of the other variables."""
    monkeypatch.setenv("XPAY_STORE", f"sqlite:///{tmp_path / 'payments.db'}")
    monkeypatch.setattr("xpay_flow.settings.Settings.from_env", lambda: SETTINGS)
    flow = kind.open(background=False)
    assert (tmp_path / "payments.db").exists()
    assert SETTINGS is flow.settings
    flow.store.close()


@pytest.mark.parametrize("kind", [Flow, AsyncFlow])
def test_open_without_a_url_and_without_xpay_store(
    kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """open() without a URL and without XPAY_STORE names the variable in its error."""
    monkeypatch.delenv("XPAY_STORE", raising=False)
    with pytest.raises(ConfigurationError, match="set XPAY_STORE to its URL"):
        kind.open(settings=SETTINGS)


def test_a_blocking_flow_refuses_a_store_that_is_awaited() -> None:
    """Its commit would be a coroutine that is never awaited, and so true."""
    store: Any = AwaitedStore()
    with pytest.raises(ConfigurationError, match="AwaitedStore is awaited: give it to AsyncFlow"):
        Flow(store, SETTINGS)
    assert AsyncFlow(store, SETTINGS, background=False).store is store


def test_the_url_to_use_instead_is_named() -> None:
    """What to write in place of a driver that is awaited is in the text; a password is not."""
    with pytest.raises(ConfigurationError) as error:
        blocking_store(AwaitedStore(), "postgresql+asyncpg://shop:secret@db/shop")
    assert "open postgresql://… in place of postgresql+asyncpg://…" in str(error.value)
    assert "secret" not in str(error.value)


def test_opening_by_url_refuses_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """By `Flow.open`, and on the command line."""
    monkeypatch.setattr(MemoryStore, "from_url", lambda _: AwaitedStore())
    with pytest.raises(ConfigurationError, match="is awaited"):
        Flow.open("memory://", SETTINGS)
    with pytest.raises(ConfigurationError, match="is awaited"), existing_store("memory://"):
        raise AssertionError("a command would have been given this store")


def test_a_store_that_is_half_awaited_is_refused() -> None:
    """By both faces: neither could use it."""
    store: Any = HalfAwaited()
    with pytest.raises(ConfigurationError, match="half awaited"):
        AsyncFlow(store, SETTINGS)


def test_a_store_without_a_transaction_is_refused_when_registering() -> None:
    """In words that name the store and what it lacks."""
    flow = Flow(MemoryStore(), SETTINGS, background=False)
    for register in (flow.on_success, flow.on_failed, flow.on_refunded, flow.on_attention):
        with pytest.raises(ConfigurationError, match=r"MemoryStore is not.*commit_with"):
            register(transactional=True)
    assert frozenset() == flow.handlers


def test_nothing_to_register_is_refused(tmp_path: Path) -> None:
    """Neither a handler nor `transactional=True`."""
    with Flow.open(f"sqlite:///{tmp_path}/a.db", SETTINGS, background=False) as flow:
        register: Any = flow.on_success
        with pytest.raises(ConfigurationError, match=r"@flow\.on_success"):
            register()


def test_registering_again_takes_the_place_of_the_first(tmp_path: Path) -> None:
    """With the transaction or without it: the last one counts."""
    with Flow.open(f"sqlite:///{tmp_path}/a.db", SETTINGS, background=False) as flow:
        flow.on_success(transactional=True)(lambda payment, tx: None)
        assert ({"on_success"}, {"on_success"}) == (
            flow.capabilities.handlers,
            flow.capabilities.transactional,
        )
        flow.on_success(lambda payment: None)
        assert ({"on_success"}, set()) == (
            flow.capabilities.handlers,
            flow.capabilities.transactional,
        )
