"""How are several scenes searched at once? Each in a process of its own, a few at a time.

A process is forked, so that it has the shop as it is. What comes back are figures, and a seed for a
story: the story itself is full of live code, and is replayed here.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

import attrs

from xpay_flow.errors import ConfigurationError

from .verdict import Searched

Task = Callable[[], Searched]
ENDS_S = 10.0


def in_processes(tasks: Sequence[Task], jobs: int) -> Iterator[Searched]:
    """What each task found, in the order of the tasks; a violation has no story, only a seed.

    Raises:
        ConfigurationError: this system cannot fork, or a process has died.
    """
    if "fork" not in multiprocessing.get_all_start_methods():
        raise ConfigurationError("searching in several processes needs fork: leave out --jobs")
    context = multiprocessing.get_context("fork")
    waiting: list[tuple[Connection, BaseProcess]] = []
    todo = list(tasks)
    while todo or waiting:
        while todo and len(waiting) < jobs:
            ours, theirs = context.Pipe(duplex=False)
            process: BaseProcess = context.Process(
                target=_do, args=(todo.pop(0), theirs), daemon=True
            )
            process.start()
            theirs.close()
            waiting.append((ours, process))
        pipe, searching = waiting.pop(0)
        try:
            found = pipe.recv()
        except EOFError:
            raise ConfigurationError("a process that searched has died without a word") from None
        finally:
            pipe.close()
        # It has given its answer, and has nothing left to do.
        searching.join(ENDS_S)
        if isinstance(found, Exception):
            raise found
        yield found


def _do(task: Task, pipe: Connection) -> None:
    try:
        found = task()
    except Exception as error:
        pipe.send(error)
    else:
        if found.violation is not None:
            found = attrs.evolve(found, violation=attrs.evolve(found.violation, story=()))
        pipe.send(found)
