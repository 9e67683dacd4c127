"""What training learns from: a prepared split in memory, and the order in which an epoch goes through it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from contracts.review import STARS
from training.data.arrays import Floats32, Ints, Ints32
from training.data.splits import read_split
from training.data.tokens import TokenRows


@dataclass(frozen=True)
class Examples:
    """A split as arrays. `labels` are 0 to 4; `soft` are a teacher's probabilities (n, 5), or None.

    `weights` (n,) are what each row's loss counts; None is 1 for all.
    """

    tokens: TokenRows
    labels: Ints32
    soft: Floats32 | None
    weights: Floats32 | None = None

    @classmethod
    def read(cls, prepare: Path, split: str) -> Examples:
        """Raises DataError when the split is not there or empty."""
        table = read_split(prepare, split)
        soft = None
        if "teacher" in table.column_names:
            teacher = table["teacher"].combine_chunks()
            soft = teacher.flatten().to_numpy().reshape(-1, len(STARS)).astype(np.float32)
        return cls(TokenRows.from_table(table), table["star_rating"].to_numpy().astype(np.int32) - 1, soft)

    def __len__(self) -> int:
        return len(self.labels)


def plan_epoch(lengths: Ints, batch_size: int, window: int, seed: int, epoch: int) -> list[Ints]:
    """The batches of one epoch, each an array of row numbers: the same for the same arguments, so a run can resume.

    Rows are shuffled and cut into windows of `window` batches; inside a window they are sorted by length, so that a
    batch holds reviews of about one length and little padding; then all batches are shuffled. A window of 1 is plain
    shuffling.
    """
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(len(lengths))
    batches: list[Ints] = []
    for start in range(0, len(order), batch_size * window):
        rows = order[start : start + batch_size * window]
        if window > 1:
            rows = rows[np.argsort(lengths[rows], kind="stable")]
        batches += [rows[i : i + batch_size] for i in range(0, len(rows), batch_size)]
    random.shuffle(batches)
    return batches
