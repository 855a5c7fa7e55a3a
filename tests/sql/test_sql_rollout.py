"""That a newer schema can be rolled out while the code of now goes on: expand, then contract.

The next release is a copy of this one with a further step, which only adds; the one after it takes
something away. Both run `xpay-flow db` as a shop does.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from releases import Release, at_work, release

from xpay_flow import sample_records as b
from xpay_flow.cli.root import xpay_flow as command_line
from xpay_flow.errors import SchemaMismatch
from xpay_flow.ports import Store
from xpay_flow.testing.store_suite import put
from xpay_flow_sqlalchemy import SQLAlchemyStore, migrating

from .kit import BlockingStore, Place

STEP = """
from sqlalchemy import BigInteger, Column, Text
OLDEST_CODE = {oldest_code}

def upgrade(op, names):
    {upgrade}

def downgrade(op, names):
    {downgrade}
"""
EXPAND = STEP.format(
    oldest_code=2,
    upgrade="""op.add_column(names.of("intents"), Column("newer", Text), schema=names.schema)
    op.add_column(names.of("events"), Column("newer", BigInteger), schema=names.schema)
    op.create_table(
        names.of("newer"), Column("id", BigInteger, primary_key=True), schema=names.schema
    )
    op.create_index(names.of("by_state"), names.of("intents"), ["state"], schema=names.schema)""",
    downgrade="""op.drop_index(names.of("by_state"), names.of("intents"), schema=names.schema)
    op.drop_table(names.of("newer"), schema=names.schema)
    op.drop_column(names.of("events"), "newer", schema=names.schema)
    op.drop_column(names.of("intents"), "newer", schema=names.schema)""",
)
# What today's code writes in each of its statements.
CONTRACT = STEP.format(
    oldest_code=3,
    upgrade="""op.drop_column(names.of("intents"), "refund_status", schema=names.schema)""",
    downgrade="""op.add_column(
        names.of("intents"), Column("refund_status", Text), schema=names.schema
    )""",
)
REVISION = """
from alembic import op
from xpay_flow_sqlalchemy import migrations
revision, down_revision = "xpay_flow_{to}", "xpay_flow_{before}"

def upgrade():
    migrations.upgrade(op, to={to}, names=op.get_context().opts.get("xpay_flow_names"))

def downgrade():
    migrations.downgrade(op, to={before}, names=op.get_context().opts.get("xpay_flow_names"))
"""
FINDS = """
import sys
from xpay_flow_sqlalchemy import SQLAlchemyStore, schema
with SQLAlchemyStore.from_url(sys.argv[1]) as store:
    print(f"code {schema.CODE} finds {[record.version for record in store.history(sys.argv[2])]}")
"""
KINDS = {
    "sqlite": ["sqlalchemy+sqlite"],
    "postgresql": ["postgresql", "postgresql+asyncpg"],
    "mariadb": ["mariadb", "mariadb+aiomysql"],
}


def later(folder: Path, *steps: str) -> Release:
    """A release that has these steps after ours, and needs them."""
    numbered = dict(enumerate(steps, start=3))
    listed = "".join(f", {number}: step_{number}" for number in numbered)
    imported = "".join(f", step_{number}" for number in numbered)
    steps_of_now = "STEPS: Final[dict[int, ModuleType]] = {1: step_1, 2: step_2"
    ours = f"from . import step_1, step_2\n\n{steps_of_now}"
    theirs = ours.replace("step_2\n", f"step_2{imported}\n") + listed
    return release(
        folder,
        "xpay_flow_sqlalchemy",
        {
            "schema.py": ("CODE: Final = 2", f"CODE: Final = {max(numbered)}"),
            "migrations/__init__.py": (ours, theirs),
        },
        {f"migrations/step_{number}.py": step for number, step in numbered.items()}
        | {
            f"migrations/versions/xpay_flow_{number}.py": REVISION.format(
                to=number, before=number - 1
            )
            for number in numbered
        },
    )


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def url(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database of this kind with tables of today's release, under a prefix of their own."""
    prefix = f"out_{secrets.token_hex(4)}_"
    if kind == "sqlite":
        url = f"sqlalchemy+sqlite:///{tmp_path}/payments.db?table_prefix={prefix}"
    else:
        place: Place = request.getfixturevalue(kind)
        url = place.by(kind, table_prefix=prefix)
    assert 2 == migrating.upgrade(url)
    return url


