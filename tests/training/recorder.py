"""A reporter that remembers."""

from __future__ import annotations

from collections.abc import Mapping


class Recorder:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.fractions: list[float] = []
        self.metrics: list[tuple[int, dict[str, float]]] = []

    def progress(self, fraction: float, message: str) -> None:
        self.fractions.append(fraction)
        self.lines.append(message)

    def metric(self, values: Mapping[str, float], step: int) -> None:
        self.metrics.append((step, dict(values)))

    def log(self, message: str) -> None:
        self.lines.append(message)
