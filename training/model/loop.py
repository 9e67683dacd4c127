"""The training loop: AdamW with linear warm-up and decay, length-sorted windows, the best epoch's weights kept."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from contracts.review import STARS
from contracts.stages import TrainConfig
from training.data.arrays import Floats32, Ints
from training.data.examples import Examples, plan_epoch
from training.model.bert import BertClassifier, load_safetensors
from training.model.checkpoints import RunFolder, RunState
from training.model.losses import log_prior, losses, targets
from training.model.schedule import WarmupLinearDecay
from training.model.throughput import Lately, Throughput
from training.model.validation import score, variety
from training.running.interrupt import check
from training.running.reporting import Reporter, StageReporter

STEPS_A_REPORT = 50
REPORTS = 20
"""At least so many reports a run, as far as it has the steps: fewer are no curve."""

Batch = Callable[[Ints], Any]
"""The numbers of rows to what the network gets of them: (input_ids, token_type_ids), or a frozen encoder's features."""


class Trainer:
    """One run of training, from a base model to the weights of its best epoch."""

    def __init__(
        self,
        base: Path,
        config: TrainConfig,
        train: Examples,
        validation: Examples,
        outputs: Path,
        report: Reporter,
        rank: int = 0,
    ) -> None:
        """Load the base model. Of several workers the one with rank 0 reports and writes, and it alone.

        Raises ModelError when the base model cannot be read.
        """
        self.config, self.train, self.validation = config, train, validation
        self.report = report if rank == 0 else StageReporter("train", [])
        self.frozen = config.mode == "frozen"
        self.batches = -(-len(train) // config.batch_size)  # in an epoch
        self.steps = max(1, round(self.batches * config.epochs))  # in the whole run
        self.steps_a_report = min(STEPS_A_REPORT, max(1, self.steps // REPORTS))
        with tf.distribute.get_strategy().scope():  # which may place a copy of each variable on every worker
            self.model = self._build_model(base)
            self.optimizer = self._build_optimizer()
            self.state = RunState(self.model, self.optimizer)
        self.folder = RunFolder(outputs, self.state, rank)
        self.log_prior = log_prior(train) * config.prior_correction
        self.throughput = Throughput()
        self.lately = Lately()

        self.network = self.model.head if self.frozen else self.model
        ids = tf.TensorSpec((None, None), tf.int32)
        features = tf.TensorSpec((None, self.model.config.hidden_size), tf.float32)
        inputs = features if self.frozen else (ids, ids)
        stars, weights = tf.TensorSpec((None, len(STARS)), tf.float32), tf.TensorSpec((None,), tf.float32)
        self.step = tf.function(self._step, input_signature=[inputs, stars, stars, weights])
        self.infer = tf.function(lambda inputs: self.network(inputs), input_signature=[inputs])
        self.encode = tf.function(lambda ids, types: self.model.encode(ids, types), input_signature=[ids, ids])

    def _build_model(self, base: Path) -> BertClassifier:
        model = load_safetensors(base, dropout=self.config.dropout, attention_dropout=self.config.attention_dropout)
        if self.frozen:
            for layer in (model.word, model.position, model.segment, model.embedding_norm, *model.blocks):
                layer.trainable = False
        return model

    def _build_optimizer(self) -> Any:
        warmup = int(self.steps * self.config.warmup_fraction)
        optimizer = keras.optimizers.AdamW(
            WarmupLinearDecay(self.config.learning_rate, warmup, self.steps),
            weight_decay=self.config.weight_decay,
            epsilon=1e-6,
        )
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
        optimizer.build(self.model.trainable_variables)
        return optimizer

    def fit(self) -> dict[str, Any]:
        """Train what is left of the run; the facts of the whole. What the reporter raises ends it, and it can go on."""
        if self.folder.restore():
            epoch, batch = self.state.epoch + 1, self.state.batch
            self.report.log(f"resumed in epoch {epoch} at batch {batch} of {self.batches}")
        train, validation = self._batch_of("train", self.train), self._batch_of("validation", self.validation)
        saved = time.monotonic()
        try:
            while self.state.epoch * self.batches < self.steps:
                for rows in self._rest_of_epoch():
                    check()
                    self._learn(train, rows)
                    if time.monotonic() - saved > self.config.checkpoint_minutes * 60:
                        self.folder.save()
                        saved = time.monotonic()
                self._end_epoch(validation)
        except BaseException:
            # Ctrl-C, a rule or a crash: keep what was learnt. Weights that are no numbers are not worth keeping.
            if not self.lately.broken:
                self.folder.save()
            raise
        self.folder.name_the_best()
        return {
            "steps": self.steps,
            "reviews_per_second": round(self.throughput.reviews_per_second, 2),
            "tokens_per_second": round(self.throughput.tokens_per_second, 1),
            "validation": self.folder.history(),
            "best_validation_accuracy": round(self.state.best_accuracy, 4),
        }

    def _batch_of(self, split: str, examples: Examples) -> Batch:
        if not self.frozen:
            return partial(examples.tokens.batch, pad_to=self.config.pad_to)
        return self._features(split, examples).__getitem__

    def _features(self, split: str, examples: Examples) -> Floats32:
        """The frozen encoder's output (n, hidden): computed once, and kept for a run that goes on from this one."""
        features = self.folder.features(split)
        if features is None:
            features = np.empty((len(examples), self.model.config.hidden_size), dtype=np.float32)
            done = 0
            for rows in examples.tokens.chunks():
                features[rows] = tf.cast(self.encode(*examples.tokens.batch(rows)), tf.float32).numpy()
                done += len(rows)
                if done % 1024 < len(rows):
                    self.report.progress(0.0, f"features of {split}: {done:,} of {len(examples):,}")
            self.folder.write_features(split, features)
        return features

    def _rest_of_epoch(self) -> list[Ints]:
        """The batches that are left of this epoch. The last epoch of a run may be cut short."""
        config, epoch = self.config, self.state.epoch
        plan = plan_epoch(self.train.tokens.lengths, config.batch_size, config.window, config.seed, epoch)
        return plan[self.state.batch : self.steps - epoch * self.batches]

    def _learn(self, batch: Batch, rows: Ints) -> None:
        """One step of the optimizer, timed, and reported now and then."""
        began = time.monotonic()
        inputs, wanted = batch(rows), targets(self.train, rows, self.config.label_smoothing)
        fetched = time.monotonic()
        loss, norm = map(float, self.step(inputs, *wanted))
        learnt = time.monotonic()
        self.lately.add(loss, norm, fetched - began, learnt - fetched)
        array = tf.nest.flatten(inputs)[0]
        self.throughput.add(array.shape, len(rows) if self.frozen else array.size, learnt - began)
        done = self._steps_done()
        due = done % self.steps_a_report == 0 or done % self.batches == 0 or done == self.steps
        if due or self.lately.broken:
            self._tell(done)

    def _step(self, inputs: Any, hard: Any, soft: Any, weights: Any) -> Any:
        """One step, compiled as a whole: an interrupt finds it not begun, or done and counted. Its loss, and its norm.

        Between the gradients and what applies them is the place where several workers would add up theirs.
        """
        batch_size = tf.shape(hard)[0]
        if self.config.accumulate_steps == 1:
            loss, gradients = self._gradients((inputs, hard, soft, weights), batch_size)
        else:
            loss, gradients = self._accumulated((inputs, hard, soft, weights), batch_size)
        return loss, self._apply(gradients)

    def _gradients(self, rows: Any, batch_size: Any) -> tuple[Any, list[Any]]:
        """What rows of a batch, (inputs, hard, soft, weights), add to its mean loss, and to the gradients of that."""
        inputs, hard, soft, weights = rows
        with tf.GradientTape() as tape:
            logits = self.network(inputs, training=True) + self.log_prior
            loss = tf.reduce_sum(losses(logits, hard, soft, weights, self.config)) / tf.cast(batch_size, tf.float32)
        gradients = tape.gradient(loss, self.model.trainable_variables)
        # An embedding's gradient comes as one slice a token. Slices of one row have to be summed before they are
        # measured: the norm of the slices themselves would depend on how a batch is cut into parts.
        return loss, [tf.convert_to_tensor(gradient) for gradient in gradients]

    def _accumulated(self, batch: Any, batch_size: Any) -> tuple[Any, list[Any]]:
        """A batch's mean loss and its gradients, a part of the rows at a time: memory holds one part's activations."""
        size = -(-batch_size // self.config.accumulate_steps)
        loss, gradients = 0.0, [tf.zeros(variable.shape) for variable in self.model.trainable_variables]
        for start in tf.range(0, batch_size, size):
            rows = [array[start : start + size] for array in tf.nest.flatten(batch)]
            added_loss, added = self._gradients(tf.nest.pack_sequence_as(batch, rows), batch_size)
            loss += added_loss
            gradients = [total + more for total, more in zip(gradients, added, strict=True)]
        return loss, gradients

    def _apply(self, gradients: list[Any]) -> Any:
        """Move the weights by the whole batch's gradients, and count the step. The gradients' norm, before clipping."""
        clipped, norm = tf.clip_by_global_norm(gradients, self.config.gradient_norm)
        self.optimizer.apply(clipped, self.model.trainable_variables)
        self.state.place.assign_add([0, 1])  # here, so that no interrupt comes between a step and its count
        return norm

    def _steps_done(self) -> int:
        return self.state.epoch * self.batches + self.state.batch

    def _tell(self, done: int) -> None:
        values, rate = self.lately.values(), self.throughput.reviews_per_second
        left = (self.steps - done) * self.config.batch_size / rate if rate else 0.0
        message = f"epoch {self.state.epoch + 1}/{self.config.epochs:g}, loss {values['loss']:.4f}, "
        self.report.progress(done / self.steps, message + f"{rate:.0f} reviews/s, {left / 60:.0f} min left")
        values |= {"learning_rate": float(self.optimizer.learning_rate), "reviews_per_second": self.throughput.lately()}
        self.report.metric(values, done)
        self.lately = Lately()

    def _end_epoch(self, batch: Batch) -> None:
        """Score the epoch, keep its weights if it is the best, and go on to the next: safe to be cut off anywhere."""
        logits = self.validate(batch)
        scores = score(logits, self.validation.labels)
        epoch = self.state.epoch + 1
        self.report.log(f"epoch {epoch}: " + ", ".join(f"{name} {value:.4f}" for name, value in scores.items()))
        measured = scores | variety(logits)
        self.report.metric({f"validation_{name}": value for name, value in measured.items()}, self._steps_done())
        if scores["accuracy"] > self.state.best_accuracy:
            self.folder.write_weights(self.model, epoch)
            self.state.best.assign([scores["accuracy"], epoch])
        self.folder.write_history(epoch, scores)
        self.state.place.assign([epoch, 0])
        self.folder.save()
        self.folder.drop_other_weights()

    def validate(self, batch: Batch) -> Floats32:
        """Logits (n, 5) of the validation split."""
        logits = np.empty((len(self.validation), len(STARS)), dtype=np.float32)
        for rows in self.validation.tokens.chunks():
            logits[rows] = self.infer(batch(rows)).numpy()
        return logits
