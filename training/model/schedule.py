"""The learning rate of a run."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


class WarmupLinearDecay(keras.optimizers.schedules.LearningRateSchedule):
    """From 0 to `peak` in `warmup` steps, then down to 0 at step `total`, in straight lines (Devlin et al. 2018)."""

    def __init__(self, peak: float, warmup: int, total: int) -> None:
        self.peak, self.warmup, self.total = peak, warmup, total

    def __call__(self, step: Any) -> Any:
        step = ops.cast(step, "float32")
        rising = (step + 1.0) / max(self.warmup, 1)
        falling = (self.total - step) / max(self.total - self.warmup, 1)
        return self.peak * ops.clip(ops.minimum(rising, falling), 0.0, 1.0)
