"""The trained TensorFlow weights as a PyTorch classifier, and the proof that both compute the same.

The files are transformers' own: config.json and model.safetensors with BertForSequenceClassification's names. The
gate runs both networks on hard texts and compares logits; a swapped or transposed tensor cannot pass it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from contracts.errors import GateError, ModelError
from contracts.release.weights import read_header
from contracts.review import STARS, segments
from contracts.stages import BATCH_SIZE, ConvertConfig
from contracts.tokens import Encoded
from training.data.labelled import prepared_encoder
from training.judge.metrics import Floats
from training.model.hard_texts import hard_texts
from training.model.reference import Predictor, pad
from training.running.fingerprint import file_sha256
from training.running.reporting import Reporter
from training.running.stage import Stage

if TYPE_CHECKING:
    from training.model.bert import BertClassifier

Config = ConvertConfig


@dataclass(frozen=True)
class Parity:
    """How two networks' logits on the same texts differ. `relative` is `max_difference` over the largest logit."""

    texts: int
    agreeing: int
    max_difference: float
    largest_logit: float
    relative: float

    @classmethod
    def of(cls, expected: Floats, found: Floats) -> Parity:
        """Compare logits (n, 5). Raises GateError where one is not a finite number."""
        for logits, framework, advice in (
            (expected, "TensorFlow", "training diverged: lower the learning rate and train again"),
            (
                found,
                "PyTorch",
                "the conversion is wrong: compare training/model/bert.py with the checkpoint's architecture",
            ),
        ):
            if not np.isfinite(logits).all():
                raise GateError(f"{framework} answers with values that are not numbers: {advice}")
        difference, largest = float(np.abs(expected - found).max()), float(np.abs(expected).max())
        agreeing = int((expected.argmax(axis=1) == found.argmax(axis=1)).sum())
        return cls(len(expected), agreeing, difference, largest, difference / max(largest, 1e-9))

    def check(self, tolerance: float) -> None:
        """Raises GateError when logits differ by more than `tolerance`, relative, or a text gets another star."""
        if self.relative > tolerance or self.agreeing < self.texts:
            raise GateError(
                f"PyTorch does not compute what TensorFlow does: on {self.texts} texts the logits differ by up to "
                f"{self.relative:.1e} of the largest ({tolerance:.0e} allowed) and {self.texts - self.agreeing} stars "
                "change. The conversion is wrong: compare training/model/bert.py with the checkpoint's architecture"
            )


def run(config: Config, inputs: Mapping[str, Path], outputs: Path, report: Reporter) -> dict[str, Any]:
    """Inputs `train` (model/) and `prepare` (tokenizer.json). Writes config.json, model.safetensors, parity.json.

    Raises ModelError for weights that cannot be read, GateError when the two networks disagree.
    """
    from training.model.bert import load_safetensors, save_safetensors

    source = inputs["train"] / "model"
    if "classifier.weight" not in read_header(source / "model.safetensors"):
        raise ModelError(f"{source} holds an encoder without a classifier: train it first")
    trained = load_safetensors(source)
    save_safetensors(trained, outputs)
    report.progress(0.2, "weights written for PyTorch")
    texts = [segments(r.review_body, r.review_headline, r.product_category) for r in hard_texts()]
    encoded = prepared_encoder(inputs["prepare"]).encode(texts)
    expected = tensorflow_logits(trained, encoded)
    report.progress(0.6, f"TensorFlow has judged {len(texts)} hard texts")
    parity = Parity.of(expected, Predictor(outputs).logits(encoded))
    (outputs / "parity.json").write_text(json.dumps(asdict(parity), indent=2) + "\n", encoding="utf-8")
    parity.check(config.tolerance)
    report.progress(1.0, f"PyTorch agrees on all {len(texts)}: logits differ by {parity.relative:.1e} of the largest")
    return {f"parity_{name}": value for name, value in asdict(parity).items()} | {
        "weights_sha256": file_sha256(outputs / "model.safetensors")
    }


STAGE = Stage(
    name="convert",
    config=Config,
    run=run,
    needs=("prepare", "train"),
    share=0.05,
    spent=("model.safetensors",),
)


def tensorflow_logits(model: BertClassifier, encoded: Sequence[Encoded]) -> Floats:
    """Raw logits (n, 5) of the Keras model, in the order given."""
    logits = np.empty((len(encoded), len(STARS)))
    order = sorted(range(len(encoded)), key=lambda row: len(encoded[row].input_ids))
    for start in range(0, len(order), BATCH_SIZE):
        rows = order[start : start + BATCH_SIZE]
        # XLA compiles for each new shape, so there should be few. Other padding than PyTorch's tests the masks as well.
        ids, types = pad([encoded[row] for row in rows], multiple=32)
        logits[rows] = np.asarray(model((ids.astype(np.int32), types.astype(np.int32)), training=False))
    return logits
