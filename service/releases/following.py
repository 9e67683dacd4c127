"""Following the store's production channel: any gateway, command or person may move it."""

from __future__ import annotations

import random
from time import monotonic

import structlog
from anyio.to_thread import run_sync

from contracts.errors import GateError, ModelError, ReleaseError, StarsError, places
from contracts.store.protocol import ObjectStore
from service.releases.changing import Changes
from service.releases.in_service import InService
from service.releases.loading import Loader
from service.releases.production import read_production
from service.releases.waiting import RETRY_SECONDS, wait

BAD_SECONDS = 300.0
"""How often a release that failed its checks is tried again, while another serves."""

BAD = (ReleaseError, ModelError, GateError)

log = structlog.get_logger()


class ChannelFollower:
    """Serves what production points at, if it can be served. Never holds requests back."""

    def __init__(
        self, store: ObjectStore, name: str, loader: Loader, changes: Changes, in_service: InService, seconds: float
    ) -> None:
        self._store = store
        self._name = name
        self._loader = loader
        self._changes = changes
        self._in_service = in_service
        self._seconds = seconds

    async def run(self) -> None:
        """Look once within the time set, and after each change. Never ends by itself.

        Gateways that start together don't look together.
        """
        while True:
            self._changes.ended.clear()
            try:
                await self._catch_up()
            except Exception as error:  # a mistake of ours must not end the watch
                log.error("follow_failed", exception=type(error).__name__, places=places(error))
            await wait(self._changes.ended, self._seconds * random.uniform(0.5, 1))  # noqa: S311

    async def _catch_up(self) -> None:
        in_service, changes = self._in_service, self._in_service.changes
        try:
            channel = await run_sync(read_production, self._store, self._name, abandon_on_cancel=True)
        except StarsError as error:
            in_service.fall_behind(None, "the production channel cannot be read", error, RETRY_SECONDS)
            return
        if self._changes.under_way or in_service.changes != changes:
            return  # what was read may be older than what has happened meanwhile
        in_service.production = channel
        if channel is None or in_service.release is None or channel.version == in_service.version:
            in_service.behind = None
            return
        behind = in_service.behind
        if behind and behind.version == channel.version and monotonic() < behind.again:
            return
        try:
            async with self._changes.one():
                await self._changes.swap(await self._loader.load(channel.version), channel)
        except StarsError as error:
            what = f"production points at {channel.version}, which could not be brought into service"
            seconds = BAD_SECONDS if isinstance(error, BAD) else RETRY_SECONDS
            in_service.fall_behind(channel.version, what, error, seconds)
