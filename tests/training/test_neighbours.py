"""Near-duplicates on a real Spark: what is alike goes to one split, and nothing else moves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from pyspark.sql import SparkSession

from training.data.neighbours import LOOK_BACK, keep_together
from training.data.spark import spark_session

pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),  # pyspark leaves them to the collector
    pytest.mark.slow,
]

THRESHOLD = 0.6
SPLITS = ("train", "validation", "test")
random = np.random.default_rng(3)


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    folder = tmp_path_factory.mktemp("neighbours")
    with spark_session("neighbours", folder, folder / "spark.log") as session:
        session.sparkContext.setCheckpointDir(str(folder / "checkpoints"))
        yield session


def some_words(count: int = 40) -> list[str]:
    return [f"w{number}" for number in random.integers(10**6, size=count)]


def edited(words: list[str], *places: int) -> list[str]:
    return [f"other{at}" if at in places else word for at, word in enumerate(words)]


def together(spark: SparkSession, texts: dict[str, str], tasks: int = 4) -> tuple[dict[str, str], dict[str, int]]:
    """The split of each text by its key, and the counts. Texts go to the three splits in turn."""
    rows = [(key, SPLITS[at % 3], text) for at, (key, text) in enumerate(texts.items())]
    frame = spark.createDataFrame(rows, "text_key string, split string, second string").repartition(tasks).persist()
    kept, facts = keep_together(frame, THRESHOLD)
    found: list[Any] = kept.collect()
    assert kept.columns == frame.columns
    assert sorted((row["text_key"], row["second"]) for row in found) == sorted(texts.items())
    return {row["text_key"]: row["split"] for row in found}, facts


def test_copies_go_to_one_split_and_the_others_stay(spark: SparkSession) -> None:
    copied, chained = some_words(), some_words()
    texts = {f"lone{at}": " ".join(some_words()) for at in range(30)}
    # The second is like the first and the third like the second; the first and the third have too little in common.
    links = [chained, edited(chained, 5, 6, 7, 8), edited(chained, 5, 6, 7, 8, 20, 21, 22, 23)]
    texts |= {f"chain{at}": " ".join(words) for at, words in enumerate(links)}
    texts |= {f"copy{at}": " ".join(edited(copied, at * 9)) for at in range(4)}
    texts |= {f"short{at}": "good product works" for at in range(6)}
    before = {key: SPLITS[at % 3] for at, key in enumerate(texts)}
    after, facts = together(spark, texts)

    for key in texts:
        if key.startswith(("lone", "short")):
            assert after[key] == before[key]
    for group, size in {"chain": 3, "copy": 4}.items():
        of_group = {key: split for key, split in after.items() if key.startswith(group)}
        assert (len(of_group), len(set(of_group.values()))) == (size, 1)
    moved = sum(after[key] != before[key] for key in texts)
    # Of the 2 pairs of the chain both cross, of the 6 of the copies all but the one of the first and the fourth.
    assert facts == {"groups": 2, "rows": 7, "largest": 4, "pairs_on_two_sides": 7, "rows_moved": moved}
    assert together(spark, texts, tasks=1) == (after, facts)


def test_thousands_of_one_template_are_chained_not_squared(spark: SparkSession) -> None:
    template = some_words()
    texts = {f"spam{at}": " ".join([*template, f"number {at}"]) for at in range(3000)}
    after, facts = together(spark, texts)
    assert len(set(after.values())) == 1
    assert (facts["groups"], facts["rows"], facts["largest"]) == (1, 3000, 3000)
    assert facts["pairs_on_two_sides"] <= 3000 * LOOK_BACK


def test_a_long_chain_is_one_group(spark: SparkSession) -> None:
    words = some_words(30)
    texts = {}
    for link in range(60):
        words = edited(words, link % 30)
        words[link % 30] += f"-{link}"
        texts[f"link{link}"] = " ".join(words)
    after, facts = together(spark, texts)
    assert (facts["groups"], facts["largest"], len(set(after.values()))) == (1, 60, 1)


def test_where_nothing_is_alike_nothing_moves(spark: SparkSession) -> None:
    nothing = {"groups": 0, "rows": 0, "largest": 0, "pairs_on_two_sides": 0, "rows_moved": 0}
    assert together(spark, {}) == ({}, nothing)
    assert together(spark, {"a": "Good", "b": "good!", "c": ""}) == (
        {"a": "train", "b": "validation", "c": "test"},
        nothing,
    )


def test_a_body_of_a_hundred_thousand_words_meets_its_copy(spark: SparkSession) -> None:
    long = some_words(100_000)
    after, facts = together(
        spark, {"one": " ".join(long), "two": " ".join(edited(long, 7)), "three": " ".join(some_words())}
    )
    assert after["one"] == after["two"]
    assert (facts["groups"], facts["rows"]) == (1, 2)
