"""How fast a run learns, and what its steps did since it last told."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import fmean


@dataclass
class Throughput:
    """What the steps of this process did. The first step of each shape compiles it, and is left out."""

    seconds: float = 0.0
    reviews: int = 0
    tokens: int = 0
    shapes: set[tuple[int, ...]] = field(default_factory=set)
    told: tuple[float, int] = (0.0, 0)

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

    def lately(self) -> float:
        """Reviews a second since this was last asked; of all steps where none since then counts."""
        seconds, reviews = self.seconds - self.told[0], self.reviews - self.told[1]
        self.told = (self.seconds, self.reviews)
        return reviews / seconds if seconds else self.reviews_per_second

    @property
    def tokens_per_second(self) -> float:
        return self.tokens / self.seconds if self.seconds else 0.0


@dataclass
class Lately:
    """What the steps since the last report did: each one's loss, and the norm of its gradients before clipping.

    `waited` and `worked` are seconds, spent on getting batches and on learning from them.
    """

    losses: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    waited: float = 0.0
    worked: float = 0.0

    def add(self, loss: float, norm: float, waited: float, worked: float) -> None:
        self.losses.append(loss)
        self.norms.append(norm)
        self.waited += waited
        self.worked += worked

    @property
    def broken(self) -> bool:
        """Whether a loss or a gradient was no number: so are the weights after it."""
        return not all(map(math.isfinite, (*self.losses, *self.norms)))

    def values(self) -> dict[str, float]:
        """The points that these steps are on the curves of a run."""
        return {
            "loss": fmean(self.losses),
            "gradient_norm": fmean(self.norms),
            "input_wait": self.waited / (self.waited + self.worked),
        }
