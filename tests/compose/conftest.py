"""The whole service in containers, from docker-compose.yml as it is, under a project name of its own.

Whatever happens, `docker compose down -v` ends it. What the tests measure is printed at the end of the run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import make_secrets
import pytest

from .stack import Figure, Stack, free_port, wheels

_figures: list[str] = []


@pytest.fixture(scope="session")
def figure() -> Figure:
    """Notes a figure for the table at the end."""
    return lambda name, value: _figures.append(f"{name:<64} {value}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _figures:
        terminalreporter.section("what the containers did")
        for line in _figures:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def built(figure: Figure) -> Iterator[Stack]:
    """`docker compose build`, as anybody would type it but for secrets, ports and a name of its own."""
    # Not one of pytest's own, which other runs clear away: a container that is started again mounts its secrets anew.
    folder = Path(tempfile.mkdtemp(prefix="stars-compose-"))
    make_secrets.main(folder)
    assert shutil.which("docker"), "install Docker with Compose first: docs/images.md"
    settings = {
        "STARS_PROJECT": f"stars-test-{os.getpid()}",
        "STARS_TAG": f"test-{os.getpid()}",
        "STARS_SECRETS": str(folder / make_secrets.FOLDER),
        "STARS_PORT": str(free_port()),
        "STARS_BALANCER_PORT": str(free_port()),
        "STARS_WHEELS": str(wheels(folder)),
    }
    stack = Stack(settings, folder / make_secrets.FOLDER)
    try:
        started = time.monotonic()
        stack.compose("--profile", "scale", "--profile", "observability", "build", *stack.ours, timeout=1800)
        figure("images built (what was built before is not built again)", f"{time.monotonic() - started:.0f} s")
        yield stack
    finally:
        stack.forget_images()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def images(built: Stack) -> str:
    """The tag of the images."""
    return built.settings["STARS_TAG"]


@pytest.fixture(scope="session")
def stack(built: Stack, figure: Figure) -> Iterator[Stack]:
    """`docker compose up --wait`."""
    try:
        started = time.monotonic()
        built.compose("up", "-d", "--wait", "--no-build", timeout=300)
        figure("`docker compose up --wait`: all healthy", f"{time.monotonic() - started:.0f} s")
        yield built
    except subprocess.CalledProcessError:
        built.show_logs()
        raise
    finally:
        built.compose("--profile", "*", "down", "-v", "--remove-orphans", "-t", "20", timeout=180)
