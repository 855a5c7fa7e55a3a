"""How do the tables come to be, and how do they change? One step for each version.

`xpay-flow db upgrade` takes the steps. A shop with migrations of its own takes each in one of
its Alembic revisions:

    from xpay_flow_sqlalchemy import migrations

    def upgrade() -> None:
        migrations.upgrade(op, to=1)

    def downgrade() -> None:
        migrations.downgrade(op, to=0)

Only ever add steps to the end. A step that takes something away raises `oldest_code` to the first
version of the code that does without it, and so comes a release later than that code.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, Final

from sqlalchemy import text

from xpay_flow.errors import ConfigurationError

from ..names import Names
from . import step_1, step_2

STEPS: Final[dict[int, ModuleType]] = {1: step_1, 2: step_2}
NEWEST: Final = max(STEPS)


def upgrade(op: Any, *, to: int, names: Names | None = None) -> None:
    """Take the step from version `to - 1` to version `to`.

    Args:
        op: `alembic.op`, or an `alembic.operations.Operations`.
        to: the version that the tables have afterwards; one revision of yours for each.
        names: a prefix and a schema, where they are not the usual ones.
    """
    names = names or Names()
    step = _step(to)
    step.upgrade(op, names)
    op.execute(
        text(
            f"INSERT INTO {names.path('schema')} (version, oldest_code) VALUES (:version, :code)"
        ).bindparams(version=to, code=step.OLDEST_CODE)
    )


def downgrade(op: Any, *, to: int, names: Names | None = None) -> None:
    """Take back the step from version `to` to version `to + 1`.

    Raises:
        ConfigurationError: `to` is 0 and there are payments, which would be lost.
    """
    names = names or Names()
    if to:
        op.execute(
            text(f"DELETE FROM {names.path('schema')} WHERE version > :version").bindparams(
                version=to
            )
        )
    else:
        _refuse_to_lose_payments(op, names)
    _step(to + 1).downgrade(op, names)


def _step(version: int) -> ModuleType:
    if version not in STEPS:
        raise ConfigurationError(f"there is no schema {version}; there are {sorted(STEPS)}")
    return STEPS[version]


def _refuse_to_lose_payments(op: Any, names: Names) -> None:
    found = op.get_bind().execute(text(f"SELECT count(*) FROM {names.path('intents')}"))
    if count := found.scalar_one():
        raise ConfigurationError(
            f"{names.path('intents')} holds {count} record(s), and this would delete the tables; "
            "drop the tables by hand if that is wanted"
        )
