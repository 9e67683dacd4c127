"""A model server in this process: the real engine on the real folders, without TorchServe around it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from contracts.release.release import Release
from contracts.review import Review, segments
from contracts.wire import Prediction, Predictions
from service.backend.protocol import NotLoaded
from torchserve.model import Model, load_model


class InProcess:
    """A `LoadingBackend`."""

    def __init__(self) -> None:
        self.models: dict[str, Model] = {}
        self.loads: list[str] = []
        self.free = asyncio.Event()
        self.free.set()

    async def predict(self, version: str, reviews: Sequence[Review], seconds: float | None = None) -> Predictions:
        await self.free.wait()
        if version not in self.models:
            raise NotLoaded(f"release {version} is not loaded")
        model = self.models[version]
        texts = [segments(review.review_body, review.review_headline, review.product_category) for review in reviews]
        encoded = model.encoder.encode(texts)
        logits = model.engine.infer(encoded)
        return Predictions(
            [
                Prediction(tuple(map(float, row)), len(tokens.input_ids), tokens.truncated)
                for tokens, row in zip(encoded, logits, strict=True)
            ],
            0.0,
            model.kind,
        )

    async def load(self, release: Release, seconds: float) -> None:
        version = release.manifest.version
        self.loads.append(version)
        self.models[version] = load_model(release.folder)

    async def unload(self, version: str) -> None:
        self.models.pop(version, None)

    async def loaded(self) -> dict[str, bool]:
        return dict.fromkeys(self.models, True)

    async def close(self) -> None:
        self.models.clear()
