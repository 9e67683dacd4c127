"""A model server in this process: the real engine on the real folders, without TorchServe around it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from contracts.review import Review, segments
from contracts.tokens import ReviewEncoder
from contracts.wire import Prediction, Predictions
from service.backend.protocol import NotLoaded
from torchserve.engines.pytorch import Engine
from torchserve.model import load_model


class InProcess:
    """A `Backend`."""

    def __init__(self) -> None:
        self.models: dict[str, tuple[ReviewEncoder, Engine]] = {}
        self.loads: list[str] = []
        self.free = asyncio.Event()
        self.free.set()

    async def predict(self, version: str, reviews: Sequence[Review], seconds: float | None = None) -> Predictions:
        await self.free.wait()
        if version not in self.models:
            raise NotLoaded(f"release {version} is not loaded")
        encoder, engine = self.models[version]
        texts = [segments(each.review_body, each.review_headline, each.product_category) for each in reviews]
        encoded = encoder.encode(texts)
        logits = engine.infer(encoded)
        return Predictions(
            [
                Prediction(tuple(map(float, row)), len(each.input_ids), each.truncated)
                for each, row in zip(encoded, logits, strict=True)
            ],
            0.0,
        )

    async def load(self, version: str, folder: Path, seconds: float) -> None:
        self.loads.append(version)
        self.models[version] = load_model(folder)

    async def unload(self, version: str) -> None:
        self.models.pop(version, None)

    async def loaded(self) -> dict[str, bool]:
        return dict.fromkeys(self.models, True)

    async def close(self) -> None:
        self.models.clear()
