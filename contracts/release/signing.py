"""Signatures of manifests: HMAC-SHA256 over the document as it is stored, whatever this version knows of its fields."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Mapping
from typing import Any

KEY_VARIABLE = "STARS_SIGNING_KEY"
FIELD = "signature"


def signing_key() -> bytes | None:
    """The key in $STARS_SIGNING_KEY, if any."""
    return os.environ.get(KEY_VARIABLE, "").encode() or None


def signed(document: Mapping[str, Any], key: bytes | None) -> dict[str, Any]:
    """The document with its signature, which is None where there is no key."""
    return {**document, FIELD: _signature(document, key) if key else None}


def signature_problem(document: Mapping[str, Any], key: bytes | None) -> str | None:
    """Why a document's signature must not be trusted. Without a key nothing is asked."""
    if not key:
        return None
    signature = document.get(FIELD)
    if not isinstance(signature, str):
        return (
            f"not signed, though {KEY_VARIABLE} is set: publish it with the key, or sign what lies in a store with "
            "`stars release sign VERSION`"
        )
    if not hmac.compare_digest(signature.encode("utf-8", "replace"), _signature(document, key).encode()):
        return f"wrong signature: it was changed, or signed with another key than {KEY_VARIABLE}"
    return None


def _signature(document: Mapping[str, Any], key: bytes) -> str:
    """Of the document without its signature: sorted keys, no blanks, ASCII. Numbers stay as they were parsed."""
    content = {name: value for name, value in document.items() if name != FIELD}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hmac.new(key, canonical.encode(), hashlib.sha256).hexdigest()
