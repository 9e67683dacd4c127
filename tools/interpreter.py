"""The Python that .venv is made with: one that is here, or one that uv brings. Runs on Python 3.8 and later."""

from __future__ import annotations

import shutil
import subprocess
import sys
from tempfile import TemporaryDirectory

from progress import ROOT, Step, say
from uv_settings import PIP, UV, uv_settings

SUPPORTED = ("3.11", "3.12")
"""The first is what everything is measured on, and what is brought."""

MEGABYTES = 30
NOT_BROUGHT = """\
error: Python {wanted} could not be fetched. Run the same command again if the network failed. Otherwise install
Python {supported} yourself and name it, unless it is on PATH: make up PYTHON=/path/to/python{wanted}"""


def found_python() -> str | None:
    """A Python that the project runs on, this one or one on PATH."""
    here = ".".join(map(str, sys.version_info[:2]))
    named = [shutil.which(f"python{each}") for each in SUPPORTED]
    if here in SUPPORTED:
        named.insert(0, sys.executable)
    return next((each for each in named if each and _is_whole(each)), None)


def brought_python() -> str:
    """A Python that uv puts into .venv/python: the uv on PATH, else one for the moment. Raises Failed."""
    wanted, brought = SUPPORTED[0], ROOT / ".venv" / "python"
    here = f"{sys.executable} is {sys.version.split()[0]}, and no whole Python {' or '.join(SUPPORTED)} is on PATH"
    say(f"{here}: getting {wanted} (about {MEGABYTES} MB)")
    with TemporaryDirectory(prefix="review-stars-") as folder, Step(f"Python {wanted}") as step:
        uv = shutil.which("uv")
        if uv is None:
            step.need(sys.executable, "-m", "venv", folder)
            step.need(f"{folder}/bin/python", *PIP, UV)
            uv = f"{folder}/bin/uv"
        settings = uv_settings(sys.executable)
        settings["UV_PYTHON_INSTALL_DIR"] = str(brought)
        settings["UV_PYTHON_INSTALL_BIN"] = "0"
        otherwise = NOT_BROUGHT.format(wanted=wanted, supported=" or ".join(SUPPORTED))
        step.need(uv, "python", "install", wanted, env=settings, otherwise=otherwise)
    return str(min(brought.glob(f"cpython-{wanted}*/bin/python{wanted}")))


def _is_whole(python: str) -> bool:
    """Whether it starts and can make environments: Debian's cannot, and a version manager's may be an empty name."""
    return subprocess.run([python, "-c", "import ensurepip, venv"], capture_output=True).returncode == 0
