"""How the tables are made, changed and looked at."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from click.testing import CliRunner
from first_schema import put_as_version_1
from processes import ended, line_of
from sqlalchemy import Engine, MetaData, create_engine, inspect, text
from sqlalchemy.pool import NullPool

from xpay_flow import sample_records as b
from xpay_flow.cli.root import xpay_flow as command_line
from xpay_flow.errors import ConfigurationError, SchemaMismatch, StoreUnavailable
from xpay_flow.realm import UNNAMED, Realms
from xpay_flow.testing.store_suite import found, put, waiting
from xpay_flow_sqlalchemy import (
    Names,
    SQLAlchemyStore,
    Tables,
    engines,
    migrating,
    migrations,
    schema,
)

from .kit import Place


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "payments.db"


@pytest.fixture
def url(path: Path) -> str:
    return f"sqlalchemy+sqlite:///{path}"


@pytest.fixture
def engine(path: Path) -> Iterator[Engine]:
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool)
    yield engine
    engine.dispose()


# A process that is ready, and then waits for the end of its input.
_UPGRADE = """
import sys
from xpay_flow_sqlalchemy import migrating
print("ready", flush=True)
sys.stdin.read()
print(migrating.upgrade(sys.argv[1]))
"""


def differences(engine: Engine, tables: Tables) -> list[Any]:
    """What Alembic would still change."""

    def ours(name: str | None, kind: str, _: object) -> bool:
        return kind != "table" or name in {table.name for table in tables.metadata.tables.values()}

    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_name": ours})
        return list(compare_metadata(context, tables.metadata))


# --- making --------------------------------------------------------------------------------------


def test_the_migrations_make_what_the_code_uses_on_sqlite(url: str, engine: Engine) -> None:
    """After every step, the tables are those that the statements are written for."""
    assert schema.CODE == migrations.NEWEST == migrating.upgrade(url)
    assert [] == differences(engine, Tables())


def test_the_migrations_make_what_the_code_uses_on_postgresql(postgresql: Place) -> None:
    """The same on PostgreSQL, with its types and its indexes of what waits."""
    assert [] == differences(postgresql.engine(), Tables())


def test_the_migrations_make_what_the_code_uses_on_mariadb(mariadb: Place) -> None:
    """The same on MariaDB."""
    assert [] == differences(mariadb.engine(), Tables())


def test_upgrading_twice_changes_nothing(url: str) -> None:
    """The command may stand in every deployment."""
    assert migrating.upgrade(url) == migrating.upgrade(url) == migrating.current(url)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql", "mariadb"])
def test_many_may_upgrade_at_once(request: pytest.FixtureRequest, url: str, kind: str) -> None:
    """A deployment may start several processes with the same command, and none of them fails."""
    if kind != "sqlite":
        place: Place = request.getfixturevalue(kind)
        url = place.by(place.kind.driver, table_prefix="together_")
    command = [sys.executable, "-c", _UPGRADE, url]
    pipe = subprocess.PIPE
    with ExitStack() as stack:
        started = [
            stack.enter_context(
                ended(subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True))
            )
            for _ in range(4)
        ]
        assert ["ready\n"] * 4 == [line_of(process.stdout) for process in started]
        for process in started:
            assert process.stdin is not None
            process.stdin.close()
        printed = [line_of(process.stdout) for process in started]
    assert [f"{schema.CODE}\n"] * 4 == printed
    assert [0] * 4 == [process.returncode for process in started]
    migrating.remove(url)


def test_steps_on_sqlite_are_taken_all_or_none(url: str, engine: Engine) -> None:
    """What could not be finished has changed nothing, so it can be tried again."""
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE xpay_flow_events (of_a_stranger TEXT)"))
    with pytest.raises(StoreUnavailable, match="xpay_flow_events already exists"):
        migrating.upgrade(url)
    assert ["xpay_flow_events"] == inspect(engine).get_table_names()
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE xpay_flow_events"))
    assert schema.CODE == migrating.upgrade(url)


def test_tables_may_have_a_prefix(url: str, engine: Engine) -> None:
    """Two shops in one database keep apart by a prefix, which the URL names."""
    migrating.upgrade(url)
    other = f"{url}?table_prefix=eu_"
    assert 0 == migrating.current(other)
    migrating.upgrade(other)
    with SQLAlchemyStore.from_url(url) as one, SQLAlchemyStore.from_url(other) as two:
        first = put(one, b.attempt())
        assert [] == list(two.history(first.key))
        put(two, b.attempt())
        assert [first] == list(two.history(first.key))
    assert "eu_intents" in inspect(engine).get_table_names()


def test_tables_may_have_a_schema(postgresql: Place) -> None:
    """On PostgreSQL they may live in a schema of their own."""
    with postgresql.connected() as connection:
        connection.execute(text("CREATE SCHEMA IF NOT EXISTS payments"))
    url = postgresql.by("postgresql", table_schema="payments", table_prefix="pay_")
    migrating.upgrade(url)
    with SQLAlchemyStore.from_url(url) as store:
        put(store, *b.history(b.created(), b.paid()))
    assert [(1,)] == postgresql.answer("SELECT count(*) FROM payments.pay_intents")


@pytest.mark.parametrize("words", ["Pay_", "a;b", "", "x" * 31])
def test_a_prefix_that_is_no_name_is_refused(words: str) -> None:
    """What stands in statements is checked first."""
    with pytest.raises(ConfigurationError, match="prefix"):
        Names(prefix=words)


# --- refusing ------------------------------------------------------------------------------------


def test_a_store_without_tables_does_not_open(url: str) -> None:
    """The error names the table that is missing and the command that makes it."""
    with pytest.raises(SchemaMismatch, match=r"no table xpay_flow_schema.*xpay-flow db upgrade"):
        SQLAlchemyStore.from_url(url)


def test_a_store_with_old_tables_does_not_open(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code that needs a newer schema is refused when the program starts."""
    migrating.upgrade(url)
    monkeypatch.setattr(schema, "CODE", 3)
    with pytest.raises(SchemaMismatch, match=r"has schema 2.*needs 3.*xpay-flow db upgrade"):
        SQLAlchemyStore.from_url(url)


