"""The keys that TorchServe asks for, from the file that it writes when it starts."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path
from typing import Literal

import httpx

KINDS = Literal["inference", "management"]


class KeyFile(httpx.Auth):
    """Sends the key of one of TorchServe's APIs with each request, and reads it anew where it is refused.

    A TorchServe that was started again has other keys in the same file.
    """

    requires_response_body = True

    def __init__(self, path: Path, kind: KINDS) -> None:
        self._path = path
        self._kind = kind
        self._key = ""

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        if not self._key:
            self._key = self._read()
        sent = self._key
        request.headers["Authorization"] = f"Bearer {sent}"
        response = yield request
        if is_refused(response):
            self._key = self._read()
            if self._key != sent:
                request.headers["Authorization"] = f"Bearer {self._key}"
                yield request

    def _read(self) -> str:
        """Empty while there is none: TorchServe says then that the key is missing, and so does the caller."""
        try:
            return str(json.loads(self._path.read_bytes())[self._kind]["key"])
        except (OSError, ValueError, KeyError, TypeError):
            return ""


def is_refused(response: httpx.Response) -> bool:
    """Whether TorchServe wants another key, which it says with a status of its own kind."""
    return response.status_code == 400 and b"InvalidKeyException" in response.content
