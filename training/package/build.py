"""A release folder from what the stages before made: weights, tokenizer, calibration, golden cases, cards, manifest."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from contracts.release.manifest import DatasetFacts, Manifest
from contracts.release.release import Release
from contracts.release.transfer import file_entries, write_manifest
from contracts.stages import ExportConfig
from training.data.labelled import prepared_encoder
from training.data.tokens import TokenRows
from training.model.reference import TEST_LOGITS, ReferenceModel
from training.package.cards import About, data_card, data_terms, model_card
from training.package.golden import golden_cases
from training.package.identity import code_revision, new_version
from training.package.rounding import cast_weights, compare
from training.running.folder import read_facts
from training.running.reporting import Reporter

STAGES = ("prepare", "train", "convert", "evaluate")


def build(config: ExportConfig, inputs: Mapping[str, Path], folder: Path, precision: Path, report: Reporter) -> Release:
    """Make the release in an emptied `folder`, its manifest last. `inputs` are the folders of STAGES, finished.

    What rounding the weights changed is written to the file `precision` before. Raises GateError when that is too many
    predictions.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copyfile(inputs["convert"] / "config.json", folder / "config.json")
    shutil.copyfile(inputs["prepare"] / "tokenizer.json", folder / "tokenizer.json")
    shutil.copyfile(inputs["evaluate"] / "calibration.json", folder / "calibration.json")
    cast_weights(inputs["convert"] / "model.safetensors", folder / "model.safetensors", config.weights_dtype)
    report.progress(0.1, f"weights written as {config.weights_dtype}")

    model = ReferenceModel(folder)
    rounded = model.logits(
        TokenRows.stored(inputs["prepare"], "test"),
        lambda done: report.progress(0.1 + 0.7 * done, "judging the rounded weights"),
    )
    changes = compare(np.load(inputs["evaluate"] / TEST_LOGITS), rounded)
    precision.write_text(json.dumps(changes) + "\n", encoding="utf-8")
    golden = golden_cases(model, prepared_encoder(inputs["prepare"])).model_dump(mode="json")
    (folder / "golden.json").write_text(json.dumps(golden, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    facts = {name: read_facts(inputs[name]) for name in STAGES}
    about = About(
        name=config.name,
        version=new_version(folder),
        code_revision=code_revision(),
        licence=config.licence,
        weights_dtype=config.weights_dtype,
        terms=data_terms(config.data_terms, _sources(facts["prepare"])),
        notes=config.notes,
        facts=facts,
        report=json.loads((inputs["evaluate"] / "report.json").read_text(encoding="utf-8")),
    )
    (folder / "MODEL_CARD.md").write_text(model_card(about), encoding="utf-8")
    (folder / "DATA_CARD.md").write_text(data_card(facts["prepare"], about.terms), encoding="utf-8")
    write_manifest(folder, _manifest(about, folder))
    return Release.open(folder)


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
        temperature=about.report["calibration"]["temperature"],
        metrics=about.report["metrics"],
        dataset=DatasetFacts(
            sha256=prepared["dataset_sha256"],
            rows={name: split["rows"] for name, split in prepared["splits"].items()},
            sources=tuple(_sources(prepared)),
        ),
        stages={name: dict(facts) for name, facts in about.facts.items()},
        code_revision=about.code_revision,
        base_model=prepared["base_model"]["description"],
        licence=about.licence,
    )


def _sources(prepared: Mapping[str, Any]) -> list[str]:
    return [source["file"] for source in prepared["sources"]]
