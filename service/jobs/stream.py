"""A job's events as server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

from starlette.responses import StreamingResponse

from contracts.jobs.event import JobEvent
from service.jobs.schemas import JobEventOut

RETRY_MILLISECONDS = 2000
"""When a client whose stream ended should come back."""


class EventStream(StreamingResponse):
    """An answer that goes on for as long as events come."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[JobEvent | None]) -> None:
        # A proxy that collects answers before it passes them on would keep the events; nginx is told by the second.
        super().__init__(_written(events), headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})


async def _written(events: AsyncIterator[JobEvent | None]) -> AsyncIterator[str]:
    yield f"retry: {RETRY_MILLISECONDS}\n\n"
    async for event in events:
        if event is None:
            yield ": nothing new\n\n"
        else:
            # ASCII only: some clients take U+2028 in a line of a log for the end of the line.
            data = json.dumps(JobEventOut.of(event).model_dump(mode="json"))
            yield f"id: {event.sequence}\nevent: {event.kind}\ndata: {data}\n\n"
