"""Contract 3, the documents: what stands in a release's manifest.json, golden.json and calibration.json."""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from contracts.errors import NotFound, ReleaseError
from contracts.tokens import TOKEN_LIMIT, Truncation
from contracts.validation import findings

RELEASE_FILES = (
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "golden.json",
    "calibration.json",
    "MODEL_CARD.md",
    "DATA_CARD.md",
)
MANIFEST = "manifest.json"
DOCUMENT_LIMIT = 1024 * 1024
"""Bytes that a manifest, a golden file or a card may have."""

SIGNING_KEY_VARIABLE = "STARS_SIGNING_KEY"


def _only_release_files(files: dict[str, FileEntry]) -> dict[str, FileEntry]:
    for name in files:
        if name not in RELEASE_FILES:
            raise ValueError(f"{name!r} is not the name of a release file")
    if missing := [name for name in RELEASE_FILES if name not in files]:
        raise ValueError(f"{', '.join(missing)} not listed")
    return files


Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
"""A model's, a version's or a channel's name: safe as a file name and in a URL."""

Finite = Annotated[float, Field(allow_inf_nan=False)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_NAME = TypeAdapter(Name)


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FileEntry(_Document):
    """What a file of the release must be."""

    sha256: Sha256
    size: Annotated[int, Field(gt=0)]

    @classmethod
    def of(cls, path: Path) -> FileEntry:
        """Hash a file. Raises OSError when it cannot be read."""
        with path.open("rb") as source:
            digest = hashlib.file_digest(source, "sha256").hexdigest()
            return cls(sha256=digest, size=source.tell())


class EngineHints(_Document):
    """How the release is best run. The operator's settings win."""

    kind: Literal["torch"] = "torch"
    batch_size: Annotated[int, Field(ge=1, le=256)] = 8


class DatasetFacts(_Document):
    """What the model was trained and judged on: one hash over it all, rows per split, names of the source files."""

    sha256: Sha256
    rows: dict[str, int]
    sources: tuple[str, ...]


class Manifest(_Document):
    """manifest.json: everything that is known about a release. Frozen once published."""

    schema_version: Literal[1] = 1
    name: Name
    version: Name
    created: AwareDatetime
    files: Annotated[dict[str, FileEntry], AfterValidator(_only_release_files)]
    labels: tuple[Literal[1], Literal[2], Literal[3], Literal[4], Literal[5]] = (1, 2, 3, 4, 5)
    token_limit: Annotated[int, Field(ge=8, le=512)] = TOKEN_LIMIT
    truncation: Truncation = Truncation.HEAD_TAIL
    weights_dtype: Literal["float32", "float16"]
    engine: EngineHints = EngineHints()
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

    @classmethod
    def parse(cls, data: bytes | str) -> Manifest:
        """Raises ReleaseError, its problems being one line per field that is wrong."""
        try:
            return cls.model_validate(load_json(data))
        except ValidationError as error:
            problems = explain_file(MANIFEST, error, cls)
        except ValueError as error:
            problems = [f"{MANIFEST}: {error}"]
        raise ReleaseError(f"the manifest cannot be used: {problems[0]}", problems)

    def canonical(self) -> bytes:
        """The bytes that are signed: sorted keys, no blanks, without the signature itself."""
        document = self.model_dump(mode="json", exclude={"signature"})
        return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()

    def to_json(self) -> bytes:
        """The bytes of manifest.json."""
        return (json.dumps(self.model_dump(mode="json"), indent=2, allow_nan=False) + "\n").encode()

    def signed(self, key: bytes | None) -> Manifest:
        """With an HMAC-SHA256 signature, or without one where there is no key."""
        return self.model_copy(update={"signature": self._signature(key) if key else None})

    def signature_problem(self, key: bytes | None) -> str | None:
        """Why the signature must not be trusted. Without a key nothing is asked."""
        if not key:
            return None
        if self.signature is None:
            return f"not signed, though {SIGNING_KEY_VARIABLE} is set: publish it with the key"
        if not hmac.compare_digest(self.signature.encode(), self._signature(key).encode()):
            return f"wrong signature: it was changed, or signed with another key than {SIGNING_KEY_VARIABLE}"
        return None

    def _signature(self, key: bytes) -> str:
        return hmac.new(key, self.canonical(), hashlib.sha256).hexdigest()


class GoldenCase(_Document):
    """A review with the logits that the model gave when it was released, untempered, and the stars they mean."""

    text: Annotated[str, Field(min_length=1)]
    title: str = ""
    category: str = ""
    logits: tuple[Finite, Finite, Finite, Finite, Finite]
    stars: Annotated[int, Field(ge=1, le=5)]

    @model_validator(mode="after")
    def _stars_follow_logits(self) -> Self:
        if self.logits[self.stars - 1] < max(self.logits):
            raise ValueError("the stars are not those of the largest logit")
        return self


def _at_least_one(cases: tuple[GoldenCase, ...]) -> tuple[GoldenCase, ...]:
    if not cases:
        raise ValueError("no case at all")
    return cases


class Golden(_Document):
    """golden.json: what a loaded model must answer before it gets traffic, each logit within `tolerance`."""

    tolerance: Annotated[Finite, Field(gt=0, le=1)] = 0.02
    cases: Annotated[tuple[GoldenCase, ...], AfterValidator(_at_least_one)]


class Calibration(_Document):
    """calibration.json: the softmax temperature fitted on the validation split, and what it did on the test split."""

    temperature: Annotated[Finite, Field(gt=0, le=100)]
    ece_before: Annotated[Finite, Field(ge=0, le=1)]
    ece_after: Annotated[Finite, Field(ge=0, le=1)]


def checked_name(name: str) -> str:
    """The name of a model, version or channel itself. Raises NotFound when nothing can be called so."""
    try:
        return _NAME.validate_python(name)
    except ValidationError:
        raise NotFound(f"{name[:80]!r} is no name: use small letters, digits, '.', '_' and '-', at most 64") from None


def manifest_key(name: str, version: str) -> str:
    """Where a store keeps the manifest; the release's other files lie beside it."""
    return f"releases/{checked_name(name)}/{checked_name(version)}/{MANIFEST}"


def signing_key() -> bytes | None:
    """The key in $STARS_SIGNING_KEY, if any."""
    return os.environ.get(SIGNING_KEY_VARIABLE, "").encode() or None


def load_json(data: bytes | str) -> Any:
    """Strict JSON: UTF-8, no NaN or infinite numbers, no endless nesting. Raises ValueError."""
    try:
        return json.loads(data, parse_constant=_finite, parse_float=_finite)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"{number[:20]} is no number that JSON knows")
    return value


def explain_file(file: str, error: ValidationError, model: type[BaseModel]) -> list[str]:
    """One line per field that is wrong. Never the value: golden cases hold review text."""
    return [
        f"{file}: {place}: {said}" if place else f"{file}: {said}" for place, said in findings(error, model, names=True)
    ]
