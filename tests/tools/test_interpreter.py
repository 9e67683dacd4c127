"""Which Python .venv is made with. Fault 33: both commands stopped where there was neither 3.11 nor 3.12."""

from __future__ import annotations

import ast
import json
import platform
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import install
import interpreter
import progress
import pytest
import uv_settings
from progress import Failed

HERE = ".".join(map(str, sys.version_info[:2]))
NEWER = (3, 14, 1, "final", 0)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A checkout without .venv, on a machine without any Python on PATH."""
    (tmp_path / ".venv").mkdir()
    monkeypatch.setattr(interpreter, "ROOT", tmp_path)
    monkeypatch.setattr(progress, "LOG", tmp_path / ".venv" / "install.log")
    monkeypatch.setattr(progress, "PAUSES", ())
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path


def _script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("name", "oldest"),
    [
        ("install", (3, 6)),
        ("interpreter", install.OLDEST),
        ("progress", install.OLDEST),
        ("uv_settings", install.OLDEST),
    ],
)
def test_old_pythons_can_read_what_they_run(name: str, oldest: tuple[int, int]) -> None:
    source = Path(install.TOOLS, f"{name}.py").read_text()
    ast.parse(source, feature_version=oldest)
    if oldest < (3, 7):
        assert "from __future__" not in source


def test_too_old_to_begin_with(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 7, 9, "final", 0))
    assert install.main() == 1
    assert capfd.readouterr().err == "error: Python 3.8 or later is needed to begin with. Name one: PYTHON=...\n"


def test_this_python_first(root: Path) -> None:
    for each in interpreter.SUPPORTED:
        _script(root / "bin" / f"python{each}", f'exec {sys.executable} "$@"')
    assert interpreter.found_python() == sys.executable


def test_one_on_path(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that a version manager keeps for a Python that is not there does not count."""
    monkeypatch.setattr(sys, "version_info", NEWER)
    assert interpreter.found_python() is None
    _script(root / "bin" / "python3.11", "echo 'pyenv: python3.11: command not found'; exit 127")
    assert interpreter.found_python() is None
    python = _script(root / "bin" / "python3.12", f'exec {sys.executable} "$@"')
    assert interpreter.found_python() == python


def _downloads(folder: Path, url: str) -> str:
    """What uv may bring: one Python, from there."""
    libc = "gnu" if sys.platform == "linux" else "none"
    system = "linux" if sys.platform == "linux" else "darwin"
    machine = {"arm64": "aarch64"}.get(platform.machine(), platform.machine())
    wanted = interpreter.SUPPORTED[0]
    one = {
        "name": "cpython", "arch": {"family": machine, "variant": None}, "os": system, "libc": libc,
        "major": 3, "minor": int(wanted.partition(".")[2]), "patch": 99, "prerelease": "",
        "url": url, "sha256": None, "variant": None, "build": "20261125",
    }  # fmt: skip
    path = folder / "downloads.json"
    path.write_text(json.dumps({f"cpython-{wanted}.99-{system}-{machine}-{libc}": one}))
    return path.as_uri()


def test_uv_brings_one(root: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """The real uv, and an archive as it fetches them, with a Python inside that is this one."""
    name = f"python{interpreter.SUPPORTED[0]}"
    tree = root / "archive" / "python"
    (tree / "bin").mkdir(parents=True)
    (tree / "lib" / name).mkdir(parents=True)
    variables = "# system configuration generated and used by the sysconfig module\nbuild_time_vars = {}\n"
    (tree / "lib" / name / "_sysconfigdata__.py").write_text(variables)
    _script(tree / "bin" / name, f'exec {sys.executable} "$@"')
    with tarfile.open(root / "python.tar.gz", "w:gz") as archive:
        archive.add(tree, "python")
    (root / "bin" / "uv").symlink_to(Path(sys.executable).with_name("uv"))
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS_JSON_URL", _downloads(root, (root / "python.tar.gz").as_uri()))
    monkeypatch.setenv("UV_CACHE_DIR", str(root / "cache"))

    python = interpreter.brought_python()
    assert Path(python).is_relative_to(root / ".venv" / "python")
    assert subprocess.check_output([python, "-c", "print('runs')"], text=True) == "runs\n"
    said = capfd.readouterr().err.splitlines()
    assert len(said) == 2 and said[0].endswith(": getting 3.11 (about 30 MB)")


def test_no_python_to_be_had(root: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    (root / "bin" / "uv").symlink_to(Path(sys.executable).with_name("uv"))
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS_JSON_URL", _downloads(root, "http://127.0.0.1:9/python.tar.gz"))
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    with pytest.raises(Failed):
        interpreter.brought_python()
    assert "make up PYTHON=/path/to/python3.11" in capfd.readouterr().err


def test_an_environment_whose_python_is_gone(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """venv leaves a dead link as it is, and the next command would end in a traceback."""
    venv = root / ".venv"
    (venv / "bin").mkdir()
    (venv / "bin" / "python").symlink_to("/gone/python3")
    monkeypatch.setattr(install, "VENV", str(venv))
    monkeypatch.setattr(install, "PYTHON", str(venv / "bin" / "python"))
    became: list[list[str]] = []
    monkeypatch.setattr("os.execv", lambda _python, words: became.append(words))
    install.main()
    assert became[0][:2] == [str(venv / "bin" / "python"), str(Path(install.TOOLS, "packages.py"))]
    assert subprocess.check_output([venv / "bin" / "python", "-c", "print('runs')"], text=True) == "runs\n"


def test_uv_is_told_what_pip_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "pip.conf"
    config.write_text("[global]\nfind-links = /a\n  /b\nextra-index-url = https://one https://two\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    monkeypatch.setenv("PIP_INDEX_URL", "https://zero")
    monkeypatch.setenv("PIP_FIND_LINKS", "/c")
    for name in uv_settings.UV_FOR_PIP.values():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("UV_HTTP_TIMEOUT", "7")
    settings = uv_settings.uv_settings(sys.executable)
    assert settings["UV_DEFAULT_INDEX"] == "https://zero"
    assert settings["UV_INDEX"] == "https://one https://two"
    assert settings["UV_FIND_LINKS"] == "/c"
    assert settings["UV_INDEX_STRATEGY"] == "unsafe-best-match"
    assert "UV_HTTP_TIMEOUT" not in settings  # the caller's own stays
