from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer
from typer.testing import CliRunner, Result

from contracts.cli import COMMANDS, build
from contracts.errors import ConfigError, NotFound, ReleaseError
from contracts.release.release import Release, verify
from contracts.release.transfer import fetch, publish
from contracts.store.urls import open_store
from service.cli import app


def _stars(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def test_a_sound_release_verifies_and_a_damaged_one_says_why(tiny_release: Release, tmp_path: Path) -> None:
    assert _stars("release", "verify", str(tiny_release.folder)).exit_code == 0
    damaged = tmp_path / "damaged"
    shutil.copytree(tiny_release.folder, damaged)
    (damaged / "tokenizer.json").unlink()
    (damaged / "extra.pkl").write_bytes(b"\x80\x04.")
    (damaged / "golden.json").write_text("{}")
    result = _stars("release", "verify", str(damaged))
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert [next(line for line in lines if name in line) for name in ("tokenizer.json", "extra.pkl", "golden.json")]
    assert _stars("release", "verify", str(tmp_path / "none")).exit_code == 1


def test_releases_are_listed_and_promoted_offline(build_release: Callable[..., Release], tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    for seed, version in enumerate(("one", "two")):
        release = build_release(version=version, seed=seed)
        publish(store, release.folder, release.manifest)
    promoted = _stars("release", "promote", "one", "--store", str(tmp_path))
    assert "production of review-stars is one (before: nothing)" in promoted.stdout
    assert "is two (before: one)" in _stars("release", "promote", "two", "--store", str(tmp_path)).stdout
    headings, *lines = _stars("release", "list", "--store", str(tmp_path)).stdout.splitlines()
    assert headings.split() == ["VERSION", "CREATED", "ACCURACY", "CHANNELS"]
    assert [line.split()[0] for line in lines] == ["one", "two"]
    assert lines[1].split()[3:] == ["0.200", "production"]
    assert isinstance(_stars("release", "promote", "three", "--store", str(tmp_path)).exception, NotFound)


def test_a_release_travels(
    build_release: Callable[..., Release], bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a folder into a bucket, from there into a folder store, and through archives."""
    monkeypatch.setenv("STARS_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    release = build_release(version="one", seed=1)
    before = {path.name: path.stat().st_mtime_ns for path in release.folder.iterdir()}
    for _ in range(2):  # what is there already is no hindrance
        assert _stars("release", "push", str(release.folder), "--store", bucket).stdout.endswith(f"is in {bucket}\n")
    assert {path.name: path.stat().st_mtime_ns for path in release.folder.iterdir()} == before
    other = (tmp_path / "other").as_uri()
    assert f"one is in {other}" in _stars("release", "copy", "latest", "--from", bucket, "--to", other).stdout
    assert "review-stars is one" in _stars("release", "promote", "one", "--store", other).stdout
    pulled = _stars("release", "pull", "production", "--store", other, "--into", "pulled").stdout.strip()
    assert Path(pulled) == tmp_path / "pulled" / "review-stars" / "one" and verify(Path(pulled)) == []
    for form in ("tar.gz", "mar"):
        assert _stars("release", "pack", pulled, "--format", form).stdout == f"review-stars-one.{form}\n"
        assert _stars("release", "unpack", f"review-stars-one.{form}", "--into", form).exit_code == 0
        assert verify(tmp_path / form / "review-stars" / "one") == []
        assert _stars("release", "push", f"review-stars-one.{form}", "--store", f"{bucket}/{form}").exit_code == 0
        assert "one " in _stars("release", "list", "--store", f"{bucket}/{form}").stdout
    assert isinstance(_stars("release", "pack", pulled, "--format", "zip").exception, ConfigError)
    assert not (tmp_path / "home").exists(), "none of this is about the home folder's store"


def test_no_help_has_a_type_beside_a_flag() -> None:
    """Fault 32, for every command there is."""

    def pages(command: Any, *words: str) -> Iterator[tuple[str, str]]:
        shown = CliRunner().invoke(everything, [*words, "--help"])
        assert shown.exit_code == 0, words
        yield " ".join(words), shown.stdout
        for name, each in getattr(command, "commands", {}).items():
            yield from pages(each, *words, name)

    everything = build(entry_points(group=COMMANDS))
    shown = dict(pages(typer.main.get_command(everything)))
    assert {"up", "jobs ls", "jobs follow", "status", "logs", "pipeline run", "release list"} <= shown.keys()
    for words, page in shown.items():
        assert "<bool>" not in page, words
    assert "$STARS_STORE, else the one in the state folder." in " ".join(shown["evaluate"].split())


def test_an_unsigned_release_is_signed_in_its_store(
    tiny_release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 12."""
    store = open_store(str(tmp_path / "store"))
    publish(store, tiny_release.folder, tiny_release.manifest)
    monkeypatch.setenv("STARS_SIGNING_KEY", "a key")
    with pytest.raises(ReleaseError, match="stars release sign VERSION"):
        fetch(store, "review-stars", "tiny-1", tmp_path / "cache")
    assert _stars("release", "sign", "tiny-1", "--store", str(tmp_path / "store")).stdout.endswith("is signed\n")
    assert fetch(store, "review-stars", "tiny-1", tmp_path / "cache").manifest.signature


class TestLogs:
    """Fault 32."""

    @pytest.fixture(autouse=True)
    def home(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("STARS_HOME", str(tmp_path))
        (tmp_path / "logs").mkdir()
        return tmp_path

    def test_the_last_lines_of_one_or_of_all(self, home: Path) -> None:
        (home / "logs" / "gateway.log").write_text("".join(f"request {i}\n" for i in range(100)))
        (home / "logs" / "worker.log").write_text("worker started\n")
        assert _stars("logs", "gateway", "-n", "2").stdout == "request 98\nrequest 99\n"
        assert _stars("logs", "-n", "1").stdout == "==> gateway <==\nrequest 99\n==> worker <==\nworker started\n"

    def test_what_is_not_there(self, home: Path) -> None:
        assert "no log in" in str(_stars("logs").exception)
        assert "did you mean gateway" in str(_stars("logs", "gatway").exception)

    def test_follow(self, home: Path) -> None:
        log = home / "logs" / "gateway.log"
        log.write_text("old\n")
        command = [sys.executable, "-m", "contracts.cli", "logs", "gateway", "--follow"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "old\n"
            with log.open("a") as file:
                file.write("new\n")
            assert process.stdout.readline() == "new\n"
            os.truncate(log, 0)
            with log.open("a") as file:
                file.write("x\n")
            assert process.stdout.readline() == "x\n"
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 130


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--host", "192.0.2.1"], "set STARS_ADMIN_KEY"),
        (["--port", "70000"], "STARS_PORT"),
        (["--store", "s3://key:secret@bucket/x"], "an s3:// URL holds no key"),
        (["--store", "EMPTY"], "train one with"),
        (["--port", "TAKEN"], "is taken: choose another with --port"),
    ],
)
def test_up_refuses_in_one_sentence_before_anything_starts(
    words: list[str], told: str, client: httpx.Client, tmp_path: Path
) -> None:
    words = [{"EMPTY": str(tmp_path / "empty"), "TAKEN": str(client.base_url.port)}.get(word, word) for word in words]
    home = tmp_path / "home"
    command = [sys.executable, "-c", "from contracts.cli import main; main()", "up", "--home", str(home), *words]
    if "--store" not in words:
        command += ["--store", str(tmp_path / "store")]
    if "--port" not in words:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            command += ["--port", str(probe.getsockname()[1])]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert told in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (home / "logs").exists()


@pytest.mark.parametrize("command", ["up", "worker"])
@pytest.mark.parametrize("url", ["mongodb://x", "postgresql+psycopg2://me@host/x", "sqlite:////proc/none/jobs.db"])
def test_a_job_store_that_cannot_be_used_is_told_before_anything_starts(command: str, url: str, tmp_path: Path) -> None:
    """Fault 28: by whoever starts with it."""
    home = tmp_path / "home"
    with socket.create_server(("127.0.0.1", 0)) as probe:
        free = probe.getsockname()[1]
    environment = os.environ | {"STARS_JOBS_URL": url, "STARS_HOME": str(home), "STARS_PORT": str(free)}
    words = [sys.executable, "-m", "contracts.cli", command]
    result = subprocess.run(words, capture_output=True, text=True, timeout=60, env=environment)
    assert result.returncode == 1
    assert result.stderr.startswith("error: the database") and len(result.stderr.splitlines()) == 1
    assert not (home / "logs").exists()
