"""A model folder on disk, loaded: the release's tokenizer, and the best of its engines that runs here."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import NamedTuple

from contracts.engine import Engine, NamedEngine
from contracts.errors import ModelError
from contracts.release.upgrade import upgraded
from contracts.tokens import ReviewEncoder, Truncation
from torchserve.engines.table import ENGINES, open_engine

log = logging.getLogger(__name__)


class Model(NamedTuple):
    """What a worker needs of a release, and what it was trained on (ISO 639)."""

    encoder: ReviewEncoder
    engine: Engine
    kind: str
    language: str


class _Manifest(NamedTuple):
    token_limit: int
    truncation: Truncation
    kinds: list[str]
    language: str


def load_model(folder: Path) -> Model:
    """Load what the gateway has verified. Raises ModelError for a folder that holds something else."""
    manifest = _read_manifest(folder)
    kind, engine = _open_best(manifest, folder)
    encoder = ReviewEncoder(folder / "tokenizer.json", manifest.token_limit, manifest.truncation)
    return Model(encoder, engine, kind, manifest.language)


def load_engine(folder: Path) -> NamedEngine:
    """The engine alone: what `contracts.engine.serving_engine` finds. Raises as `load_model` does."""
    return _open_best(_read_manifest(folder), folder)


def _open_best(manifest: _Manifest, folder: Path) -> NamedEngine:
    """The first of the manifest's engines that this machine can load."""
    reasons = []
    for kind in manifest.kinds:
        if kind not in ENGINES:
            reasons.append(f"no engine is called {kind!r}: this TorchServe is older than the release")
            continue
        try:
            engine = open_engine(kind, folder, manifest.token_limit)
        except (ImportError, ModelError) as error:
            reasons.append(f"{kind}: {error}")
        else:
            for reason in reasons:
                log.warning("the release's engine is passed over: %s", reason)
            return NamedEngine(kind, engine)
    raise ModelError(f"no engine of the release runs here: {'; '.join(reasons)}")


def _read_manifest(folder: Path) -> _Manifest:
    try:
        # Read without pydantic, which a worker would load for four values that have been checked already.
        manifest = upgraded(json.loads((folder / "manifest.json").read_bytes()))
        kinds = [str(engine["kind"]) for engine in manifest["engines"]]
        return _Manifest(
            int(manifest["token_limit"]), Truncation(manifest["truncation"]), kinds, str(manifest["language"])
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"no readable manifest.json in {folder}: register the release through the gateway") from error
