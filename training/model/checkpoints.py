"""What a training run must not lose: where it is, and what lies in its folder.

A run that is cut off, at whatever moment, goes on from its last checkpoint and ends as if nothing had happened: each
part of the state changes at once, and the weights of an epoch lie whole under a name of their own before a checkpoint
calls them the best.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

import numpy as np
import tensorflow as tf

from training.data.arrays import Floats32
from training.model.bert import BertClassifier, save_safetensors
from training.running.folder import write_whole

MODEL = "model"
"""The folder with config.json and model.safetensors of the best epoch, once the run has ended."""

Arguments = ParamSpec("Arguments")


class RunState:
    """Where a run is, in TensorFlow variables, so that one checkpoint holds all of it."""

    def __init__(self, model: BertClassifier, optimizer: Any) -> None:
        self.place = tf.Variable([0, 0], dtype=tf.int64)  # epoch, batches done in it
        self.best = tf.Variable([-1.0, 0.0])  # validation accuracy, number of the epoch from 1
        self.checkpoint = tf.train.Checkpoint(
            model=model,
            optimizer=optimizer,
            place=self.place,
            best=self.best,
            # Keras does not hand these to TensorFlow; without them dropout would draw its first masks again.
            seeds=[variable.value for variable in model.variables if "seed_generator" in variable.path],
        )

    @property
    def epoch(self) -> int:
        """Epochs that are over."""
        return int(self.place.numpy()[0])

    @property
    def batch(self) -> int:
        """Batches of the next epoch that are done."""
        return int(self.place.numpy()[1])

    @property
    def best_accuracy(self) -> float:
        """On the validation split; -1 before the first epoch has ended."""
        return float(self.best.numpy()[0])

    @property
    def best_epoch(self) -> int:
        """Counted from 1; 0 before the first epoch has ended."""
        return int(self.best.numpy()[1])


def _by_the_first(
    write: Callable[Concatenate[RunFolder, Arguments], None],
) -> Callable[Concatenate[RunFolder, Arguments], None]:
    """Of several workers, which all hold the same, only the first writes: decided here, for all that is written."""

    @wraps(write)
    def guarded(folder: RunFolder, /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        if folder.rank == 0:
            write(folder, *args, **kwargs)

    return guarded


class RunFolder:
    """The files of a run: checkpoints/, epoch-N/ and later model/, validation.json, features of a frozen encoder."""

    def __init__(self, path: Path, state: RunState, rank: int = 0) -> None:
        """`rank` is the number of this worker, from 0."""
        self.path, self.state, self.rank = path, state, rank
        self._checkpoints = tf.train.CheckpointManager(state.checkpoint, str(path / "checkpoints"), max_to_keep=1)

    def restore(self) -> bool:
        """Bring the state back from the last checkpoint. Whether there was one."""
        return self._checkpoints.restore_or_initialize() is not None

    @_by_the_first
    def save(self) -> None:
        """A checkpoint of the state as it is."""
        self._checkpoints.save()

    @_by_the_first
    def write_weights(self, model: BertClassifier, epoch: int) -> None:
        """The weights at the end of an epoch, which may be the best."""
        save_safetensors(model, self._weights(epoch))

    @_by_the_first
    def drop_other_weights(self) -> None:
        """Delete the weights of all epochs but the best."""
        best = self._weights(self.state.best_epoch)
        for folder in self.path.glob(self._weights("*").name):
            if folder != best:
                shutil.rmtree(folder)

    @_by_the_first
    def name_the_best(self) -> None:
        """Give the best weights the name under which they are looked for."""
        self.drop_other_weights()
        best = self._weights(self.state.best_epoch)
        if best.exists():  # else a run that was cut off after this has done it
            best.replace(self.path / MODEL)

    @_by_the_first
    def write_history(self, epoch: int, scores: Mapping[str, float]) -> None:
        """The scores of an epoch, behind those of the epochs before it."""
        history = [*self.history()[: epoch - 1], {name: round(value, 4) for name, value in scores.items()}]
        write_whole(self.path / "validation.json", json.dumps(history))

    def history(self) -> list[dict[str, float]]:
        """The validation scores of each epoch."""
        file = self.path / "validation.json"
        return list(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else []

    @_by_the_first
    def write_features(self, split: str, features: Floats32) -> None:
        """Keep the frozen encoder's output (n, hidden) for a split."""
        partial = self._features(split).with_suffix(".partial")
        with partial.open("wb") as stream:
            np.save(stream, features)
        partial.replace(self._features(split))

    def features(self, split: str) -> Floats32 | None:
        """What an earlier run kept of them."""
        return np.load(self._features(split)) if self._features(split).exists() else None

    def _weights(self, epoch: int | str) -> Path:
        return self.path / f"epoch-{epoch}"

    def _features(self, split: str) -> Path:
        return self.path / f"features-{split}.npy"
