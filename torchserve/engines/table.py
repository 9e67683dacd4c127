"""The engines of this model server. A new one is a file beside this one and a line here: docs/torchserve.md."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from contracts.engine import Engine

ENGINES = {
    "torch": ("torchserve.engines.pytorch", "TorchEngine"),
}
"""Module and class, by the name that manifests use. Imported when it is taken: each brings a library of its own."""


def open_engine(kind: str, folder: Path, token_limit: int) -> Engine:
    """Load a release's weights into the engine. Raises ModelError, and ImportError where its library is missing."""
    module, name = ENGINES[kind]
    engine: Engine = getattr(import_module(module), name)(folder, token_limit)
    return engine
