"""The release in service, and the store whose production channel says which one that should be."""

from __future__ import annotations

import asyncio
from functools import partial

from anyio.to_thread import run_sync

from contracts.errors import NotFound
from contracts.release import published
from contracts.release.files import DOCUMENT_LIMIT
from contracts.release.manifest import Manifest, manifest_key
from service.backend.protocol import Backend
from service.errors import NoSuchVersion
from service.metrics import Metrics
from service.releases.changing import Changes
from service.releases.following import ChannelFollower
from service.releases.in_service import Behind, InService
from service.releases.keeping import Keeper
from service.releases.listing import Listing
from service.releases.loaded import LoadedRelease
from service.releases.loading import Loader
from service.settings import Settings


class Releases:
    """What the gateway knows of releases and does with them. `watch` must run."""

    def __init__(self, backend: Backend, settings: Settings, metrics: Metrics) -> None:
        self.name = settings.name
        self._backend = backend
        self._limits = settings.limits
        self._store = settings.open_store()
        self._listing = Listing(partial(published.versions, self._store, self.name))
        self._in_service = InService(metrics)
        loader = Loader(backend, settings, self._store)
        self._changes = Changes(self._store, self.name, loader, self._in_service)
        self._keeper = Keeper(backend, self._store, self.name, loader, self._changes, self._in_service)
        self._follower = ChannelFollower(
            self._store, self.name, loader, self._changes, self._in_service, settings.follow_seconds
        )

    @property
    def current(self) -> str | None:
        """The version in service, even while the model server is down."""
        return self._in_service.version

    @property
    def previous(self) -> str | None:
        """The version that a rollback would bring back: what production pointed at before."""
        return self._in_service.previous

    @property
    def production(self) -> str | None:
        """The version that production pointed at when it was last looked at."""
        return self._in_service.production.version if self._in_service.production else None

    @property
    def behind(self) -> Behind | None:
        """Why what production points at is not in service; None while it is."""
        return self._in_service.behind

    def serving(self) -> LoadedRelease:
        """The release to send requests to. Raises NotServing with the reason while there is none."""
        return self._in_service.serving()

    async def promote(self, version: str, by: str) -> Manifest:
        """Put a version into service and point the production channel at it: see `Changes.promote`."""
        return await self._changes.promote(version, by)

    async def rollback(self, by: str) -> Manifest:
        """Put the version back that production pointed at before: see `Changes.rollback`."""
        return await self._changes.rollback(by)

    def look_again(self) -> None:
        """Somebody saw that the model server lost the release: check at once."""
        self._keeper.look_again()

    async def check(self) -> None:
        """One golden prediction by the release in service. Raises why it cannot be made."""
        limits = self._limits
        await self.serving().check_golden(self._backend, limits.reviews, limits.deadline_seconds, cases=1)

    async def versions(self) -> list[str]:
        """The versions in the store, as they were a moment ago."""
        return await self._listing.versions()

    async def describe(self, version: str) -> Manifest:
        """A version in the store. Raises NoSuchVersion or ReleaseError."""
        key = manifest_key(self.name, version)
        try:
            await run_sync(partial(self._store.read, key, limit=DOCUMENT_LIMIT))  # which walks no store in vain
        except NotFound:
            raise NoSuchVersion("there is no release of this version: GET /models lists what there is") from None
        return await run_sync(published.read_manifest, self._store, self.name, version)

    async def watch(self) -> None:
        """Bring the release into service, keep it there, and follow the production channel. Never ends by itself."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keeper.run())
            tasks.create_task(self._follower.run())
