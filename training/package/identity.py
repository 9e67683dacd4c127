"""What a release is called, and which code made it."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path

from contracts.installation import ROOT
from training.running.fingerprint import file_sha256

DISTRIBUTION = "review-stars"


def new_version(folder: Path) -> str:
    """UTC time and eight digits of what the model computes with, such as 20261123-153000-ab12cd34."""
    names = ("config.json", "model.safetensors", "tokenizer.json")
    digest = hashlib.sha256("".join(file_sha256(folder / name) for name in names).encode()).hexdigest()
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{digest[:8]}"


def code_revision() -> str:
    """The commit of this checkout ("-dirty" when files differ from it), else the installed version, if known."""
    git = shutil.which("git")
    if git is not None and (ROOT / ".git").exists():  # an installed copy may lie inside somebody else's checkout
        command = [git, "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude", "*"]
        described = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        if described.returncode == 0:
            return described.stdout.strip()
    with suppress(PackageNotFoundError):  # an image may hold the folders without the package's metadata
        return f"{DISTRIBUTION} {installed_version(DISTRIBUTION)}"
    return f"{DISTRIBUTION}, revision not known"
