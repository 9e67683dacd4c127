"""Which release answers, what production points at, and why that may not be the same."""

from __future__ import annotations

from time import monotonic
from typing import NamedTuple

import structlog

from contracts.errors import StarsError
from contracts.release.channels import Channel
from service.errors import NotServing
from service.metrics import Metrics
from service.releases.loaded import LoadedRelease

log = structlog.get_logger()


class Behind(NamedTuple):
    """Why what production points at is not in service, and when it is tried again (monotonic seconds)."""

    version: str | None
    what: str
    error: StarsError
    again: float


class InService:
    """What is known here of the releases in service. Each change is one assignment: no request sees half of it."""

    def __init__(self, metrics: Metrics) -> None:
        self.release: LoadedRelease | None = None
        """The one in service, even while the model server is down."""
        self.why_not: StarsError | None = NotServing("the model is being loaded: try again in a moment")
        """Why requests are held back; None while they are not."""
        self.production: Channel | None = None
        """The production channel as it was last seen."""
        self.behind: Behind | None = None
        self.changes = 0
        """How often another release has come into service."""
        self._metrics = metrics
        metrics.watch_behind(lambda: self.behind is not None)

    @property
    def version(self) -> str | None:
        return self.release.version if self.release else None

    @property
    def previous(self) -> str | None:
        """The version that a rollback would bring back: what production pointed at before."""
        return self.production.previous if self.production else None

    @property
    def kept(self) -> frozenset[str]:
        """The versions that stay loaded: the one in service and the way back. A canary's would be one more."""
        return frozenset(version for version in (self.version, self.previous) if version)

    def serving(self) -> LoadedRelease:
        """The release to send requests to. Raises NotServing with the reason while there is none."""
        if self.release is None or self.why_not is not None:
            raise NotServing(str(self.why_not)) from self.why_not
        return self.release

    def swap(self, release: LoadedRelease, production: Channel | None) -> None:
        """From here on requests go to another release."""
        self.changes += 1
        self.production = production
        self.behind = None
        self.serve(release)

    def serve(self, release: LoadedRelease) -> None:
        """Send requests to it, or send them again."""
        if release is not self.release or self.why_not is not None:
            log.info("release_serving", version=release.version)
        self.release = release
        self.why_not = None
        self._metrics.serves(release.version)

    def stop(self, reason: StarsError, only: LoadedRelease | None = None) -> None:
        """Hold requests back. With `only`, unless another release has come into service meanwhile."""
        if only is not self.release:
            return
        if str(reason) != str(self.why_not):
            log.warning("release_not_ready", reason=str(reason), kind=type(reason).__name__)
        self.why_not = reason
        self._metrics.serves(None)

    def fall_behind(self, version: str | None, what: str, error: StarsError, seconds: float) -> None:
        """Say that production is not followed, and that it is tried again after so many seconds."""
        known = self.behind
        if known is None or (known.what, str(known.error)) != (what, str(error)):
            log.warning("release_not_followed", version=version, serving=self.version, reason=f"{what}: {error}")
        self.behind = Behind(version, what, error, monotonic() + seconds)
