"""What the client makes of each answer that TorchServe can give, from a server that gives them on demand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from contracts.errors import (
    BackendError,
    BackendOverloaded,
    BackendUnavailable,
    DeadlineExceeded,
    ModelError,
    ReviewError,
)
from contracts.model_folder import WorkerSettings
from contracts.release.release import Release
from contracts.review import Review
from contracts.wire import Prediction
from service.backend.protocol import NotLoaded
from service.backend.torchserve import TorchServe

REVIEWS = [Review("Works."), Review("Broke.")]
GOOD = {"logits": [0.0, 1.0, 2.0, 3.0, 4.0], "tokens": 5, "truncated": False, "unfamiliar": None}


@pytest.fixture(scope="module")
def v1(build_release: Callable[..., Release]) -> Release:
    return build_release(version="v1")


def _answer(status: int, body: Any) -> bytes:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return f"HTTP/1.1 {status} x\r\ncontent-length: {len(text)}\r\n\r\n".encode() + text


@asynccontextmanager
async def _server(*answers: bytes | None) -> AsyncIterator[tuple[TorchServe, list[str]]]:
    """A server that gives the answers one by one, whatever it is asked.

    An empty one closes the connection, and for None it says nothing as long as somebody listens.
    """
    left, asked, finished = list(answers), [], []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while left:
                head = await reader.readuntil(b"\r\n\r\n")
                sizes = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if b"content-length" in line]
                await reader.readexactly(int(sizes[0]) if sizes else 0)
                asked.append(head.split(b"\r\n")[0].decode())
                if (answer := left.pop(0)) is None:
                    await reader.read(1)
                    break
                if not answer:
                    break
                writer.write(answer)
        except asyncio.IncompleteReadError:
            pass  # the client has gone
        finally:
            writer.close()
            await writer.wait_closed()
            finished.append(True)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        with TemporaryDirectory() as store:
            client = TorchServe("m", url, url, connections=2, model_store=Path(store), worker=WorkerSettings())
            yield client, asked
    finally:
        await client.close()
        server.close()
        await server.wait_closed()
        while not finished:
            await asyncio.sleep(0.01)


def _run(answers: list[bytes | None], ask: Callable[[TorchServe], Awaitable[Any]]) -> tuple[Any, list[str]]:
    async def scenario() -> tuple[Any, list[str]]:
        async with _server(*answers) as (client, asked):
            return await ask(client), asked

    return asyncio.run(scenario())


def _predict(*answers: bytes | None) -> tuple[Any, list[str]]:
    return _run(list(answers), lambda client: client.predict("v1", REVIEWS))


def test_predictions_come_back_in_order() -> None:
    bad = {"error": {"type": "blank_text", "message": "the text is blank"}}
    scored, asked = _predict(_answer(200, {"predictions": [GOOD, bad], "infer_ms": 1.5, "engine": "torch"}))
    assert scored.items[0] == Prediction((0.0, 1.0, 2.0, 3.0, 4.0), 5, False)
    assert isinstance(scored.items[1], ReviewError) and scored.items[1].kind == "blank_text"
    assert scored.infer_ms == 1.5
    assert asked == ["POST /predictions/m/v1 HTTP/1.1"]


FULL = {"code": 503, "type": "ServiceUnavailableException", "message": 'Model "m" has no worker to serve'}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (_answer(404, {"code": 404, "type": "ModelNotFoundException", "message": "Model not found: m"}), NotLoaded),
        (_answer(500, {"code": 500, "type": "InternalServerException", "message": "Worker died."}), BackendUnavailable),
        (_answer(503, {"code": 503, "type": "InternalServerException", "message": "Prediction failed"}), BackendError),
        (_answer(400, {"error": {"type": "malformed", "message": "no"}}), BackendError),
        (_answer(400, {"code": 400, "type": "InvalidKeyException", "message": "no"}), BackendUnavailable),
        (_answer(504, {"error": {"type": "expired", "message": "no"}}), DeadlineExceeded),
        (_answer(200, b"<html>"), BackendError),
        (_answer(200, b"\xff"), BackendError),
        (_answer(200, []), BackendError),
        (_answer(200, {"predictions": [GOOD], "infer_ms": 1, "engine": "torch"}), BackendError),
        (_answer(200, {"predictions": [GOOD, GOOD]}), BackendError),
        (
            _answer(200, {"predictions": [GOOD, {**GOOD, "logits": [1.0] * 4}], "infer_ms": 1, "engine": "torch"}),
            BackendError,
        ),
        (_answer(200, b'{"predictions": [{"logits": [NaN,1,1,1,1]}], "infer_ms": 1, "engine": "torch"}'), BackendError),
        (_answer(200, {"predictions": [GOOD, {"error": "no"}], "infer_ms": 1, "engine": "torch"}), BackendError),
    ],
)
def test_each_failure_has_its_exception(answer: bytes, expected: type[Exception]) -> None:
    with pytest.raises(expected) as caught:
        _predict(answer)
    assert type(caught.value) is expected


@pytest.mark.parametrize(
    ("workers", "expected"),
    [([{"status": "READY"}], BackendOverloaded), ([{"status": "UNLOADING"}], BackendUnavailable)],
)
@pytest.mark.parametrize("full", [_answer(503, FULL), _answer(507, {"code": 507, "message": "full"})])
def test_a_full_queue_is_told_from_a_worker_that_died(
    full: bytes, workers: list[dict[str, str]], expected: type[Exception]
) -> None:
    with pytest.raises(expected) as caught:
        _predict(full, _answer(200, [{"modelVersion": "v1", "workers": workers}]))
    assert type(caught.value) is expected


def test_who_cannot_look_does_not_say_that_the_worker_died(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault 5."""
    monkeypatch.setattr("service.backend.torchserve.GLANCE_SECONDS", 0.05)
    with pytest.raises(BackendOverloaded):
        _predict(_answer(503, FULL), None)
    with pytest.raises(BackendOverloaded):
        _predict(_answer(503, FULL), _answer(500, {}))


