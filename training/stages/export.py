"""A judged model as a release: fp16 weights, golden predictions, cards, manifest; published and made the candidate."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from contracts.errors import Conflict, GateError, ModelError, NotFound, ReleaseError
from contracts.installation import ROOT
from contracts.release import channels
from contracts.release.manifest import DatasetFacts, Manifest
from contracts.release.published import read_manifest, versions
from contracts.release.release import Release
from contracts.release.transfer import file_entries, publish, write_manifest
from contracts.stages import ExportConfig
from contracts.store.protocol import ObjectStore
from contracts.store.urls import open_store
from training.data.labelled import LabelledReviews, prepared_encoder
from training.judge.metrics import Floats
from training.model.reference import Predictor
from training.package.cards import About, data_card, data_terms, model_card
from training.package.golden import golden_cases
from training.running.fingerprint import file_sha256
from training.running.folder import read_facts
from training.running.reporting import Reporter
from training.running.stage import Stage
from training.stages.evaluate import TEST_LOGITS

Config = ExportConfig
MOST_CHANGED = 0.001
PUBLISHER = "export"
DISTRIBUTION = "review-stars"


def run(config: Config, inputs: Mapping[str, Path], outputs: Path, report: Reporter) -> dict[str, Any]:
    """Inputs `prepare`, `train`, `convert`, `evaluate`. Writes release/ and publishes it to the store.

    The candidate channel then points at it, and production too when it is the store's first release. Interrupted after
    the release was complete, it publishes that very release. Raises GateError when half precision changes too many
    predictions.
    """
    store = open_store(config.store)  # a wrong URL is said before the work
    folder = outputs / "release"
    try:
        release = Release.open(folder)
    except ReleaseError:
        release = _build(config, inputs, folder, report)
    manifest = release.manifest
    report.progress(0.9, f"publishing {manifest.version}")
    alone = set(versions(store, manifest.name)) <= {manifest.version}
    publish(store, folder, manifest)
    channels.move_as_last(store, manifest.name, channels.CANDIDATE, manifest.version, PUBLISHER)
    # Where there were others, one of them may be serving.
    first = alone and _becomes_production(store, manifest)
    if first:
        report.log(f"{config.store} had no production release: {manifest.version} is it now")
    return {
        "name": manifest.name,
        "version": manifest.version,
        "store": store.url,
        "production": first,
        "bytes": sum(entry.size for entry in manifest.files.values()),
        **json.loads((outputs / "precision.json").read_text(encoding="utf-8")),
    }


def is_published(facts: Mapping[str, Any]) -> bool:
    """Whether what a finished export says of itself still holds: its release is in the store."""
    try:
        read_manifest(open_store(facts["store"]), facts["name"], facts["version"])
    except NotFound:
        return False
    return True


STAGE = Stage(
    name="export",
    config=Config,
    run=run,
    needs=("prepare", "train", "convert", "evaluate"),
    share=0.05,
    spent=("release",),
    still_holds=is_published,
)


def _build(config: Config, inputs: Mapping[str, Path], folder: Path, report: Reporter) -> Release:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copyfile(inputs["convert"] / "config.json", folder / "config.json")
    shutil.copyfile(inputs["prepare"] / "tokenizer.json", folder / "tokenizer.json")
    shutil.copyfile(inputs["evaluate"] / "calibration.json", folder / "calibration.json")
    cast_weights(inputs["convert"] / "model.safetensors", folder / "model.safetensors", config.weights_dtype)
    report.progress(0.1, f"weights written as {config.weights_dtype}")

    predictor, encoder = Predictor(folder), prepared_encoder(inputs["prepare"])
    test = LabelledReviews.from_split(inputs["prepare"], "test")
    found = predictor.logits(
        encoder.encode(test.segments), lambda done: report.progress(0.1 + 0.7 * done, "judging the rounded weights")
    )
    precision = compare(np.load(inputs["evaluate"] / TEST_LOGITS), found)
    (folder.parent / "precision.json").write_text(json.dumps(precision) + "\n", encoding="utf-8")
    golden = golden_cases(predictor, encoder).model_dump(mode="json")
    (folder / "golden.json").write_text(json.dumps(golden, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    facts = {name: read_facts(inputs[name]) for name in STAGE.needs}
    about = About(
        name=config.name,
        version=_version(folder),
        code_revision=code_revision(),
        licence=config.licence,
        weights_dtype=config.weights_dtype,
        terms=data_terms(config.data_terms, _sources(facts)),
        notes=config.notes,
        facts=facts,
        report=json.loads((inputs["evaluate"] / "report.json").read_text(encoding="utf-8")),
    )
    (folder / "MODEL_CARD.md").write_text(model_card(about), encoding="utf-8")
    (folder / "DATA_CARD.md").write_text(data_card(facts["prepare"], about.terms), encoding="utf-8")
    write_manifest(folder, _manifest(about, folder))
    return Release.open(folder)


def cast_weights(source: Path, target: Path, dtype: str) -> None:
    """Copy safetensors as another float type. Raises ModelError for a weight that is too large for it."""
    try:
        stored = safetensors.numpy.load_file(source)
    except (OSError, safetensors.SafetensorError) as error:
        raise ModelError(f"{source} cannot be read: {error}: run convert again") from error
    with np.errstate(over="ignore"):
        arrays = {name: array.astype(dtype) for name, array in stored.items()}
    if bad := [name for name, array in arrays.items() if not np.isfinite(array).all()]:
        raise ModelError(f"{bad[0]} holds values that {dtype} cannot: export with weights_dtype float32")
    target.write_bytes(safetensors.numpy.save(arrays, metadata={"format": "pt"}))


def compare(full: Floats, rounded: Floats) -> dict[str, Any]:
    """How many predictions change with the weights' precision, on the same rows.

    Raises GateError when it is more than 0.1 % of them; one may always change, so that a short test split can pass.
    """
    changed = int((full.argmax(axis=1) != rounded.argmax(axis=1)).sum())
    if changed > max(1, MOST_CHANGED * len(full)):
        raise GateError(
            f"rounding the weights changes {changed} of {len(full)} predictions: export with weights_dtype float32"
        )
    return {
        "changed_predictions": changed,
        "compared_predictions": len(full),
        "largest_logit_change": float(np.abs(full - rounded).max()),
    }


def code_revision() -> str:
    """The commit of this checkout ("-dirty" when files differ from it), else the installed version, if known."""
    git = shutil.which("git")
    if git is not None and (ROOT / ".git").exists():  # an installed copy may lie inside somebody else's checkout
        command = [git, "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude", "*"]
        found = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        if found.returncode == 0:
            return found.stdout.strip()
    with suppress(PackageNotFoundError):  # an image may hold the folders without the package's metadata
        return f"{DISTRIBUTION} {installed_version(DISTRIBUTION)}"
    return f"{DISTRIBUTION}, revision not known"


def _version(folder: Path) -> str:
    """UTC time and eight digits of what the model computes with, such as 20261123-153000-ab12cd34."""
    names = ("config.json", "model.safetensors", "tokenizer.json")
    digest = hashlib.sha256("".join(file_sha256(folder / name) for name in names).encode()).hexdigest()
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{digest[:8]}"


def _sources(facts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return [each["file"] for each in facts["prepare"]["sources"]]


def _manifest(about: About, folder: Path) -> Manifest:
    prepared = about.facts["prepare"]
    return Manifest(
        name=about.name,
        version=about.version,
        created=datetime.now(UTC),
        files=file_entries(folder),
        token_limit=prepared["config"]["token_limit"],
        truncation=prepared["config"]["truncation"],
        weights_dtype=about.weights_dtype,
        temperature=about.report["temperature"],
        metrics=about.report["metrics"],
        dataset=DatasetFacts(
            sha256=prepared["dataset_sha256"],
            rows={name: split["rows"] for name, split in prepared["splits"].items()},
            sources=tuple(_sources(about.facts)),
        ),
        stages={name: dict(facts) for name, facts in about.facts.items()},
        code_revision=about.code_revision,
        base_model=prepared["base_model"]["description"],
        licence=about.licence,
    )


def _becomes_production(store: ObjectStore, manifest: Manifest) -> bool:
    """Put the release into production, unless another one is there already."""
    with suppress(Conflict):
        channels.move(store, manifest.name, channels.PRODUCTION, manifest.version, PUBLISHER, None)
        return True
    return False
