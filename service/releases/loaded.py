"""A release that is loaded in the model server, and the proof that it predicts what it did when it was made."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from contracts.errors import DeadlineExceeded, GateError
from contracts.release.documents import GoldenCase
from contracts.release.release import Release
from contracts.review import Review
from contracts.wire import Prediction, Predictions
from service.backend.protocol import Backend

IDLE_SECONDS = 30.0


class LoadedRelease:
    """A loaded release, and how many requests are with it."""

    def __init__(self, release: Release) -> None:
        self.folder = release.folder
        self.manifest = release.manifest
        self.calibration = release.calibration()
        self._cases = release.golden().cases
        self._tolerances = release.tolerances()
        self._uses = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def version(self) -> str:
        return self.manifest.version

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep the release from being unloaded meanwhile."""
        self._uses += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._uses -= 1
            if not self._uses:
                self._idle.set()

    async def until_idle(self) -> None:
        """Wait for the requests that are with it, but not for ever."""
        with suppress(TimeoutError):
            async with asyncio.timeout(IDLE_SECONDS):
                await self._idle.wait()

    async def check_golden(self, backend: Backend, batch: int, seconds: float, cases: int | None = None) -> None:
        """Let the model server answer the golden cases (or the first few), `batch` in a request.

        Raises GateError where a logit is off by more than its engine's tolerance, DeadlineExceeded after `seconds`.
        """
        chosen = self._cases[:cases]
        try:
            async with asyncio.timeout(seconds):
                for start in range(0, len(chosen), batch):
                    part = chosen[start : start + batch]
                    reviews = [Review(case.text, case.title, case.category) for case in part]
                    self._compare(start, part, await backend.predict(self.version, reviews, seconds))
        except TimeoutError:
            raise DeadlineExceeded(f"release {self.version} gave no golden prediction within {seconds:g} s") from None

    def _compare(self, start: int, cases: tuple[GoldenCase, ...], predictions: Predictions) -> None:
        tolerance = self._tolerances.get(predictions.engine)
        if tolerance is None:
            raise GateError(
                f"release {self.version} is computed by the engine {predictions.engine}, which it was never judged with"
            )
        for number, (case, item) in enumerate(zip(cases, predictions.items, strict=True), start):
            if not isinstance(item, Prediction):
                raise GateError(f"release {self.version} refuses its golden case {number}: {item}")
            off = max(abs(expected - logit) for expected, logit in zip(case.logits, item.logits, strict=True))
            if off > tolerance:
                raise GateError(
                    f"release {self.version} does not give its golden prediction {number}: a logit is off by {off:.3g} "
                    f"and the tolerance is {tolerance:g}. Export it again"
                )
