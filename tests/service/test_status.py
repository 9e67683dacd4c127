"""Fault 32: `stars status`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner, Result

from contracts.jobs.event import progress_made, stage_began
from contracts.jobs.leases import JobLeases
from contracts.jobs.store import JobStore
from service.cli import app


def _status(*words: str) -> Result:
    return CliRunner().invoke(app, ["status", *words])


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("STARS_HOST", "STARS_JOBS_URL", "STARS_STORE", "STARS_ADMIN_KEY", "STARS_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("STARS_PORT", "1")
    monkeypatch.setenv("STARS_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_where_nothing_runs(home: Path) -> None:
    result = _status()
    assert result.exit_code == 1
    for part in ("http://127.0.0.1:1: nobody answers", "none is running: `stars worker`", str(home / "logs"), "free"):
        assert part in result.stdout
    assert not home.exists(), "looking makes nothing"


def test_a_gateway_that_does_not_predict_says_why(client: httpx.Client) -> None:
    said = _status("--json", "--url", str(client.base_url)).stdout.splitlines()
    found = json.loads(said[-1])["gateway"]  # the gateway, in this very process, logs to the same place
    assert (found["ready"], "model server" in found["reason"]) == (False, True)
    assert _status("--url", "no address").exit_code == 1


def test_workers_the_queue_and_the_disk(home: Path) -> None:
    store = JobStore(f"sqlite:///{home}/jobs.db")
    for key in "abc":
        store.submit("retrain", {}, key)
    store.close()
    leases = JobLeases(f"sqlite:///{home}/jobs.db")
    running = leases.claim("w1", 60)
    assert running is not None
    leases.heartbeat(running.id, "w1", 60, [stage_began("train"), progress_made(0.5)])
    leases.close()
    (home / "logs").mkdir()
    (home / "logs" / "big.log").write_bytes(b"x" * 5_000_000)
    (home / "twice").hardlink_to(home / "logs" / "big.log")
    (home / "admin.key").touch()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        (home / "torchserve").mkdir()
        (home / "torchserve" / "endpoints.json").write_text(json.dumps({"pid": other.pid}))
        found = json.loads(_status("--json").stdout)
        shown = _status().stdout
        other.kill()
    assert found["jobs"]["workers"] == ["w1"] and found["jobs"]["waiting"] == 2
    assert found["jobs"]["running"] == [{"id": running.id, "stage": "train", "progress": 0.5}]
    assert 5_000_000 <= found["disk"]["used_bytes"] < 6_000_000
    assert found["torchserve"] == {"running": False, "pid": None}, "another program has its number by now"
    assert f"{running.id[:12]} in stage train, 50% done; 2 waiting (1 job is ahead" in shown
    assert str(home / "admin.key") in shown


def test_a_job_store_in_trouble_is_one_line(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STARS_JOBS_URL", f"postgresql+psycopg://me:secret-word@/x?host={home}")
    shown = _status().stdout
    assert "does not answer" in shown and "secret-word" not in shown
