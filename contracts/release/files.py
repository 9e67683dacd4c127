"""The files that a release may hold: what each is for, and how large it may be. A new one is a line here.

What is inside a file is checked in contracts/release/inspection.py, once its hash is right. Imports nothing, because a
worker reads this table too.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import NamedTuple

MANIFEST = "manifest.json"

DOCUMENT_LIMIT = 1024 * 1024
"""Bytes that a manifest, a golden file or a card may have."""

CONFIG_LIMIT = 32 * 1024 * 1024
"""Bytes that a tokenizer or a configuration may have; far more than BERT's."""

WEIGHTS_LIMIT = 4 * 1024**3


class ReleaseFile(NamedTuple):
    """What a file is for, the bytes that it may have, and whether every release has one."""

    purpose: str
    limit: int
    required: bool = True


FILES: dict[str, ReleaseFile] = {
    "config.json": ReleaseFile("the network's shape, as transformers writes it", CONFIG_LIMIT),
    "model.safetensors": ReleaseFile("the trained weights, which the reference engine computes with", WEIGHTS_LIMIT),
    "tokenizer.json": ReleaseFile("from text to token ids, as the tokenizers library writes it", CONFIG_LIMIT),
    "golden.json": ReleaseFile("reviews with the logits that every engine must give", DOCUMENT_LIMIT),
    "calibration.json": ReleaseFile("what the logits mean as probabilities", DOCUMENT_LIMIT),
    "MODEL_CARD.md": ReleaseFile("what the model is and how good it is, for people", DOCUMENT_LIMIT),
    "DATA_CARD.md": ReleaseFile("what it learnt from, for people", DOCUMENT_LIMIT),
    "model-int8.safetensors": ReleaseFile("the same weights in eight bits, for an engine", WEIGHTS_LIMIT, False),
    "explanation_baseline.json": ReleaseFile("what explanations compare a review with", DOCUMENT_LIMIT, False),
    "data_profile.json": ReleaseFile("how the training data look, to tell drift from it", DOCUMENT_LIMIT, False),
    "conformal.json": ReleaseFile("thresholds of the sets of stars that hold the true one", DOCUMENT_LIMIT, False),
}

REQUIRED = tuple(name for name, file in FILES.items() if file.required)


def unknown_file(name: str) -> str:
    """What to say of a name that no file of a release has."""
    nearest = get_close_matches(name, FILES, n=1)
    return f"{name!r} is not the name of a release file" + (f": did you mean {nearest[0]!r}?" if nearest else "")
