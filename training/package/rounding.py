"""Weights in half precision, and what that changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from contracts.errors import GateError, ModelError
from training.data.arrays import Floats

MOST_CHANGED = 0.001
"""Share of the predictions that rounding may change."""


def cast_weights(source: Path, target: Path, dtype: str) -> None:
    """Copy safetensors as another float type. Raises ModelError for a weight that is too large for it."""
    try:
        stored = safetensors.numpy.load_file(source)
    except (OSError, safetensors.SafetensorError) as error:
        raise ModelError(f"{source} cannot be read: {error}: run convert again") from error
    with np.errstate(over="ignore"):
        arrays = {name: array.astype(dtype) for name, array in stored.items()}
    if bad := [name for name, array in arrays.items() if not np.isfinite(array).all()]:
        raise ModelError(f"{bad[0]} holds values that {dtype} cannot: export with weights_dtype float32")
    target.write_bytes(safetensors.numpy.save(arrays, metadata={"format": "pt"}))


def compare(full: Floats, rounded: Floats) -> dict[str, Any]:
    """How many predictions change with the weights' precision, by both networks' logits (n, 5) on the same rows.

    Raises GateError when it is more than 0.1 % of them; one may always change, so that a short test split can pass.
    """
    changed = int((full.argmax(axis=1) != rounded.argmax(axis=1)).sum())
    if changed > max(1, MOST_CHANGED * len(full)):
        raise GateError(
            f"rounding the weights changes {changed} of {len(full)} predictions: export with weights_dtype float32"
        )
    return {
        "changed_predictions": changed,
        "compared_predictions": len(full),
        "largest_logit_change": float(np.abs(full - rounded).max()),
    }
