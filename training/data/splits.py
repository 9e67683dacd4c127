"""A prepared split in memory, and the order in which training goes through it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from contracts.errors import DataError
from contracts.review import STARS

Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]


def read_split(prepare: Path, split: str, columns: list[str] | None = None) -> pa.Table:
    """One split of a finished prepare stage, in its stored order. Raises DataError when it is not there."""
    try:
        return pq.read_table(prepare / split, columns=columns)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"no readable {split} split in {prepare}: run prepare first ({error})") from error


class TokenRows(NamedTuple):
    """Ragged token ids: row i is `ids[offsets[i]:offsets[i + 1]]`."""

    ids: Ints
    offsets: npt.NDArray[np.int64]
    second_start: Ints

    @classmethod
    def from_table(cls, table: pa.Table) -> TokenRows:
        column = table["input_ids"].combine_chunks()
        ids = column.flatten().to_numpy().astype(np.int32)
        offsets = np.zeros(len(table) + 1, dtype=np.int64)
        np.cumsum(column.value_lengths().to_numpy(), out=offsets[1:])
        return cls(ids, offsets, table["second_start"].to_numpy().astype(np.int32))

    @property
    def lengths(self) -> Ints:
        return np.diff(self.offsets).astype(np.int32)

    def batch(self, rows: npt.NDArray[np.int64], multiple: int = 8, pad_to: int = 0) -> tuple[Ints, Ints]:
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


@dataclass(frozen=True)
class Examples:
    """A split as arrays. `labels` are 0 to 4; `soft` are a teacher's probabilities (n, 5), or None."""

    tokens: TokenRows
    labels: npt.NDArray[np.int32]
    soft: Floats | None

    @classmethod
    def read(cls, prepare: Path, split: str) -> Examples:
        table = read_split(prepare, split)
        if len(table) == 0:
            raise DataError(f"the {split} split in {prepare} is empty: prepare more data")
        labels = table["star_rating"].to_numpy().astype(np.int32) - 1
        soft = None
        if "teacher" in table.column_names:
            teacher = table["teacher"].combine_chunks()
            soft = teacher.flatten().to_numpy().reshape(-1, len(STARS)).astype(np.float32)
        return cls(TokenRows.from_table(table), labels, soft)

    def __len__(self) -> int:
        return len(self.labels)


def plan_epoch(lengths: Ints, batch_size: int, window: int, seed: int, epoch: int) -> list[npt.NDArray[np.int64]]:
    """The batches of one epoch, each an array of row numbers: the same for the same arguments, so a run can resume.

    Rows are shuffled and cut into windows of `window` batches; inside a window they are sorted by length, so that a
    batch holds reviews of about one length and little padding; then all batches are shuffled. A window of 1 is plain
    shuffling.
    """
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(len(lengths))
    batches: list[npt.NDArray[np.int64]] = []
    for start in range(0, len(order), batch_size * window):
        rows = order[start : start + batch_size * window]
        if window > 1:
            rows = rows[np.argsort(lengths[rows], kind="stable")]
        batches += [rows[i : i + batch_size] for i in range(0, len(rows), batch_size)]
    random.shuffle(batches)
    return batches
