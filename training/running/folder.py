"""The folder of a stage: whose it is, what has begun in it, what has finished. `facts.json` is written last."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from contracts.errors import ConfigError

FACTS = "facts.json"
_STARTED = ".started.json"
_NOBODYS = frozenset({"lost+found", f"{_STARTED}.partial"})
"""What may lie in an empty folder: a disk's own, and ours from a beginning that was cut off."""


class Started(NamedTuple):
    """What a stage wrote down when it began. The fingerprint is empty while the folder is being emptied for it."""

    stage: str
    fingerprint: str


def read_facts(folder: Path) -> dict[str, Any]:
    """What a finished stage said of itself. Raises ConfigError when it has not finished."""
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        if not isinstance(facts, dict):
            raise ValueError(f"{FACTS} is no object")
    except (OSError, ValueError) as error:
        raise ConfigError(f"{folder} holds no finished stage ({error}): run the stage that makes it first") from error
    return facts


def started(folder: Path) -> Started | None:
    """What has begun in this folder, finished or not."""
    try:
        found = json.loads((folder / _STARTED).read_text(encoding="utf-8"))
        return Started(found["stage"], found["fingerprint"])
    except OSError:
        return None
    except (ValueError, KeyError, TypeError):
        return Started("", "")  # as earlier versions wrote it


def check_folder(folder: Path, stage: str) -> None:
    """Raises ConfigError unless the folder is empty, not there yet, or this stage's own: the rest is somebody's."""
    other = "choose another folder, with --work for a pipeline or --output for a stage"
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ConfigError(f"{folder} is no folder: {other}")
    owner = _owner(folder)
    if owner is None and any(_entries(folder)):
        raise ConfigError(f"{folder} holds files that {stage} did not make, and it would delete them: {other}")
    if owner not in (None, "", stage):
        raise ConfigError(f"{folder} is what the stage {owner} made, and {stage} would delete it: {other}")


def begin(folder: Path, stage: str, fingerprint: str) -> None:
    """Empty the stage's own folder, which may be a mount point and so stays, and write down what begins in it.

    Cut off at any moment it leaves a folder that is the stage's own, neither finished nor to be resumed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / _STARTED, json.dumps({"stage": stage, "fingerprint": ""}))
    (folder / FACTS).unlink(missing_ok=True)
    for path in list(_entries(folder)):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != _STARTED:
            path.unlink()
    write_whole(folder / _STARTED, json.dumps({"stage": stage, "fingerprint": fingerprint}))


def write_whole(file: Path, content: str | bytes) -> None:
    """Write a file that is never seen half written, not even after kill -9."""
    partial = file.with_name(f"{file.name}.partial")
    partial.write_bytes(content.encode() if isinstance(content, str) else content)
    partial.replace(file)


def _owner(folder: Path) -> str | None:
    if begun := started(folder):
        return begun.stage
    with suppress(ConfigError):
        facts = read_facts(folder)
        if {"stage", "fingerprint"} <= facts.keys():
            return str(facts["stage"])
    return None


def _entries(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if path.name not in _NOBODYS)
