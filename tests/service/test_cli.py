from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner, Result

from contracts.errors import BackendUnavailable, NotFound
from contracts.release import Release, publish
from contracts.store import open_store
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
    lines = _stars("release", "list", "--store", str(tmp_path)).stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["one", "two"]
    assert lines[1].endswith("production") and "accuracy 0.200" in lines[1]
    assert isinstance(_stars("release", "promote", "three", "--store", str(tmp_path)).exception, NotFound)


def test_predict_without_a_gateway_says_how_to_start_one() -> None:
    result = _stars("predict", "Works.", "--url", "http://127.0.0.1:1")
    assert isinstance(result.exception, BackendUnavailable)
    assert "stars up" in str(result.exception)
    assert isinstance(_stars("predict", "Works.", "--url", "no address").exception, BackendUnavailable)


def test_predict_passes_on_what_the_gateway_says(client: httpx.Client) -> None:
    result = _stars("predict", " ", "--url", str(client.base_url))
    assert "blank" in str(result.exception)
    result = _stars("predict", "Works.", "--url", str(client.base_url))
    assert "model server" in str(result.exception)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--host", "192.0.2.1"], "set STARS_ADMIN_KEY"),
        (["--port", "70000"], "STARS_PORT"),
        (["--store", "s3://bucket/x"], "s3:// stores are not supported yet"),
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
    assert result.stderr.startswith("error: the job store") and len(result.stderr.splitlines()) == 1
    assert not (home / "logs").exists()
