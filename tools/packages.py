"""Fill .venv from the lock, one group of packages after the other. install.py starts this with .venv's own Python.

PyTorch comes first and on Linux always as its CPU build: from where pip's settings look, else from PyTorch's own index.
With nothing changed since the last run there is nothing to do, and that is found out at once.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import sys
import sysconfig
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from interpreter import SUPPORTED
from progress import LOG, ROOT, Failed, Step, say
from uv_settings import PIP, UV, uv_settings

STAMP = ROOT / ".venv" / "review-stars-install.json"
LOCKS = {"all": ROOT / "requirements.lock", "serve": ROOT / "requirements-serve.lock"}
SERVING = {"serving": "service,torchserve,aws"}
EVERYTHING = {**SERVING, "training": "training", "development, PostgreSQL": "dev,postgresql"}
"""The groups, with the extras in pyproject.toml that ask for their packages."""

TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
NO_TORCH = """\
error: the CPU build of PyTorch {version} came neither from where pip's settings look nor from {index}.
If the network failed, run the same command again; what came is kept. Otherwise run it with one of these:
  STARS_TORCH=/path/to/torch-{version}+cpu-....whl   use this wheel
  STARS_ALLOW_CUDA=1   take the CUDA build from the package index (several gigabytes)"""


class Installer(NamedTuple):
    """The words that begin a command line, and the environment variables that go with it."""

    install: list[str]
    settings: dict[str, str]


def main() -> int:
    profile = "serve" if "--serve" in sys.argv[1:] else "all"
    here = ".".join(map(str, sys.version_info[:2]))
    if here not in SUPPORTED:
        say(f"error: .venv holds Python {here}, which this does not run on: `make clean` removes it")
        return 1
    wanted = {each: fingerprint(lock) for each, lock in LOCKS.items()}
    done = json.loads(STAMP.read_text()) if STAMP.exists() else {}
    if any(done.get(each) == wanted[each] for each in ("all", profile)):  # everything includes what serving needs
        return 0
    try:
        fill(LOCKS[profile], SERVING if profile == "serve" else EVERYTHING)
    except Failed:
        return 1
    except KeyboardInterrupt:
        return 130
    STAMP.write_text(json.dumps({**done, profile: wanted[profile]}))
    return 0


def fingerprint(lock: Path) -> str:
    """A hash of all that decides what the environment holds."""
    files = (lock, ROOT / "pyproject.toml", Path(__file__), Path(sys.prefix) / "pyvenv.cfg")
    return hashlib.sha256("\0".join([str(ROOT), *(path.read_text() for path in files)]).encode()).hexdigest()


def fill(lock: Path, groups: dict[str, str]) -> None:
    """Install what is missing. Raises Failed."""
    say(f"filling {ROOT / '.venv'}; what pip and uv say goes to {LOG.name} there")
    site = Path(sysconfig.get_path("purelib"))
    forget_damaged(site)
    installer = find_installer()
    install_torch(lock.read_text().partition("\ntorch==")[2].split()[0], installer)
    for name, extras in groups.items():
        with Step(name) as step:
            step.need(
                *installer.install, "--constraint", lock, "--editable", f"{ROOT}[{extras}]", env=installer.settings
            )
    with Step("compiling") as step:
        step.run(sys.executable, "-m", "compileall", "-q", "-j", "0", site)  # a few files are for other Pythons


def forget_damaged(site: Path) -> None:
    """Let a package count as not installed where an interrupted installation has left it without some of its files."""
    for folder in site.glob("*.dist-info"):
        if not is_whole(folder):
            shutil.rmtree(folder)


def is_whole(folder: Path) -> bool:
    """Whether the files are there that a package's RECORD names; scripts are of another size than it says."""

    def is_there(name: str, size: str) -> bool:
        path = folder.parent / name
        if not path.exists():
            return name.endswith(".pyc")
        return name.startswith("..") or not size or path.stat().st_size == int(size)

    record = folder / "RECORD"
    if not record.exists():
        return False
    with record.open(encoding="utf-8", newline="") as file:
        return all(is_there(name, size) for name, _, size in csv.reader(file))


def find_installer() -> Installer:
    """`uv pip install`, or pip's where uv cannot be had. Raises Failed."""
    with Step("pip and uv") as step:
        if installed("pip") is None:
            step.need(sys.executable, "-m", "ensurepip")
        if f"uv=={installed('uv')}" == UV or step.run(sys.executable, *PIP, UV):
            return Installer([sys.executable, "-m", "uv", "pip", "install"], uv_settings(sys.executable))
        if step.network_failed():
            raise Failed
    return Installer([sys.executable, *PIP], {})


def install_torch(torch: str, installer: Installer) -> None:
    """Put the CPU build in place, unless some build of this version is there. Raises Failed."""
    if sys.platform != "linux" or (installed("torch") or "").split("+")[0] == torch:
        return  # elsewhere the package index's own build is the CPU build
    install, settings = installer
    with Step(f"PyTorch {torch}") as step:
        if wheel := os.environ.get("STARS_TORCH"):
            step.need(*install, "--no-deps", os.path.abspath(wheel), env=settings)
        elif os.environ.get("STARS_ALLOW_CUDA") == "1":
            step.need(*install, f"torch=={torch}", env=settings)
        else:
            build = ["--no-deps", f"torch=={torch}+cpu"]
            if step.run(*install, *build, env=settings):
                return
            if step.network_failed():
                raise Failed
            otherwise = NO_TORCH.format(version=torch, index=TORCH_INDEX)
            step.need(*install, *build, "--index-url", TORCH_INDEX, env=settings, otherwise=otherwise)


def installed(name: str) -> str | None:
    """The version of a package in .venv."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    sys.exit(main())
