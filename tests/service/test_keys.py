"""The keys that TorchServe asks for: sent, and read anew when TorchServe was started again."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from service.backend.keys import KeyFile

REFUSAL = {"code": 400, "type": "InvalidKeyException", "message": "Token Authorization failed."}


class Guarded:
    """A server that wants one key, and writes down what it was sent."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.sent: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.sent.append(request.headers["authorization"])
        return httpx.Response(200) if self.sent[-1] == f"Bearer {self.key}" else httpx.Response(400, json=REFUSAL)


def _write(file: Path, inference: str) -> None:
    file.write_text(json.dumps({"inference": {"key": inference}, "management": {"key": "other"}}))


def test_a_server_that_was_started_again_gets_its_new_key(tmp_path: Path) -> None:
    file, server = tmp_path / "key_file.json", Guarded("first")
    _write(file, "first")
    with httpx.Client(auth=KeyFile(file, "inference"), transport=httpx.MockTransport(server)) as client:
        assert client.get("http://x/").status_code == 200
        server.key = "second"
        _write(file, "second")
        assert client.get("http://x/").status_code == 200
        assert client.get("http://x/").status_code == 200
    assert server.sent == ["Bearer first", "Bearer first", "Bearer second", "Bearer second"]


@pytest.mark.parametrize("content", [None, "", "[]", '{"inference": null}', '{"inference": {"key": "old"}}'])
def test_without_the_right_key_the_refusal_is_the_answer(tmp_path: Path, content: str | None) -> None:
    file, server = tmp_path / "key_file.json", Guarded("new")
    if content is not None:
        file.write_text(content)
    with httpx.Client(auth=KeyFile(file, "inference"), transport=httpx.MockTransport(server)) as client:
        assert client.get("http://x/").status_code == 400
        _write(file, "new")
        assert client.get("http://x/").status_code == 200
