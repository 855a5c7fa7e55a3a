"""Records get a realm: the mode and account that they belong to."""

from __future__ import annotations

from alembic import op

from xpay_flow_sqlalchemy import migrations

revision = "xpay_flow_2"
down_revision: str | None = "xpay_flow_1"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    migrations.upgrade(op, to=2, names=op.get_context().opts.get("xpay_flow_names"))


def downgrade() -> None:
    migrations.downgrade(op, to=1, names=op.get_context().opts.get("xpay_flow_names"))
