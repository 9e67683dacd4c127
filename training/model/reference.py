"""The reference: PyTorch by way of transformers, in float32. What evaluation and export judge a model with."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np

from contracts.errors import ModelError
from contracts.review import STARS
from contracts.stages import BATCH_SIZE
from training.data.arrays import Floats
from training.data.tokens import TokenRows

TEST_LOGITS = "test_logits.npy"
"""Where evaluate keeps the logits of the test split, row by row: export compares the rounded weights with them."""
Progress = Callable[[float], None]
"""Told how much of the work is done, 0 to 1."""


class ReferenceModel:
    """The classifier in a folder with config.json and model.safetensors, as transformers reads it.

    fp16 weights are computed in fp32. Raises ModelError when the folder does not hold exactly the tensors of a BERT
    or DistilBERT classifier with five labels.
    """

    def __init__(self, folder: Path, batch_size: int = BATCH_SIZE) -> None:
        import torch
        from transformers import AutoModelForSequenceClassification
        from transformers.utils import logging as transformers_logging

        kind = _model_type(folder)
        if kind not in {"bert", "distilbert"}:
            raise ModelError(f"model_type {kind!r} in {folder} is not supported: use a bert or distilbert model")
        transformers_logging.disable_progress_bar()
        before = transformers_logging.get_verbosity()
        transformers_logging.set_verbosity(logging.ERROR)  # what it would warn of is raised below
        try:
            model, info = AutoModelForSequenceClassification.from_pretrained(
                folder,
                attn_implementation="sdpa",
                dtype=torch.float32,
                local_files_only=True,
                use_safetensors=True,
                output_loading_info=True,
            )
        except Exception as error:  # transformers, safetensors and torch each raise their own kinds
            raise ModelError(f"{folder} holds no classifier that PyTorch can read: {error}") from error
        finally:
            transformers_logging.set_verbosity(before)
        for fault in ("missing_keys", "unexpected_keys", "mismatched_keys"):
            if names := sorted(str(name) for name in info[fault]):
                raise ModelError(f"{folder}: {len(names)} {fault.replace('_', ' ')}, the first is {names[0]}")
        if model.config.num_labels != len(STARS):
            raise ModelError(f"{folder} has {model.config.num_labels} labels, {len(STARS)} expected")
        self._model = model.eval()
        self._segments = kind == "bert"
        self.batch_size = batch_size

    def logits(self, reviews: TokenRows, progress: Progress | None = None) -> Floats:
        """Raw logits (n, 5), row by row. Batches are cut from the rows sorted by length."""
        import torch

        logits = np.empty((len(reviews), len(STARS)))
        longest_first = np.argsort(-reviews.lengths, kind="stable")
        with torch.inference_mode():
            for batch, start in enumerate(range(0, len(reviews), self.batch_size)):
                rows = longest_first[start : start + self.batch_size]
                ids, types = reviews.batch(rows, multiple=1)
                inputs = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(ids != 0).long()}
                if self._segments:
                    inputs["token_type_ids"] = torch.from_numpy(types)
                logits[rows] = self._model(**inputs).logits.double().numpy()
                if progress and (batch % 10 == 9 or start + len(rows) == len(reviews)):
                    progress((start + len(rows)) / len(reviews))
        return logits


def _model_type(folder: Path) -> str | None:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"no readable config.json in {folder}: {error}") from error
    return config.get("model_type") if isinstance(config, dict) else None
