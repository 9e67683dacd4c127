"""The torch engine: what transformers computes, in the callers' order, on one thread, from safetensors only."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch
from transformers import AutoModelForSequenceClassification

from contracts.errors import ModelError
from contracts.release.release import Release
from contracts.tokens import Encoded
from torchserve.engines import pytorch
from torchserve.engines.dense import ROWS_MOST, TorchDense
from torchserve.engines.network import Network
from torchserve.engines.pytorch import TorchEngine, runs
from torchserve.engines.weights import read_weights

Build = Callable[..., Release]


def reviews(lengths: list[int], seed: int = 0) -> list[Encoded]:
    random = np.random.default_rng(seed)
    return [Encoded(random.integers(1000, 30000, n).tolist(), int(random.integers(1, n + 1)), False) for n in lengths]


def reference(folder: Path, batch: list[Encoded]) -> np.ndarray:
    """transformers, padded to the longest review."""
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    longest = max(len(each.input_ids) for each in batch)
    ids, kinds, mask = torch.zeros(3, len(batch), longest, dtype=torch.long)
    for row, each in enumerate(batch):
        size = len(each.input_ids)
        ids[row, :size], kinds[row, :size] = torch.tensor(each.input_ids), torch.tensor(each.token_type_ids)
        mask[row, :size] = 1
    types = {"token_type_ids": kinds} if model.config.model_type == "bert" else {}
    with torch.inference_mode():
        return model(input_ids=ids, attention_mask=mask, **types).logits.numpy()


@pytest.mark.parametrize("model_type", ["bert", "distilbert"])
def test_logits_are_those_of_transformers(build_release: Build, model_type: str) -> None:
    folder = build_release(version="parity", seed=7, model_type=model_type).folder
    batch = reviews([3, 128, 1, 17, 64, 16, 128, 50, 5, 128, 127, 2, 33, 90, 12, 128])

    found = TorchEngine(folder, 128).infer(batch)

    expected = reference(folder, batch)
    assert found.dtype == np.float32
    assert np.ptp(expected, axis=0).min() > 0.1, "the reviews must differ for this to prove anything"
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_a_reviews_logits_do_not_depend_on_its_neighbours(tiny_release: Release) -> None:
    engine = TorchEngine(tiny_release.folder, 128)
    batch = reviews([128, 3, 40, 128, 9, 77, 128, 128, 21, 6])

    together = engine.infer(batch)

    alone = np.concatenate([engine.infer([each]) for each in batch])
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-6)
    np.testing.assert_allclose(engine.infer(batch[::-1]), together[::-1], rtol=0, atol=1e-6)


def test_float16_weights_are_computed_in_float32(tiny_release: Release, tmp_path: Path) -> None:
    folder = tmp_path / "half"
    shutil.copytree(tiny_release.folder, folder)
    stored = safetensors.numpy.load_file(folder / "model.safetensors")
    half = {name: array.astype(np.float16) for name, array in stored.items()}
    safetensors.numpy.save_file(half, folder / "model.safetensors", metadata={"format": "pt"})
    batch = reviews([30, 60])

    found = TorchEngine(folder, 128).infer(batch)

    np.testing.assert_allclose(found, reference(folder, batch), rtol=0, atol=1e-5)


@pytest.mark.parametrize("model_type", ["bert", "distilbert"])
def test_without_onednn_the_logits_are_the_same(
    build_release: Build, monkeypatch: pytest.MonkeyPatch, model_type: str
) -> None:
    folder = build_release(version="plain", seed=8, model_type=model_type).folder
    batch = reviews([5, 128, 60])
    packed = TorchEngine(folder, 128).infer(batch)
    monkeypatch.setattr(pytorch, "can_pack", lambda: False)
    plain = TorchEngine(folder, 128)
    plain.warm_up()
    np.testing.assert_allclose(plain.infer(batch), packed, rtol=0, atol=1e-5)


@pytest.mark.parametrize("model_type", ["bert", "distilbert"])
class TestGradients:
    """The same network has gradients, which explanations of a prediction are made of."""

    def test_its_logits_are_those_that_are_served(self, build_release: Build, model_type: str) -> None:
        folder = build_release(version="explained", seed=9, model_type=model_type).folder
        batch = reviews([5, 128, 60])
        network = Network(read_weights(folder, 128), TorchDense)
        logits = network.logits(network.words(batch).requires_grad_(), batch)
        assert logits.requires_grad
        np.testing.assert_allclose(logits.detach(), TorchEngine(folder, 128).infer(batch), rtol=0, atol=1e-5)

    def test_the_gradient_of_a_logit_is_its_slope(self, build_release: Build, model_type: str) -> None:
        folder = build_release(version="explained", seed=9, model_type=model_type).folder
        batch = reviews([3, 6])
        network = Network(read_weights(folder, 128, torch.float64), TorchDense)
        words = network.words(batch).requires_grad_()
        # Every number of the gradient against the difference quotient.
        assert torch.autograd.gradcheck(lambda x: network.logits(x, batch), (words,))
        [gradient] = torch.autograd.grad(network.logits(words, batch)[0, 4], words)
        assert gradient[:3].abs().min(dim=1).values.min() > 0, "each token of the first review counts"
        assert not gradient[3:].any(), "and none of the second one's"


def test_no_reviews_are_no_logits(tiny_release: Release) -> None:
    assert TorchEngine(tiny_release.folder, 128).infer([]).shape == (0, 5)


def test_the_engine_takes_one_thread(tiny_release: Release) -> None:
    engine = TorchEngine(tiny_release.folder, 128)
    engine.warm_up()
    assert torch.get_num_threads() == 1


def test_runs_are_bounded_and_in_order() -> None:
    batch = reviews([256, 256, 256, 1, ROWS_MOST, ROWS_MOST + 1, 3, 4])

    found = list(runs(batch))

    assert [each for run in found for each in run] == batch
    lengths = [[len(each.input_ids) for each in run] for run in found]
    assert lengths == [[256] * 3, [1], [ROWS_MOST], [ROWS_MOST + 1], [3, 4]]


def pickled(folder: Path) -> None:
    torch.save({"x": torch.zeros(2)}, folder / "model.safetensors")


def plain_pickle(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(pickle.dumps({"x": 1}))


def lacking_a_tensor(folder: Path) -> None:
    stored = safetensors.numpy.load_file(folder / "model.safetensors")
    del stored["bert.pooler.dense.bias"]
    safetensors.numpy.save_file(stored, folder / "model.safetensors")


def misshapen(folder: Path) -> None:
    stored = safetensors.numpy.load_file(folder / "model.safetensors")
    stored["classifier.weight"] = stored["classifier.weight"][:3]
    safetensors.numpy.save_file(stored, folder / "model.safetensors")


def without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def configured(**changes: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text()) | changes
        (folder / "config.json").write_text(json.dumps(config))

    return change


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (pickled, "not safetensors"),
        (plain_pickle, "not safetensors"),
        (lacking_a_tensor, r"lacks bert\.pooler\.dense\.bias"),
        (misshapen, r"classifier\.weight has shape \(3, 32\)"),
        (without_weights, "missing"),
        (configured(model_type="roberta"), "'roberta' is not supported"),
        (configured(hidden_act="relu"), "exact gelu"),
        (configured(position_embedding_type="relative_key"), "absolute position"),
        (configured(num_attention_heads=5), "cannot be shared"),
        (configured(hidden_size="many"), "config.json"),
        (configured(max_position_embeddings=64), "64 positions"),
    ],
)
def test_what_cannot_be_loaded_is_refused(
    tiny_release: Release, tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(tiny_release.folder, folder)
    damage(folder)

    with pytest.raises(ModelError, match=message):
        TorchEngine(folder, 128)
