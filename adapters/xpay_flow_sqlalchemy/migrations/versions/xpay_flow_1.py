"""The first schema of xpay-flow."""

from __future__ import annotations

from alembic import op

from xpay_flow_sqlalchemy import migrations

revision = "xpay_flow_1"
down_revision: str | None = None
# So that one tree can hold the shop's revisions and ours: `alembic upgrade xpay_flow@head`.
branch_labels = ("xpay_flow",)
depends_on: str | None = None


def upgrade() -> None:
    migrations.upgrade(op, to=1, names=op.get_context().opts.get("xpay_flow_names"))


def downgrade() -> None:
    migrations.downgrade(op, to=0, names=op.get_context().opts.get("xpay_flow_names"))
