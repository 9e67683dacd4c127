"""How fast a run learns."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Throughput:
    """What the steps of this process did. The first step of each shape compiles it, and is left out."""

    seconds: float = 0.0
    reviews: int = 0
    tokens: int = 0
    shapes: set[tuple[int, ...]] = field(default_factory=set)

    def add(self, shape: tuple[int, ...], tokens: int, seconds: float) -> None:
        """A step over inputs of `shape` (reviews, …), of so many padded tokens, took so long."""
        if shape in self.shapes:
            self.seconds += seconds
            self.reviews += shape[0]
            self.tokens += tokens
        self.shapes.add(shape)

    @property
    def reviews_per_second(self) -> float:
        return self.reviews / self.seconds if self.seconds else 0.0

    @property
    def tokens_per_second(self) -> float:
        return self.tokens / self.seconds if self.seconds else 0.0
