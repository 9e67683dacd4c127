"""Deequ's jar: named by a setting, kept in the state folder, or fetched from Maven Central; always this very one."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import httpx

from contracts.errors import ConfigError, MachineError

NAME = "deequ-2.1.0-spark-3.5.jar"
SHA256 = "ab902814dec56dc39ff16d1c5c80e7101a5dff8c1aa380fdafce522da1cd1546"
MAVEN = f"https://repo1.maven.org/maven2/com/amazon/deequ/deequ/2.1.0-spark-3.5/{NAME}"
"""pydeequ 1.7 itself names 2.0.21-spark-3.5, which Maven Central does not have, and fails with 2.0.7."""
BYTES_LIMIT = 16 * 1024 * 1024
SECONDS = 10.0
"""How long a server may stay silent. Where no jar can be had there is another engine."""


def find_jar(named: str, folder: Path) -> Path:
    """The jar that `named` names, a file or a URL; where that is empty, the one in `folder`, else Maven Central's.

    What is fetched is kept in `folder`. Raises ConfigError for another file than this version's jar, MachineError when
    it cannot be fetched or kept.
    """
    if named and "://" not in named:
        return _checked(Path(named).expanduser())
    kept = folder / NAME
    if _is_ours(kept):
        return kept
    return _fetched(named or MAVEN, kept)


def _checked(file: Path) -> Path:
    if not file.is_file():
        raise ConfigError(f"there is no Deequ jar {file}: correct quality.jar, or leave it empty to have it fetched")
    if not _is_ours(file):
        raise ConfigError(f"{file} is not {NAME} as Maven Central has it, its sha256 is another: it is not used")
    return file.absolute()


def _is_ours(file: Path) -> bool:
    try:
        with file.open("rb") as source:
            return hashlib.file_digest(source, "sha256").hexdigest() == SHA256
    except FileNotFoundError:
        return False
    except OSError as error:
        raise MachineError(f"{file} cannot be read: {error.strerror}") from error


def _fetched(url: str, kept: Path) -> Path:
    """The jar from the network. It lies under its name only when it is whole and the right one."""
    data = bytearray()
    try:
        with httpx.stream("GET", url, timeout=SECONDS, follow_redirects=True) as answer:
            answer.raise_for_status()
            for part in answer.iter_bytes():
                data += part
                if len(data) > BYTES_LIMIT:
                    break
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        said = f"it answers {error.response.status_code}" if isinstance(error, httpx.HTTPStatusError) else "no answer"
        advice = f"put {NAME} into {kept.parent}, or name it with STARS_QUALITY_JAR"
        raise MachineError(f"Deequ's jar cannot be fetched from {url} ({said}): {advice}") from error
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise ConfigError(f"what {url} holds is not {NAME}, its sha256 is another: it is not used")
    partial = kept.with_name(f".{NAME}.{os.getpid()}")
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(data)
        partial.replace(kept)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise MachineError(f"Deequ's jar cannot be kept in {kept.parent}: {error.strerror}") from error
    return kept
