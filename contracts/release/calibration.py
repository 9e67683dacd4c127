"""Contract 3, calibration.json: what a model's logits mean, as probabilities that can be taken at their word.

The softmax is taken at a temperature that follows the network's own doubt (entropy-based temperature scaling: Balanya
et al. 2022, arXiv:2208.00461): where it sees one star only the temperature is `certain`, where it sees no difference
between the stars it is `doubtful`, and between them its logarithm follows the entropy. No temperature changes which
star is the most probable.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from contracts.release.documents import Document, Finite
from contracts.review import STARS

Temperature = Annotated[Finite, Field(gt=0, le=100)]
Share = Annotated[Finite, Field(ge=0, le=1)]
_MOST_DOUBT = math.log(len(STARS))


class Doubt(Document):
    """The temperatures at either end of the network's doubt."""

    certain: Temperature
    doubtful: Temperature


class Likely(Document):
    """How far a set of likely stars reaches, so that it holds the true one as often as `coverage` says.

    Split conformal prediction on an ordered scale (Angelopoulos and Bates 2021, arXiv:2107.07511; Lu et al. 2022,
    arXiv:2207.02238): the set grows from the most probable star to its likelier neighbour, as long as the probability
    in it stays within `reach`.
    """

    coverage: Annotated[Finite, Field(gt=0, lt=1)]
    reach: Share


class Calibration(Document):
    """calibration.json: fitted on the validation split, judged on the test split.

    `temperature` is the best single one: all that releases from before `doubt` have.
    """

    temperature: Temperature
    ece_before: Share
    ece_after: Share
    doubt: Doubt | None = None
    likely: Likely | None = None
    rows: Annotated[int, Field(gt=0)] | None = None
    """How many reviews all this was fitted on."""
    star_shares: tuple[Share, Share, Share, Share, Share] | None = None
    """How often customers gave each star, one to five, before any balancing."""

    def probabilities(self, logits: Sequence[float]) -> list[float]:
        """(5,) logits as five probabilities."""
        if self.doubt is None:
            return softmax(logits, self.temperature)
        shape = math.log(self.doubt.doubtful / self.doubt.certain)
        entropy = -sum(p * math.log(p) for p in softmax(logits, 1.0) if p > 0) / _MOST_DOUBT
        return softmax(logits, self.doubt.certain * math.exp(shape * entropy))

    def likely_stars(self, probabilities: Sequence[float]) -> list[int] | None:
        """The stars among which the true one is, as often as `likely.coverage` says; in order, without a gap."""
        if self.likely is None:
            return None
        return [star for star, reach in zip(STARS, reaches(probabilities), strict=True) if reach <= self.likely.reach]


def softmax(logits: Sequence[float], temperature: float) -> list[float]:
    """Softmax of logits / temperature."""
    top = max(logits)
    weights = [math.exp((logit - top) / temperature) for logit in logits]
    total = sum(weights)
    return [weight / total for weight in weights]


def reaches(probabilities: Sequence[float]) -> list[float]:
    """For each star the probability in a set of likely stars once it is in there; 0 for the most probable one."""
    low = high = max(range(len(probabilities)), key=probabilities.__getitem__)
    reach = [0.0] * len(probabilities)
    held = probabilities[low]
    while high - low + 1 < len(probabilities):
        below = probabilities[low - 1] if low > 0 else -1.0
        above = probabilities[high + 1] if high + 1 < len(probabilities) else -1.0
        low, high = (low - 1, high) if below > above else (low, high + 1)
        held += max(below, above)
        reach[low if below > above else high] = held
    return reach
