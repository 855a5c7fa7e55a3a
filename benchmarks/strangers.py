"""Strangers at a shop: `python -m benchmarks.strangers PORT COUNT KNOWN…`.

Each has a connection, and queries a status that is to wait, again and again; half of them about
payments that exist, half about ids that they made up. Who may not wait queries again as the page's
script does, after pauses that grow to a quarter of a minute. It prints a line when all have been
served once, but for those that wait, and ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import threading
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

from .serve import HOST
from .shops import PREFIX
from .waiting_shop import many_files

WAIT_S: Final = 20
# So many connect at a time.
_RAMP: Final = 100
# As `xpay-flow.js` has it.
_REST_S_MAX: Final = 15.0


async def strangers(port: int, count: int, known: Sequence[str]) -> None:
    """Query until stdin ends."""
    loop, ends = asyncio.get_running_loop(), asyncio.Event()

    def until_stdin_ends() -> None:
        sys.stdin.buffer.read()
        loop.call_soon_threadsafe(ends.set)

    threading.Thread(target=until_stdin_ends, daemon=True).start()
    ramp, left = asyncio.Semaphore(_RAMP), [count // 2]

    async def stranger(number: int) -> None:
        is_known = number % 2 == 0
        name = known[number // 2 % len(known)] if is_known else f"in_made_up_{number}"
        path = f"{PREFIX}/payment-status?xpay_intent_id={quote(name)}&wait={WAIT_S}"
        async with ramp:
            reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        quick = 0
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = int(head.partition("content-length: ")[2].partition("\r")[0])
            answer = json.loads(await reader.readexactly(length))
            if not is_known and not quick:
                left[0] -= 1
                if not left[0]:
                    print("all are served", flush=True)
            if pause_s := answer.get("retry_after_s", 0):
                quick += 1
                pause_s = max(pause_s, min(_REST_S_MAX, 0.25 * 2**quick))
                await asyncio.sleep(pause_s * random.uniform(0.5, 1.5))
            writer.write(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())

    tasks = [asyncio.ensure_future(stranger(number)) for number in range(count)]
    async with asyncio.timeout(600):
        await ends.wait()
    for task in tasks:
        task.cancel()


if __name__ == "__main__":
    many_files()
    asyncio.run(strangers(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
