"""Ctrl-C in every stage: one sentence, exit code 130, nothing half written, and the next run goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from contracts.store.urls import open_store
from training.pipeline.plan import plan

ROOT = Path(__file__).parents[2]
PATIENCE = 600.0


def start(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "contracts.cli", "pipeline", "run", "--preset", "tiny"]
    command += ["--data", f"{ROOT / 'examples' / 'reviews.tsv'}", "--store", "store", "--work", "work"]
    with (folder / "log").open("w") as log:
        return subprocess.Popen(
            command,
            cwd=folder,
            env=os.environ | {"STARS_HOME": str(folder / "home")},
            stderr=log,
            text=True,
            start_new_session=True,  # so that the whole group gets the signal, as it does from a terminal
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
        )


@pytest.mark.timeout(2 * PATIENCE)
def test_ctrl_c_in_every_stage(tmp_path: Path) -> None:
    for stage in plan():
        begun, facts = tmp_path / "work" / stage / ".started.json", tmp_path / "work" / stage / "facts.json"
        with start(tmp_path) as process:
            deadline = time.monotonic() + PATIENCE
            while not begun.exists():
                assert process.poll() is None, (tmp_path / "log").read_text()[-3000:]
                assert time.monotonic() < deadline, f"{stage} did not begin"
                time.sleep(0.02)
            os.killpg(process.pid, signal.SIGINT)
            code = process.wait(PATIENCE)
        said = " ".join((tmp_path / "log").read_text().split())
        assert "Traceback" not in said, said[-3000:]
        assert code == 130, said[-3000:]
        assert "interrupted: run the same command again to go on" in said
        assert not facts.exists()
    store = open_store(str(tmp_path / "store"))
    assert not [key for key in store.list("releases/") if key.endswith("manifest.json")]

    with start(tmp_path) as process:
        assert process.wait(PATIENCE) == 0, (tmp_path / "log").read_text()[-3000:]
    done = " ".join((tmp_path / "log").read_text().split())
    assert done.count("unchanged, skipped") == len(plan()) - 1, done
    assert [key for key in store.list("releases/") if key.endswith("manifest.json")]
