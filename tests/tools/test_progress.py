"""What a step of the installation shows, and what it does when the network fails or somebody presses Ctrl-C."""

from __future__ import annotations

import base64
import functools
import hashlib
import io
import os
import pty
import re
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import progress
import pytest
from progress import Failed, Step

TOOLS = Path(progress.__file__).parent
UV = [sys.executable, "-m", "uv", "pip", "install", "--no-config"]


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The log of the steps, which wait a moment only before they try again."""
    path = tmp_path / "install.log"
    monkeypatch.setattr(progress, "LOG", path)
    monkeypatch.setattr(progress, "PAUSES", (0.01, 0.01))
    return path


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_one_quiet_line(log: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Fault 32: 59 lines of packages and pip's warnings for every group."""
    with Step("serving") as step:
        step.need(*python("print('\\n'.join(map(str, range(59))))"))
    assert re.fullmatch(r"serving \.\.\. \d+ s\n", capfd.readouterr().err)
    assert "\n58\n" in log.read_text()


def test_a_failure_shows_the_last_words_and_what_to_do(log: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Failed), Step("serving") as step:
        step.need(*python("import sys; print('before'); sys.exit('no space left')"))
    name, *words, advice, where = capfd.readouterr().err.splitlines()
    assert name == "serving ... failed"
    assert words == ["before", "no space left"]
    assert advice == "error: serving: see above. Run the same command again to go on; what came is kept"
    assert str(log) in where


def test_alive_on_a_terminal(tmp_path: Path) -> None:
    """The line is drawn anew while a program runs, and stays as it would in a file."""
    code = f"""
import sys; sys.path.insert(0, {str(TOOLS)!r})
import pathlib, progress
progress.LOG = pathlib.Path({str(tmp_path / "log")!r})
with progress.Step("serving") as step:
    step.need(sys.executable, "-c", "input_ = open({str(tmp_path / "go")!r}).read()")
"""
    os.mkfifo(tmp_path / "go")
    ours, theirs = pty.openpty()
    with subprocess.Popen([sys.executable, "-c", code], stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        drawn = b""
        while drawn.count(b"\r\x1b[Kserving ... 0 s") < 2:
            drawn += os.read(ours, 1000)
        (tmp_path / "go").write_text("go")
        assert process.wait(30) == 0
    rest = os.read(ours, 1000)
    os.close(ours)
    assert re.search(rb"\r\x1b\[Kserving \.\.\. \d+ s\r\n$", drawn + rest)
    if sys.platform == "linux":
        assert b" MB written" in drawn


def test_ctrl_c_ends_the_program_too(tmp_path: Path) -> None:
    """Without a traceback; also where only this process was told, and not its whole group."""
    code = f"""
import sys; sys.path.insert(0, {str(TOOLS)!r})
import pathlib, progress
progress.LOG = pathlib.Path({str(tmp_path / "log")!r})
try:
    with progress.Step("serving") as step:
        step.need(sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(600)")
except KeyboardInterrupt:
    sys.exit(130)
"""
    heed = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # ignored in the background
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, preexec_fn=heed) as process:
        while not (found := re.search(r"^(\d+)\n", _text(tmp_path / "log"), re.MULTILINE)):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert process.stderr is not None and process.stderr.read() == "serving ... interrupted\n"
    with pytest.raises(ProcessLookupError):
        os.kill(int(found[1]), 0)


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def test_a_network_that_comes_back(log: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Fault 33: what came before the cut is not fetched again."""
    with _index("one", "two") as index:
        index.cuts = {"two"}
        index.mends_after = 2
        with Step("serving") as step:
            step.need(*UV, "--target", tmp_path / "site", "one", "two", env=_uv(index, tmp_path))
    assert re.fullmatch(r"serving \.\.\. \d+ s\n", capfd.readouterr().err)
    assert index.asked.count("/one-1.0-py3-none-any.whl") == 1
    assert {"one.py", "two.py"} <= {each.name for each in (tmp_path / "site").iterdir()}


def test_a_network_that_stays_away(log: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with _index("one") as index:
        index.cuts = {"one"}
        with pytest.raises(Failed), Step("serving") as step:
            step.need(*UV, "--target", tmp_path / "site", "one", env=_uv(index, tmp_path))
    assert "error: serving: the network failed. Run the same command again" in capfd.readouterr().err
    assert log.read_text().count("\n$ ") == 3


def test_pip_without_a_network(
    log: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "PAUSES", ())
    words = ["-m", "pip", "install", "--isolated", "--retries", "1", "--target", str(tmp_path / "site"), "one"]
    with _index("one") as index:
        url = index.url
    with pytest.raises(Failed), Step("pip and uv") as step:
        step.need(sys.executable, *words, "--index-url", url)
    assert "error: pip and uv: the network failed. Run the same command again" in capfd.readouterr().err


def test_what_no_network_can_mend_is_not_tried_again(log: Path, tmp_path: Path) -> None:
    with _index("one") as index, Step("serving") as step:
        assert not step.run(*UV, "--target", tmp_path / "site", "one==2", env=_uv(index, tmp_path))
        assert not step.network_failed()
    assert log.read_text().count("\n$ ") == 1


class _Index(ThreadingHTTPServer):
    """A package index of tiny wheels, some of which are cut off in the middle until it has been asked often enough."""

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.wheels = {f"/{name}-1.0-py3-none-any.whl": _wheel(name) for name in names}
        self.cuts: set[str] = set()
        self.mends_after = 1_000_000
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/simple"


class _Handler(BaseHTTPRequestHandler):
    server: _Index

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        wheel = self.server.wheels.get(self.path)
        if self.path.endswith(".metadata"):
            self._send(_metadata(self.path.split("-")[0][1:]).encode(), "text/plain")
        elif wheel is None:
            name = self.path.strip("/").split("/")[-1]
            links = [
                f'<a href="{path}#sha256={hashlib.sha256(wheel).hexdigest()}" data-core-metadata="true">{path[1:]}</a>'
                for path, wheel in self.server.wheels.items()
                if path.startswith(f"/{name}-")
            ]
            self._send("".join(links).encode(), "text/html")
        elif self.path.split("-")[0][1:] in self.server.cuts and self.server.mends_after > 0:
            self.server.mends_after -= 1
            self._send(wheel[: len(wheel) // 2], "application/zip", len(wheel))
        else:
            self._send(wheel, "application/zip", len(wheel))

    def _send(self, body: bytes, kind: str, length: int | None = None) -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(length or len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


def _metadata(name: str) -> str:
    return f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"


def _wheel(name: str) -> bytes:
    info = f"{name}-1.0.dist-info"
    files = {
        f"{name}.py": "value = 1\n",
        f"{info}/METADATA": _metadata(name),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = []
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
        rows.append(f"{path},sha256={digest},{len(text)}\n")
    files[f"{info}/RECORD"] = "".join(rows) + f"{info}/RECORD,,\n"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return packed.getvalue()


@contextmanager
def _index(*names: str) -> Iterator[_Index]:
    with _Index(names) as index:
        Thread(target=index.serve_forever, daemon=True).start()
        yield index
        index.shutdown()


def _uv(index: _Index, folder: Path) -> dict[str, str]:
    """An environment in which uv knows this index only."""
    return {
        "UV_DEFAULT_INDEX": index.url,
        "UV_INDEX": "",
        "UV_FIND_LINKS": "",
        "UV_CACHE_DIR": str(folder / "cache"),
        "UV_HTTP_RETRIES": "0",
        "UV_CONCURRENT_DOWNLOADS": "1",
        "NO_PROXY": "127.0.0.1",
    }
