from __future__ import annotations

import asyncio
import json
import re
import socket
from typing import Any

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from service.http.middleware import RequestLog
from service.metrics import Metrics

SPELLINGS = [
    "/admin%2fjobs", "/admin%2Fjobs", "/%61dmin/jobs", "//admin/jobs", "/admin//jobs", "/./admin/jobs",
    "/x/../admin/jobs", "/models/..%2fadmin/jobs", "/models/%2e%2e/admin/jobs", "/admin\\jobs", "/admin%5cjobs",
    "/admin/jobs%00", "/admin;x=1/jobs", "/admin/jobs%3f", "/admin%252fjobs", "/healthz%20", "/%68ealthz",
    "/models/v1/..", "http://x/admin%2fjobs",
]  # fmt: skip


@pytest.mark.parametrize("path", SPELLINGS)
def test_an_address_has_one_spelling(path: str, client: httpx.Client) -> None:
    """Fault 29: another one would pass a proxy's rule for /admin/."""
    request = f"GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer an-admin-key-for-tests\r\n\r\n"
    with socket.create_connection((client.base_url.host, client.base_url.port or 0), timeout=20) as connection:
        connection.sendall(request.encode())
        with connection.makefile("rb") as answer:  # head and body may come in two pieces
            head = b"".join(iter(answer.readline, b"\r\n"))
            [length] = re.findall(rb"(?i)content-length: (\d+)", head)
            body = answer.read(int(length))
    error = json.loads(body)["error"]
    assert (head.split()[1], error["type"], error["docs"]) == (b"404", "not_found", "/errors#not_found")
    assert error["request_id"].encode() in head


def test_a_query_may_have_any_spelling(client: httpx.Client, admin: dict[str, str]) -> None:
    assert client.get("/admin/jobs?state=%66ailed&x=//..%2f", headers=admin).status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/metrics", "/models", "/docs", "/openapi.json", "/errors", "/readyz"])
def test_head_works_wherever_get_does(path: str, client: httpx.Client) -> None:
    """Fault 30."""
    got, head = client.get(path), client.head(path)
    assert (head.status_code, head.content) == (got.status_code, b"")
    assert head.headers["content-type"] == got.headers["content-type"]
    if path == "/healthz":
        assert 'method="HEAD",route="/healthz",status="200"' in client.get("/metrics").text


def test_head_is_no_way_into_what_only_post_may(client: httpx.Client) -> None:
    answer = client.head("/predict")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_the_root_leads_to_the_documentation(client: httpx.Client) -> None:
    """Fault 30."""
    assert client.get("/", follow_redirects=True).url.path == "/docs"
    assert client.head("/").headers["location"] == "/docs"


def test_a_request_that_is_cut_off_when_the_server_stops_is_answered_in_shape() -> None:
    """Fault 13: the server's own words would be plain text."""
    sent: list[Message] = []

    async def endless(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.Event().wait()

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    async def run() -> None:
        scope: dict[str, Any] = {"type": "http", "method": "POST", "headers": []}
        request = asyncio.create_task(RequestLog(endless, Metrics())(scope, receive, send))
        await asyncio.sleep(0)
        request.cancel()
        await request

    asyncio.run(run())
    assert sent[0]["status"] == 503
    assert "stopped" in json.loads(sent[1]["body"])["error"]["message"]