def test_a_schema_that_only_grew_is_fine(url: str, engine: Engine) -> None:
    """The database may be upgraded before the code, if the code of now can live with it."""
    migrating.upgrade(url)
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE xpay_flow_intents ADD COLUMN more TEXT"))
        connection.execute(text("INSERT INTO xpay_flow_schema VALUES (3, 2)"))
    with SQLAlchemyStore.from_url(url) as store:
        last = put(store, *b.history(b.created(), b.paid()))
        assert [last] == list(store.history(last.key))


def test_a_schema_that_lost_something_is_refused(url: str, engine: Engine) -> None:
    """A schema that this code cannot live with any more is not written to."""
    migrating.upgrade(url)
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO xpay_flow_schema VALUES (4, 3)"))
    with pytest.raises(SchemaMismatch, match="needs a newer xpay-flow"):
        SQLAlchemyStore.from_url(url)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql", "mariadb"])
def test_records_of_the_first_schema_belong_to_no_realm(
    kind: str, request: pytest.FixtureRequest
) -> None:
    """Tables of version 1 are migrated with all that they hold, and no realm is guessed for it."""
    if kind == "sqlite":
        url = str(request.getfixturevalue("url"))
    else:
        place: Place = request.getfixturevalue(kind)
        url = place.by(kind, table_prefix="first_")
    step = waiting(b.attempt(realm=UNNAMED), 1, 1)
    assert 1 == migrating.upgrade(url, to=1)
    where = engines.place(url)
    with engines.plain_engine(where).begin() as connection:
        put_as_version_1(
            step, lambda sql, row: connection.execute(text(sql), row), where.names.of("")
        )
    assert 2 == migrating.upgrade(url)
    with SQLAlchemyStore.from_url(url) as store:
        assert [step.record] == found(store, step.record.key)
        assert [] == list(store.due("deliver", 9, 9, Realms((b.REALM,))))
        assert [step.record.key] == list(store.due("deliver", 9, 9, Realms((UNNAMED,))))
        put(store, b.attempt("order-2"))
    with pytest.raises(ConfigurationError, match=r"1 record.*older code cannot read"):
        migrating.downgrade(url, to=1)


# --- taking back ---------------------------------------------------------------------------------


def test_payments_are_not_deleted_by_a_downgrade(url: str) -> None:
    """Where there is a payment, the tables stay."""
    migrating.upgrade(url)
    with SQLAlchemyStore.from_url(url) as store:
        first = put(store, b.attempt())
    with pytest.raises(ConfigurationError, match=r"holds 1 record"):
        migrating.downgrade(url, to=0)
    with SQLAlchemyStore.from_url(url) as store:
        assert [first] == list(store.history(first.key))


def test_empty_tables_can_be_taken_back(url: str, engine: Engine) -> None:
    """A try can be undone, and begun again."""
    migrating.upgrade(url)
    assert 0 == migrating.downgrade(url, to=0)
    assert ["xpay_flow_alembic_version"] == inspect(engine).get_table_names()
    assert 2 == migrating.upgrade(url)


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_servers_take_back_too(kind: str, request: pytest.FixtureRequest) -> None:
    """Nothing stays behind: neither tables nor what makes events append-only."""
    place: Place = request.getfixturevalue(kind)
    url = place.by(kind, table_prefix="again_")
    for _ in range(2):
        assert 2 == migrating.upgrade(url)
        assert 0 == migrating.downgrade(url, to=0)


# --- in a tree of the shop's own -----------------------------------------------------------------

