"""Which event loop does an object belong to? One after another, and never two that run.

What an object keeps (connections, tasks, locks) belongs to the loop in which it was made. When that
loop runs no more, as after `asyncio.run`, the object begins afresh in the next one. While it runs,
another loop is refused, before anything is stored or sent.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from .errors import ConfigurationError


class LoopOwner:
    """The event loop that an object belongs to.

    Args:
        what: the object, in the words of the error.
        begin_afresh: called in a further loop, after the first; what belongs to the earlier one
            cannot be awaited there.
    """

    def __init__(self, what: str, begin_afresh: Callable[[], object]) -> None:
        self._what, self._begin_afresh = what, begin_afresh
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = 0

    def enter(self) -> None:
        """The running loop uses the object.

        Raises:
            ConfigurationError: another loop of this process uses it, and runs.
        """
        loop, pid = asyncio.get_running_loop(), os.getpid()
        if loop is self._loop and pid == self._pid:
            return
        if self._loop is not None:
            # In a forked child the parent's loop looks as if it ran.
            if pid == self._pid and self._loop.is_running():
                raise ConfigurationError(
                    f"{self._what} belongs to an event loop that runs in another thread: open one "
                    "for each event loop; nothing was stored or sent"
                )
            self._begin_afresh()
        self._loop, self._pid = loop, pid

    @property
    def is_of_this_process(self) -> bool:
        """Whether it has been used in this process, and not only in one that forked it."""
        return self._pid == os.getpid()
