"""Fine-tune BERT, or train its head alone, on a prepared data set: Keras on TensorFlow, one readable loop.

AdamW with linear warm-up and decay, length-sorted windows, checkpoints that hold the position in the epoch, and the
weights of the best validation epoch as Hugging Face safetensors.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from contracts.errors import DataError, GateError
from contracts.review import STARS
from contracts.stages import TrainConfig
from training.data.examples import Examples, plan_epoch
from training.model import base_model
from training.running.fingerprint import file_sha256
from training.running.folder import read_facts, write_whole
from training.running.interrupt import check
from training.running.reporting import Reporter
from training.running.stage import Stage

Config = TrainConfig
MODEL = "model"

Floats = npt.NDArray[np.float32]


@dataclass
class Throughput:
    """What the steps of this process did. The first step of each shape compiles it, and is left out."""

    seconds: float = 0.0
    reviews: int = 0
    tokens: int = 0
    shapes: set[tuple[int, ...]] = field(default_factory=set)

    def add(self, shape: tuple[int, ...], tokens: int, seconds: float) -> None:
        """A step over inputs of `shape` (reviews, …), of so many padded tokens, took so long."""
        if shape in self.shapes:
            self.seconds += seconds
            self.reviews += shape[0]
            self.tokens += tokens
        self.shapes.add(shape)

    def per_second(self, amount: int) -> float:
        return amount / self.seconds if self.seconds else 0.0


def precision_for(choice: str, cpu_flags: str | None = None) -> str:
    """The Keras dtype policy for a choice. bfloat16 pays only where the CPU multiplies it in hardware (AMX)."""
    if choice != "auto":
        return choice
    if cpu_flags is None:
        info = Path("/proc/cpuinfo")
        cpu_flags = info.read_text(encoding="utf-8") if info.exists() else ""
    return "mixed_bfloat16" if "amx_bf16" in cpu_flags else "float32"


def run(config: Config, inputs: Mapping[str, Path], outputs: Path, report: Reporter) -> dict[str, Any]:
    """Input `prepare`; `base_model` where it cannot be had by its name. Writes model/ and checkpoints/.

    model/ holds config.json and model.safetensors of the best epoch. Interrupted, it goes on from the last checkpoint.
    Raises GateError when the loss is not a number, ConfigError when the base model is not the one that prepare used.
    """
    import keras

    from training.model import bert

    base = base_model.of_prepare(read_facts(inputs["prepare"]), inputs.get("base_model"))
    train, validation = Examples.read(inputs["prepare"], "train"), Examples.read(inputs["prepare"], "validation")
    if config.teacher_weight > 0 and train.soft is None:
        raise DataError("teacher_weight is set, but the train split has no teacher column")
    policy = precision_for(config.precision)
    keras.utils.set_random_seed(config.seed)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        dropouts = {"dropout": config.dropout, "attention_dropout": config.attention_dropout}
        model = bert.load_safetensors(base, **dropouts)
        facts = Trainer(model, config, train, validation, outputs, report).fit()
    finally:
        keras.config.set_dtype_policy(before)
    return facts | {
        "precision": policy,
        "parameters": model.count_params(),
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
    spent=("checkpoints", "features-*.npy", "epoch-*", MODEL),
    metrics=("loss", "reviews_per_second", "validation_accuracy", "validation_mae", "validation_cross_entropy"),
)


class Trainer:
    """The loop. Its state is the model, the optimizer, the place (epoch, batch) and the best epoch, in one checkpoint.

    A run that is cut off, at whatever moment, goes on from its last checkpoint and ends as if nothing had happened:
    each part of the state changes at once, and the weights of an epoch lie whole under a name of their own before a
    checkpoint calls them the best.
    """

    def __init__(
        self,
        model: Any,
        config: Config,
        train: Examples,
        validation: Examples,
        outputs: Path,
        report: Reporter,
    ) -> None:
        import keras
        import tensorflow as tf

        from training.model.schedule import WarmupLinearDecay

        self.tf, self.model, self.config, self.report = tf, model, config, report
        self.train, self.validation, self.outputs = train, validation, outputs
        self.frozen = config.mode == "frozen"
        self.batches = -(-len(train) // config.batch_size)
        self.total = max(1, round(self.batches * config.epochs))
        if self.frozen:
            for layer in (model.word, model.position, model.segment, model.embedding_norm, *model.blocks):
                layer.trainable = False
        self.variables = model.trainable_variables
        self.optimizer = keras.optimizers.AdamW(
            WarmupLinearDecay(config.learning_rate, int(self.total * config.warmup_fraction), self.total),
            weight_decay=config.weight_decay,
            epsilon=1e-6,
        )
        self.optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
        self.optimizer.build(self.variables)
        shares = np.bincount(train.labels, minlength=len(STARS)) / len(train)
        self.log_prior = np.log(np.maximum(shares, 1e-6)).astype(np.float32) * config.prior_correction
        self.place = tf.Variable([0, 0], dtype=tf.int64)  # epoch, batches done in it
        self.best = tf.Variable([-1.0, 0.0])  # validation accuracy, number of the epoch from 1
        state = tf.train.Checkpoint(
            model=model,
            optimizer=self.optimizer,
            place=self.place,
            best=self.best,
            # Keras does not hand these to TensorFlow; without them dropout would draw its first masks again.
            seeds=[variable.value for variable in model.variables if "seed_generator" in variable.path],
        )
        self.checkpoints = tf.train.CheckpointManager(state, str(outputs / "checkpoints"), max_to_keep=1)
        if self.checkpoints.restore_or_initialize():
            epoch, batch = self.place.numpy()
            report.log(f"resumed in epoch {epoch + 1} at batch {batch} of {self.batches}")
        ids = tf.TensorSpec((None, None), tf.int32)
        features = tf.TensorSpec((None, model.config.hidden_size), tf.float32)
        inputs = features if self.frozen else (ids, ids)
        targets = tf.TensorSpec((None, len(STARS)), tf.float32)
        self.step = tf.function(self._step, input_signature=[inputs, targets, targets])
        self.infer = tf.function(self._infer, input_signature=[inputs])
        self.encode = tf.function(lambda ids, types: model.encode(ids, types), input_signature=[ids, ids])

    def _step(self, inputs: Any, hard: Any, soft: Any) -> Any:
        tf, config = self.tf, self.config
        with tf.GradientTape() as tape:
            logits = self.model.head(inputs, training=True) if self.frozen else self.model(inputs, training=True)
            logits = logits + self.log_prior
            loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(hard, logits))
            if config.teacher_weight > 0:
                # Hinton et al. 2015, arXiv:1503.02531: the T² keeps the two gradients of one size.
                heat = config.teacher_temperature
                warm = tf.nn.softmax(tf.math.log(soft + 1e-8) / heat)
                distilled = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(warm, logits / heat)) * heat**2
                loss = (1 - config.teacher_weight) * loss + config.teacher_weight * distilled
        gradients, _ = tf.clip_by_global_norm(tape.gradient(loss, self.variables), config.gradient_norm)
        self.optimizer.apply(gradients, self.variables)
        self.place.assign_add([0, 1])  # here, so that no interrupt comes between a step and its count
        return loss

    def _infer(self, inputs: Any) -> Any:
        return self.model.head(inputs) if self.frozen else self.model(inputs)

    def fit(self) -> dict[str, Any]:
        """Train what is left of the run; the facts of the whole."""
        rows = self._features() if self.frozen else {"train": self.train.tokens, "validation": self.validation.tokens}
        lengths = self.train.tokens.lengths
        throughput, saved = Throughput(), time.monotonic()
        losses: list[float] = []
        try:
            while (epoch := int(self.place[0])) * self.batches < self.total:
                plan = plan_epoch(lengths, self.config.batch_size, self.config.window, self.config.seed, epoch)
                plan = plan[: self.total - epoch * self.batches]
                for at in range(int(self.place[1]), len(plan)):
                    check()
                    began = time.monotonic()
                    inputs = self._inputs(rows["train"], plan[at])
                    losses.append(float(self.step(inputs, *self._targets(plan[at]))))
                    shape = inputs.shape if self.frozen else inputs[0].shape
                    tokens = len(plan[at]) if self.frozen else inputs[0].size
                    throughput.add(shape, tokens, time.monotonic() - began)
                    done = epoch * self.batches + at + 1
                    if done % 50 == 0 or at + 1 == len(plan):
                        self._tell(done, throughput.per_second(throughput.reviews), losses)
                        losses = []
                    if time.monotonic() - saved > self.config.checkpoint_minutes * 60:
                        self.checkpoints.save()
                        saved = time.monotonic()
                self._end_epoch(rows["validation"])
        except BaseException:
            # Ctrl-C or a crash: keep what was learnt. A loss that is not a number is not worth keeping.
            if not any(np.isnan(losses)):
                self.checkpoints.save()
            raise
        self._name_the_best()
        return {
            "steps": self.total,
            "reviews_per_second": round(throughput.per_second(throughput.reviews), 2),
            "tokens_per_second": round(throughput.per_second(throughput.tokens), 1),
            "validation": self._read_history(),
            "best_validation_accuracy": round(float(self.best[0]), 4),
        }

    def _tell(self, done: int, rate: float, losses: list[float]) -> None:
        loss = float(np.mean(losses))
        if np.isnan(loss):
            raise GateError("the loss is not a number: lower learning_rate, or set precision to float32")
        left = (self.total - done) * self.config.batch_size / rate if rate else 0.0
        message = f"epoch {int(self.place[0]) + 1}/{self.config.epochs:g}, loss {loss:.4f}, {rate:.0f} reviews/s, "
        self.report.progress(done / self.total, message + f"{left / 60:.0f} min left")
        self.report.metric({"loss": loss, "reviews_per_second": rate}, done)

    def _end_epoch(self, rows: Any) -> None:
        from training.model.bert import save_safetensors

        scores = self.validate(rows)
        epoch = int(self.place[0]) + 1
        self.report.log(f"epoch {epoch}: " + ", ".join(f"{k} {v:.4f}" for k, v in scores.items()))
        self.report.metric({f"validation_{name}": value for name, value in scores.items()}, epoch * self.batches)
        if scores["accuracy"] > float(self.best[0]):
            save_safetensors(self.model, self._weights(epoch))
            self.best.assign([scores["accuracy"], epoch])
        self._write_history(epoch, scores)
        self.place.assign([epoch, 0])
        self.checkpoints.save()
        self._forget_the_rest()

    def _weights(self, epoch: int | str) -> Path:
        return self.outputs / f"epoch-{epoch}"

    def _forget_the_rest(self) -> None:
        best = self._weights(int(self.best[1]))
        for folder in self.outputs.glob(self._weights("*").name):
            if folder != best:
                shutil.rmtree(folder)

    def _name_the_best(self) -> None:
        self._forget_the_rest()
        best = self._weights(int(self.best[1]))
        if best.exists():  # else a run that was cut off after this has done it
            best.replace(self.outputs / MODEL)

    def validate(self, rows: Any) -> dict[str, float]:
        """Accuracy, mean absolute error in stars, and cross-entropy on the validation split, without smoothing."""
        labels = self.validation.labels
        logits = np.empty((len(labels), len(STARS)), dtype=np.float32)
        for chunk in self._sorted_chunks(self.validation.tokens.lengths):
            logits[chunk] = self.infer(self._inputs(rows, chunk)).numpy()
        guess = logits.argmax(axis=1)
        shifted = logits - logits.max(axis=1, keepdims=True)
        log_probability = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        return {
            "accuracy": float((guess == labels).mean()),
            "mae": float(np.abs(guess - labels).mean()),
            "cross_entropy": float(-log_probability[np.arange(len(labels)), labels].mean()),
        }

    def _inputs(self, rows: Any, chosen: npt.NDArray[np.int64]) -> Any:
        return rows[chosen] if self.frozen else rows.batch(chosen, pad_to=self.config.pad_to)

    def _targets(self, chosen: npt.NDArray[np.int64]) -> tuple[Floats, Floats]:
        """One-hot labels, smoothed; and the teacher's probabilities, or the same again where there are none."""
        smoothing, classes = self.config.label_smoothing, len(STARS)
        hard = np.eye(classes, dtype=np.float32)[self.train.labels[chosen]] * (1 - smoothing) + smoothing / classes
        return hard, hard if self.train.soft is None else self.train.soft[chosen]

    def _sorted_chunks(self, lengths: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.int64]]:
        order = np.argsort(lengths, kind="stable")
        for start in range(0, len(order), 64):
            yield order[start : start + 64]

    def _features(self) -> dict[str, Floats]:
        """The frozen encoder's output for every row, computed once and kept beside the checkpoints."""
        found: dict[str, Floats] = {}
        for name, examples in {"train": self.train, "validation": self.validation}.items():
            file = self.outputs / f"features-{name}.npy"
            if not file.exists():
                features = np.empty((len(examples), self.model.config.hidden_size), dtype=np.float32)
                done = 0
                for chunk in self._sorted_chunks(examples.tokens.lengths):
                    features[chunk] = self.tf.cast(self.encode(*examples.tokens.batch(chunk)), self.tf.float32).numpy()
                    done += len(chunk)
                    if done % 1024 < len(chunk):
                        self.report.progress(0.0, f"features of {name}: {done:,} of {len(examples):,}")
                partial = file.with_suffix(".partial")
                with partial.open("wb") as stream:
                    np.save(stream, features)
                partial.replace(file)
            found[name] = np.load(file)
        return found

    def _write_history(self, epoch: int, scores: Mapping[str, float]) -> None:
        history = [*self._read_history()[: epoch - 1], {k: round(v, 4) for k, v in scores.items()}]
        write_whole(self.outputs / "validation.json", json.dumps(history))

    def _read_history(self) -> list[dict[str, float]]:
        file = self.outputs / "validation.json"
        return list(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else []
