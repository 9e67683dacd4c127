"""Where the images get PyTorch from: the one thing that an argument or a build context changes."""

from __future__ import annotations

import re
import subprocess
import zipfile
from pathlib import Path

import pytest

from .stack import ROOT

NOWHERE = "HTTPS_PROXY=http://127.0.0.1:9"
"""No index can be reached."""


def _build(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["docker", "build", "--progress", "plain", "--target", "torch", "--build-arg", NOWHERE, *arguments, "."]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("build", ["cpu", "cu130"])
def test_without_a_wheel_for_it_the_build_says_so(build: str) -> None:
    """As on an architecture that PyTorch has none for."""
    done = _build("--build-arg", "TORCH=0.0.1", "--build-arg", f"TORCH_BUILD={build}")
    assert done.returncode != 0 and f"PyTorch 0.0.1+{build} for" in done.stderr and "docs/images.md" in done.stderr


def test_an_argument_takes_the_build_for_gpus(tmp_path: Path) -> None:
    """The wheel is an empty one of that name: the real one has gigabytes."""
    [version] = re.findall(r"^ARG TORCH=(.+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    wanted = f"{version}+cu130"
    with zipfile.ZipFile(tmp_path / f"torch-{wanted}-py3-none-any.whl", "w") as wheel:
        info = f"torch-{wanted}.dist-info"
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: torch\nVersion: {wanted}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    name = ("--iidfile", str(tmp_path / "image"))
    done = _build("--build-arg", "TORCH_BUILD=cu130", "--build-context", f"wheels={tmp_path}", *name)
    assert done.returncode == 0, done.stderr
    image = (tmp_path / "image").read_text()
    try:
        code = "from importlib.metadata import version; print(version('torch'))"
        command = ["docker", "run", "--rm", image, "/opt/stars/bin/python", "-c", code]
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == wanted
    finally:
        subprocess.run(["docker", "image", "rm", image], capture_output=True)
