"""Which type has a column, on each database?

Names are compared byte by byte everywhere: `Order-1`, `order-1` and `order-1 ` are three orders.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import BigInteger, Dialect, Integer, String, Text
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.types import TypeDecorator, TypeEngine

# An index of InnoDB holds 3072 bytes, which are 768 characters: two of these, or one and a part.
KEY_CHARS: Final = 300
PART_CHARS: Final = 468
# The keys of ours are within: what they are made of has at most 255 characters.
assert 4 * (KEY_CHARS + PART_CHARS) <= 3072

MYSQL: Final = ("mysql", "mariadb")


class Name(TypeDecorator[str]):
    """Text that is compared and indexed: a key, an alias, an id."""

    impl = String
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name in MYSQL:
            # The usual collations take trailing blanks for nothing, and many take A for a.
            collation = "utf8mb4_nopad_bin" if _is_mariadb(dialect) else "utf8mb4_0900_bin"
            length = getattr(self.impl_instance, "length", None)
            return mysql.VARCHAR(length, charset="utf8mb4", collation=collation)
        if dialect.name == "postgresql":
            # Not by a language: an index by one breaks when the system's library is renewed.
            return postgresql.TEXT(collation="C")
        return Text()


def _is_mariadb(dialect: Dialect) -> bool:
    return bool(getattr(dialect, "is_mariadb", False))


# SQLite counts rows only in a column of exactly this type.
Counter: Final = BigInteger().with_variant(Integer(), "sqlite")
# MySQL's own TEXT ends at 64 KiB.
Document: Final = Text().with_variant(mysql.LONGTEXT(charset="utf8mb4"), *MYSQL)
Words: Final = Text().with_variant(mysql.MEDIUMTEXT(charset="utf8mb4"), *MYSQL)
