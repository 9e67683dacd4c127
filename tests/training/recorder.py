"""A reporter that remembers."""

from __future__ import annotations


class Recorder:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.fractions: list[float] = []

    def progress(self, fraction: float, message: str) -> None:
        self.fractions.append(fraction)
        self.lines.append(message)

    def log(self, message: str) -> None:
        self.lines.append(message)
