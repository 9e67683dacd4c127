"""What the connections of one gateway share, and how a client is turned away at the door."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.settings import Limits

LINGER_SECONDS = 2.0
LINGER_BYTES = 2 * 1024 * 1024
"""A refused client may still be sending, and would see a reset connection instead of its answer: so we read on."""


class Door:
    """What all connections of one gateway share: the limits, the app that words refusals, and whether it stops.

    `refuse` answers a request whose state has a `refusal`: the exception.
    """

    def __init__(self, limits: Limits, refuse: ASGIApp) -> None:
        self.limits = limits
        self.refuse = refuse
        self.stopping = False

    async def turn_away(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the refusal; close when the client has, or after a while."""

        async def send_and_stay(message: Message) -> None:
            await send({**message, "more_body": True} if message["type"] == "http.response.body" else message)

        await self.refuse(scope, receive, send_and_stay)
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                await receive()
        await send({"type": "http.response.body", "body": b"", "more_body": False})
