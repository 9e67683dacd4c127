"""JSON that no two readers can read differently: what a release's and a channel's documents are written in."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any


def document_bytes(document: Any) -> bytes:
    """A document as it is stored."""
    return (json.dumps(document, indent=2, allow_nan=False) + "\n").encode()


def load_json(data: bytes | str) -> Any:
    """Strict JSON: UTF-8, each name once in its object, no NaN or infinite numbers, no endless nesting.

    Raises ValueError.
    """
    text = data if isinstance(data, str) else data.decode("utf-8")
    try:
        return json.loads(text, parse_constant=_finite, parse_float=_finite, object_pairs_hook=_names_once)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _names_once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return document


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"{number[:20]} is no number that JSON knows")
    return value
