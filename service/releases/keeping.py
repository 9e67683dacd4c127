"""Bringing a first release into service, and seeing to it that the model server keeps what serves."""

from __future__ import annotations

import asyncio

import structlog
from anyio.to_thread import run_sync

from contracts.errors import BackendUnavailable, StarsError, places
from contracts.store.protocol import ObjectStore
from service.backend.protocol import Backend
from service.errors import NotServing
from service.releases.changing import Changes
from service.releases.in_service import InService
from service.releases.loaded import LoadedRelease
from service.releases.loading import Loader
from service.releases.production import claim_production, production_version
from service.releases.waiting import RETRY_SECONDS, wait

LOOK_SECONDS = 2.0
"""How often the model server is asked whether it still has the release."""

START_SECONDS = 0.3
"""How often one that is starting is asked."""

log = structlog.get_logger()


class Keeper:
    """Keeps a release in service, whatever becomes of the store or a successor, while the model server has it."""

    def __init__(
        self, backend: Backend, store: ObjectStore, name: str, loader: Loader, changes: Changes, in_service: InService
    ) -> None:
        self._backend = backend
        self._store = store
        self._name = name
        self._loader = loader
        self._changes = changes
        self._in_service = in_service
        self._look = asyncio.Event()
        self._blind = False

    def look_again(self) -> None:
        """Somebody saw that the model server lost the release: check at once."""
        self._look.set()

    async def run(self) -> None:
        """Never ends by itself."""
        while True:
            release = self._in_service.release
            try:
                delay = await (self._ensure(release) if release else self._start())
            except Exception as error:  # a mistake of ours must not end the watch, nor does it prove anything
                log.error("watch_failed", exception=type(error).__name__, places=places(error))
                delay = RETRY_SECONDS
            self._look.clear()
            await wait(self._look, delay)

    async def _start(self) -> float:
        """Bring the first release into service; seconds until the next look."""
        if self._changes.under_way:
            return START_SECONDS
        try:
            await self._backend.loaded()
            async with self._changes.one():
                version = await run_sync(production_version, self._store, self._name)
                self._in_service.stop(NotServing(f"release {version} is being loaded: try again in a moment"))
                release = await self._loader.load(version)
                await self._changes.swap(release, await run_sync(claim_production, self._store, self._name, version))
        except StarsError as error:
            self._in_service.stop(error)
            return START_SECONDS if isinstance(error, BackendUnavailable) else RETRY_SECONDS
        return LOOK_SECONDS

    async def _ensure(self, release: LoadedRelease) -> float:
        """See to it that the model server has the release in service; seconds until the next look.

        Requests are held back only where it is known to be gone, or to predict otherwise than it should.
        """
        try:
            ready = (await self._backend.loaded()).get(release.version)
        except StarsError as error:
            if not self._blind:
                log.warning("model_server_unseen", reason=str(error))
            self._blind = True
            return LOOK_SECONDS
        self._blind = False
        if ready and self._in_service.why_not is None:
            return LOOK_SECONDS
        if ready is None:
            self._in_service.stop(
                NotServing(f"release {release.version} is being loaded: try again in a moment"), only=release
            )
        try:
            await self._loader.reload(release)
        except StarsError as error:
            if self._in_service.why_not is None:
                log.warning("release_not_restarted", version=release.version, reason=str(error))
                return LOOK_SECONDS  # which tells whether it is gone now
            self._in_service.stop(error, only=release)
            return LOOK_SECONDS if isinstance(error, BackendUnavailable) else RETRY_SECONDS
        if release is self._in_service.release:
            self._in_service.serve(release)
        return LOOK_SECONDS
