"""What the gateway asks of whatever runs the model: TorchServe, or an endpoint that is deployed elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from contracts.errors import BackendUnavailable
from contracts.release.release import Release
from contracts.review import Review
from contracts.wire import Predictions


class NotLoaded(BackendUnavailable):
    """The model server runs but does not have this version: it was restarted, or never got it."""


class Backend(Protocol):
    """Predicts with versions of one model, and is always asked for one by its version.

    All methods raise BackendUnavailable when nothing answers.
    """

    async def predict(self, version: str, reviews: Sequence[Review], seconds: float | None = None) -> Predictions:
        """The model's view of the reviews. After so many seconds nobody waits for it, so that it need not be computed.

        Raises NotLoaded, BackendOverloaded, DeadlineExceeded, or BackendError for an answer that makes no sense.
        """

    async def loaded(self) -> dict[str, bool]:
        """The versions that it knows, and whether each is ready to predict."""

    async def close(self) -> None:
        """Let go of connections."""


@runtime_checkable
class LoadingBackend(Backend, Protocol):
    """One that the gateway tells which versions to hold. Any other holds what it was deployed with."""

    async def load(self, release: Release, seconds: float) -> None:
        """Load a verified release beside the others and return when it can predict.

        One that is loaded already, or is being started again, is only waited for, unless it runs with other settings.
        Raises ModelError when it cannot be loaded, BackendError when that takes more than `seconds`; nothing of it is
        left then.
        """

    async def unload(self, version: str) -> None:
        """Forget a version; nothing happens when it is not there."""
