"""The golden predictions of a loaded release, each engine held to its own tolerance."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from contracts.errors import GateError
from contracts.release.manifest import EngineSpec
from contracts.release.release import Release
from contracts.review import Review
from contracts.wire import Prediction, Predictions
from service.releases.loaded import LoadedRelease


class Shifted:
    """A back end whose engine is off by so much in one logit of the last golden case."""

    def __init__(self, release: Release, engine: str, off: float) -> None:
        self._logits = {case.text: case.logits for case in release.golden().cases}
        self._last = release.golden().cases[-1].text
        self._engine, self._off = engine, off

    async def predict(self, _version: str, reviews: Sequence[Review], _seconds: float | None = None) -> Predictions:
        items = []
        for review in reviews:
            first, *others = self._logits[review.review_body]
            items.append(Prediction((first + self._off * (review.review_body == self._last), *others), 9, False))
        return Predictions(items, 1.0, self._engine)

    async def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("engine", "off", "said"),
    [
        ("torch", 0.019, None),
        ("torch", 0.021, "off by 0.021 and the tolerance is 0.02"),
        ("eighths", 0.29, None),
        ("eighths", 0.31, "off by 0.31 and the tolerance is 0.3"),
        ("abacus", 0.0, "the engine abacus, which it was never judged with"),
    ],
)
def test_each_engine_has_its_tolerance(tiny_release: Release, engine: str, off: float, said: str | None) -> None:
    engines = (EngineSpec(kind="eighths", files=("model-int8.safetensors",), tolerance=0.3), EngineSpec())
    release = replace(tiny_release, manifest=tiny_release.manifest.model_copy(update={"engines": engines}))
    check = LoadedRelease(release).check_golden(Shifted(release, engine, off), 2, 5)
    if said is None:
        asyncio.run(check)
    else:
        with pytest.raises(GateError, match=said):
            asyncio.run(check)
