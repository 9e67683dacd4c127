"""What two copies of a text share however lightly one was edited: their shingles, and a MinHash of them.

A shingle is `WIDTH` words in a row. The share of shingles that two texts have in common (Jaccard) says how alike they
are; the chance that two MinHash values are equal is that share (Broder 1997, "On the resemblance and containment of
documents"). Values are cut into bands: texts of which one band is the same are candidates, and are compared exactly.
All of it is a function of the text alone, the same on every machine.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from training.data.arrays import Ints

Hashes = NDArray[np.uint64]

WIDTH = 3
LEAST_WORDS = 8
"""Shorter texts have no shingles: two customers who both write "works great, love it" have not copied each other."""
BANDS, ROWS = 20, 4
"""Of texts that share a part s of their shingles 1 - (1 - s^ROWS)^BANDS are candidates: 99.6 % at 0.7, 72 % at 0.5."""

_WORD = re.compile(r"[^\W_]+")
_FACTORS = np.random.default_rng(7).integers(2**63, size=(BANDS, ROWS), dtype=np.uint64) * 2 + 1


def shingles(texts: Sequence[str]) -> list[Hashes]:
    """The hashes of each text's shingles; none where it is short. Case and punctuation do not count."""
    if not texts:
        return []
    words = [[zlib.crc32(word.encode()) for word in _WORD.findall(text.casefold())] for text in texts]
    lengths = [len(each) for each in words]
    codes = np.fromiter(chain.from_iterable(words), dtype=np.uint64, count=sum(lengths))
    # Those that begin in one text and end in the next are cut off again below.
    mixed = np.zeros(max(0, len(codes) - WIDTH + 1), dtype=np.uint64)
    for at in range(WIDTH):
        mixed = _mix(mixed + codes[at : at + len(mixed)])
    ends = np.cumsum(lengths)
    return [
        mixed[end - length : end - WIDTH + 1] if length >= LEAST_WORDS else mixed[:0]
        for end, length in zip(ends.tolist(), lengths, strict=True)
    ]


def bands(rows: Sequence[Hashes]) -> tuple[Ints, Ints]:
    """The numbers of the texts that have shingles (n,), and the keys of their bands (n, BANDS)."""
    some = np.array([at for at, row in enumerate(rows) if len(row)], dtype=np.int64)
    if len(some) == 0:
        return some, np.empty((0, BANDS), dtype=np.int64)
    together = np.concatenate([rows[at] for at in some])
    starts = np.cumsum([0, *(len(rows[at]) for at in some[:-1])])
    keys = np.empty((len(some), BANDS), dtype=np.uint64)
    for band, factors in enumerate(_FACTORS):
        key = np.full(len(some), band, dtype=np.uint64)
        for factor in factors:
            # An odd factor permutes the 64-bit numbers, and which of them comes first then is as good as random.
            key = _mix(key + np.minimum.reduceat(together * factor, starts))
        keys[:, band] = key
    return some, keys.view(np.int64)


def likeness(one: Hashes, other: Hashes) -> float:
    """The share of all shingles of two texts that both have, from 0 to 1."""
    one, other = np.unique(one), np.unique(other)
    both = len(np.intersect1d(one, other, assume_unique=True))
    return both / max(1, len(one) + len(other) - both)


def _mix(values: Hashes) -> Hashes:
    """SplitMix64's finalizer (Steele et al. 2014): each bit of a number moves all others."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
