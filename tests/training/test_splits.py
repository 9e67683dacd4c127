"""Token rows, padding, and an epoch's order."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from contracts.tokens import Encoded
from training.data.examples import plan_epoch
from training.data.tokens import TokenRows

ROWS = TokenRows.from_table(
    pa.table(
        {
            "input_ids": pa.array([[101, 7, 102, 8, 102], [101, 102, 9, 102]], pa.list_(pa.int32())),
            "second_start": pa.array([3, 2], pa.int16()),
        }
    )
)


def test_a_batch_is_padded_to_a_multiple_and_keeps_order() -> None:
    ids, types = ROWS.batch(np.array([1, 0]))
    assert ids.tolist() == [[101, 102, 9, 102, 0, 0, 0, 0], [101, 7, 102, 8, 102, 0, 0, 0]]
    assert types.tolist() == [[0, 0, 1, 1, 0, 0, 0, 0], [0, 0, 0, 1, 1, 0, 0, 0]]
    assert ids.dtype == types.dtype == np.int32


def test_what_an_encoder_answers_is_padded_as_what_was_stored() -> None:
    rows = TokenRows.of([Encoded([101, 7, 102, 8, 102], 3, False), Encoded([101, 102, 9, 102], 2, True)])
    assert [array.tolist() for array in rows.batch(np.array([0, 1]), multiple=1)] == [
        [[101, 7, 102, 8, 102], [101, 102, 9, 102, 0]],
        [[0, 0, 0, 1, 1], [0, 0, 1, 1, 0]],
    ]
    for made, stored in zip(vars(rows).values(), vars(ROWS).values(), strict=True):
        assert (made == stored).all()
        assert made.dtype == stored.dtype
    assert (len(rows), len(TokenRows.of([]))) == (2, 0)


def test_pad_to_is_a_least_width() -> None:
    assert ROWS.batch(np.array([0]), pad_to=128)[0].shape == (1, 128)


def test_an_epoch_visits_every_row_once_and_can_be_repeated() -> None:
    lengths = np.random.default_rng(1).integers(4, 128, 1003).astype(np.int32)
    plan = plan_epoch(lengths, batch_size=16, window=8, seed=3, epoch=1)
    assert sorted(np.concatenate(plan)) == list(range(1003))
    again = plan_epoch(lengths, batch_size=16, window=8, seed=3, epoch=1)
    assert all((a == b).all() for a, b in zip(plan, again, strict=True))
    other = plan_epoch(lengths, batch_size=16, window=8, seed=3, epoch=2)
    assert [list(b) for b in plan] != [list(b) for b in other]


def test_sorted_windows_pad_far_less_than_shuffled_batches() -> None:
    lengths = np.random.default_rng(1).integers(4, 128, 4096).astype(np.int32)

    def padded(window: int) -> int:
        return sum(int(lengths[rows].max()) * len(rows) for rows in plan_epoch(lengths, 32, window, 0, 0))

    assert padded(64) < 0.6 * padded(1)
    assert padded(64) < 1.06 * int(lengths.sum())
