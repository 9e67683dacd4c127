"""A model folder on disk, loaded: the release's tokenizer and its engine."""

from __future__ import annotations

import json
from pathlib import Path

from contracts.errors import ModelError
from contracts.tokens import ReviewEncoder, Truncation
from torchserve.engines.pytorch import Engine, TorchEngine


def load_model(folder: Path) -> tuple[ReviewEncoder, Engine]:
    """Load what the gateway has verified. Raises ModelError for a folder that holds something else."""
    try:
        # Read without pydantic, which a worker would load for three values that have been checked already.
        manifest = json.loads((folder / "manifest.json").read_bytes())
        limit, truncation = int(manifest["token_limit"]), Truncation(manifest["truncation"])
        kind = manifest["engine"]["kind"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"no readable manifest.json in {folder}: register the release through the gateway") from error
    if kind != "torch":
        raise ModelError(f"no engine is called {kind!r}: this TorchServe is older than the release")
    return ReviewEncoder(folder / "tokenizer.json", limit, truncation), TorchEngine(folder, limit)
