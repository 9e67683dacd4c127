"""A data set, a URL or a pattern in the place of files: for the pipeline and for judging."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import ConfigError, DataError
from contracts.stages import IngestConfig
from training.ingest.fetch import fetch
from training.ingest.labelled import read_labelled
from training.pipeline import local
from training.pipeline.plan import plan
from training.pipeline.request import Run
from training.running.reporting import Listener, Reporter

from .amazon import HEADER, row, write
from .test_pipeline import Watcher
from .web import Web, served

EXAMPLES = Path(__file__).parents[2] / "examples" / "reviews.tsv"


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("given") / "lake"
    fetch([EXAMPLES], folder, IngestConfig(licence="Apache-2.0"), Listener())
    return folder


@pytest.fixture
def inputs(monkeypatch: pytest.MonkeyPatch) -> dict[str, Mapping[str, Path]]:
    """What each stage after ingest was given; none of them does anything."""
    given: dict[str, Mapping[str, Path]] = {}

    def does_nothing(name: str) -> Any:
        def run(_config: Any, inputs: Mapping[str, Path], _outputs: Path, _report: Reporter) -> dict[str, Any]:
            given[name] = inputs
            return {"dataset_sha256": "", "verdict": "", "version": "", "metrics": {}}  # what MLflow is told

        return run

    def nothing(*_: Any) -> Any:
        return {}

    stages = {
        name: stage
        if name == "ingest"
        else replace(
            stage, run=does_nothing(name), named_inputs=nothing, still_holds=lambda _: True, remarks=lambda *_: ()
        )
        for name, stage in plan().items()
    }
    monkeypatch.setattr(local, "plan", lambda: stages)
    return given


def ran(tmp_path: Path, *data: str | Path, **settings: Any) -> tuple[dict[str, Any], list[str]]:
    watcher = Watcher()
    asked = Run(data, "tiny", str(tmp_path / "store"), tmp_path / "work", overrides={"ingest": settings})
    return local.run(asked, watcher), watcher.lines


def test_a_data_set_is_taken_as_it_is(tmp_path: Path, lake: Path, inputs: dict[str, Mapping[str, Path]]) -> None:
    before = {path: path.stat().st_mtime_ns for path in lake.rglob("*")}
    facts, lines = ran(tmp_path, lake)
    assert facts["ingest"]["rows_in"] == 477 and facts["ingest"]["seconds"] == 0
    assert inputs["prepare"]["ingest"] == lake
    assert not (tmp_path / "work" / "ingest").exists()
    assert f"{lake} is a data set, taken as it is" in lines
    assert {path: path.stat().st_mtime_ns for path in lake.rglob("*")} == before
    inputs.clear()
    ran(tmp_path, lake)
    assert "prepare" not in inputs, "unchanged, skipped"


def test_a_data_set_that_grew_is_prepared_anew(tmp_path: Path, inputs: dict[str, Mapping[str, Path]]) -> None:
    folder = tmp_path / "lake"
    fetch([EXAMPLES], folder, IngestConfig(), Listener())
    ran(tmp_path, folder)
    fetch([write(tmp_path / "more.tsv", row())], folder, IngestConfig(), Listener())
    inputs.clear()
    ran(tmp_path, folder)
    assert "prepare" in inputs


def test_a_data_set_beside_sources_or_with_columns_is_refused(
    tmp_path: Path, lake: Path, inputs: dict[str, Mapping[str, Path]]
) -> None:
    with pytest.raises(ConfigError, match="name it alone, or add the sources to it with stars data fetch"):
        ran(tmp_path, lake, EXAMPLES)
    with pytest.raises(ConfigError, match="whose columns were named when it was made: leave --columns"):
        ran(tmp_path, lake, columns="stars=a,text=b")
    assert not inputs


def test_a_data_set_that_is_being_filled_is_refused(tmp_path: Path, inputs: dict[str, Mapping[str, Path]]) -> None:
    fetch([EXAMPLES], tmp_path / "lake", IngestConfig(), Listener())
    (tmp_path / "lake" / "facts.json").unlink()
    with pytest.raises(DataError, match="is being filled, or something has ended that"):
        ran(tmp_path, tmp_path / "lake")
    with pytest.raises(DataError, match="is being filled, or something has ended that"):
        read_labelled([tmp_path / "lake"])
    assert not inputs


@pytest.fixture
def web() -> Iterator[Web]:
    with served() as found:
        found.body = f"{HEADER}\n{row()}\n{row(review_id='R2', star_rating='7')}\n".encode()
        yield found


def test_urls_and_patterns_are_sources(tmp_path: Path, web: Web, inputs: dict[str, Mapping[str, Path]]) -> None:
    for name in "ab":
        write(tmp_path / f"{name}.tsv", row(review_id=name))
    facts, _ = ran(tmp_path, web.url, str(tmp_path / "*.tsv"))
    places = {source["file"]: source["location"] for source in facts["ingest"]["sources"]}
    assert places == {"reviews.tsv": web.url} | {f"{name}.tsv": str(tmp_path / f"{name}.tsv") for name in "ab"}
    sent = web.sent
    inputs.clear()
    ran(tmp_path, web.url, str(tmp_path / "*.tsv"))
    assert web.sent == sent and not inputs, "unchanged: neither sent nor prepared again"
    with pytest.raises(DataError, match=r"there is no file .*absent\.tsv"):
        ran(tmp_path, tmp_path / "absent.tsv")


def test_a_release_is_judged_on_a_data_set_as_on_its_sources(lake: Path, web: Web) -> None:
    reviews, skipped = read_labelled([EXAMPLES])
    same, skipped_too = read_labelled([lake])
    assert sorted(same.segments) == sorted(reviews.segments) and skipped_too == skipped
    assert len(read_labelled([lake], limit=7)[0]) == 7
    judged, bad = read_labelled([web.url])
    assert (len(judged), bad.reasons) == (1, {"bad_star_rating": 1})
