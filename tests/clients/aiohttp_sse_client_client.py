"""PyPI `aiohttp-sse-client`: it comes back by itself after a clean end, and leaves a broken connection to its user."""

import asyncio
from datetime import timedelta

import aiohttp
from aiohttp_sse_client.client import EventSource

from report import ADDRESS, AGAIN_SECONDS, TYPES, report


async def follow() -> None:
    last = ""
    while True:
        headers = {"Last-Event-ID": last} if last else {}
        again = timedelta(seconds=AGAIN_SECONDS)
        try:
            async with EventSource(ADDRESS, headers=headers, reconnection_time=again, max_connect_retry=3) as source:
                async for event in source:
                    last = event.last_event_id or last
                    if event.type in TYPES:
                        report(event.type, event.last_event_id, event.data)
        except (aiohttp.ClientError, ConnectionError):
            pass
        await asyncio.sleep(AGAIN_SECONDS)


asyncio.run(follow())
