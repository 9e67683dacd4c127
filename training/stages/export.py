"""A judged model as a release: fp16 weights, golden predictions, cards, manifest; published and made the candidate."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from contracts.errors import Conflict, NotFound, ReleaseError
from contracts.release import channels
from contracts.release.manifest import Manifest
from contracts.release.published import read_manifest, versions
from contracts.release.release import Release
from contracts.release.transfer import publish
from contracts.stages import ExportConfig
from contracts.store.protocol import ObjectStore
from contracts.store.urls import open_store
from training.package.build import build
from training.running.reporting import Reporter
from training.running.stage import Stage

Config = ExportConfig
PUBLISHER = "export"


def run(config: Config, inputs: Mapping[str, Path], outputs: Path, report: Reporter) -> dict[str, Any]:
    """Inputs `prepare`, `train`, `convert`, `evaluate`. Writes release/ and publishes it to the store.

    The candidate channel then points at it, and production too when it is the store's first release. Interrupted after
    the release was complete, it publishes that very release. Raises GateError when half precision changes too many
    predictions.
    """
    store = open_store(config.store)  # a wrong URL is said before the work
    folder, precision = outputs / "release", outputs / "precision.json"
    try:
        release = Release.open(folder)
    except ReleaseError:
        release = build(config, inputs, folder, precision, report)
    manifest = release.manifest
    report.progress(0.9, f"publishing {manifest.version}")
    alone = set(versions(store, manifest.name)) <= {manifest.version}
    publish(store, folder, manifest)
    channels.move_as_last(store, manifest.name, channels.CANDIDATE, manifest.version, PUBLISHER)
    # In a store with other releases one of them may be in service, so this one has to be promoted by somebody.
    first = alone and _becomes_production(store, manifest)
    if first:
        report.log(f"{config.store} had no production release: {manifest.version} is it now")
    return {
        "name": manifest.name,
        "version": manifest.version,
        "store": store.url,
        "production": first,
        "bytes": sum(entry.size for entry in manifest.files.values()),
        **json.loads(precision.read_text(encoding="utf-8")),
    }


def is_published(facts: Mapping[str, Any]) -> bool:
    """Whether what a finished export says of itself still holds: its release is in the store."""
    try:
        read_manifest(open_store(facts["store"]), facts["name"], facts["version"])
    except NotFound:
        return False
    return True


def _becomes_production(store: ObjectStore, manifest: Manifest) -> bool:
    """Put the release into production, unless another one is there already."""
    with suppress(Conflict):
        channels.move(store, manifest.name, channels.PRODUCTION, manifest.version, PUBLISHER, None)
        return True
    return False


STAGE = Stage(
    name="export",
    config=Config,
    run=run,
    needs=("prepare", "train", "convert", "evaluate"),
    share=0.05,
    spent=("release",),
    still_holds=is_published,
)
