"""From a source's rating to 1 to 5 stars, by a rule that can be said in a sentence."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any, Literal

from contracts.review import STARS

Scale = Literal["exact", "5", "10"]

RULES: dict[Scale, str] = {
    "exact": "ratings are whole stars, 1 to 5",
    "5": "ratings go up to 5 and are rounded to the nearest star, halves upwards",
    "10": "ratings go up to 10, two of them to a star: 1 and 2 are 1 star, 9 and 10 are 5",
}

_EXACT = {str(star): star for star in STARS}
_NUMBER = re.compile(r"\s*(\d+(?:[.,]\d+)?)\s*(?:(?:/|out\s+of)\s*(\d+)(?:\.0)?)?\s*(?:stars?)?\s*", re.ASCII | re.I)


def stars(rating: Any, scale: Scale) -> int | str:
    """The stars of a rating, or the reason why it has none."""
    if rating is None or (isinstance(rating, str) and not rating.strip()):
        return "empty_star_rating"
    if scale == "exact":
        return _EXACT.get(str(rating).strip(), "bad_star_rating")
    number = _number(rating, scale)
    if number is None:
        return "bad_star_rating"
    star = math.ceil(number / 2) if scale == "10" else max(1, math.floor(number + 0.5))
    lowest = 0.0 if scale == "10" else 0.5
    return star if lowest <= number and 1 <= star <= 5 and number <= int(scale) else "bad_star_rating"


def guess_scale(ratings: Iterable[Any]) -> Scale:
    """5, unless a rating lies above it and none above 10."""
    numbers = [number for rating in ratings if (number := _number(rating)) is not None]
    return "10" if numbers and 5 < max(numbers) <= 10 else "5"


def _number(rating: Any, scale: Scale | None = None) -> float | None:
    """A rating as a number: 4, "4.5", "4,5", "4 stars", "4 out of 5"."""
    if isinstance(rating, int | float) and not isinstance(rating, bool):
        return float(rating) if math.isfinite(rating) else None
    found = _NUMBER.fullmatch(rating) if isinstance(rating, str) and len(rating) < 40 else None
    if found is None or (scale is not None and found[2] not in (None, scale)):
        return None
    return float(found[1].replace(",", "."))
