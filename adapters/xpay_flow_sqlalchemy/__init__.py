"""xpay-flow on PostgreSQL, MariaDB, MySQL and SQLite, through SQLAlchemy.

    flow = Flow.open("postgresql://shop@db/shop", settings)

or on an engine of your own: `Flow(SQLAlchemyStore(engine), settings)`. The tables are made by
`xpay-flow db upgrade`, or by your own Alembic migrations (see `migrations`).
"""

from __future__ import annotations

from xpay_flow.errors import MissingExtra

try:
    # Imported here, so that the error names the extra.
    import alembic as alembic
    import sqlalchemy as sqlalchemy
except ImportError:
    raise MissingExtra("xpay_flow_sqlalchemy", "sqlalchemy") from None

from .names import Names
from .stores import AsyncSQLAlchemyStore, SQLAlchemyStore
from .tables import Tables

__all__ = ["AsyncSQLAlchemyStore", "Names", "SQLAlchemyStore", "Tables"]
