"""Retraining jobs: the gateway asks for them and tells how they stand, a worker does the work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from anyio.to_thread import run_sync

from contracts.errors import JobError
from contracts.jobs.data import candidates, locate
from contracts.jobs.job import Job, JobState
from contracts.jobs.retrain import RETRAIN, Retrain
from service.errors import InvalidRequest
from service.jobs.protocol import Launcher
from service.jobs.schemas import JobOut

T = TypeVar("T")


class Jobs:
    """The launcher, reached from the event loop through threads. `roots` are the folders that data may lie in."""

    def __init__(self, launcher: Launcher, roots: Sequence[Path]) -> None:
        self._launcher = launcher
        self._roots = roots

    async def retrain(self, request: Retrain, idempotency_key: str) -> tuple[JobOut, bool]:
        """Queue a retraining; (job, False) when this key has done so before.

        Raises InvalidRequest for data that cannot be used, JobConflict when the key came with another body.
        """

        def queue(launcher: Launcher) -> tuple[JobOut, bool]:
            known = launcher.with_key(idempotency_key)
            if known is not None and self._is_for(request, known):
                return JobOut.of(known, launcher.queue()), False
            config = {"data": self._located(request), "preset": request.preset, "overrides": request.changed}
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
            (job.kind, config.get("preset"), config.get("overrides")) == (RETRAIN, request.preset, request.changed)
            and len(config["data"]) == len(request.data)
            and all(
                path in map(str, candidates(name, self._roots))
                for name, path in zip(request.data, config["data"], strict=True)
            )
        )

    async def _call(self, ask: Callable[[Launcher], T]) -> T:
        return await run_sync(ask, self._launcher)
