from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner, Result

from contracts.errors import BackendUnavailable, ConfigError, ReviewError
from service.cli import app
from service.predict.cli import STDIN_BYTES
from service.running import Running

ANSWER = {"stars": 2, "confidence": 0.5, "truncated": True, "tokens": 9, "model": "review-stars", "version": "v1"}
ANSWER["probabilities"] = {str(star): 0.2 for star in range(1, 6)}


def _stars(*words: str, given: bytes | None = None) -> Result:
    return CliRunner().invoke(app, list(words), input=given)


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("STARS_URL", "STARS_HOST", "STARS_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("STARS_HOME", str(tmp_path / "home"))


class Server:
    """Answers every POST with the same."""

    def __init__(self) -> None:
        self.answer: object = ANSWER
        self.status = 200
        self.asked: list[dict[str, str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.asked.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                body = json.dumps(outer.answer).encode()
                self.send_response(outer.status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_words: object) -> None:
                pass

        self.http = HTTPServer(("127.0.0.1", 0), Handler)
        self.port = str(self.http.server_address[1])


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    thread = threading.Thread(target=found.http.serve_forever)
    thread.start()
    yield found
    found.http.shutdown()
    thread.join()
    found.http.server_close()


def test_without_a_gateway_it_says_how_to_start_one() -> None:
    result = _stars("predict", "Works.", "--url", "http://127.0.0.1:1")
    assert isinstance(result.exception, BackendUnavailable)
    assert "stars up" in str(result.exception)
    for address in ("no address", "ftp://127.0.0.1", "http://[::1"):
        assert isinstance(_stars("predict", "Works.", "--url", address).exception, BackendUnavailable)


def test_it_passes_on_what_the_gateway_says(client: httpx.Client) -> None:
    result = _stars("predict", " ", "--url", str(client.base_url))
    assert "blank" in str(result.exception)
    result = _stars("predict", "Works.", "--url", str(client.base_url))
    assert "model server" in str(result.exception)


def test_host_and_port_count(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault 32: as they do for `stars up`; an address of one's own wins."""
    monkeypatch.setenv("STARS_PORT", server.port)
    assert "2 of 5, 50% sure" in _stars("predict", "Works.").stdout
    monkeypatch.setenv("STARS_HOST", "0.0.0.0")  # noqa: S104  # where a gateway listens, not where it is asked
    assert _stars("predict", "Works.").exit_code == 0
    monkeypatch.setenv("STARS_URL", "http://127.0.0.1:1")
    assert "127.0.0.1:1" in str(_stars("predict", "Works.").exception)
    monkeypatch.delenv("STARS_URL")
    monkeypatch.setenv("STARS_PORT", "eighty")
    failed = _stars("predict", "Works.")
    assert isinstance(failed.exception, ConfigError) and str(failed.exception) == "STARS_PORT: must be a whole number"


def test_a_running_stars_up_is_found(server: Server, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    up = tmp_path / "home" / "up.json"
    running = Running.this(f"http://127.0.0.1:{server.port}", "file:///store")
    running.write(up)
    assert up.stat().st_mode & 0o777 == 0o600
    assert _stars("predict", "Works.").exit_code == 0
    for gone in (running.model_copy(update={"began": 1.0}).model_dump_json(), "{}", "\0"):
        up.write_text(gone)
        assert Running.read(up) is None


def test_standard_input(server: Server) -> None:
    """Fault 32."""
    asked = ("predict", "-", "--title", "Waste", "--url", f"http://127.0.0.1:{server.port}")
    assert "2 of 5" in _stars(*asked, given="\ufeffBroke — after\ntwo days.\n".encode()).stdout
    assert server.asked == [{"text": "Broke — after\ntwo days.\n", "title": "Waste", "category": ""}]
    for given, told in ((b"caf\xe9", "not UTF-8 at byte 3"), (b"x" * (STDIN_BYTES + 1), "more than 1048576 bytes")):
        failed = _stars(*asked, given=given)
        assert isinstance(failed.exception, ReviewError) and told in str(failed.exception)
    failed = _stars("predict", "caf\udce9", "--url", f"http://127.0.0.1:{server.port}")
    assert isinstance(failed.exception, ReviewError)
    assert len(server.asked) == 1


@pytest.mark.parametrize("answer", [[], {}, "text", {"error": "no"}, {"error": {}}, {"stars": 3}])
@pytest.mark.parametrize("status", [200, 404])
def test_another_server_is_told_from_ours(server: Server, answer: object, status: int) -> None:
    server.answer, server.status = answer, status
    failed = _stars("predict", "Works.", "--url", f"http://127.0.0.1:{server.port}")
    assert isinstance(failed.exception, BackendUnavailable) and "not our gateway" in str(failed.exception)
