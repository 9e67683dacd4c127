"""Tokenised reviews in one flat array, and the padded batches that are cut from it: the same for both frameworks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa

from contracts.tokens import Encoded
from training.data.arrays import Ints, Ints32
from training.data.splits import read_split

COLUMNS = ["input_ids", "second_start"]


@dataclass(frozen=True)
class TokenRows:
    """Token ids of reviews of unequal length: row i is `ids[offsets[i]:offsets[i + 1]]`.

    Token type 1 begins at `second_start[i]` of row i.
    """

    ids: Ints32
    offsets: Ints
    second_start: Ints32

    @classmethod
    def of(cls, encoded: Sequence[Encoded]) -> TokenRows:
        """What an encoder answers, in its order."""
        ids = np.fromiter(chain.from_iterable(review.input_ids for review in encoded), dtype=np.int32)
        starts = np.array([review.second_start for review in encoded], dtype=np.int32)
        return cls(ids, _offsets(np.array([len(review.input_ids) for review in encoded], dtype=np.int64)), starts)

    @classmethod
    def stored(cls, prepare: Path, split: str) -> TokenRows:
        """What prepare tokenised, in the stored order of the split. Raises DataError when it is not there."""
        return cls.from_table(read_split(prepare, split, COLUMNS))

    @classmethod
    def from_table(cls, table: pa.Table) -> TokenRows:
        """The columns `input_ids` and `second_start` of a split."""
        column = table["input_ids"].combine_chunks()
        ids = column.flatten().to_numpy().astype(np.int32)
        starts = table["second_start"].to_numpy().astype(np.int32)
        return cls(ids, _offsets(column.value_lengths().to_numpy()), starts)

    def __len__(self) -> int:
        return len(self.second_start)

    @property
    def lengths(self) -> Ints:
        """Tokens of each row."""
        return np.diff(self.offsets)

    def chunks(self, size: int = 64) -> Iterator[Ints]:
        """The numbers of all rows, so many at a time, from the shortest rows on."""
        order = np.argsort(self.lengths, kind="stable")
        return (order[start : start + size] for start in range(0, len(order), size))

    def batch(self, rows: Ints, multiple: int = 8, pad_to: int = 0) -> tuple[Ints32, Ints32]:
        """(input_ids, token_type_ids), both (len(rows), seq) padded with 0.

        seq is the longest row rounded up to `multiple`, so that few shapes are compiled, and `pad_to` at least.
        """
        starts, ends = self.offsets[rows], self.offsets[rows + 1]
        longest = int((ends - starts).max())
        width = max(pad_to, -(-longest // multiple) * multiple)
        at = np.arange(width)
        inside = at < (ends - starts)[:, None]
        ids = np.where(inside, self.ids[np.minimum(starts[:, None] + at, len(self.ids) - 1)], 0).astype(np.int32)
        types = (inside & (at >= self.second_start[rows][:, None])).astype(np.int32)
        return ids, types


def _offsets(lengths: Ints) -> Ints:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
