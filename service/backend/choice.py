"""Which back end a gateway predicts with: the one place that knows them all."""

from __future__ import annotations

from service.backend.protocol import Backend
from service.backend.torchserve import TorchServe
from service.settings import Settings


def open_backend(settings: Settings) -> Backend:
    """The back end that the settings name. Raises ConfigError for one that cannot be used."""
    return TorchServe(
        settings.name,
        str(settings.inference_url),
        str(settings.management_url),
        connections=settings.limits.model_reviews,
        model_store=settings.model_folder,
        worker=settings.worker,
        keys=settings.model_server_keys,
    )
