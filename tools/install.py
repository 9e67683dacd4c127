"""Make .venv and fill it from the lock. `python3 tools/install.py` for everything, `--serve` for what serving needs.

PyTorch comes first and on Linux always as its CPU build: from PyTorch's own index where that answers, else from what
pip's settings offer. With nothing changed since the last run there is nothing to do, and that is found out at once.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
PIP = [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check"]
STAMP = VENV / "review-stars-install.json"
LOCKS = {"all": ROOT / "requirements.lock", "serve": ROOT / "requirements-serve.lock"}
SUPPORTED = ((3, 11), (3, 12))
UV = "uv==0.13.9"
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
UV_FOR_PIP = {  # uv does not read pip's settings: the variable of uv's that means the same
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "no-index": "UV_NO_INDEX",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "proxy": "ALL_PROXY",
}
NO_TORCH = """\
error: no CPU build of PyTorch {version} for this Python can be had: {index} does not answer
and pip's find-links hold none. Do one of these and run the same command again:
  STARS_TORCH=/path/to/torch-{version}+cpu-….whl   use this wheel
  STARS_ALLOW_CUDA=1   take the CUDA build from the package index (several gigabytes)"""


def main() -> int:
    if sys.version_info[:2] not in SUPPORTED:
        return with_supported_python()
    profile = "serve" if "--serve" in sys.argv[1:] else "all"
    try:
        if not PYTHON.exists():
            say(f"making {VENV} with Python {sys.version.split()[0]}")
            subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
        wanted = {each: fingerprint(lock) for each, lock in LOCKS.items()}
        done = json.loads(STAMP.read_text()) if STAMP.exists() else {}
        if any(done.get(each) == wanted[each] for each in ("all", profile)):  # everything includes what serving needs
            return 0
        if subprocess.run([PYTHON, "-m", "pip", "--version"], capture_output=True).returncode:
            subprocess.run([PYTHON, "-m", "ensurepip"], check=True)  # the making of .venv was interrupted
        if not install_torch(LOCKS[profile].read_text().partition("\ntorch==")[2].split()[0]):
            return 1
        say(f"installing {LOCKS[profile].name} into {VENV}")
        install("-r", str(LOCKS[profile]))
        install("--no-deps", "--editable", str(ROOT))
        STAMP.write_text(json.dumps({**done, profile: wanted[profile]}))
    except subprocess.CalledProcessError as error:
        say(f"error: `{' '.join(map(str, error.cmd[:6]))} …` failed, see above. Run the same command again to go on.")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def with_supported_python() -> int:
    """Run this script again with a Python that the project supports, if there is one on PATH."""
    for major, minor in reversed(SUPPORTED):
        found = shutil.which(f"python{major}.{minor}")
        if found and not subprocess.run([found, "-c", ""], capture_output=True).returncode:
            return subprocess.run([found, *sys.argv]).returncode
    say(f"error: Python 3.11 or 3.12 is needed; {sys.executable} is {sys.version.split()[0]}. Name another: PYTHON=…")
    return 1


def fingerprint(lock: Path) -> str:
    """A hash of all that decides what the environment holds."""
    config = (VENV / "pyvenv.cfg").read_text()
    if not re.search(r"^version\S* *= *3\.1[12]\.", config, re.MULTILINE):
        raise SystemExit(f"error: {VENV} holds another Python than 3.11 or 3.12: `make clean` removes it")
    texts = [config, str(ROOT), *(path.read_text() for path in (lock, ROOT / "pyproject.toml", Path(__file__)))]
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def install_torch(version: str) -> bool:
    """Put the CPU build in place, unless some build of this version is there. False: none can be had."""
    has_it = f"import importlib.metadata as m; assert m.version('torch').split('+')[0] == '{version}'"
    if sys.platform != "linux" or not subprocess.run([PYTHON, "-c", has_it], capture_output=True).returncode:
        return True  # elsewhere the package index's own build is the CPU build
    pip = [*PIP, "--only-binary=:all:"]
    if wheel := os.environ.get("STARS_TORCH"):
        subprocess.run([*pip, "--no-deps", wheel], check=True)
        return True
    if os.environ.get("STARS_ALLOW_CUDA") == "1":
        subprocess.run([*pip, f"torch=={version}"], check=True)
        return True
    say(f"installing torch {version}, CPU build")
    index = ["--index-url", TORCH_INDEX] if answers(f"{TORCH_INDEX}/torch/", seconds=5) else []
    if subprocess.run([*pip, "--quiet", "--no-deps", *index, f"torch=={version}+cpu"]).returncode == 0:
        return True
    say(NO_TORCH.format(version=version, index=TORCH_INDEX))
    return False


def answers(url: str, seconds: float) -> bool:
    """Whether the address answers in time; in a process, because a name look-up that hangs knows no timeout."""
    ask = [str(PYTHON), "-c", f"import urllib.request as u; u.urlopen({url!r})"]
    try:
        return subprocess.run(ask, capture_output=True, timeout=seconds).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def install(*arguments: str) -> None:
    """`uv pip install`, or plain pip where uv cannot be had."""
    if subprocess.run([*PIP, "--quiet", UV]).returncode:
        subprocess.run([*PIP, *arguments], check=True)
        return
    uv = [str(PYTHON), "-m", "uv", "pip", "install", "--compile-bytecode", "--python", str(PYTHON), *arguments]
    subprocess.run(uv, check=True, cwd=ROOT, env={**uv_settings(), **os.environ})


def uv_settings() -> dict[str, str]:
    """pip's index, find-links, certificate and proxy settings as the variables that uv reads."""
    listed = subprocess.run([PYTHON, "-m", "pip", "config", "list"], capture_output=True, text=True).stdout
    settings: dict[str, str] = {}
    for line in sorted(listed.splitlines(), key=lambda each: each.startswith(":env:")):  # the environment wins
        key, _, value = line.partition("=")
        if (name := key.rpartition(".")[2]) in UV_FOR_PIP:
            separator = "," if name == "find-links" else " "
            settings[UV_FOR_PIP[name]] = separator.join(str(ast.literal_eval(value)).split())
    if "UV_INDEX" in settings:
        settings["UV_INDEX_STRATEGY"] = "unsafe-best-match"  # as pip does: look in every index
    return settings


def say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
