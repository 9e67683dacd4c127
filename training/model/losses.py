"""What the network is to say of a batch, and what each of its answers costs."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from contracts.review import STARS
from contracts.stages import TrainConfig
from training.data.arrays import Floats32, Ints
from training.data.examples import Examples


def log_prior(examples: Examples) -> Floats32:
    """The log share of each star, (5,): what logits are moved by while learning (Menon et al. 2021, arXiv:2007.07314).

    The network itself then answers as if all stars were equally frequent.
    """
    shares = np.bincount(examples.labels, minlength=len(STARS)) / len(examples)
    return np.log(np.maximum(shares, 1e-6)).astype(np.float32)


def targets(examples: Examples, rows: Ints, smoothing: float) -> tuple[Floats32, Floats32, Floats32]:
    """One-hot labels, smoothed, and the teacher's probabilities, both (rows, 5), and what each row counts, (rows,).

    Without a teacher the labels come twice.
    """
    classes = len(STARS)
    hard = np.eye(classes, dtype=np.float32)[examples.labels[rows]] * (1 - smoothing) + smoothing / classes
    weights = np.ones(len(rows), dtype=np.float32) if examples.weights is None else examples.weights[rows]
    return hard, hard if examples.soft is None else examples.soft[rows], weights


def losses(logits: Any, hard: Any, soft: Any, weights: Any, config: TrainConfig) -> Any:
    """Each row's loss, (rows,): cross-entropy with the hard targets, mixed with what follows the teacher, weighted."""
    loss = tf.nn.softmax_cross_entropy_with_logits(hard, logits)
    if config.teacher_weight > 0:
        # Hinton et al. 2015, arXiv:1503.02531: the T² keeps the two gradients of one size.
        heat = config.teacher_temperature
        warm = tf.nn.softmax(tf.math.log(soft + 1e-8) / heat)
        distilled = tf.nn.softmax_cross_entropy_with_logits(warm, logits / heat) * heat**2
        loss = (1 - config.teacher_weight) * loss + config.teacher_weight * distilled
    return loss * weights
