"""Releases on their way into the model server and out of it."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import structlog
from anyio.to_thread import run_sync

from contracts.errors import GateError, ReleaseError, StarsError
from contracts.model_folder import write_model_folder
from contracts.release import transfer
from contracts.release.release import Release
from contracts.store.protocol import ObjectStore
from service.backend.protocol import Backend
from service.releases.serving import Serving
from service.settings import Settings

log = structlog.get_logger()


class Loader:
    """Loads releases beside each other, each verified and tried before it is given out."""

    def __init__(self, backend: Backend, settings: Settings, store: ObjectStore) -> None:
        self._backend = backend
        self._settings = settings
        self._store = store
        self._loaded: dict[str, Serving] = {}

    async def load(self, version: str) -> Serving:
        """A release of the store, fetched, verified, loaded and tried.

        Raises NotFound, ReleaseError, ModelError, GateError or BackendError; what was not there before is not left.
        """
        log.info("release_loading", version=version)
        found = await run_sync(transfer.fetch, self._store, self._settings.name, version, self._settings.release_cache)
        serving = self._loaded.get(version) or Serving(found)
        try:
            await self._load(serving, found)
        except BaseException:
            if version not in self._loaded:
                await asyncio.shield(self.unload(version))
            raise
        self._loaded[version] = serving
        return serving

    async def reload(self, serving: Serving) -> None:
        """The same for one that was loaded before, without the store as long as what was fetched is sound.

        One that the model server is starting again itself is waited for. What cannot be reached is left as it is.
        """
        log.info("release_reloading", version=serving.version)
        try:
            await self._load(serving, await run_sync(self._fetched, serving))
        except GateError:
            await self.unload(serving.version)
            raise

    async def keep_only(self, versions: set[str | None]) -> None:
        """Unload all others, once no request is with them. It only costs memory, so a failure can wait."""
        with suppress(StarsError):
            for version in await self._backend.loaded():
                if version not in versions:
                    if serving := self._loaded.pop(version, None):
                        await serving.until_idle()
                    await self._backend.unload(version)

    async def unload(self, version: str) -> None:
        """Take a version out again, if that can be done."""
        self._loaded.pop(version, None)
        with suppress(StarsError):
            await self._backend.unload(version)

    def _fetched(self, serving: Serving) -> Release:
        with suppress(ReleaseError):
            return Release.open(serving.folder)
        return transfer.fetch(self._store, self._settings.name, serving.version, self._settings.release_cache)

    async def _load(self, serving: Serving, found: Release) -> None:
        settings = self._settings
        folder = await run_sync(write_model_folder, found, settings.model_folder, settings.worker)
        await self._backend.load(serving.version, folder, settings.load_seconds)
        await serving.check_golden(self._backend, settings.limits.reviews, settings.load_seconds)
