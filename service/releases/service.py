"""Which release answers, and how another one takes its place.

A release is loaded beside the one in service and must give its golden predictions before requests are sent to it.
Requests always name a version, so the swap is one assignment: no request sees half of it.

The store's production channel says which release that is. Any gateway, command or person may move it, and all gateways
on the store follow. What serves goes on serving whatever happens to the store or to a successor, until the model
server says that it has it no more.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from time import monotonic
from typing import NamedTuple

import structlog
from anyio.to_thread import run_sync

from contracts.errors import (
    BackendUnavailable,
    Conflict,
    GateError,
    ModelError,
    NotFound,
    ReleaseError,
    StarsError,
    places,
)
from contracts.release import channels, published
from contracts.release.channels import PRODUCTION, Channel
from contracts.release.files import DOCUMENT_LIMIT
from contracts.release.manifest import Manifest, manifest_key
from service.backend.protocol import Backend
from service.errors import Busy, NoSuchVersion, NotServing
from service.metrics import Metrics
from service.releases.listing import Listing
from service.releases.loading import Loader
from service.releases.production import production_version
from service.releases.serving import Serving
from service.settings import Settings

LOOK_SECONDS = 2.0
"""How often the model server is asked whether it still has the release."""

START_SECONDS = 0.3
"""How often one that is starting is asked."""

RETRY_SECONDS = 15.0
"""How often a release that could not be brought into service is tried again."""

BAD_SECONDS = 300.0
"""How often one is that failed its checks, while another serves."""

BAD = (ReleaseError, ModelError, GateError)

log = structlog.get_logger()


class Behind(NamedTuple):
    """Why what production points at is not in service, and when it is tried again (monotonic seconds)."""

    version: str | None
    what: str
    error: StarsError
    again: float


class Releases:
    """The release in service, and the store whose production channel says which one that should be."""

    def __init__(self, backend: Backend, settings: Settings, metrics: Metrics) -> None:
        self._backend = backend
        self._settings = settings
        self._metrics = metrics
        self._store = settings.open_store()
        self._name = settings.name
        self._listing = Listing(partial(published.versions, self._store, self._name))
        self._loader = Loader(backend, settings, self._store)
        self._change = asyncio.Lock()
        self._changes = 0
        self._look = asyncio.Event()
        self._follow = asyncio.Event()
        self._current: Serving | None = None
        self._why_not: StarsError | None = NotServing("the model is being loaded: try again in a moment")
        self._production: Channel | None = None
        self._behind: Behind | None = None
        self._blind = False
        metrics.watch_behind(lambda: self._behind is not None)

    @property
    def current(self) -> str | None:
        """The version in service, even while the model server is down."""
        return self._current.version if self._current else None

    @property
    def previous(self) -> str | None:
        """The version that a rollback would bring back: what production pointed at before."""
        return self._production.previous if self._production else None

    @property
    def production(self) -> str | None:
        """The version that production pointed at when it was last looked at."""
        return self._production.version if self._production else None

    @property
    def behind(self) -> Behind | None:
        """Why what production points at is not in service; None while it is."""
        return self._behind

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
        return await run_sync(published.read_manifest, self._store, self._name, version)

    async def promote(self, version: str, by: str) -> Manifest:
        """Put a version into service and point the production channel at it; the old one stays loaded.

        Raises Busy, NotFound, ReleaseError, GateError, BackendError, or Conflict when somebody else has moved the
        channel meanwhile; then the old one goes on serving, or what the channel points at now follows.
        """
        async with self._changing():
            expect = await run_sync(channels.seen, self._store, self._name, PRODUCTION)
            return await self._promote(version, by, expect)

    async def rollback(self, by: str) -> Manifest:
        """Put the version back that production pointed at before. Raises Conflict when there is none, else as above."""
        async with self._changing():
            channel, etag = await run_sync(channels.read, self._store, self._name, PRODUCTION)
            if channel.previous is None:
                raise Conflict("no version was in production before this one: promote a version instead")
            return await self._promote(channel.previous, by, etag)

    async def watch(self) -> None:
        """Bring the release into service, keep it there, and follow the production channel. Never ends by itself."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_serving())
            tasks.create_task(self._keep_following())

    def look_again(self) -> None:
        """Somebody saw that the model server lost the release: check at once."""
        self._look.set()

    async def _keep_serving(self) -> None:
        while True:
            try:
                delay = await (self._ensure(self._current) if self._current else self._start())
            except Exception as error:  # a mistake of ours must not end the watch, nor does it prove anything
                log.error("watch_failed", exception=type(error).__name__, places=places(error))
                delay = RETRY_SECONDS
            self._look.clear()
            await _wait(self._look, delay)

    async def _start(self) -> float:
        """Bring the first release into service; seconds until the next look."""
        if self._change.locked():
            return START_SECONDS
        try:
            await self._backend.loaded()
            async with self._changing():
                version = await run_sync(production_version, self._store, self._name)
                self._stop(NotServing(f"release {version} is being loaded: try again in a moment"))
                serving = await self._loader.load(version)
                await self._swap(serving, await run_sync(self._claim, version))
        except StarsError as error:
            self._stop(error)
            return START_SECONDS if isinstance(error, BackendUnavailable) else RETRY_SECONDS
        return LOOK_SECONDS

    async def _ensure(self, serving: Serving) -> float:
        """See to it that the model server has the release in service; seconds until the next look.

        Requests are held back only where it is known to be gone, or to predict otherwise than it should.
        """
        try:
            ready = (await self._backend.loaded()).get(serving.version)
        except StarsError as error:
            if not self._blind:
                log.warning("model_server_unseen", reason=str(error))
            self._blind = True
            return LOOK_SECONDS
        self._blind = False
        if ready and self._why_not is None:
            return LOOK_SECONDS
        if ready is None:
            self._stop(NotServing(f"release {serving.version} is being loaded: try again in a moment"), serving)
        try:
            await self._loader.reload(serving)
        except StarsError as error:
            if self._why_not is None:
                log.warning("release_not_restarted", version=serving.version, reason=str(error))
                return LOOK_SECONDS  # which tells whether it is gone now
            self._stop(error, serving)
            return LOOK_SECONDS if isinstance(error, BackendUnavailable) else RETRY_SECONDS
        if serving is self._current:
            self._serve(serving)
        return LOOK_SECONDS

    async def _keep_following(self) -> None:
        """Gateways that start together don't ask together. Each asks once within the time set."""
        while True:
            self._follow.clear()
            try:
                await self._catch_up()
            except Exception as error:  # a mistake of ours must not end the watch
                log.error("follow_failed", exception=type(error).__name__, places=places(error))
            await _wait(self._follow, self._settings.follow_seconds * random.uniform(0.5, 1))  # noqa: S311

    async def _catch_up(self) -> None:
        """Serve what production points at, if it can be served. Never holds requests back."""
        changes = self._changes
        try:
            channel = await run_sync(self._read_production, abandon_on_cancel=True)
        except StarsError as error:
            self._fall_behind(None, "the production channel cannot be read", error, RETRY_SECONDS)
            return
        if self._change.locked() or self._changes != changes:
            return  # what was read may be older than what has happened meanwhile
        self._production = channel
        if channel is None or self._current is None or channel.version == self.current:
            self._behind = None
            return
        behind = self._behind
        if behind and behind.version == channel.version and monotonic() < behind.again:
            return
        try:
            async with self._changing():
                await self._swap(await self._loader.load(channel.version), channel)
        except StarsError as error:
            what = f"production points at {channel.version}, which could not be brought into service"
            seconds = BAD_SECONDS if isinstance(error, BAD) else RETRY_SECONDS
            self._fall_behind(channel.version, what, error, seconds)

    def _fall_behind(self, version: str | None, what: str, error: StarsError, seconds: float) -> None:
        known = self._behind
        if known is None or (known.what, str(known.error)) != (what, str(error)):
            log.warning("release_not_followed", version=version, serving=self.current, reason=f"{what}: {error}")
        self._behind = Behind(version, what, error, monotonic() + seconds)

    async def _promote(self, version: str, by: str, expect: str | None) -> Manifest:
        kept = {self.current, self.previous}
        serving = await self._loader.load(version)
        try:
            move = partial(channels.move, self._store, self._name, PRODUCTION, version, by, expect)
            channel = await run_sync(move)
        except BaseException:
            if version not in kept:
                await asyncio.shield(self._loader.unload(version))
            raise
        await self._swap(serving, channel)
        return serving.manifest

    async def _swap(self, serving: Serving, channel: Channel | None) -> None:
        """From here on requests go to another release; what is neither in service nor the way back is unloaded."""
        self._changes += 1
        self._production = channel
        self._behind = None
        self._serve(serving)
        await self._loader.keep_only({serving.version, self.previous})

    def _read_production(self) -> Channel | None:
        with suppress(NotFound):
            return channels.read(self._store, self._name, PRODUCTION)[0]
        return None

    def _claim(self, version: str) -> Channel | None:
        """Let a store without a production channel say what is in production now: rollback needs to know.

        A store that cannot be written to still serves.
        """
        with suppress(StarsError):
            return channels.move(self._store, self._name, PRODUCTION, version, "gateway", None)
        with suppress(StarsError):
            return self._read_production()
        return None

    def _serve(self, serving: Serving) -> None:
        if serving is not self._current or self._why_not is not None:
            log.info("release_serving", version=serving.version)
        self._current = serving
        self._why_not = None
        self._metrics.serves(serving.version)

    def _stop(self, reason: StarsError, only: Serving | None = None) -> None:
        """Hold requests back. With `only`, unless another release has come into service meanwhile."""
        if only is not self._current:
            return
        if str(reason) != str(self._why_not):
            log.warning("release_not_ready", reason=str(reason), kind=type(reason).__name__)
        self._why_not = reason
        self._metrics.serves(None)

    @asynccontextmanager
    async def _changing(self) -> AsyncIterator[None]:
        if self._change.locked():
            raise Busy("another release is being loaded: wait for it, then repeat")
        try:
            async with self._change:
                yield
        finally:
            self._follow.set()


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
