"""How does Alembic run our migrations? On the connection that it is given, for our tables alone.

Only `xpay-flow db` uses this. A shop that lists our versions in its own `version_locations` runs
them by its own `env.py`, which may pass `xpay_flow_names` to `context.configure`.
"""

from __future__ import annotations

from alembic import context

from xpay_flow_sqlalchemy import Names

names: Names = context.config.attributes["names"]
context.configure(
    connection=context.config.attributes["connection"],
    version_table=names.of("alembic_version"),
    version_table_schema=names.schema,
    xpay_flow_names=names,
)
with context.begin_transaction():
    context.run_migrations()
