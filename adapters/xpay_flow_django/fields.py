"""Which type has a column that is compared: a key, an alias, an id?

Text, compared byte by byte: `Order-1`, `order-1` and `order-1 ` are three orders.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

if TYPE_CHECKING:
    # Django's own fields are generic to type checkers alone.
    Text = models.TextField[str, str]
    OptionalText = models.TextField[str | None, str | None]
else:
    Text = OptionalText = models.TextField


class Name(Text):
    """Text that an index is made of."""

    def db_parameters(self, connection: BaseDatabaseWrapper) -> Any:
        """Not by a language: an index by one breaks when the system's library is renewed."""
        found: dict[str, Any] = {**super().db_parameters(connection)}
        if connection.vendor == "postgresql":
            found["collation"] = "C"
        return found