ENV = """
from alembic import context
from sqlalchemy import create_engine, pool
engine = create_engine(context.config.get_main_option("sqlalchemy.url"), poolclass=pool.NullPool)
with engine.connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()
"""
REVISION = """
from alembic import op
from xpay_flow_sqlalchemy import migrations
revision, down_revision = "shop1", None
def upgrade():
    migrations.upgrade(op, to=1)
    migrations.upgrade(op, to=2)
def downgrade():
    migrations.downgrade(op, to=1)
    migrations.downgrade(op, to=0)
"""


@pytest.fixture
def tree(tmp_path: Path, path: Path) -> Config:
    """A shop's own Alembic folder, with no revision in it yet."""
    (tmp_path / "tree" / "versions").mkdir(parents=True)
    (tmp_path / "tree" / "env.py").write_text(ENV)
    config = Config()
    config.set_main_option("script_location", str(tmp_path / "tree"))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("sqlalchemy.url", f"sqlite:///{path}")
    return config


def by_function(config: Config, tree: Path) -> None:
    (tree / "versions" / "shop1.py").write_text(REVISION)


def by_location(config: Config, tree: Path) -> None:
    ours = "xpay_flow_sqlalchemy:migrations/versions"
    config.set_main_option("version_locations", f"{tree / 'versions'}\n{ours}")


def test_a_difference_would_be_seen(url: str, engine: Engine) -> None:
    """The comparison above can fail."""
    migrating.upgrade(url)
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE xpay_flow_intents DROP COLUMN currency"))
    assert ["add_column"] == [difference[0] for difference in differences(engine, Tables())]


@pytest.mark.parametrize("way", [by_function, by_location])
def test_a_shop_takes_the_steps_in_its_own_tree(
    way: Callable[[Config, Path], None], tree: Config, tmp_path: Path, url: str, engine: Engine
) -> None:
    """By a revision of its own or by listing ours, the tables are the same, and taken back."""
    way(tree, tmp_path / "tree")
    command.upgrade(tree, "heads")
    assert [] == differences(engine, Tables())
    with SQLAlchemyStore.from_url(url) as store:
        assert [] == list(store.history("receipt:order-1"))
    command.downgrade(tree, "base")
    assert 0 == migrating.current(url)


def test_tables_of_a_shops_own_tree_are_left_to_it(tree: Config, tmp_path: Path, url: str) -> None:
    """Two accounts of the same steps would contradict each other."""
    by_function(tree, tmp_path / "tree")
    command.upgrade(tree, "heads")
    for act in (lambda: migrating.upgrade(url), lambda: migrating.downgrade(url, to=0)):
        with pytest.raises(ConfigurationError, match="was not made by xpay-flow db"):
            act()


def test_the_tables_can_live_in_a_metadata_of_the_shops() -> None:
    """Alembic's autogenerate knows them then, and the shop can query them."""
    metadata = MetaData()
    tables = Tables(metadata, Names(prefix="pay_"))
    assert tables.intents is metadata.tables["pay_intents"]
    assert 5 == len(metadata.tables)


# --- from a terminal -----------------------------------------------------------------------------


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(command_line, ["db", *words])
    return done.exit_code, done.output


def test_the_command_line_makes_and_looks(url: str) -> None:
    """`xpay-flow db` prints what it found and did, and its exit code is 0 if all is well."""
    code, shown = run("check", "--store", url)
    assert (1, True) == (code, "xpay-flow db upgrade" in shown)
    assert (0, "0\n") == run("current", "--store", url)
    assert (0, "The database has schema 2.\n") == run("upgrade", "--store", url)
    assert (0, "This xpay-flow can work on the database.\n") == run("check", "--store", url)
    assert (0, "The tables are gone.\n") == run("downgrade", "--to", "0", "--store", url)


@pytest.mark.parametrize("driver", ["postgresql", "postgresql+asyncpg"])
def test_the_command_line_takes_the_stores_own_url(postgresql: Place, driver: str) -> None:
    """The URL that opens the store is the URL that makes its tables, also of an awaited one."""
    assert (0, "2\n") == run("current", "--store", postgresql.by(driver))
    assert 0 == run("upgrade", "--store", postgresql.by(driver, table_prefix="cli_"))[0]
    assert 0 == run("downgrade", "--to=0", "--store", postgresql.by(driver, table_prefix="cli_"))[0]


@pytest.mark.parametrize("words", [(), ("--store", "sqlite:///payments.db")])
def test_the_command_line_says_what_it_needs(words: tuple[str, ...]) -> None:
    """Without a database, or with one that needs no command, it prints that."""
    code, shown = run("upgrade", *words)
    assert code
    assert "--store" in shown or "needs no migrations" in shown


def test_a_server_that_is_not_there_is_one_line() -> None:
    """A refused connection is reported without a trace and without the password."""
    code, shown = run("upgrade", "--store", "postgresql://bob:hunter2@127.0.0.1:1/shop")
    assert 1 == code
    assert "hunter2" not in shown
    assert shown.startswith("Error: ")
