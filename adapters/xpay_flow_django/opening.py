"""How does a project open its flow? On Django's database, with the settings of the project."""

from __future__ import annotations

from typing import Any

from xpay_flow import AsyncFlow, Flow

from .conf import flow_settings


def open_flow(**options: Any) -> Flow:
    """A flow on Django's database, with the settings of `XPAY_FLOW` or of the environment.

    Args:
        options: those of `Flow`, such as `background=False` where `manage.py xpay_worker` runs.

    Raises:
        ConfigurationError: a setting is missing, weak, contradictory or unknown.
    """
    # Imported here: an app may import this function before there may be any models.
    from .stores import DjangoStore

    return Flow(DjangoStore(), flow_settings(), **options)


def open_async_flow(**options: Any) -> AsyncFlow:
    """See `open_flow`."""
    from .stores import AsyncDjangoStore

    return AsyncFlow(AsyncDjangoStore(), flow_settings(), **options)
