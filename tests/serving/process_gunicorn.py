"""gunicorn's configuration, as the recipe has it."""

from __future__ import annotations


def post_worker_init(_: object) -> None:
    from serving.process_shop import flow

    flow.start()
