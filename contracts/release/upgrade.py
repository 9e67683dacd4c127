"""Manifests of older versions, read as today's. The stored bytes, and so their signature, stay as they are.

Version 1 had one engine and no language. Works on plain JSON, because a worker reads a manifest without pydantic.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

SCHEMA_VERSION: Final = 2

LANGUAGE = "en"
"""What all models of version 1 were trained on."""

REFERENCE_ENGINE = "torch"
REFERENCE_FILES = ("config.json", "model.safetensors")


def upgraded(document: Mapping[str, Any]) -> dict[str, Any]:
    """A manifest's document as the newest version says it. Raises ValueError for one that is newer than that."""
    schema = document.get("schema_version", 1)
    if isinstance(schema, int) and schema > SCHEMA_VERSION:
        raise ValueError(
            f"schema_version is {schema} and this version of the project reads {SCHEMA_VERSION}: update it"
        )
    if schema != 1:
        return dict(document)
    if later := document.keys() & {"engines", "language"}:
        raise ValueError(f"schema_version is 1, which knows no {' and no '.join(sorted(later))}")
    engine = document.get("engine", {})
    if not isinstance(engine, Mapping):
        raise ValueError("engine: must be an object")
    kept = {name: value for name, value in document.items() if name != "engine"}
    only = {"kind": REFERENCE_ENGINE, "files": list(REFERENCE_FILES), **engine}
    return kept | {"schema_version": SCHEMA_VERSION, "engines": [only], "language": LANGUAGE}
