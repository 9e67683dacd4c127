"""Ctrl-C at `make up`. Fault 32: make said `*** [Makefile:13: up] Error 130`."""

from __future__ import annotations

import functools
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import install
import pytest

WAITS = """\
import signal, sys
try:
    print("waiting", flush=True)
    signal.pause()
except KeyboardInterrupt:
    print("stopping", flush=True)
    sys.exit(130)
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose installation is done, and whose `stars` waits for Ctrl-C."""
    shutil.copy(Path(install.TOOLS).parent / "Makefile", tmp_path)
    for path, text in (("tools/install.py", ""), (".venv/bin/stars", f"#!{sys.executable}\n{WAITS}")):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)
    return tmp_path


def _make(checkout: Path, target: str) -> subprocess.Popen[str]:
    """make as a terminal starts it: with a process group of its own, and not as part of the `make test` around it."""
    outside = {name: value for name, value in os.environ.items() if name not in ("MAKELEVEL", "MAKEFLAGS", "MFLAGS")}
    return subprocess.Popen(
        ["make", target, f"PYTHON={sys.executable}"],
        cwd=checkout,
        env=outside,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        process_group=0,
        preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # ignored in the background
    )


@pytest.mark.parametrize("target", ["up", "setup"])
def test_ctrl_c_ends_make_without_a_word(checkout: Path, target: str) -> None:
    if target == "setup":
        (checkout / "tools" / "install.py").write_text(WAITS)
    with _make(checkout, target) as make:
        assert make.stdout is not None
        assert make.stdout.readline() == "waiting\n"
        os.killpg(make.pid, signal.SIGINT)
        assert make.stdout.read() == "stopping\n"
        assert make.wait(30) == -signal.SIGINT


def test_an_interrupted_installation_is_not_taken_for_done(checkout: Path) -> None:
    """Where only the program was interrupted, make would go on to the tests."""
    (checkout / "tools" / "install.py").write_text("import sys; sys.exit(130)")
    with _make(checkout, "test") as make:
        assert make.stdout is not None
        assert "Error 130" in make.stdout.read()
        assert make.wait(30) == 2


def test_a_failure_is_still_told(checkout: Path) -> None:
    (checkout / "tools" / "install.py").write_text("import sys; sys.exit(1)")
    with _make(checkout, "up") as make:
        assert make.stdout is not None
        said = make.stdout.read()
        assert make.wait(30) == 2
    assert "Error 1" in said and "waiting" not in said
