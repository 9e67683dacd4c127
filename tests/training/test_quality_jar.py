"""Deequ's jar: this very one, from wherever it comes, or an engine that needs none."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from contracts.errors import ConfigError, MachineError
from training.quality import jar
from training.quality.choice import choose
from training.quality.jar import NAME, find_jar

from .jars import JAR, with_jar


@contextmanager
def serving(content: bytes | None) -> Iterator[str]:
    """A repository with a jar of this content; None is a repository without one."""

    class Repository(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(404 if content is None else 200)
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Repository) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/{NAME}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def nowhere() -> str:
    """A URL at which nobody answers."""
    with serving(None) as url:
        return url


def test_another_jar_is_refused_whoever_names_it(tmp_path: Path) -> None:
    other = tmp_path / NAME
    other.write_bytes(b"PK another")
    for wanted in ("deequ", "auto"):
        with pytest.raises(ConfigError, match="its sha256 is another: it is not used"):
            choose(wanted, str(other), tmp_path / "jars")
    with serving(b"PK another") as url, pytest.raises(ConfigError, match="its sha256 is another: it is not used"):
        find_jar(url, tmp_path / "jars")
    assert not (tmp_path / "jars").exists()


def test_a_file_without_end_is_not_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jar, "BYTES_LIMIT", 1000)
    with serving(b"0" * 50_000_000) as url, pytest.raises(ConfigError, match="another"):
        find_jar(url, tmp_path / "jars")


def test_one_that_is_not_there_is_a_sentence(tmp_path: Path, nowhere: str) -> None:
    with pytest.raises(ConfigError, match="there is no Deequ jar .*: correct quality.jar"):
        find_jar(str(tmp_path / NAME), tmp_path)
    with serving(None) as url, pytest.raises(MachineError, match="it answers 404.*STARS_QUALITY_JAR"):
        find_jar(url, tmp_path)
    with pytest.raises(MachineError, match=r"cannot be fetched .*no answer"):
        find_jar(nowhere, tmp_path)
    with pytest.raises(MachineError, match="no answer"):
        find_jar("ftp://somewhere/jar", tmp_path)


def test_auto_goes_without_where_there_is_none_and_says_so(
    tmp_path: Path, nowhere: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jar, "MAVEN", nowhere)
    chosen = choose("auto", "", tmp_path)
    assert (chosen.engine.name, chosen.jar) == ("spark", None)
    assert "cannot be fetched" in chosen.reason
    with pytest.raises(MachineError, match="cannot be fetched"):
        choose("deequ", "", tmp_path)
    assert choose("spark", "", tmp_path).reason == "asked for"


@pytest.mark.shared
@with_jar
def test_what_is_fetched_is_kept_and_one_that_was_damaged_is_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nowhere: str
) -> None:
    kept = tmp_path / "jars" / NAME
    with serving(JAR.read_bytes()) as url:
        monkeypatch.setattr(jar, "MAVEN", url)
        assert find_jar("", kept.parent) == kept
        kept.write_bytes(b"PK cut short")
        assert find_jar("", kept.parent) == kept
    monkeypatch.setattr(jar, "MAVEN", nowhere)
    chosen = choose("auto", "", kept.parent)
    assert (chosen.engine.name, chosen.jar, chosen.reason) == ("deequ", kept, "its jar is there")
    assert [file.name for file in kept.parent.iterdir()] == [NAME]


@pytest.mark.shared
@with_jar
def test_one_that_cannot_be_kept_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "jars").write_text("a file")
    with serving(JAR.read_bytes()) as url, pytest.raises(MachineError, match="cannot be (kept|read)"):
        find_jar(url, tmp_path / "jars")
    assert find_jar(str(JAR), tmp_path / "jars") == JAR
