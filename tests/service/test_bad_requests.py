"""Every request that is refused before a model is asked, on a gateway that has none."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

JSON = {"content-type": "application/json"}


def _error(response: httpx.Response) -> dict[str, Any]:
    """The error, whose shape is the same everywhere."""
    body = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"type", "message", "request_id", "docs"}
    error: dict[str, Any] = body["error"]
    assert error["request_id"] == response.headers["x-request-id"]
    assert error["docs"] == f"/errors#{error['type']}"
    return error


def _review(**fields: Any) -> bytes:
    return json.dumps({"text": "Works.", **fields}).encode()


MALFORMED = {
    "not JSON": b"{",
    "nothing": b"",
    "NaN": b'{"text": NaN}',
    "Infinity": b'{"text": "a", "title": -Infinity}',
    "lone surrogate": b'{"text": "\\ud800"}',
    "lone surrogate as bytes": b'{"text": "\xed\xa0\x80"}',
    "Latin-1": b'{"text": "caf\xe9"}',
    "UTF-16": '{"text": "a"}'.encode("utf-16"),
    "list": b'[{"text": "a"}]',
    "string": b'"text"',
    "deep": b"[" * 50_000,
    "two values": b"{}{}",
}
INVALID = {
    "no text": b"{}",
    "number as text": b'{"text": 5}',
    "null as text": b'{"text": null}',
    "list as title": _review(title=["a"]),
    "unknown field": _review(stars=5),
    "empty text": _review(text=""),
    "blank text": _review(text=" \t\n\u00a0"),
    "long text": _review(text="x" * 20_001),
    "long title": _review(title="x" * 1_001),
    "long category": _review(category="x" * 201),
    "1 MB text": _review(text="x" * 1_000_000),
    "no reviews": b'{"reviews": []}',
    "reviews as object": b'{"reviews": {"text": "a"}}',
    "65 reviews": json.dumps({"reviews": [{"text": "Works."}] * 65}).encode(),
    "text beside reviews": b'{"reviews": [{"text": "a"}], "text": "b"}',
    "only bad reviews": b'{"reviews": [{"text": ""}, 3, {"text": "a", "x": 1}]}',
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
def test_what_is_not_a_json_object_is_400(body: bytes, client: httpx.Client) -> None:
    response = client.post("/predict", content=body, headers=JSON)
    assert (response.status_code, _error(response)["type"]) == (400, "malformed_json")


@pytest.mark.parametrize("body", INVALID.values(), ids=INVALID)
def test_what_is_not_a_review_is_422(body: bytes, client: httpx.Client) -> None:
    response = client.post("/predict", content=body, headers=JSON)
    assert response.status_code == 422
    _error(response)


def test_errors_name_the_field_and_the_review_but_not_what_was_sent(client: httpx.Client) -> None:
    bad = [{"text": ""}, 3, {"text": "secret", "secret": 1}, {"title": "secret"}]
    message = _error(client.post("/predict", json={"reviews": bad}))["message"]
    assert "reviews.0: the text is empty" in message
    assert "reviews.2: the review: has a field that is not known; what there is: text, title, category" in message
    assert "secret" not in message
    assert "text: is missing" in _error(client.post("/predict", json={}))["message"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "application/json; charset=latin-1"},
        {"content-type": "application/json", "content-encoding": "gzip"},
        {"content-type": ";;;"},
    ],
    ids=str,
)
def test_another_content_type_is_415(headers: dict[str, str], client: httpx.Client) -> None:
    response = client.post("/predict", content=_review(), headers=headers)
    assert (response.status_code, _error(response)["type"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("kind", ["application/json;charset=UTF-8", "Application/JSON", "application/json; x=y"])
def test_json_in_utf8_however_it_is_spelled_is_read(kind: str, client: httpx.Client) -> None:
    assert client.post("/predict", content=_review(), headers={"content-type": kind}).status_code == 503


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_limit_is_413(chunked: bool, client: httpx.Client) -> None:
    def pieces() -> Iterator[bytes]:
        yield from (b"x" * 65_536 for _ in range(32))

    body = pieces() if chunked else b"x" * (2 * 1024 * 1024)
    response = client.post("/predict", content=body, headers=JSON)
    assert (response.status_code, _error(response)["type"]) == (413, "body_too_large")


def test_a_client_that_waits_for_our_word_sends_no_oversized_body(client: httpx.Client) -> None:
    with socket.create_connection((client.base_url.host, client.base_url.port or 0), timeout=10) as connection:
        connection.sendall(
            b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 99999999\r\n"
            b"expect: 100-continue\r\n\r\n"
        )
        assert connection.recv(65_536).startswith(b"HTTP/1.1 413")


def test_a_body_that_never_ends_is_408(gateway: Callable[..., httpx.Client]) -> None:
    client = gateway(limits={"deadline_seconds": 0.3})
    with socket.create_connection((client.base_url.host, client.base_url.port or 0), timeout=10) as connection:
        connection.sendall(
            b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 20\r\n\r\n{"
        )
        assert connection.recv(65_536).startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "/predict", 405, "method_not_allowed"),
        ("DELETE", "/models", 405, "method_not_allowed"),
        ("GET", "/models/none", 404, "not_found"),
        ("GET", "/models/..%2f..%2fetc", 404, "not_found"),
        ("GET", "/models/UPPER", 422, "invalid_request"),
        ("POST", "/predict/", 404, "not_found"),
    ],
)
def test_errors_of_the_framework_have_the_same_shape(
    method: str, path: str, status: int, kind: str, client: httpx.Client
) -> None:
    response = client.request(method, path)
    assert (response.status_code, _error(response)["type"]) == (status, kind)
    if status == 405:
        assert response.headers["allow"]


def test_without_a_model_server_it_lives_but_is_not_ready(client: httpx.Client) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    for response in (client.get("/readyz"), client.post("/predict", json={"text": "Works."})):
        assert (response.status_code, _error(response)["type"]) == (503, "not_ready")
        assert int(response.headers["retry-after"]) > 0


def test_the_page_of_errors_explains_every_type(client: httpx.Client) -> None:
    page = client.get("/errors")
    assert page.status_code == 200
    assert "<h2 id=deadline_exceeded>504 deadline_exceeded</h2>" in page.text


def test_a_request_id_is_kept_if_it_is_harmless(client: httpx.Client) -> None:
    assert client.get("/healthz", headers={"x-request-id": "abc-1.2_3"}).headers["x-request-id"] == "abc-1.2_3"
    assert client.get("/healthz", headers={"x-request-id": "a b"}).headers["x-request-id"] != "a b"
    assert client.get("/healthz", headers={"x-request-id": "x" * 65}).headers["x-request-id"] != "x" * 65


def test_every_answer_says_where_the_time_went(client: httpx.Client) -> None:
    assert client.get("/healthz").headers["server-timing"].startswith("total;dur=")


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("/models/UPPER", "path version: must match ^[a-z0-9][a-z0-9._-]{0,63}$"),
        ("/admin/jobs/x", "path job_id: must match ^[0-9a-f]{32}$"),
        ("/admin/jobs?limit=0", "query limit: must be 1 or more"),
        ("/admin/jobs?limit=201", "query limit: must be 200 or less"),
        ("/admin/jobs?limit=many", "query limit: must be a whole number"),
        ("/admin/jobs?limit=", "query limit: must be a whole number"),
        (
            "/admin/jobs?state=fail",
            "query state: is none of what there is; did you mean failed? What there is: queued, running, succeeded, "
            "failed, cancelled",
        ),
    ],
)
def test_parameters_are_worded_as_bodies_are(
    path: str, sentence: str, client: httpx.Client, admin: dict[str, str]
) -> None:
    """Fault 30: no raw words of pydantic's."""
    assert _error(client.get(path, headers=admin))["message"] == sentence


def test_headers_are_worded_as_bodies_are(client: httpx.Client, admin: dict[str, str]) -> None:
    def message(**headers: str) -> str:
        response = client.post("/admin/retrain", json={"data": "x"}, headers=admin | headers)
        return str(_error(response)["message"])

    assert message() == "header idempotency-key: is missing"
    assert message(**{"idempotency-key": "a b"}) == "header idempotency-key: must match ^[!-~]{1,200}$"
