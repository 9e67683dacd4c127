"""What `stars pipeline run` refuses before it does any work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("store", "told"),
    [
        ("s3://Stars/x", "names no bucket"),
        ("file", "is not a folder"),
        ("file/store", "file/store"),
    ],
)
def test_a_store_that_cannot_take_the_release(store: str, told: str, tmp_path: Path) -> None:
    """Fault 28: it trained for twelve minutes first."""
    (tmp_path / "file").touch()
    where = store if "://" in store else str(tmp_path / store)
    words = ["pipeline", "run", "--data", "examples/reviews.tsv", "--preset", "tiny", "--store", where]
    command = [sys.executable, "-m", "contracts.cli", *words, "--work", str(tmp_path / "work")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 1 and not (tmp_path / "work").exists()
    [sentence] = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert told in result.stderr and "Traceback" not in result.stderr and sentence
    assert "0%" not in result.stderr, "no bar for a run that does not begin"


def test_a_worker_refuses_it_too(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    words = ["worker", "--home", str(tmp_path / "home"), "--store", str(tmp_path / "file" / "store")]
    result = subprocess.run([sys.executable, "-m", "contracts.cli", *words], capture_output=True, text=True, timeout=60)
    assert result.returncode == 1 and len(result.stderr.splitlines()) == 1
    assert str(tmp_path / "file/store") in result.stderr
