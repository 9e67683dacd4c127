from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from service.local.supervise import Program, SupervisedProgram
from service.local.up import programs
from service.settings import Settings


def test_a_childs_log_is_kept_within_bounds_while_it_runs(tmp_path: Path) -> None:
    """Fault 25."""
    code = "while True: print('x' * 1000, flush=True)"
    log = tmp_path / "noisy.log"
    child = SupervisedProgram(Program("noisy", [sys.executable, "-c", code], os.environ, log, log_bytes=20_000))
    child.start()
    try:
        until = time.monotonic() + 60
        while not (tmp_path / "noisy.log.3").exists():
            assert child.keep_running() is None and time.monotonic() < until
    finally:
        child.kill()
        child.wait_stopped()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["noisy.log", *(f"noisy.log.{i}" for i in (1, 2, 3))]
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_only_who_reads_the_store_is_told_its_credentials(
    settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    given = settings()
    given.paths.create()
    told = {each.name: each.environment for each in programs(given, "s3://stars", None, worker=True)}
    assert {name for name, environment in told.items() if "AWS_SECRET_ACCESS_KEY" in environment} == {
        "the gateway",
        "the worker",
    }