def opened(url: str, driver: str) -> Store:
    """Today's store, blocking or awaited underneath."""
    scheme = url.partition(":")[0]
    there = driver + url.removeprefix(scheme)
    return BlockingStore(there) if "+a" in driver else SQLAlchemyStore.from_url(there)


def db(*words: str) -> tuple[int, str]:
    """`xpay-flow db` of today's release."""
    done = CliRunner().invoke(command_line, ["db", *words])
    return done.exit_code, done.output


def test_the_code_of_now_goes_on_while_a_newer_schema_is_rolled_out(
    kind: str, url: str, tmp_path: Path
) -> None:
    """Stores that are open and stores that are opened work before, meanwhile and afterwards.

    The next release refuses to start before it, in words, and works after it. Taken back, the
    payments are all there.
    """
    new = later(tmp_path / "next", EXPAND)
    stores = {driver: opened(url, driver) for driver in KINDS[kind]}
    first = {driver: put(store, b.attempt(driver)) for driver, store in stores.items()}
    key = next(iter(first.values())).key

    code, printed = new.run("-c", FINDS, url, key)
    assert code
    assert (
        "has schema 2, and this version of xpay-flow needs 3; run xpay-flow db upgrade" in printed
    )
    assert (1, True) == _refused(new.run("-m", "xpay_flow.cli", "db", "check", "--store", url))

    with at_work(list(stores.values())) as done:
        assert (0, "The database has schema 3.") == said_last(new, "upgrade", url)
        done.wait_for_more()
    for driver, store in stores.items():
        second = put(store, b.next_change(first[driver], b.created(f"in_{driver}")))
        again = opened(url, driver)
        assert [second] == list(again.history(second.key))
        first[driver] = put(again, b.next_change(second, b.paid(x_intent_id=f"in_{driver}")))
        discard(again)
    assert (0, "This xpay-flow can work on the database.\n") == db("check", "--store", url)
    assert (0, "3\n") == db("current", "--store", url)
    assert (0, "code 3 finds [3]\n") == new.run("-c", FINDS, url, key)

    with at_work(list(stores.values())) as done:
        assert (0, "The database has schema 2.") == said_last(new, "downgrade", url, "--to=2")
        done.wait_for_more()
    for driver, store in stores.items():
        assert [first[driver]] == list(store.history(first[driver].key))
        discard(store)
    assert new.run("-c", FINDS, url, key)[0]
    assert (0, "This xpay-flow can work on the database.\n") == db("check", "--store", url)


def test_code_that_a_schema_has_left_behind_is_refused(url: str, tmp_path: Path) -> None:
    """When a column is removed, this release reports it as it starts, and by its check."""
    newest = later(tmp_path / "later", EXPAND, CONTRACT)
    with SQLAlchemyStore.from_url(url) as store:
        first = put(store, b.attempt())
    assert (0, "The database has schema 4.") == said_last(newest, "upgrade", url)
    words = "has schema 4, which needs a newer xpay-flow: this one knows schema 2, and 3 is the"
    with pytest.raises(SchemaMismatch, match=words):
        SQLAlchemyStore.from_url(url)
    code, printed = db("check", "--store", url)
    assert (1, True) == (code, words in printed)
    assert (0, "The database has schema 2.") == said_last(newest, "downgrade", url, "--to=2")
    with SQLAlchemyStore.from_url(url) as store:
        assert [first] == list(store.history(first.key))


def said_last(of: Release, act: str, url: str, *words: str) -> tuple[int, str]:
    """The exit code of `xpay-flow db`, and its last line."""
    code, printed = of.run("-m", "xpay_flow.cli", "db", act, "--store", url, *words)
    return code, printed.strip().splitlines()[-1]


def _refused(ended: tuple[int, str]) -> tuple[int, bool]:
    code, printed = ended
    return code, "run xpay-flow db upgrade" in printed


def discard(store: Any) -> None:
    store.close()
