"""The pipeline around its stages: what it refuses before any work, and what it deletes of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import ConfigError
from training.pipeline import local
from training.pipeline.plan import tidy
from training.pipeline.request import Run
from training.running.reporting import Listener
from training.stages.prepare import rows_used

EXAMPLES = Path(__file__).parents[2] / "examples" / "reviews.tsv"


class Watcher(Listener):
    """It remembers."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.lines: list[str] = []

    def stage(self, stage: str) -> None:
        self.stages.append(stage)

    def progress(self, stage: str, overall: float, message: str) -> None:
        self.lines.append(message)

    def log(self, message: str) -> None:
        self.lines.append(message)


def test_a_work_folder_beside_ones_own_files_is_refused_before_any_work(tmp_path: Path) -> None:
    """Fault 8: `stars pipeline run --work .` beside one's own train/ deleted it."""
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "notes.txt").write_text("mine")
    watcher = Watcher()
    with pytest.raises(ConfigError, match=r"train holds files that train did not make.*--work"):
        local.run(Run((EXAMPLES,), "tiny", str(tmp_path / "store"), tmp_path), watcher)
    assert not watcher.stages
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["train", "train/notes.txt"]


def test_a_work_folder_that_is_a_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "work").write_text("mine")
    with pytest.raises(ConfigError, match="choose another"):
        local.run(Run((EXAMPLES,), "tiny", str(tmp_path / "store"), tmp_path / "work"), Watcher())


def test_tidy_deletes_what_finished_stages_made_and_nothing_else(tmp_path: Path) -> None:
    """Fault 8's sister."""
    for name in ("train/model/a", "prepare/train/b", "convert/model.safetensors"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("weights")
    (tmp_path / "prepare" / "facts.json").write_text(json.dumps({"stage": "prepare", "fingerprint": "one"}))
    tidy(tmp_path)
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"train/model/a", "convert/model.safetensors", "prepare/facts.json"}


@pytest.mark.parametrize(
    ("changes", "config", "said"),
    [
        (
            {},
            {},
            [
                "1,934 reviews, 12 of them put aside (9 duplicate_text, 3 duplicate_review_id): see quarantine",
                "690 of 1,922 good rows used after balancing the stars; "
                "--set prepare.max_ratio=3 uses more of the train split",
            ],
        ),
        (
            {"put_aside": 0, "put_aside_reasons": {}},
            {"limit": 700},
            ["1,934 reviews, 0 of them put aside", "690 of 1,922 good rows used: prepare.limit is 700"],
        ),
    ],
)
def test_rows_that_are_not_used_are_said(changes: dict[str, Any], config: dict[str, Any], said: list[str]) -> None:
    """Fault 31: the pipeline dropped rows in silence."""
    facts = {
        "reviews_in": 1934,
        "put_aside": 12,
        "put_aside_reasons": {"duplicate_review_id": 3, "duplicate_text": 9},
        "splits": {"train": {"rows": 600, "available": 1730}, "test": {"rows": 90, "available": 192}},
        "config": {"max_ratio": 1.5, "limit": None} | config,
    }
    assert rows_used(facts | changes, Path("quarantine")) == said


def test_rows_that_are_all_used_need_one_line() -> None:
    facts = {"reviews_in": 9, "put_aside": 0, "put_aside_reasons": {}}
    facts |= {"splits": {"train": {"rows": 9, "available": 9}}}
    assert rows_used(facts | {"config": {"max_ratio": 1.0, "limit": None}}, Path("quarantine")) == [
        "9 reviews, 0 of them put aside"
    ]
