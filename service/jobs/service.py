"""Retraining jobs: the gateway asks for them and tells how they stand, a worker does the work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar

from anyio.to_thread import run_sync

from contracts.errors import DatabaseError, JobError, JobNotFound
from contracts.jobs.data import candidates, locate
from contracts.jobs.event import JobEvent
from contracts.jobs.job import Job, JobState
from contracts.jobs.retrain import RETRAIN, Retrain
from service.errors import InvalidRequest
from service.jobs.protocol import Launcher
from service.jobs.schemas import JobOut

T = TypeVar("T")

LOOK_SECONDS = 1.0
"""How often a job that somebody follows is looked at."""

QUIET_SECONDS = 15.0
"""After so long without an event a follower hears that there is none: proxies close what is silent for a minute."""


class Jobs:
    """The launcher, reached from the event loop through threads. `roots` are the folders that data may lie in."""

    def __init__(self, launcher: Launcher, roots: Sequence[Path]) -> None:
        self._launcher = launcher
        self._roots = roots
        self._stopping = False

    async def retrain(self, request: Retrain, idempotency_key: str) -> tuple[JobOut, bool]:
        """Queue a retraining; (job, False) when this key has done so before.

        Raises InvalidRequest for data that cannot be used, JobConflict when the key came with another body.
        """

        def queue(launcher: Launcher) -> tuple[JobOut, bool]:
            known = launcher.with_key(idempotency_key)
            if known is not None and self._is_for(request, known):
                return JobOut.of(known, launcher.queue()), False
            config: dict[str, Any] = {
                "data": self._located(request),
                "preset": request.preset,
                "overrides": request.changed,
            }
            if request.columns:
                config["columns"] = request.columns
            job, created = launcher.submit(RETRAIN, config, idempotency_key)
            return JobOut.of(job, launcher.queue()), created

        return await self._call(queue)

    async def get(self, job_id: str) -> JobOut:
        return await self._call(lambda launcher: JobOut.of(launcher.get(job_id), launcher.queue()))

    async def recent(self, limit: int, state: JobState | None) -> list[JobOut]:
        def look(launcher: Launcher) -> list[JobOut]:
            queue = launcher.queue()
            return [JobOut.of(job, queue) for job in launcher.list(limit, state)]

        return await self._call(look)

    async def cancel(self, job_id: str) -> JobOut:
        return await self._call(lambda launcher: JobOut.of(launcher.request_cancel(job_id), launcher.queue()))

    async def follow(self, job_id: str, after: int) -> AsyncIterator[JobEvent | None]:
        """The job's events after the one with this sequence number, as they happen; None now and then between them.

        Ends after the last event of a job that has ended, when the job is gone, and when the gateway stops.
        """

        def look(launcher: Launcher) -> tuple[Job | None, Sequence[JobEvent]]:
            return launcher.get(job_id), launcher.events(job_id, after)  # so all events of a job that has ended

        heard = monotonic()
        while not self._stopping:
            try:
                job, events = await self._call(look)
            except JobNotFound:
                return
            except DatabaseError:  # busy: later, then
                job, events = None, ()
            for event in events:
                yield event
                after, heard = event.sequence, monotonic()
            if events:
                continue
            if job is not None and job.state.final:
                return
            if monotonic() - heard >= QUIET_SECONDS:
                yield None
                heard = monotonic()
            await asyncio.sleep(LOOK_SECONDS)

    def stop(self) -> None:
        """Let those who follow a job go: they can go on with another gateway, or with this one when it is back."""
        self._stopping = True

    async def close(self) -> None:
        await run_sync(self._launcher.close)

    def _located(self, request: Retrain) -> list[str]:
        try:
            return [str(locate(name, self._roots, elsewhere=True)) for name in request.data]
        except JobError as error:
            raise InvalidRequest(str(error)) from None

    def _is_for(self, request: Retrain, job: Job) -> bool:
        """Whether a request is the one that queued a job, even if its data has been moved away since."""
        config = job.config
        return (
            (job.kind, config.get("preset"), config.get("overrides"), config.get("columns"))
            == (RETRAIN, request.preset, request.changed, request.columns)
            and len(config["data"]) == len(request.data)
            and all(
                path in map(str, candidates(name, self._roots))
                for name, path in zip(request.data, config["data"], strict=True)
            )
        )

    async def _call(self, ask: Callable[[Launcher], T]) -> T:
        return await run_sync(ask, self._launcher)
