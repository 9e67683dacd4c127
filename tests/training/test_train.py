"""The training loop on a real TensorFlow, with a network small enough for a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.numpy

from contracts.errors import DataError, GateError
from training import train
from training.folder import read_facts
from training.prepare import SPLIT_SCHEMA
from training.stage import execute

from .recorder import Recorder
from .test_bert import write_checkpoint

STEPS = 60


def write_split(folder: Path, rows: int, seed: int, teacher: bool = False) -> None:
    """Reviews whose stars follow from one token, so that a working trainer learns them."""
    random = np.random.default_rng(seed)
    table: list[dict[str, Any]] = []
    for at in range(rows):
        star = at % 5 + 1
        filler = random.integers(40, 60, random.integers(1, 12)).tolist()
        ids = [1, 2, 10 + star, *filler, 2]
        row = {name: None for name in SPLIT_SCHEMA.names}
        table.append(row | {"review_id": f"R{at}", "star_rating": star, "input_ids": ids, "second_start": 2})
    folder.mkdir(parents=True)
    written = pa.Table.from_pylist(table, schema=SPLIT_SCHEMA)
    if teacher:
        soft = np.eye(5)[[row["star_rating"] - 1 for row in table]] * 0.8 + 0.04
        written = written.append_column("teacher", pa.array(soft.tolist(), pa.list_(pa.float32())))
    pq.write_table(written, folder / "part-0.parquet")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    prepare = tmp_path_factory.mktemp("data") / "prepare"
    write_split(prepare / "train", 240, seed=1, teacher=True)
    write_split(prepare / "validation", 50, seed=2)
    return {"prepare": prepare}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("base"))


def config(base: Path, **changes: Any) -> train.Config:
    given: dict[str, Any] = {"base_model": str(base), "epochs": 2, "batch_size": 4, "learning_rate": 3e-3}
    return train.Config(**given | {"precision": "float32", "seed": 3} | changes)


def weights(outputs: Path) -> dict[str, Any]:
    return dict(safetensors.numpy.load_file(outputs / "model" / "model.safetensors"))


class Interrupter(Recorder):
    """Presses Ctrl-C at the first progress."""

    def progress(self, fraction: float, message: str) -> None:
        super().progress(fraction, message)
        if "loss" in message:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def trained(inputs: dict[str, Path], base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    outputs = tmp_path_factory.mktemp("trained") / "train"
    execute(train, config(base), inputs, outputs, Recorder())
    return outputs


def test_it_learns_and_says_so(trained: Path) -> None:
    facts = read_facts(trained)
    assert facts["steps"] == 2 * STEPS
    assert facts["best_validation_accuracy"] > 0.9
    assert facts["validation"][-1]["mae"] < 0.2
    assert (trained / "mlflow.db").stat().st_size > 0


def test_an_interrupted_run_ends_where_an_uninterrupted_one_does(
    trained: Path, inputs: dict[str, Path], base: Path, tmp_path: Path
) -> None:
    outputs = tmp_path / "train"
    with pytest.raises(KeyboardInterrupt):
        execute(train, config(base), inputs, outputs, Interrupter())
    assert not (outputs / "facts.json").exists()
    recorder = Recorder()
    facts = execute(train, config(base), inputs, outputs, recorder)
    assert facts["resumed"]
    assert f"resumed in epoch 1 at batch 50 of {STEPS}" in recorder.lines
    once, again = weights(trained), weights(outputs)
    assert all(np.allclose(once[name], again[name], atol=1e-5) for name in once)


def test_frozen_mode_changes_the_head_alone(inputs: dict[str, Path], base: Path, tmp_path: Path) -> None:
    outputs = tmp_path / "train"
    execute(train, config(base, mode="frozen", epochs=3, batch_size=16), inputs, outputs, Recorder())
    before, after = dict(safetensors.numpy.load_file(base / "model.safetensors")), weights(outputs)
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed == {"bert.pooler.dense.weight", "bert.pooler.dense.bias", "classifier.weight", "classifier.bias"}


def test_soft_labels_teach_too(inputs: dict[str, Path], base: Path, tmp_path: Path) -> None:
    facts = execute(train, config(base, teacher_weight=1.0), inputs, tmp_path / "train", Recorder())
    assert facts["best_validation_accuracy"] > 0.9


def test_soft_labels_that_are_not_there_are_missed(base: Path, tmp_path: Path) -> None:
    prepare = tmp_path / "prepare"
    write_split(prepare / "train", 20, seed=1)
    write_split(prepare / "validation", 10, seed=2)
    with pytest.raises(DataError, match="no teacher column"):
        execute(train, config(base, teacher_weight=0.5), {"prepare": prepare}, tmp_path / "train", Recorder())


def test_a_loss_that_explodes_is_a_clear_error(inputs: dict[str, Path], base: Path, tmp_path: Path) -> None:
    with pytest.raises(GateError, match="lower learning_rate"):
        execute(train, config(base, learning_rate=1e30), inputs, tmp_path / "train", Recorder())


def test_bfloat16_is_chosen_only_where_the_cpu_has_it() -> None:
    assert train.precision_for("auto", "avx2 avx512f") == "float32"
    assert train.precision_for("auto", "avx512f amx_bf16 amx_tile") == "mixed_bfloat16"
    assert train.precision_for("float32", "amx_bf16") == "float32"
