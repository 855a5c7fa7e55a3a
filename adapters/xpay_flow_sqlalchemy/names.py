"""What are our tables called? A prefix keeps them apart from the shop's own."""

from __future__ import annotations

import re
from typing import Final

import attrs

from xpay_flow.errors import ConfigurationError, quoted

DEFAULT_PREFIX: Final = "xpay_flow_"

# Lower case only: PostgreSQL folds unquoted names, and MySQL's files may ignore case. The
# longest name of ours that follows must fit into PostgreSQL's 63 bytes.
_PREFIX: Final = re.compile(r"[a-z_][a-z0-9_]{0,29}", re.ASCII)
_SCHEMA: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}", re.ASCII)


@attrs.frozen(kw_only=True)
class Names:
    """Where our tables are.

    Args:
        prefix: stands before each table's name; lower case, at most 30 characters.
        schema: the schema (of PostgreSQL) or database (of MariaDB) that holds them; by default
            the connection's own.

    Raises:
        ConfigurationError: a name is not of this form.
    """

    prefix: str = DEFAULT_PREFIX
    schema: str | None = None

    def __attrs_post_init__(self) -> None:
        if not _PREFIX.fullmatch(self.prefix):
            raise ConfigurationError(
                f"a table prefix is 1 to 30 of a-z, 0-9 and _, not {quoted(self.prefix)}"
            )
        if self.schema is not None and not _SCHEMA.fullmatch(self.schema):
            raise ConfigurationError(
                f"a table schema is 1 to 63 of A-Z, a-z, 0-9 and _, not {quoted(self.schema)}"
            )

    def of(self, table: str) -> str:
        """The name of one of our tables, or of something that belongs to one."""
        return f"{self.prefix}{table}"

    def path(self, table: str) -> str:
        """The same for a statement, with the schema before it where there is one."""
        return f"{self.schema}.{self.of(table)}" if self.schema else self.of(table)
