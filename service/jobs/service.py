"""Retraining jobs: the gateway writes and reads rows, a worker does the work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from anyio.to_thread import run_sync

from contracts.errors import JobError
from contracts.jobs import Job, JobState, JobStore
from contracts.settings import allowed_data
from service.errors import InvalidRequest
from service.jobs.schemas import RetrainIn
from service.settings import Settings

T = TypeVar("T")
RETRAIN = "retrain"


class Jobs:
    """The job store, reached from the event loop through threads. Opened by the first request that needs it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._opening = asyncio.Lock()
        self._store: JobStore | None = None

    async def retrain(self, asked: RetrainIn, idempotency_key: str) -> tuple[Job, bool]:
        """Queue a retraining; (job, False) when this key has done so before.

        Raises InvalidRequest for data outside the allowed folders, JobConflict when the key came with another body.
        """
        paths = [asked.data] if isinstance(asked.data, str) else asked.data
        config = {
            "data": await run_sync(self._allowed, paths),
            "preset": asked.preset,
            "overrides": asked.overrides,
        }
        return await self._call(lambda store: store.submit(RETRAIN, config, idempotency_key))

    async def get(self, job_id: str) -> Job:
        return await self._call(lambda store: store.get(job_id))

    async def recent(self, limit: int, state: JobState | None) -> list[Job]:
        return await self._call(lambda store: store.list(limit, state))

    async def cancel(self, job_id: str) -> Job:
        return await self._call(lambda store: store.request_cancel(job_id))

    async def close(self) -> None:
        if self._store is not None:
            await run_sync(self._store.close)

    def _allowed(self, paths: list[str]) -> list[str]:
        try:
            return [str(allowed_data(path, self._settings.data_roots)) for path in paths]
        except JobError as error:
            raise InvalidRequest(str(error)) from None

    async def _call(self, ask: Callable[[JobStore], T]) -> T:
        async with self._opening:
            if self._store is None:
                self._store = await run_sync(JobStore, self._settings.job_store_url)
        return await run_sync(partial(ask, self._store))
