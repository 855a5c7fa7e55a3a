"""Carries due webhooks to the merchant over real HTTP, and nowhere else.

"2 seconds to connect and 2 to read"; redirects are not followed. Unless `loopback_only` is off,
only addresses of this machine are called, whatever the name in the URL.
"""

from __future__ import annotations

import asyncio
import logging
import socket

import httpx

from .deliveries import Delivery
from .local import Sandbox
from .net import is_loopback

log = logging.getLogger("xpay_flow.sandbox")

# Short beside human patience, and idle polls cost next to nothing.
POLL_S = 0.05
# A merchant that answers nothing must not hold up the others.
CONCURRENT_MAX = 32
# A merchant may drip its answer byte by byte, each within the read limit.
ATTEMPT_S_MAX = 10.0


async def sender_loop(sandbox: Sandbox) -> None:
    """Sends webhooks as they fall due, for ever; cancel the task to stop it."""
    timeout = httpx.Timeout(sandbox.config.webhook_timeout_s)
    # The environment's proxies are not xPay's.
    client = httpx.AsyncClient(timeout=timeout, follow_redirects=False, trust_env=False)
    under_way: set[int] = set()
    async with client, asyncio.TaskGroup() as tasks:
        while True:
            for delivery in sandbox.due():
                if delivery.number not in under_way and len(under_way) < CONCURRENT_MAX:
                    under_way.add(delivery.number)
                    tasks.create_task(_deliver(sandbox, client, delivery, under_way))
            await asyncio.sleep(POLL_S)


async def _deliver(
    sandbox: Sandbox, client: httpx.AsyncClient, delivery: Delivery, under_way: set[int]
) -> None:
    try:
        http_status = await _post(sandbox, client, delivery)
    except Exception:
        # One strange endpoint must not stop the webhooks of all others.
        log.exception("webhook %s could not be sent", delivery.event_id)
        http_status = None
    sandbox.outcome(delivery, http_status)
    under_way.discard(delivery.number)


async def _post(sandbox: Sandbox, client: httpx.AsyncClient, delivery: Delivery) -> int | None:
    """The merchant's status code, or None where there is none to be had."""
    try:
        async with asyncio.timeout(ATTEMPT_S_MAX):
            if not sandbox.config.loopback_only:
                return await _status(client, delivery, httpx.URL(delivery.url))
            return await _post_to_loopback(client, delivery)
    except (httpx.HTTPError, httpx.InvalidURL, OSError, TimeoutError) as error:
        log.info("webhook %s: %s", delivery.event_id, type(error).__name__)
        return None


async def _post_to_loopback(client: httpx.AsyncClient, delivery: Delivery) -> int | None:
    """Calls the addresses that were checked, not the name, which could change its meaning."""
    url = httpx.URL(delivery.url)
    addresses = await _addresses(url)
    if not addresses or not all(is_loopback(address) for address in addresses):
        log.warning(
            "webhook %s is not sent: its host is not this machine (loopback_only)",
            delivery.event_id,
        )
        return None
    for address in addresses[:-1]:
        try:
            return await _status(client, delivery, url, address)
        except httpx.ConnectError:
            continue  # `localhost` is often two addresses, and the shop listens on one
    return await _status(client, delivery, url, addresses[-1])


async def _addresses(url: httpx.URL) -> list[str]:
    port = url.port or (443 if url.scheme == "https" else 80)
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(url.host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


async def _status(
    client: httpx.AsyncClient, delivery: Delivery, url: httpx.URL, address: str | None = None
) -> int:
    headers = {**dict(delivery.headers), "host": url.netloc.decode("ascii")}
    extensions = {"sni_hostname": url.host} if address else {}
    target = url.copy_with(host=address) if address else url
    # Only the status line matters; the body is not read.
    async with client.stream(
        "POST", target, content=delivery.body, headers=headers, extensions=extensions
    ) as response:
        return response.status_code
