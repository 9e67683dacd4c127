"""Both sides of the engine's comparison judge the same model (fault 26)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks.serve import check_same_model, hugging_face, pipeline_logits
from contracts.release.release import Release
from contracts.review import segments
from torchserve.engines.pytorch import TorchEngine

TEXTS = [
    segments("Broke after two days.", "Waste of money", "Digital_Software"),
    segments("Exactly what my niece wanted!", "", "Gift_Card"),
    segments("It does what it says, no more and no less.", "", ""),
]


@pytest.mark.parametrize("model_type", ["bert", "distilbert"])
def test_the_pipeline_finds_the_engines_logits(build_release: Callable[..., Release], model_type: str) -> None:
    release = build_release(model_type=model_type)
    ours = TorchEngine(release.folder, 128).infer(release.encoder().encode(TEXTS))
    pipeline = hugging_face(release)
    for padding in ("max_length", True):
        check_same_model(ours, pipeline_logits(pipeline, TEXTS, 128, padding), [False] * len(TEXTS))


def test_a_pipeline_without_token_types_is_refused(build_release: Callable[..., Release]) -> None:
    """What the comparison was made with: all tokens counted as the first segment's."""
    release = build_release()
    ours = TorchEngine(release.folder, 128).infer(release.encoder().encode(TEXTS))
    pipeline = hugging_face(release)
    pipeline.tokenizer.model_input_names = ["input_ids", "attention_mask"]
    with pytest.raises(SystemExit, match="different models"):
        check_same_model(ours, pipeline_logits(pipeline, TEXTS, 128), [False] * len(TEXTS))
