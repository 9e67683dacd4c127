"""Contract 3: what stands in a release's manifest.json, and where a store keeps it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, AwareDatetime, Field, TypeAdapter, ValidationError, model_validator

from contracts.errors import NotFound, ReleaseError
from contracts.release.documents import Document, Finite, Tolerance, explain_file
from contracts.release.files import FILES, MANIFEST, REQUIRED, unknown_file
from contracts.release.signing import FIELD, signed
from contracts.release.strict_json import document_bytes, load_json
from contracts.release.upgrade import LANGUAGE, REFERENCE_ENGINE, REFERENCE_FILES, SCHEMA_VERSION, upgraded
from contracts.tokens import TOKEN_LIMIT, Truncation

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
"""A model's, a version's, a channel's or an engine's name: safe as a file name and in a URL."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_NAME = TypeAdapter(Name)


class FileEntry(Document):
    """What a file of the release must be."""

    sha256: Sha256
    size: Annotated[int, Field(gt=0)]

    @classmethod
    def of(cls, path: Path) -> FileEntry:
        """Hash a file. Raises OSError when it cannot be read."""
        with path.open("rb") as source:
            digest = hashlib.file_digest(source, "sha256").hexdigest()
            return cls(sha256=digest, size=source.tell())


def _known_and_complete(files: dict[str, FileEntry]) -> dict[str, FileEntry]:
    for name, entry in files.items():
        if name not in FILES:
            raise ValueError(unknown_file(name))
        if entry.size > FILES[name].limit:
            raise ValueError(f"{name} has {entry.size} bytes and may have {FILES[name].limit}")
    if missing := [name for name in REQUIRED if name not in files]:
        raise ValueError(f"{', '.join(missing)} not listed")
    return files


class EngineSpec(Document):
    """An engine that was judged with this release: its name, the release's files that it reads, and how it is run.

    A worker takes the first engine of the manifest that it has. One that it does not know is no fault of the release.
    """

    kind: Name = REFERENCE_ENGINE
    files: Annotated[tuple[str, ...], Field(min_length=1)] = REFERENCE_FILES
    tolerance: Tolerance | None = None
    """How far its logits may be from the golden ones; None for what golden.json says."""
    batch_size: Annotated[int, Field(ge=1, le=256)] = 8
    """Reviews that it is best given at once. A hint: the operator's settings win."""


def _kinds_once(engines: tuple[EngineSpec, ...]) -> tuple[EngineSpec, ...]:
    if len({engine.kind for engine in engines}) < len(engines):
        raise ValueError("an engine stands there twice")
    return engines


class DatasetFacts(Document):
    """What the model was trained and judged on: one hash over it all, rows per split, names of the source files."""

    sha256: Sha256
    rows: dict[str, int]
    sources: tuple[str, ...]


class Manifest(Document):
    """manifest.json: everything that is known about a release. Frozen once published.

    The one type for manifests of every version: contracts/release/upgrade.py says how older ones are read.
    """

    schema_version: Literal[2] = SCHEMA_VERSION
    name: Name
    version: Name
    created: AwareDatetime
    files: Annotated[dict[str, FileEntry], AfterValidator(_known_and_complete)]
    labels: tuple[Literal[1], Literal[2], Literal[3], Literal[4], Literal[5]] = (1, 2, 3, 4, 5)
    language: Annotated[str, Field(pattern=r"^[a-z]{2,3}$")] = LANGUAGE
    """What the training reviews were written in (ISO 639)."""
    token_limit: Annotated[int, Field(ge=8, le=512)] = TOKEN_LIMIT
    truncation: Truncation = Truncation.HEAD_TAIL
    weights_dtype: Literal["float32", "float16"]
    """Of model.safetensors."""
    engines: Annotated[tuple[EngineSpec, ...], Field(min_length=1), AfterValidator(_kinds_once)] = (EngineSpec(),)
    """The best one first."""
    temperature: Annotated[Finite, Field(gt=0, le=100)]
    metrics: dict[str, Any]
    """On the test split: {"accuracy": {"value": 0.61, "low": 0.60, "high": 0.62}, …}."""
    dataset: DatasetFacts
    stages: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Each stage's facts."""
    code_revision: str
    base_model: str
    licence: str
    signature: str | None = None

    @model_validator(mode="after")
    def _engines_have_their_files(self) -> Self:
        for engine in self.engines:
            if missing := [name for name in engine.files if name not in self.files]:
                raise ValueError(f"the engine {engine.kind} reads {missing[0]!r}, which is no file of the release")
        return self

    @classmethod
    def parse(cls, data: bytes | str) -> Manifest:
        """A manifest of this version or an older one, from its stored bytes.

        Raises ReleaseError, its problems being one line per field that is wrong. What a newer version of the project
        has added is refused, because it may change what the rest means.
        """
        try:
            document = load_json(data)
            return cls.model_validate(upgraded(document) if isinstance(document, dict) else document)
        except ValidationError as error:
            problems = explain_file(MANIFEST, error, cls)
            if any(fault["type"] == "extra_forbidden" for fault in error.errors(include_url=False)):
                problems[-1] += ". A newer version of the project may have added it: update this one"
        except ValueError as error:
            problems = [f"{MANIFEST}: {error}"]
        raise ReleaseError(f"the manifest cannot be used: {problems[0]}", problems)

    def to_json(self, key: bytes | None = None) -> bytes:
        """The bytes of manifest.json, signed where there is a key."""
        return document_bytes(signed(self.model_dump(mode="json"), key))

    def says_the_same(self, other: Manifest) -> bool:
        """Whether the two differ in nothing but their signatures."""
        return self.model_copy(update={FIELD: other.signature}) == other


def checked_name(name: str) -> str:
    """The name of a model, version or channel itself. Raises NotFound when nothing can be called so."""
    try:
        return _NAME.validate_python(name)
    except ValidationError:
        raise NotFound(f"{name[:80]!r} is no name: use small letters, digits, '.', '_' and '-', at most 64") from None


def manifest_key(name: str, version: str) -> str:
    """Where a store keeps the manifest; the release's other files lie beside it."""
    return f"releases/{checked_name(name)}/{checked_name(version)}/{MANIFEST}"