def test_a_kept_connection_that_was_closed_is_opened_anew() -> None:
    good = _answer(200, {"predictions": [GOOD, GOOD], "infer_ms": 1, "engine": "torch"})
    scored, asked = _predict(b"", good)
    assert len(scored.items) == 2 and len(asked) == 2


def test_a_server_that_only_closes_connections_is_unavailable() -> None:
    with pytest.raises(BackendUnavailable):
        _predict(b"", b"")


def test_a_model_whose_worker_dies_is_given_up_and_removed(v1: Release) -> None:
    def workers(pid: int) -> bytes:
        return _answer(200, [{"modelVersion": "v1", "workers": [{"status": "UNLOADING", "pid": pid}]}])

    async def ask(client: TorchServe) -> list[str]:
        with pytest.raises(ModelError):
            await client.load(v1, 30)
        return []

    _, asked = _run([_answer(202, {}), workers(7), workers(8), _answer(200, {})], ask)
    assert asked[0] == "POST /models?url=review-stars-v1&initial_workers=1&synchronous=false HTTP/1.1"
    assert asked[-1] == "DELETE /models/m/v1 HTTP/1.1"


def _described(status: str, **settings: int) -> bytes:
    workers = [{"status": status, "pid": 7}]
    return _answer(200, [{"modelVersion": "v1", "workers": workers} | WorkerSettings().values() | settings])


def test_a_worker_that_is_being_started_again_is_waited_for_and_never_unloaded(
    v1: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 2 and 5: not even where the management API does not answer meanwhile."""
    monkeypatch.setattr("service.backend.torchserve.MANAGE_SECONDS", 0.05)
    starting, ready = _described("UNLOADING"), _described("READY")
    answers = [_answer(409, {}), starting, starting, None, starting, ready]
    _, asked = _run(answers, lambda client: client.load(v1, 30))
    assert [line.split()[0] for line in asked] == ["POST", *["GET"] * 5]

    async def lost(client: TorchServe) -> None:
        with pytest.raises(NotLoaded):
            await client.load(v1, 30)

    _, asked = _run([_answer(409, {}), starting, _answer(404, {})], lost)
    assert [line.split()[0] for line in asked] == ["POST", "GET", "GET"]


def test_a_model_that_was_registered_with_other_settings_is_registered_anew(v1: Release) -> None:
    """Fault 19: the first DELETE is refused, because it is the default among others."""
    others = _answer(200, [{"modelVersion": "v1"}, {"modelVersion": "v2"}])
    answers = [_answer(409, {}), _described("READY", startupTimeout=5), _answer(403, {}), others, _answer(200, {})]
    answers += [_answer(200, {}), _answer(202, {}), _described("READY")]
    _, asked = _run(answers, lambda client: client.load(v1, 30))
    assert [" ".join(line.split()[:2]) for line in asked[2:6]] == [
        "DELETE /models/m/v1",
        "GET /models/m/all",
        "PUT /models/m/v2/set-default",
        "DELETE /models/m/v1",
    ]
    assert asked[6] == asked[0]


def test_a_model_that_takes_too_long_or_is_refused_is_removed(v1: Release) -> None:
    async def ask(client: TorchServe) -> None:
        with pytest.raises(BackendError):
            await client.load(v1, 0.05)

    loading = _answer(200, [{"modelVersion": "v1", "workers": [{"status": "UNLOADING", "pid": 7}]}])
    _, asked = _run([_answer(202, {}), loading, _answer(200, {}), _answer(200, {})], ask)
    assert asked[-1].startswith("DELETE")
    refused = {"code": 400, "type": "DownloadArchiveException", "message": "Failed to download archive"}
    _, asked = _run([_answer(400, refused), _answer(404, {})], ask)
    assert asked[-1].startswith("DELETE")


def test_what_is_loaded_is_listed() -> None:
    described = [
        {"modelVersion": "v1", "workers": [{"status": "READY"}]},
        {"modelVersion": "v2", "workers": [{"status": "UNLOADING"}]},
        {"modelVersion": "v3"},
    ]
    found, _ = _run([_answer(200, described)], lambda client: client.loaded())
    assert found == {"v1": True, "v2": False, "v3": False}
    assert _run([_answer(404, {})], lambda client: client.loaded())[0] == {}
