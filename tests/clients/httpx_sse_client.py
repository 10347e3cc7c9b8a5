"""PyPI `httpx-sse`: it leaves coming back to its user."""

import time

import httpx
from httpx_sse import connect_sse

from report import ADDRESS, AGAIN_SECONDS, TYPES, report

last = ""
while True:
    headers = {"Last-Event-ID": last} if last else {}
    try:
        with httpx.Client(timeout=60) as client, connect_sse(client, "GET", ADDRESS, headers=headers) as source:
            for event in source.iter_sse():
                last = event.id or last
                if event.event in TYPES:
                    report(event.event, event.id, event.data)
    except httpx.TransportError:
        pass
    time.sleep(AGAIN_SECONDS)
