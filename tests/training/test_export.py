"""From judged weights to a published release, on a small world; and what may go wrong on the way."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from contracts.errors import GateError, MachineError, ModelError
from contracts.release import channels
from contracts.release.published import versions
from contracts.release.release import Release, verify
from contracts.release.transfer import fetch
from contracts.review import segments
from contracts.store.file_store import FileStore
from contracts.store.urls import open_store
from training.data.labelled import LabelledReviews
from training.data.tokens import TokenRows
from training.model.reference import ReferenceModel
from training.package.rounding import cast_weights, compare
from training.running.execution import execute
from training.stages import evaluate, export

from . import tiny
from .recorder import Recorder

NAME = "review-stars"


@pytest.fixture(scope="module")
def inputs(tiny_inputs: dict[str, Path], tiny_evaluated: Path) -> dict[str, Path]:
    return tiny_inputs | {"evaluate": tiny_evaluated}


@pytest.fixture(scope="module")
def exported(inputs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, Any]]:
    """The stage's folder, the store, the facts."""
    root = tmp_path_factory.mktemp("export")
    report = Recorder()
    config = export.Config(store=str(root / "store"), notes="Made for a test.")
    facts = execute(export.STAGE, config, inputs, root / "export", report)
    assert any("had no production release" in line for line in report.lines)
    return root / "export", root / "store", facts


def test_what_is_published_verifies_and_is_what_was_built(
    exported: tuple[Path, Path, dict[str, Any]], tmp_path: Path
) -> None:
    folder, store, facts = exported
    release = fetch(open_store(str(store)), NAME, facts["version"], tmp_path)
    assert verify(release.folder) == []
    assert release.manifest == Release.open(folder / "release").manifest


