"""In which floats the network computes. Its weights are float32 whatever it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def precision_for(choice: str, cpu_flags: str | None = None) -> str:
    """The Keras dtype policy for a choice. bfloat16 pays only where the CPU multiplies it in hardware (AMX)."""
    if choice != "auto":
        return choice
    if cpu_flags is None:
        info = Path("/proc/cpuinfo")
        cpu_flags = info.read_text(encoding="utf-8") if info.exists() else ""
    return "mixed_bfloat16" if "amx_bf16" in cpu_flags else "float32"


@contextmanager
def computing_in(policy: str) -> Iterator[None]:
    """Layers that are made inside compute as this Keras dtype policy says."""
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
