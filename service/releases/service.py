"""Which release answers, and how another one takes its place.

A release is fetched, verified, loaded beside the one in service, and must give its golden predictions before requests
are sent to it. Requests always name a version, so the swap is one assignment: no request sees half of it.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial

import structlog
from anyio.to_thread import run_sync

from contracts import channels, release
from contracts.channels import PRODUCTION
from contracts.errors import BackendUnavailable, Conflict, NotFound, StarsError
from contracts.manifest import DOCUMENT_LIMIT, Manifest, manifest_key
from contracts.serving import WorkerSettings, write_model_folder
from service.backend.protocol import Backend
from service.errors import Busy, NoSuchVersion, NotServing
from service.logs import places
from service.metrics import Metrics
from service.releases.listing import Listing
from service.releases.production import production_version
from service.releases.serving import Serving
from service.settings import Settings

LOOK_SECONDS = 2.0
"""How often the model server is asked whether it still has the release."""

START_SECONDS = 0.3
"""How often one that is starting is asked."""

RETRY_SECONDS = 15.0
"""How often a release that could not be brought into service is tried again."""

log = structlog.get_logger()


class Releases:
    """The release in service, the one kept loaded for rollback, and the store that they come from."""

    def __init__(self, backend: Backend, settings: Settings, metrics: Metrics) -> None:
        self._backend = backend
        self._settings = settings
        self._metrics = metrics
        self._store = settings.open_store()
        self._name = settings.name
        self._listing = Listing(partial(release.versions, self._store, self._name))
        self._change = asyncio.Lock()
        self._look = asyncio.Event()
        self._current: Serving | None = None
        self._previous: Serving | None = None
        self._why_not: StarsError | None = NotServing("the model is being loaded: try again in a moment")

    @property
    def current(self) -> str | None:
        """The version in service, even while the model server is down."""
        return self._current.version if self._current else None

    @property
    def previous(self) -> str | None:
        """The version that is kept loaded for rollback."""
        return self._previous.version if self._previous else None

    def serving(self) -> Serving:
        """The release to send requests to. Raises NotServing with the reason while there is none."""
        if self._current is None or self._why_not is not None:
            raise NotServing(str(self._why_not)) from self._why_not
        return self._current

    async def check(self) -> None:
        """One golden prediction by the release in service. Raises why it cannot be made."""
        limits = self._settings.limits
        await self.serving().check_golden(self._backend, limits.reviews, limits.deadline_seconds, cases=1)

    async def versions(self) -> list[str]:
        """The versions in the store, as they were a moment ago."""
        return await self._listing.versions()

    async def describe(self, version: str) -> Manifest:
        """A version in the store. Raises NoSuchVersion or ReleaseError."""
        key = manifest_key(self._name, version)
        try:
            await run_sync(partial(self._store.read, key, limit=DOCUMENT_LIMIT))  # which walks no store in vain
        except NotFound:
            raise NoSuchVersion("there is no release of this version: GET /models lists what there is") from None
        return await run_sync(release.read_manifest, self._store, self._name, version)

    async def promote(self, version: str, by: str) -> Manifest:
        """Put a version into service and point the production channel at it; the old one stays loaded.

        Raises Busy, NotFound, ReleaseError, GateError, Conflict or BackendError; then the old one goes on serving.
        """
        async with self._changing():
            return await self._promote(version, by)

    async def rollback(self, by: str) -> Manifest:
        """Put the version back that production pointed at before. Raises Conflict when there is none, else as above."""
        async with self._changing():
            channel, _ = await run_sync(channels.read, self._store, self._name, PRODUCTION)
            if channel.previous is None:
                raise Conflict("no version was in production before this one: promote a version instead")
            return await self._promote(channel.previous, by)

    async def watch(self) -> None:
        """Bring the release into service, and bring it back whenever the model server comes back without it."""
        while True:
            delay = LOOK_SECONDS
            try:
                await self._ensure()
            except StarsError as error:
                self._stop(error)
                if not isinstance(error, BackendUnavailable):
                    delay = RETRY_SECONDS
                elif self._current is None:
                    delay = START_SECONDS
            except Exception as error:  # a mistake of ours must not end the watch
                log.error("watch_failed", exception=type(error).__name__, places=places(error))
                self._stop(NotServing("the gateway cannot tell what the model server has: see its log"))
                delay = RETRY_SECONDS
            self._look.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._look.wait()

    def look_again(self) -> None:
        """Somebody saw that the model server lost the release: check at once."""
        self._look.set()

    async def _ensure(self) -> None:
        if self._change.locked():
            return
        known = await self._backend.loaded()
        if self._current is not None and known.get(self._current.version):
            if self._why_not is not None:
                await self._check_golden(self._current)
            self._serve(self._current)
            return
        async with self._changing():
            version = self.current
            if version is None:
                version = await run_sync(production_version, self._store, self._name)
            self._stop(NotServing(f"release {version} is being loaded: try again in a moment"))
            try:
                serving = await self._load(version)
            except BaseException:
                await asyncio.shield(self._forget(version))
                raise
            self._previous = None  # it went with the old server; a rollback loads it again
            self._serve(serving)
            await self._claim(version)
            await self._tidy()

    async def _promote(self, version: str, by: str) -> Manifest:
        was_loaded = version in {self.current, self.previous}
        try:
            serving = await self._load(version)
            await run_sync(self._point, version, by)
        except BaseException:
            if not was_loaded:
                await asyncio.shield(self._forget(version))
            raise
        older = self._previous
        if version != self.current:
            self._previous = self._current
        self._serve(serving)
        if older is not None and older.version not in {self.current, self.previous}:
            await older.until_idle()
        await self._tidy()
        return serving.manifest

    async def _load(self, version: str) -> Serving:
        """Fetch, verify, load and try a release."""
        settings = self._settings
        log.info("release_loading", version=version)
        found = await run_sync(release.fetch, self._store, self._name, version, settings.release_cache)
        worker = WorkerSettings(
            workers=settings.model_workers, response_seconds=math.ceil(settings.limits.hang_seconds)
        )
        folder = await run_sync(write_model_folder, found, settings.model_folder, worker)
        await self._backend.load(version, folder, settings.load_seconds)
        serving = Serving(found)
        await self._check_golden(serving)
        return serving

    async def _check_golden(self, serving: Serving) -> None:
        await serving.check_golden(self._backend, self._settings.limits.reviews, self._settings.load_seconds)

    def _point(self, version: str, by: str) -> None:
        """Move the production channel, unless somebody else moves it at the same time."""
        etag = None
        with suppress(NotFound):
            etag = channels.read(self._store, self._name, PRODUCTION)[1]
        channels.point(self._store, self._name, PRODUCTION, version, by, etag)

    async def _claim(self, version: str) -> None:
        """Let a store without a production channel say what is in production now: rollback needs to know.

        A store that cannot be written to still serves.
        """
        with suppress(StarsError):
            await run_sync(channels.point, self._store, self._name, PRODUCTION, version, "gateway", None)

    async def _tidy(self) -> None:
        """Unload what is neither in service nor kept for rollback. It only costs memory, so a failure can wait."""
        kept = {self.current, self.previous}
        with suppress(StarsError):
            if unneeded := [version for version in await self._backend.loaded() if version not in kept]:
                await self._backend.prefer(str(self.current))
                for version in unneeded:
                    await self._backend.unload(version)

    async def _forget(self, version: str) -> None:
        with suppress(StarsError):
            await self._backend.unload(version)

    def _serve(self, serving: Serving) -> None:
        if serving is not self._current or self._why_not is not None:
            log.info("release_serving", version=serving.version)
        self._current = serving
        self._why_not = None
        self._metrics.serves(serving.version)

    def _stop(self, reason: StarsError) -> None:
        if str(reason) != str(self._why_not):
            log.warning("release_not_ready", reason=str(reason), kind=type(reason).__name__)
        self._why_not = reason
        self._metrics.serves(None)

    @asynccontextmanager
    async def _changing(self) -> AsyncIterator[None]:
        if self._change.locked():
            raise Busy("another release is being loaded: wait for it, then repeat")
        async with self._change:
            yield
