"""Contract 3, the documents: what stands in a release's manifest.json, golden.json and calibration.json."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable
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
from contracts.release.signing import signed
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
        """Raises ReleaseError, its problems being one line per field that is wrong.

        What a newer version of the project has added is refused, because it may change what the rest means.
        """
        try:
            document = load_json(data)
            problems = _problems_of_newer(document)
            if not problems:
                return cls.model_validate(document)
        except ValidationError as error:
            problems = explain_file(MANIFEST, error, cls)
            if any(each["type"] == "extra_forbidden" for each in error.errors(include_url=False)):
                problems[-1] += ". A newer version of the project may have added it: update this one"
        except ValueError as error:
            problems = [f"{MANIFEST}: {error}"]
        raise ReleaseError(f"the manifest cannot be used: {problems[0]}", problems)

    def to_json(self, key: bytes | None = None) -> bytes:
        """The bytes of manifest.json, signed where there is a key."""
        return document_bytes(signed(self.model_dump(mode="json"), key))


def _problems_of_newer(document: Any) -> list[str]:
    schema = document.get("schema_version") if isinstance(document, dict) else None
    known = Manifest.model_fields["schema_version"].default
    if not isinstance(schema, int) or schema <= known:
        return []
    return [f"{MANIFEST}: schema_version is {schema} and this version of the project reads {known}: update it"]


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


def document_bytes(document: Any) -> bytes:
    """A document as it is stored."""
    return (json.dumps(document, indent=2, allow_nan=False) + "\n").encode()


def load_json(data: bytes | str) -> Any:
    """Strict JSON: UTF-8, each name once in its object, no NaN or infinite numbers, no endless nesting.

    Raises ValueError.
    """
    text = data if isinstance(data, str) else data.decode("utf-8")
    try:
        return json.loads(text, parse_constant=_finite, parse_float=_finite, object_pairs_hook=_each_once)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _each_once(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    given = list(pairs)
    found = dict(given)
    if len(found) != len(given):
        raise ValueError("a name stands twice in one object")
    return found


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
