"""How long the watch over releases waits between two looks."""

from __future__ import annotations

import asyncio
from contextlib import suppress

RETRY_SECONDS = 15.0
"""How often a release that could not be brought into service is tried again."""


async def wait(event: asyncio.Event, seconds: float) -> None:
    """Until the event is set, or so many seconds have passed."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