def test_the_version_is_a_time_and_a_hash(exported: tuple[Path, Path, dict[str, Any]]) -> None:
    day, second, digest = exported[2]["version"].split("-")
    made = datetime.strptime(day + second, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    assert abs((datetime.now(UTC) - made).total_seconds()) < 3600
    assert len(digest) == 8


def test_the_first_release_is_candidate_and_production(exported: tuple[Path, Path, dict[str, Any]]) -> None:
    _, url, facts = exported
    store = open_store(str(url))
    for channel in (channels.CANDIDATE, channels.PRODUCTION):
        assert channels.read(store, NAME, channel)[0].version == facts["version"]
    assert facts["production"] is True


def test_weights_are_halved_and_answer_the_golden_cases(exported: tuple[Path, Path, dict[str, Any]]) -> None:
    release = Release.open(exported[0] / "release")
    weights = safetensors.numpy.load_file(release.folder / "model.safetensors")
    assert {array.dtype for array in weights.values()} == {np.dtype("float16")}
    golden = release.golden()
    assert len(golden.cases) == 12
    texts = [segments(case.text, case.title, case.category) for case in golden.cases]
    found = ReferenceModel(release.folder).logits(TokenRows.of(release.encoder().encode(texts)))
    assert np.abs(found - np.array([case.logits for case in golden.cases])).max() < 1e-4


def test_the_manifest_says_where_it_comes_from(exported: tuple[Path, Path, dict[str, Any]]) -> None:
    manifest = Release.open(exported[0] / "release").manifest
    assert manifest.dataset.rows == tiny.ROWS
    assert manifest.token_limit == 48
    assert set(manifest.stages) == {"prepare", "train", "convert", "evaluate"}
    assert manifest.metrics["accuracy"]["low"] < manifest.metrics["accuracy"]["value"]
    assert manifest.base_model == "sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0)"
    assert manifest.code_revision


def test_the_cards_say_what_it_is_for_and_hold_no_review(exported: tuple[Path, Path, dict[str, Any]]) -> None:
    folder = exported[0] / "release"
    card, data = (folder / "MODEL_CARD.md").read_text(), (folder / "DATA_CARD.md").read_text()
    for said in ("Made for a test.", "## Not for", "## Known weaknesses", "all-MiniLM-L6-v2", "95 % intervals"):
        assert said in card
    assert "Nobody stated the terms" in card
    assert "Nobody stated the terms" in data
    assert "705 labelled customer reviews" in data
    assert "bad_star_rating: 3" in data
    assert not [word for word in tiny.all_words() if f" {word}" in card + data]


def test_a_second_release_is_a_candidate_only(
    exported: tuple[Path, Path, dict[str, Any]], inputs: dict[str, Path], tmp_path: Path
) -> None:
    _, url, first = exported
    facts = execute(
        export.STAGE, export.Config(store=str(url), weights_dtype="float32"), inputs, tmp_path / "export", Recorder()
    )
    store = open_store(str(url))
    candidate = channels.read(store, NAME, channels.CANDIDATE)[0]
    assert (candidate.version, candidate.previous) == (facts["version"], first["version"])
    assert channels.read(store, NAME, channels.PRODUCTION)[0].version == first["version"]
    assert facts["production"] is False
    assert set(versions(store, NAME)) == {first["version"], facts["version"]}
    assert facts["largest_logit_change"] < 1e-5


def test_two_first_releases_that_end_together(
    inputs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 17: neither fails, one is in production, and the last one is the candidate."""
    config, real = export.Config(store=str(tmp_path / "store")), FileStore.write
    ended: list[dict[str, Any]] = []

    def write(store: FileStore, key: str, data: bytes, **conditions: Any) -> str:
        if key.endswith("/candidate.json") and not ended:  # one has looked at the channel, and the other is faster
            ended.append({})
            other = config.model_copy(update={"weights_dtype": "float32"})
            ended[0] = execute(export.STAGE, other, inputs, tmp_path / "faster", Recorder())
        return real(store, key, data, **conditions)

    monkeypatch.setattr(FileStore, "write", write)
    slower = execute(export.STAGE, config, inputs, tmp_path / "slower", Recorder())
    [faster] = ended
    assert faster["production"] != slower["production"]
    store = open_store(str(tmp_path / "store"))
    first = faster if faster["production"] else slower
    assert channels.read(store, NAME, channels.PRODUCTION)[0].version == first["version"]
    candidate = channels.read(store, NAME, channels.CANDIDATE)[0]
    assert (candidate.version, candidate.previous) == (slower["version"], faster["version"])


def test_production_that_was_taken_away_is_not_filled_unasked(inputs: dict[str, Path], tmp_path: Path) -> None:
    config = export.Config(store=str(tmp_path / "store"))
    execute(export.STAGE, config, inputs, tmp_path / "one", Recorder())
    (tmp_path / "store" / "channels" / NAME / "production.json").unlink()
    second = config.model_copy(update={"weights_dtype": "float32"})
    assert execute(export.STAGE, second, inputs, tmp_path / "two", Recorder())["production"] is False
    assert not (tmp_path / "store" / "channels" / NAME / "production.json").exists()


def test_a_candidate_is_judged_against_production_on_the_same_rows(
    exported: tuple[Path, Path, dict[str, Any]], inputs: dict[str, Path], tmp_path: Path
) -> None:
    _, url, first = exported
    worse = tiny.write_convert(tmp_path / "convert", inputs["train"])
    weights = safetensors.numpy.load_file(worse / "model.safetensors")
    weights["classifier.bias"][2] += 4  # three stars for nearly everything
    safetensors.numpy.save_file(weights, worse / "model.safetensors", metadata={"format": "pt"})
    facts = {}
    for name, folder in (("same", inputs["convert"]), ("worse", worse)):
        config = evaluate.Config(store=str(url), beat_baseline=False, max_ece=1, max_accuracy=1)
        judged = {"prepare": inputs["prepare"], "convert": folder}
        facts[name] = execute(evaluate.STAGE, config, judged, tmp_path / name, Recorder())
        assert facts[name]["production"] == first["version"]
        assert facts[name]["verdict"] == "keep"
    assert "neither better nor worse" in facts["same"]["reason"]
    assert "is worse beyond chance" in facts["worse"]["reason"]
    assert f"production: {first['version']}" in (tmp_path / "worse" / "report.md").read_text()


def test_a_deleted_release_is_published_again(inputs: dict[str, Path], tmp_path: Path) -> None:
    config = export.Config(store=str(tmp_path / "store"))
    facts = execute(export.STAGE, config, inputs, tmp_path / "export", Recorder())
    (tmp_path / "store").rename(tmp_path / "gone")
    again = execute(export.STAGE, config, inputs, tmp_path / "export", Recorder())
    assert again["version"] == facts["version"]
    assert versions(open_store(str(tmp_path / "store")), NAME) == [facts["version"]]


def test_an_export_cut_off_after_publishing_does_not_publish_twice(inputs: dict[str, Path], tmp_path: Path) -> None:
    config = export.Config(store=str(tmp_path / "store"))
    facts = execute(export.STAGE, config, inputs, tmp_path / "export", Recorder())
    (tmp_path / "export" / "facts.json").unlink()
    again = execute(export.STAGE, config, inputs, tmp_path / "export", Recorder())
    assert again["version"] == facts["version"]
    assert versions(open_store(str(tmp_path / "store")), NAME) == [facts["version"]]


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file may grow beyond so many bytes: the operating system then answers as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_while_building_leaves_nothing_and_the_next_run_goes_on(
    inputs: dict[str, Path], tmp_path: Path
) -> None:
    config = export.Config(store=str(tmp_path / "store"))
    with largest_file(20_000), pytest.raises(MachineError, match="Free some space"):
        execute(export.STAGE, config, inputs, tmp_path / "export", Recorder())
    assert versions(open_store(str(tmp_path / "store")), NAME) == []
    facts = execute(export.STAGE, config, inputs, tmp_path / "export", Recorder())
    assert versions(open_store(str(tmp_path / "store")), NAME) == [facts["version"]]


def test_a_full_disk_while_publishing_shows_nobody_half_a_release_and_the_next_run_goes_on(
    exported: tuple[Path, Path, dict[str, Any]], inputs: dict[str, Path], tmp_path: Path
) -> None:
    config = export.Config(store=str(tmp_path / "store"))
    outputs = tmp_path / "export"
    facts = execute(export.STAGE, config, inputs, outputs, Recorder())
    (tmp_path / "store").rename(tmp_path / "gone")
    (outputs / "facts.json").unlink()
    # The release is whole by now; only the copy into the store can fail.
    with largest_file(20_000), pytest.raises(MachineError, match=r"[Ff]ree some"):
        execute(export.STAGE, config, inputs, outputs, Recorder())
    assert versions(open_store(str(tmp_path / "store")), NAME) == []
    assert execute(export.STAGE, config, inputs, outputs, Recorder())["version"] == facts["version"]


def test_too_many_changed_predictions_are_refused_and_one_never_is() -> None:
    full = np.eye(5)[np.arange(1000) % 5]
    rounded = full.copy()
    rounded[0] = full[1]
    assert compare(full, rounded)["changed_predictions"] == 1
    rounded[1] = full[2]
    with pytest.raises(GateError, match="changes 2 of 1000 predictions"):
        compare(full, rounded)
    assert compare(full[:10], np.vstack([full[1:2], full[1:10]]))["changed_predictions"] == 1


def test_weights_too_large_for_half_precision_are_refused(tmp_path: Path) -> None:
    safetensors.numpy.save_file({"w": np.array([1e6], dtype=np.float32)}, tmp_path / "a.safetensors")
    with pytest.raises(ModelError, match="weights_dtype float32"):
        cast_weights(tmp_path / "a.safetensors", tmp_path / "b.safetensors", "float16")
    assert not (tmp_path / "b.safetensors").exists()


def test_golden_texts_are_no_customers(inputs: dict[str, Path], exported: tuple[Path, Path, dict[str, Any]]) -> None:
    golden = {case.text for case in Release.open(exported[0] / "release").golden().cases}
    for split in tiny.ROWS:
        assert not golden & {text.second for text in LabelledReviews.from_split(inputs["prepare"], split).segments}
