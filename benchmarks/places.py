"""Which PostgreSQL is measured? One that you name, or a fresh one that flushes as it should."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import asyncpg
import attrs

from tests.servers import POSTGRESQL, shared, start_postgresql

# As an administrator leaves it: a commit that has returned is on the disk.
_DURABLE: Final = {
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "synchronous_standby_names": "",
}


@attrs.frozen
class Server:
    """A server whose superuser's URL this is."""

    url: str

    @contextmanager
    def databases(
        self, count: int, *, commit_delay_us: int = 0
    ) -> Generator[list[str], None, None]:
        """The URLs of so many empty databases, gone afterwards.

        Args:
            commit_delay_us: how long a flush waits before it starts, with the lock in its
                hands. PostgreSQL's own setting; it lets those that commit meanwhile come along,
                which a slow disk does not, and so is kinder to many transactions than that.
        """
        names = [f"xpay_flow_bench_{secrets.token_hex(4)}" for _ in range(count)]
        asyncio.run(self._said(*(f"CREATE DATABASE {name}" for name in names)))
        try:
            settings = {"commit_delay": commit_delay_us, "commit_siblings": 0}
            asyncio.run(
                self._said(
                    *(
                        f"ALTER DATABASE {name} SET {setting} = {value}"
                        for name in names
                        for setting, value in settings.items()
                        if commit_delay_us
                    )
                )
            )
            yield [f"{self.url.rpartition('/')[0]}/{name}" for name in names]
        finally:
            asyncio.run(self._said(*(f"DROP DATABASE {name} WITH (FORCE)" for name in names)))

    async def _said(self, *statements: str) -> None:
        connection = await asyncpg.connect(self.url)
        for statement in statements:
            await connection.execute(statement)
        await connection.close()


@contextmanager
def served_by(url: str) -> Generator[Server, None, None]:
    """Yours."""
    yield Server(url)


@contextmanager
def server_in(folder: Path) -> Generator[Server, None, None]:
    """A new one in this folder, which is deleted afterwards."""
    # Where the server does not run as we do, its user must get there.
    folder.chmod(0o755)
    with shared(folder, "postgresql", partial(start_postgresql, **_DURABLE)) as port:
        yield Server(POSTGRESQL.url(port))
