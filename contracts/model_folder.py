"""The folder that TorchServe loads a release from, and how it runs it."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from contracts.errors import ConfigError, MachineError
from contracts.release.files import MANIFEST
from contracts.release.manifest import FileEntry, Manifest

if TYPE_CHECKING:
    from contracts.release.release import Release


HANDLER = "torchserve.handler"
"""The module whose class TorchServe calls. It is imported from the installed package, never from a model's folder."""


def model_files(manifest: Manifest) -> tuple[str, ...]:
    """The files of a release that a worker reads; nothing else of it comes near TorchServe."""
    engines = {name for engine in manifest.engines for name in engine.files}
    return (*sorted(engines | {"tokenizer.json"}), MANIFEST)


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """How TorchServe runs a model: https://github.com/pytorch/serve/blob/v0.12.0/model-archiver/README.md#config-file"""

    workers: int = 1
    batch_requests: int = 8
    """HTTP requests that may wait together and be answered by one call of the handler."""

    batch_delay_ms: int = 1
    """How long a request waits for company. TorchServe takes 0 for 100."""

    response_seconds: int = 60
    """A worker that says nothing for so long is killed and started again."""

    startup_seconds: int = 120
    """How long a worker may take to load the model. TorchServe gives its process two minutes before that to start."""

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be 1 or more")

    def values(self) -> dict[str, int | str]:
        """By TorchServe's names, in model-config.yaml and where it describes a model."""
        return {
            "minWorkers": self.workers,
            "maxWorkers": self.workers,
            "batchSize": self.batch_requests,
            "maxBatchDelay": self.batch_delay_ms,
            "responseTimeout": self.response_seconds,
            "startupTimeout": self.startup_seconds,
            "deviceType": "cpu",
        }

    def to_yaml(self) -> str:
        """The text of model-config.yaml."""
        return "".join(f"{name}: {json.dumps(value)}\n" for name, value in self.values().items())


def write_model_folder(release: Release, model_store: Path, settings: WorkerSettings | None = None) -> Path:
    """Turn a verified release into the folder that TorchServe registers by its name ("no-archive"), and return it.

    The folder is called <name>-<version> and holds the worker's files (hard links where the file system can) and
    what TorchServe asks for. A folder that is sound already is kept; any other of that name is replaced at once.
    Raises MachineError when it cannot be written.
    """
    folder = model_store / f"{release.manifest.name}-{release.manifest.version}"
    written = {
        Path("MAR-INF/MANIFEST.json"): _archive_manifest(release),
        Path("model-config.yaml"): (settings or WorkerSettings()).to_yaml(),
    }
    try:
        if _is_sound(folder, release, written):
            return folder
        model_store.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=model_store))
        try:
            scratch.chmod(0o755)  # TorchServe may run as another user than the gateway
            for name in model_files(release.manifest):
                _link(release.folder / name, scratch / name)
            for path, text in written.items():
                (scratch / path).parent.mkdir(exist_ok=True)
                (scratch / path).write_text(text, encoding="utf-8")
            _remove(folder)
            scratch.rename(folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        raise MachineError(
            f"{folder} cannot be written ({error.strerror}): make room, or choose another model store"
        ) from error
    return folder


def _archive_manifest(release: Release) -> str:
    """TorchServe's own manifest, which names the model, its version and the handler."""
    model = {
        "modelName": release.manifest.name,
        "modelVersion": release.manifest.version,
        "handler": HANDLER,
        "configFile": "model-config.yaml",
    }
    created = release.manifest.created.isoformat()
    document = {"createdOn": created, "runtime": "python", "model": model, "archiverVersion": "0.12.0"}
    return json.dumps(document, indent=2) + "\n"


def _is_sound(folder: Path, release: Release, written: dict[Path, str]) -> bool:
    """Whether the folder holds exactly what would be written now. A worker may be reading it, so it had better stay."""
    if folder.is_symlink() or not folder.is_dir():
        return False
    present = list(folder.rglob("*"))
    read = model_files(release.manifest)
    names = {path.relative_to(folder) for path in present if not path.is_dir()}
    if names != {*map(Path, read), *written} or any(path.is_symlink() for path in present):
        return False
    entries = release.manifest.files | {MANIFEST: FileEntry.of(release.folder / MANIFEST)}
    return all((folder / path).read_bytes() == text.encode() for path, text in written.items()) and all(
        FileEntry.of(folder / name) == entries[name] for name in read
    )


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)
