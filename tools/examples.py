"""Write the answers of all documented examples anew, as the bundled release gives them: `make examples`.

The examples are the requests to /predict on the pages below, and those in service/predict/examples.json, which the
OpenAPI document shows. tests/service/test_examples.py holds their answers to what the service answers.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import httpx

ROOT = Path(__file__).resolve().parent.parent
PAGES = (ROOT / "README.md", ROOT / "docs/api.md")
STORED = ROOT / "service/predict/examples.json"
REQUEST_ID = "example"
WIDTH = 116
READY_SECONDS = 180.0

Ask = Callable[[dict[str, Any]], dict[str, Any]]

_ASKED = re.compile(r"/predict .*?-d '(\{[^']*\})'\n.*?^( *)(?=\{)", re.DOTALL | re.MULTILINE)


class Shown(NamedTuple):
    """A request to /predict on a page, and the answer below it with its place in the page's text."""

    request: dict[str, Any]
    answer: dict[str, Any]
    start: int
    end: int
    indent: str


def shown(page: str) -> list[Shown]:
    """The examples on a page: curl commands with a body in single quotes, each with an answer that begins a line."""
    found = []
    for asked in _ASKED.finditer(page):
        answer, length = json.JSONDecoder().raw_decode(page[asked.end() :])
        found.append(Shown(json.loads(asked[1]), answer, asked.end(), asked.end() + length, asked[2]))
    return found


def formed(answer: dict[str, Any], indent: str) -> str:
    """JSON in lines that fit, broken between values, and within one only where it has no line to itself."""
    lines: list[str] = []
    for piece in _pieces(answer):
        if lines and len(lines[-1]) + len(piece) < WIDTH - len(indent):
            lines[-1] += f" {piece}"
        else:
            lines.append(f" {piece}" if lines else piece)
    return f"\n{indent}".join(lines)


def _pieces(value: Any, before: str = "", after: str = "") -> Iterator[str]:
    whole = before + json.dumps(value, ensure_ascii=False) + after
    if len(whole) <= WIDTH - 8 or not isinstance(value, dict | list):
        yield whole
        return
    brackets = "{}" if isinstance(value, dict) else "[]"
    items = value.items() if isinstance(value, dict) else [(None, each) for each in value]
    for number, (key, item) in enumerate(items, 1):
        start = before + brackets[0] if number == 1 else ""
        name = f"{json.dumps(key)}: " if key is not None else ""
        yield from _pieces(item, start + name, brackets[1] + after if number == len(value) else ",")


def rewritten(page: str, ask: Ask) -> str:
    """The page with new answers."""
    for each in reversed(shown(page)):
        page = page[: each.start] + formed(ask(each.request), each.indent) + page[each.end :]
    return page


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="examples-") as home, socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
        probe.close()
        words = ["up", "--no-worker", "--home", home, "--port", str(port), "--store", str(ROOT / "releases")]
        up = subprocess.Popen([sys.executable, "-m", "contracts.cli", *words], stdout=subprocess.DEVNULL)
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client:
                wait_ready(client, up)
                write(lambda request: asked(client, request))
        finally:
            up.terminate()
            up.wait()


def wait_ready(client: httpx.Client, up: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until and up.poll() is None:
        with suppress(httpx.TransportError):
            if client.get("/readyz").status_code == 200:
                return
        time.sleep(0.2)
    sys.exit("stars up did not start: run it by itself to see why")


def asked(client: httpx.Client, request: dict[str, Any]) -> dict[str, Any]:
    """What the service answers."""
    answer: dict[str, Any] = client.post("/predict", json=request, headers={"x-request-id": REQUEST_ID}).json()
    return answer


def write(ask: Ask) -> None:
    """Rewrite the pages and the stored examples."""
    for path in PAGES:
        path.write_text(rewritten(path.read_text(encoding="utf-8"), ask), encoding="utf-8")
    stored = json.loads(STORED.read_text(encoding="utf-8"))
    for each in stored.values():
        each["answer"] = ask(each["request"])
    STORED.write_text(json.dumps(stored, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
