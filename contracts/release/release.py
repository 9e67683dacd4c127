"""A release on this machine: a folder of plain files that was verified as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from contracts.errors import ReleaseError
from contracts.release.bundled import key_for_folder
from contracts.release.calibration import Calibration
from contracts.release.documents import Golden
from contracts.release.inspection import inspect
from contracts.release.manifest import Manifest
from contracts.release.strict_json import load_json
from contracts.tokens import ReviewEncoder


@dataclass(frozen=True, slots=True)
class Release:
    """A verified release on this machine. Make one with `Release.open`, `fetch` or `find`."""

    folder: Path
    manifest: Manifest

    @classmethod
    def open(cls, folder: Path) -> Release:
        """Verify everything. Raises ReleaseError whose `problems` are `verify`'s lines."""
        return cls._open(folder, key_for_folder(folder))

    @classmethod
    def _open(cls, folder: Path, key: bytes | None) -> Release:
        manifest, problems = inspect(folder, key)
        if manifest is None or problems:
            more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            raise ReleaseError(f"{folder} is not a sound release: {problems[0]}{more}", problems)
        return cls(folder, manifest)

    def golden(self) -> Golden:
        """The cases that a loaded model must answer before it gets traffic."""
        return Golden.model_validate(load_json((self.folder / "golden.json").read_bytes()))

    def calibration(self) -> Calibration:
        """What its logits mean."""
        return Calibration.model_validate(load_json((self.folder / "calibration.json").read_bytes()))

    def tolerances(self) -> dict[str, float]:
        """How far a logit may be from the golden one, by engine."""
        general = self.golden().tolerance
        return {engine.kind: engine.tolerance or general for engine in self.manifest.engines}

    def encoder(self) -> ReviewEncoder:
        """The tokenizer with the release's token limit and truncation policy."""
        return ReviewEncoder(self.folder / "tokenizer.json", self.manifest.token_limit, self.manifest.truncation)


def verify(folder: Path) -> list[str]:
    """One line for each thing that is wrong with a release folder; none means that it may be loaded."""
    return inspect(folder, key_for_folder(folder))[1]
