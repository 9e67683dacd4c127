"""Releases on their way into the model server and out of it."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import structlog
from anyio.to_thread import run_sync

from contracts.errors import GateError, ReleaseError, StarsError
from contracts.release import transfer
from contracts.release.release import Release
from contracts.store.protocol import ObjectStore
from service.backend.protocol import Backend, LoadingBackend, NotLoaded
from service.releases.loaded import LoadedRelease
from service.settings import Settings

log = structlog.get_logger()


class Loader:
    """Loads releases beside each other, each verified and tried before it is given out."""

    def __init__(self, backend: Backend, settings: Settings, store: ObjectStore) -> None:
        self._backend = backend
        self._settings = settings
        self._store = store
        self._loaded: dict[str, LoadedRelease] = {}

    async def load(self, version: str) -> LoadedRelease:
        """A release of the store, fetched, verified, loaded and tried.

        Raises NotFound, ReleaseError, ModelError, GateError or BackendError; what was not there before is not left.
        """
        log.info("release_loading", version=version)
        release = await run_sync(
            transfer.fetch, self._store, self._settings.name, version, self._settings.release_cache
        )
        loaded = self._loaded.get(version) or LoadedRelease(release)
        try:
            await self._load(loaded, release)
        except BaseException:
            if version not in self._loaded:
                await asyncio.shield(self.unload(version))
            raise
        self._loaded[version] = loaded
        return loaded

    async def reload(self, loaded: LoadedRelease) -> None:
        """The same for one that was loaded before, without the store as long as what was fetched is sound.

        One that the model server is starting again itself is waited for. What cannot be reached is left as it is.
        """
        log.info("release_reloading", version=loaded.version)
        try:
            await self._load(loaded, await run_sync(self._fetched, loaded))
        except GateError:
            await self.unload(loaded.version)
            raise

    async def keep_only(self, versions: frozenset[str]) -> None:
        """Unload all others, once no request is with them. It only costs memory, so a failure can wait."""
        with suppress(StarsError):
            for version in await self._backend.loaded():
                if version not in versions:
                    if loaded := self._loaded.pop(version, None):
                        await loaded.until_idle()
                    await self._unload(version)

    async def unload(self, version: str) -> None:
        """Take a version out again, if that can be done."""
        self._loaded.pop(version, None)
        with suppress(StarsError):
            await self._unload(version)

    def _fetched(self, loaded: LoadedRelease) -> Release:
        with suppress(ReleaseError):
            return Release.open(loaded.folder)
        return transfer.fetch(self._store, self._settings.name, loaded.version, self._settings.release_cache)

    async def _load(self, loaded: LoadedRelease, release: Release) -> None:
        settings = self._settings
        if isinstance(self._backend, LoadingBackend):
            await self._backend.load(release, settings.load_seconds)
        elif not (versions := await self._backend.loaded()).get(loaded.version):
            raise NotLoaded(
                f"the model server was deployed with {', '.join(versions) or 'no release'}: deploy {loaded.version}"
            )
        await loaded.check_golden(self._backend, settings.limits.reviews, settings.load_seconds)

    async def _unload(self, version: str) -> None:
        if isinstance(self._backend, LoadingBackend):
            await self._backend.unload(version)
