"""The trained TensorFlow weights as a PyTorch classifier, and the proof that both compute the same.

The files are transformers' own: config.json and model.safetensors with BertForSequenceClassification's names. The
gate runs both networks on hard texts and compares logits; a swapped or transposed tensor cannot pass it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from contracts.errors import ModelError
from contracts.release.weights import read_header
from contracts.review import segments
from contracts.stages import ConvertConfig
from training.data.labelled import prepared_encoder
from training.data.tokens import TokenRows
from training.model.hard_texts import hard_texts
from training.model.parity import Parity, tensorflow_logits
from training.model.reference import ReferenceModel
from training.running.fingerprint import file_sha256
from training.running.reporting import Reporter
from training.running.stage import Stage

Config = ConvertConfig


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
    hard = TokenRows.of(prepared_encoder(inputs["prepare"]).encode(texts))
    logits = tensorflow_logits(trained, hard)
    report.progress(0.6, f"TensorFlow has judged {len(hard)} hard texts")
    parity = Parity.of(logits, ReferenceModel(outputs).logits(hard))
    (outputs / "parity.json").write_text(json.dumps(asdict(parity), indent=2) + "\n", encoding="utf-8")
    parity.check(config.tolerance)
    report.progress(1.0, f"PyTorch agrees on all {len(hard)}: logits differ by {parity.relative:.1e} of the largest")
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
