"""Does the server that imported us let threads run? uWSGI does not, unless it is configured so."""

from __future__ import annotations

import logging
import sys
from typing import Any

log = logging.getLogger("xpay_flow.background")

NO_THREADS = (
    "uWSGI runs no threads, so no handler is called in this process: set enable-threads = true, "
    "or pass background=False and run xpay-flow worker"
)


def report_missing_threads() -> None:
    """Log an error where a background thread would never run."""
    # Only within uWSGI there is such a module.
    uwsgi: Any = sys.modules.get("uwsgi")
    options: Any = getattr(uwsgi, "opt", None)
    if options is not None and not ({"enable-threads", "threads"} & set(options)):
        log.error(NO_THREADS)
