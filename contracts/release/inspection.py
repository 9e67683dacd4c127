"""Contract 3, the check: everything that can be wrong with a release folder, found before anything loads it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from contracts.errors import ModelError, ReleaseError
from contracts.release.calibration import Calibration
from contracts.release.documents import Golden, explain_file
from contracts.release.files import DOCUMENT_LIMIT, FILES, MANIFEST
from contracts.release.manifest import FileEntry, Manifest
from contracts.release.signing import signature_problem
from contracts.release.strict_json import load_json
from contracts.release.weights import QUANTISED, read_header
from contracts.tokens import ReviewEncoder

_Check = Callable[[Path, Manifest], Iterator[str]]

_DOCUMENTS: dict[str, type[BaseModel]] = {"golden.json": Golden, "calibration.json": Calibration}


def inspect(folder: Path, key: bytes | None) -> tuple[Manifest | None, list[str]]:
    """The manifest, where it can be used, and everything that is wrong.

    The manifest says what the files must be, and must be signed with the key, where there is one. Only a file with the
    right hash is looked into.
    """
    try:
        entries = {entry.name: entry for entry in os.scandir(folder)}
    except OSError as error:
        return None, [f"{folder} is no release folder: {error.strerror}"]
    linked = sorted(name for name, entry in entries.items() if not entry.is_file(follow_symlinks=False))
    strange = sorted(entries.keys() - {*FILES, MANIFEST, *linked})
    problems = [f"{name}: not a plain file" for name in linked]
    problems += [f"{name}: not a file of a release, remove it" for name in strange]
    if MANIFEST in linked:
        return None, problems
    try:
        data = _read(folder / MANIFEST, DOCUMENT_LIMIT)
        manifest = Manifest.parse(data)
    except ReleaseError as error:
        return None, [*problems, *error.problems]
    if problem := signature_problem(load_json(data), key):
        problems.append(f"{MANIFEST}: {problem}")
    sound = set()
    for name in FILES:
        if name in linked:
            continue
        if name not in manifest.files:
            problems += [f"{name}: not listed in the manifest, remove it"] if name in entries else []
        elif problem := _difference(folder / name, manifest.files[name]):
            problems.append(f"{name}: {problem}")
        else:
            sound.add(name)
    for names, check in _CHECKS:
        if sound.issuperset(names) and (wrong := _run(check, names[0], folder, manifest)):
            problems += wrong
            sound.discard(names[0])
    return manifest, problems


def _run(check: _Check, name: str, folder: Path, manifest: Manifest) -> list[str]:
    try:
        return [f"{name}: {problem}" for problem in check(folder, manifest)]
    except ValidationError as error:
        return explain_file(name, error, _DOCUMENTS[name])
    except (ReleaseError, ModelError, ValueError) as error:
        return [f"{name}: {error}"]


def _difference(path: Path, expected: FileEntry) -> str | None:
    try:
        size = path.stat().st_size
        if size != expected.size:
            return f"has {size} bytes where the manifest says {expected.size}"
        return None if FileEntry.of(path) == expected else "damaged: its sha256 is not the manifest's"
    except FileNotFoundError:
        return "missing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def _read(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as source:
            data = source.read(limit + 1)
    except FileNotFoundError:
        raise ReleaseError(f"{path.name}: missing") from None
    except OSError as error:
        raise ReleaseError(f"{path.name}: cannot be read: {error.strerror}") from error
    if len(data) > limit:
        raise ReleaseError(f"{path.name}: more than {limit} bytes")
    return data


def _object(path: Path) -> dict[str, Any]:
    document = load_json(_read(path, FILES[path.name].limit))
    if not isinstance(document, dict):
        raise ValueError("not a JSON object")
    return document


def _config(folder: Path, manifest: Manifest) -> Iterator[str]:
    config = _object(folder / "config.json")
    if config.get("model_type") not in {"bert", "distilbert"}:
        yield "model_type is neither bert nor distilbert"
    if config.get("id2label") != {str(i): str(label) for i, label in enumerate(manifest.labels)}:
        yield "id2label does not map 0…4 to the stars 1…5"
    positions = config.get("max_position_embeddings")
    if not isinstance(positions, int) or positions < manifest.token_limit:
        yield f"the model has fewer positions than the token limit of {manifest.token_limit}"


def _weights(folder: Path, manifest: Manifest) -> Iterator[str]:
    tensors = read_header(folder / "model.safetensors")
    formats = {tensor.dtype for tensor in tensors.values()}
    if manifest.weights_dtype == "float32" and formats != {"F32"}:
        yield "holds other numbers than float32"
    if manifest.weights_dtype == "float16" and "F16" not in formats:
        yield "holds no float16 numbers"
    head = tensors.get("classifier.weight")
    if head is None or len(head.shape) != 2 or head.shape[0] != len(manifest.labels):
        yield f"has no classifier for {len(manifest.labels)} classes"


def _tokenizer(folder: Path, manifest: Manifest) -> Iterator[str]:
    path = folder / "tokenizer.json"
    _object(path)  # sound JSON first: the library answers a damaged file less kindly
    tokens = ReviewEncoder(path, manifest.token_limit, manifest.truncation).vocab_size
    known = _object(folder / "config.json").get("vocab_size")
    if not isinstance(known, int) or tokens > known:
        yield f"has {tokens} tokens where the model knows {known}"


def _golden(folder: Path, _manifest: Manifest) -> Iterator[str]:
    Golden.model_validate(_object(folder / "golden.json"))
    yield from ()


def _calibration(folder: Path, manifest: Manifest) -> Iterator[str]:
    temperature = Calibration.model_validate(_object(folder / "calibration.json")).temperature
    if temperature != manifest.temperature:
        yield f"the temperature is {temperature}, the manifest says {manifest.temperature}"


def _card(name: str) -> _Check:
    def check(folder: Path, _manifest: Manifest) -> Iterator[str]:
        if not _read(folder / name, FILES[name].limit).decode("utf-8").strip():
            yield "empty"

    return check


def _optional(name: str) -> _Check:
    def check(folder: Path, _manifest: Manifest) -> Iterator[str]:
        if name.endswith(".safetensors"):
            read_header(folder / name, QUANTISED)
        else:
            _object(folder / name)
        yield from ()

    return check


_CHECKS: tuple[tuple[tuple[str, ...], _Check], ...] = (
    (("config.json",), _config),
    (("model.safetensors",), _weights),
    (("tokenizer.json", "config.json"), _tokenizer),
    (("golden.json",), _golden),
    (("calibration.json",), _calibration),
    (("MODEL_CARD.md",), _card("MODEL_CARD.md")),
    (("DATA_CARD.md",), _card("DATA_CARD.md")),
    *(((name,), _optional(name)) for name, file in FILES.items() if not file.required),
)
"""What is looked into once the named files are sound. A check yields problems of the first, or raises with one."""
