"""Fine-tune BERT, or train its head alone, on a prepared data set: Keras on TensorFlow.

The weights of the best validation epoch come out as Hugging Face safetensors. The loop is training/model/loop.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from contracts.errors import DataError
from contracts.stages import TrainConfig
from training.data.examples import Examples
from training.judge.noisy_rows import weigh_noise
from training.model import base_model
from training.model.precision import computing_in, precision_for
from training.running.fingerprint import file_sha256
from training.running.folder import read_facts
from training.running.reporting import Reporter
from training.running.stage import Stage
from training.tracking.watch import WatchedReporter

Config = TrainConfig


def run(config: Config, inputs: Mapping[str, Path], outputs: Path, report: Reporter) -> dict[str, Any]:
    """Input `prepare`; `base_model` where it cannot be had by its name. Writes model/ and checkpoints/.

    model/ holds config.json and model.safetensors of the best epoch, history.jsonl the curves. Interrupted, it goes on
    from the last checkpoint. Raises GateError when a rule stops it, as where the loss is not a number; ConfigError when
    the base model is not the one that prepare used.
    """
    import keras

    from training.model.checkpoints import MODEL
    from training.model.loop import Trainer

    base = base_model.of_prepare(read_facts(inputs["prepare"]), inputs.get("base_model"))
    train, validation = Examples.read(inputs["prepare"], "train"), Examples.read(inputs["prepare"], "validation")
    if config.teacher_weight > 0 and train.soft is None:
        raise DataError("teacher_weight is set, but the train split has no teacher column")
    noise: dict[str, Any] = {}
    if config.noise_weight < 1:
        train, noise = weigh_noise(train, inputs["prepare"], config.noise_weight, outputs, report)
    policy = precision_for(config.precision)
    keras.utils.set_random_seed(config.seed)
    with computing_in(policy):
        watched = WatchedReporter(report, config.rules, outputs)
        trainer = Trainer(base, config, train, validation, outputs, watched)
        facts = trainer.fit()
    return facts | {
        **noise,
        "rules": [asdict(finding) for finding in watched.findings],
        "precision": policy,
        "parameters": trainer.model.count_params(),
        "base_sha256": file_sha256(base / "model.safetensors"),
        "model_sha256": file_sha256(outputs / MODEL / "model.safetensors"),
    }


STAGE = Stage(
    name="train",
    config=Config,
    run=run,
    needs=("prepare",),
    reads=("base_model",),
    share=0.70,
    spent=("checkpoints", "noise.npy", "features-*.npy", "epoch-*", "model"),
    metrics=(
        "loss",
        "gradient_norm",
        "input_wait",
        "learning_rate",
        "reviews_per_second",
        "validation_accuracy",
        "validation_mae",
        "validation_cross_entropy",
        "validation_largest_share",
        "validation_spread",
    ),
    summary=("rules",),
)
