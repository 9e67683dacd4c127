"""The training loop on a real TensorFlow, with a network small enough for a test."""

from __future__ import annotations

import inspect
import signal
import subprocess
import sys
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.numpy
from mlflow import MlflowClient

from contracts.errors import DataError, GateError
from training.data.examples import Examples
from training.data.splits import SPLIT_SCHEMA
from training.model import base_model
from training.model.precision import precision_for
from training.running.execution import execute
from training.running.folder import read_facts
from training.running.reporting import StageReporter
from training.stages import train
from training.tracking.curves import Curves
from training.tracking.history import read_history
from training.tracking.tracker import EXPERIMENT

from .recorder import Recorder
from .test_bert import write_checkpoint
from .tiny import write_facts

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
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def inputs(base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    prepare = tmp_path_factory.mktemp("data") / "prepare"
    write_split(prepare / "train", 240, seed=1, teacher=True)
    write_split(prepare / "validation", 50, seed=2)
    write_facts(prepare, base_model=base_model.identity(str(base), base))
    return {"prepare": prepare}


def config(**changes: Any) -> train.Config:
    given: dict[str, Any] = {"epochs": 2, "batch_size": 4, "learning_rate": 3e-3}
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
    with Curves(config(), outputs) as curves:
        execute(train.STAGE, config(), inputs, outputs, StageReporter("train", [curves]))
    return outputs


def test_it_learns_and_says_so(trained: Path) -> None:
    facts = read_facts(trained)
    assert facts["steps"] == 2 * STEPS
    assert facts["best_validation_accuracy"] > 0.9
    assert facts["validation"][-1]["mae"] < 0.2


def test_its_curves_are_in_mlflow(trained: Path) -> None:
    client = MlflowClient(f"sqlite:///{trained / 'mlflow.db'}")
    [run] = client.search_runs([client.get_experiment_by_name(EXPERIMENT).experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params["epochs"] == "2.0"
    assert run.data.metrics.keys() == set(train.STAGE.metrics)
    accuracy = client.get_metric_history(run.info.run_id, "validation_accuracy")
    assert [point.step for point in accuracy] == [STEPS, 2 * STEPS]
    assert accuracy[-1].value == pytest.approx(read_facts(trained)["validation"][-1]["accuracy"], abs=1e-4)
    assert [point.step for point in client.get_metric_history(run.info.run_id, "loss")] == [*range(6, 2 * STEPS + 1, 6)]


def test_its_curves_are_in_its_folder(trained: Path) -> None:
    history = read_history(trained)
    assert history.points.keys() == {*range(6, 2 * STEPS + 1, 6)}
    assert history.points[2 * STEPS].keys() == set(train.STAGE.metrics)
    assert all(0 < share < 1 for share in history.values("input_wait"))
    assert history.values("loss")[-1] < history.values("loss")[0]
    rates = history.values("learning_rate")
    assert max(rates) == pytest.approx(3e-3) and rates[-1] == pytest.approx(0, abs=1e-9)


def test_an_interrupted_run_ends_where_an_uninterrupted_one_does(
    trained: Path, inputs: dict[str, Path], base: Path, tmp_path: Path
) -> None:
    outputs = tmp_path / "train"
    with pytest.raises(KeyboardInterrupt):
        execute(train.STAGE, config(), inputs, outputs, Interrupter())
    assert not (outputs / "facts.json").exists()
    recorder = Recorder()
    facts = execute(train.STAGE, config(), inputs, outputs, recorder)
    assert facts["resumed"]
    assert f"resumed in epoch 1 at batch 6 of {STEPS}" in recorder.lines
    once, again = weights(trained), weights(outputs)
    assert all(np.allclose(once[name], again[name], atol=1e-5) for name in once)


def quick() -> train.Config:
    """Frozen, so that one run of many takes a second."""
    return config(mode="frozen", epochs=3, batch_size=48)


@pytest.fixture(scope="module")
def undisturbed(inputs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    outputs = tmp_path_factory.mktemp("undisturbed") / "train"
    execute(train.STAGE, quick(), inputs, outputs, Recorder())
    return outputs


def assert_same_result(outputs: Path, undisturbed: Path) -> None:
    once, again = weights(undisturbed), weights(outputs)
    assert all(np.allclose(once[name], again[name], atol=1e-6) for name in once)
    told = [{name: read_facts(each)[name] for name in SAME} for each in (undisturbed, outputs)]
    assert told[0] == told[1]
    assert {path.name for path in outputs.iterdir()} == {path.name for path in undisturbed.iterdir()}


SAME = ("steps", "validation", "best_validation_accuracy")


@pytest.mark.slow
@pytest.mark.parametrize("how", ["Ctrl-C", "kill -9"])
def test_a_run_cut_off_at_each_line_of_an_epochs_end_ends_as_an_undisturbed_one(
    how: str, undisturbed: Path, inputs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 9: weights and the memory of the best epoch could part. After kill -9 not even a checkpoint is written."""
    import tensorflow as tf

    from training.model.checkpoints import RunFolder
    from training.model.loop import Trainer

    written = (RunFolder.write_weights, RunFolder.write_history, RunFolder.drop_other_weights, RunFolder.name_the_best)
    code = {Trainer._end_epoch.__code__, *(inspect.unwrap(write).__code__ for write in written)}
    outputs = tmp_path / "train"
    save = tf.train.CheckpointManager.save

    def save_if_alive(manager: Any) -> Any:
        if cut and how == "kill -9":
            raise KeyboardInterrupt
        return save(manager)

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal cut
        if frame.f_code not in code:
            return None
        if event == "line" and (place := (frame.f_code, frame.f_lineno)) not in cuts:
            cuts.add(place)
            cut = True
            raise KeyboardInterrupt
        return trace

    cuts: set[tuple[CodeType, int]] = set()
    cut = True
    monkeypatch.setattr(tf.train.CheckpointManager, "save", save_if_alive)
    while cut:
        cut = False
        sys.settrace(trace)
        try:
            execute(train.STAGE, quick(), inputs, outputs, Recorder())
        except KeyboardInterrupt:
            sys.settrace(None)
            assert cut
        finally:
            sys.settrace(None)
    lines = {(part, line) for part in code for *_, line in part.co_lines() if line and line > part.co_firstlineno}
    assert cuts == lines, "each line of these functions, once"
    assert_same_result(outputs, undisturbed)


KILLED = """
import os, signal, sys
from pathlib import Path
from training.stages import train
from training.running.reporting import PlainLines, StageReporter
from training.running.reporting import StageReporter
from training.running.execution import execute
replace = Path.replace
def killed(self, target):
    if target.name == sys.argv[4] and target.parent.name == sys.argv[5]:
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(self, target)
Path.replace = killed
execute(train.STAGE, train.Config.model_validate_json(sys.argv[1]), {"prepare": Path(sys.argv[2])}, Path(sys.argv[3]),
        StageReporter("train", [PlainLines()]))
"""


@pytest.mark.slow
def test_a_run_that_is_killed_while_it_writes_weights_ends_as_an_undisturbed_one(
    undisturbed: Path, inputs: dict[str, Path], tmp_path: Path
) -> None:
    """Fault 9, with a real kill -9."""
    outputs = tmp_path / "train"
    arguments = [quick().model_dump_json(), str(inputs["prepare"]), str(outputs), "model.safetensors", "epoch-1"]
    killed = subprocess.run([sys.executable, "-c", KILLED, *arguments], capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
    assert (outputs / "epoch-1" / "model.safetensors.partial").exists()
    execute(train.STAGE, quick(), inputs, outputs, Recorder())
    assert_same_result(outputs, undisturbed)


def test_gradients_in_parts_are_those_of_the_whole_batch(inputs: dict[str, Path], base: Path, tmp_path: Path) -> None:
    import tensorflow as tf

    from training.model.loop import Trainer
    from training.model.losses import targets

    settings = config(dropout=0, attention_dropout=0, teacher_weight=0.5, accumulate_steps=4)
    learnt, validation = (Examples.read(inputs["prepare"], split) for split in ("train", "validation"))
    trainer = Trainer(base, settings, learnt, validation, tmp_path, Recorder())
    rows = np.arange(10)  # in parts of 3, 3, 3 and 1
    batch = (learnt.tokens.batch(rows), *targets(learnt, rows, settings.label_smoothing))
    loss, whole = tf.function(trainer._gradients)(batch, tf.constant(10))
    parts_loss, parts = tf.function(trainer._accumulated)(batch, tf.constant(10))
    assert float(parts_loss) == pytest.approx(float(loss), rel=1e-6)
    largest = max(float(tf.reduce_max(tf.abs(gradient))) for gradient in whole)
    for gradient, accumulated in zip(whole, parts, strict=True):
        assert np.abs(gradient - accumulated).max() < 1e-5 * largest


def test_a_batch_in_parts_teaches_what_the_whole_one_does(inputs: dict[str, Path], base: Path, tmp_path: Path) -> None:
    for parts in (1, 3):
        settings = config(dropout=0, attention_dropout=0, epochs=0.5, batch_size=8, accumulate_steps=parts)
        execute(train.STAGE, settings, inputs, tmp_path / str(parts), Recorder())
    once, again = weights(tmp_path / "1"), weights(tmp_path / "3")
    assert all(np.allclose(once[name], again[name], atol=1e-5) for name in once)


def test_of_several_workers_only_the_first_writes_and_reports(
    inputs: dict[str, Path], base: Path, tmp_path: Path
) -> None:
    from training.model.loop import Trainer

    report = Recorder()
    splits = [Examples.read(inputs["prepare"], split) for split in ("train", "validation")]
    for rank in (1, 0):
        folder = tmp_path / str(rank)
        folder.mkdir()
        facts = Trainer(base, quick(), *splits, folder, report if rank else Recorder(), rank).fit()
        assert facts["best_validation_accuracy"] > 0.2
    assert not report.lines and not report.metrics and not list((tmp_path / "1").iterdir())
    assert list((tmp_path / "0").iterdir())


def test_frozen_mode_changes_the_head_alone(inputs: dict[str, Path], base: Path, tmp_path: Path) -> None:
    outputs = tmp_path / "train"
    execute(train.STAGE, config(mode="frozen", epochs=3, batch_size=16), inputs, outputs, Recorder())
    before, after = dict(safetensors.numpy.load_file(base / "model.safetensors")), weights(outputs)
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed == {"bert.pooler.dense.weight", "bert.pooler.dense.bias", "classifier.weight", "classifier.bias"}


def test_soft_labels_teach_too(inputs: dict[str, Path], base: Path, tmp_path: Path) -> None:
    facts = execute(train.STAGE, config(teacher_weight=1.0), inputs, tmp_path / "train", Recorder())
    assert facts["best_validation_accuracy"] > 0.9


def test_soft_labels_that_are_not_there_are_missed(base: Path, tmp_path: Path) -> None:
    prepare = tmp_path / "prepare"
    write_split(prepare / "train", 20, seed=1)
    write_split(prepare / "validation", 10, seed=2)
    write_facts(prepare, base_model=base_model.identity(str(base), base))
    with pytest.raises(DataError, match="no teacher column"):
        execute(train.STAGE, config(teacher_weight=0.5), {"prepare": prepare}, tmp_path / "train", Recorder())


def test_a_run_that_diverges_is_stopped_at_once_and_keeps_no_broken_checkpoint(
    inputs: dict[str, Path], base: Path, tmp_path: Path
) -> None:
    recorder, outputs = Recorder(), tmp_path / "train"
    diverging = config(checkpoint_minutes=1e-9).model_copy(update={"learning_rate": 1e30})
    with pytest.raises(GateError, match=r"rule not_finite at step \d+: .*lower learning_rate"):
        execute(train.STAGE, diverging, inputs, outputs, recorder)
    [finding] = read_history(outputs).findings
    assert (finding.rule, finding.action) == ("not_finite", "stop") and finding.step < 6
    assert [line for line in recorder.lines if line.startswith("rule not_finite at step")]
    step, broken = recorder.metrics[-1]
    assert step == finding.step and not np.isfinite([broken["loss"], broken["gradient_norm"]]).all()
    with pytest.raises(GateError, match=f"rule not_finite at step {step}: "):
        execute(train.STAGE, diverging, inputs, outputs, Recorder())  # goes on from the last whole checkpoint


def test_a_rule_that_stops_keeps_what_was_learnt_and_one_that_warns_goes_on(
    trained: Path, inputs: dict[str, Path], base: Path, tmp_path: Path
) -> None:
    """Learning nothing for so long, at a rate of next to nothing, is what one rule is for."""
    outputs = tmp_path / "train"
    slow = config(epochs=1, learning_rate=1e-9, rules="loss_not_falling=stop")
    with pytest.raises(GateError, match="--set train.rules=loss_not_falling=warn goes on from there"):
        execute(train.STAGE, slow, inputs, outputs, Recorder())
    assert (outputs / "checkpoints").is_dir()
    stopped = read_history(outputs)
    recorder = Recorder()
    facts = execute(train.STAGE, config(epochs=1, learning_rate=1e-9), inputs, outputs, recorder)
    assert facts["resumed"], "rules change nothing of what is learnt"
    assert any(line.startswith("resumed in epoch 1 at batch") for line in recorder.lines)
    assert next(iter(stopped.points.items())) == next(iter(read_history(outputs).points.items()))
    assert max(read_history(outputs).points) == facts["steps"] > max(stopped.points)
    assert "loss_not_falling" in {each["rule"] for each in facts["rules"]}


def test_bfloat16_is_chosen_only_where_the_cpu_has_it() -> None:
    assert precision_for("auto", "avx2 avx512f") == "float32"
    assert precision_for("auto", "avx512f amx_bf16 amx_tile") == "mixed_bfloat16"
    assert precision_for("float32", "amx_bf16") == "float32"
