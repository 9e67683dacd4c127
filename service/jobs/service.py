"""Retraining jobs: the gateway writes and reads rows, a worker does the work."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from anyio.to_thread import run_sync

from contracts.errors import JobError
from contracts.jobs.data import candidates, locate
from contracts.jobs.job import Job, JobState
from contracts.jobs.retrain import RETRAIN, Retrain
from contracts.jobs.store import JobStore
from service.errors import InvalidRequest
from service.jobs.schemas import JobOut
from service.settings import Settings

T = TypeVar("T")


class Jobs:
    """The job store, reached from the event loop through threads, and asked when the first request needs it.

    Raises ConfigError for a job store's URL that cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        self._roots = settings.data_roots
        self._store = JobStore(settings.job_store_url)

    async def retrain(self, asked: Retrain, idempotency_key: str) -> tuple[JobOut, bool]:
        """Queue a retraining; (job, False) when this key has done so before.

        Raises InvalidRequest for data that cannot be used, JobConflict when the key came with another body.
        """

        def queue(store: JobStore) -> tuple[JobOut, bool]:
            known = store.with_key(idempotency_key)
            if known is not None and self._asks_for(asked, known):
                return JobOut.of(known, store.queue()), False
            config = {"data": self._located(asked), "preset": asked.preset, "overrides": asked.changed}
            job, created = store.submit(RETRAIN, config, idempotency_key)
            return JobOut.of(job, store.queue()), created

        return await self._call(queue)

    async def get(self, job_id: str) -> JobOut:
        return await self._call(lambda store: JobOut.of(store.get(job_id), store.queue()))

    async def recent(self, limit: int, state: JobState | None) -> list[JobOut]:
        def look(store: JobStore) -> list[JobOut]:
            queue = store.queue()
            return [JobOut.of(job, queue) for job in store.list(limit, state)]

        return await self._call(look)

    async def cancel(self, job_id: str) -> JobOut:
        return await self._call(lambda store: JobOut.of(store.request_cancel(job_id), store.queue()))

    async def close(self) -> None:
        await run_sync(self._store.close)

    def _located(self, asked: Retrain) -> list[str]:
        try:
            return [str(locate(name, self._roots, elsewhere=True)) for name in asked.data]
        except JobError as error:
            raise InvalidRequest(str(error)) from None

    def _asks_for(self, asked: Retrain, known: Job) -> bool:
        """Whether a request is the one that queued a job, even if its data has been moved away since."""
        kept = known.config
        return (
            (known.kind, kept.get("preset"), kept.get("overrides")) == (RETRAIN, asked.preset, asked.changed)
            and len(kept["data"]) == len(asked.data)
            and all(
                data in map(str, candidates(name, self._roots))
                for name, data in zip(asked.data, kept["data"], strict=True)
            )
        )

    async def _call(self, ask: Callable[[JobStore], T]) -> T:
        return await run_sync(ask, self._store)
