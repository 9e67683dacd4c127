"""How another release takes the place of the one in service.

It is loaded beside the other and must give its golden predictions before requests are sent to it. Requests always name
a version, so the swap is one assignment.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from anyio.to_thread import run_sync

from contracts.errors import Conflict
from contracts.release import channels
from contracts.release.channels import PRODUCTION, Channel
from contracts.release.manifest import Manifest
from contracts.store.protocol import ObjectStore
from service.errors import Busy
from service.releases.in_service import InService
from service.releases.loaded import LoadedRelease
from service.releases.loading import Loader


class Changes:
    """One change of the release in service at a time. `ended` is set after each."""

    def __init__(self, store: ObjectStore, name: str, loader: Loader, in_service: InService) -> None:
        self.ended = asyncio.Event()
        self._store = store
        self._name = name
        self._loader = loader
        self._in_service = in_service
        self._lock = asyncio.Lock()

    @property
    def under_way(self) -> bool:
        return self._lock.locked()

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """Around a change. Raises Busy while there is another."""
        if self.under_way:
            raise Busy("another release is being loaded: wait for it, then repeat")
        try:
            async with self._lock:
                yield
        finally:
            self.ended.set()

    async def promote(self, version: str, by: str) -> Manifest:
        """Put a version into service and point the production channel at it; the old one stays loaded.

        Raises Busy, NotFound, ReleaseError, GateError, BackendError, or Conflict when somebody else has moved the
        channel meanwhile; then the old one goes on serving, or what the channel points at now follows.
        """
        async with self.one():
            expect = await run_sync(channels.seen, self._store, self._name, PRODUCTION)
            return await self._promote(version, by, expect)

    async def rollback(self, by: str) -> Manifest:
        """Put the version back that production pointed at before. Raises Conflict when there is none, else as above."""
        async with self.one():
            channel, etag = await run_sync(channels.read, self._store, self._name, PRODUCTION)
            if channel.previous is None:
                raise Conflict("no version was in production before this one: promote a version instead")
            return await self._promote(channel.previous, by, etag)

    async def swap(self, release: LoadedRelease, production: Channel | None) -> None:
        """Send requests to a release that was loaded within `one`, and unload what is not kept any more."""
        self._in_service.swap(release, production)
        await self._loader.keep_only(self._in_service.kept)

    async def _promote(self, version: str, by: str, expect: str | None) -> Manifest:
        kept = self._in_service.kept
        release = await self._loader.load(version)
        try:
            move = partial(channels.move, self._store, self._name, PRODUCTION, version, by, expect)
            production = await run_sync(move)
        except BaseException:
            if version not in kept:
                await asyncio.shield(self._loader.unload(version))
            raise
        await self.swap(release, production)
        return release.manifest
