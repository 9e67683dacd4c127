"""What the cards say depends on what is known."""

from __future__ import annotations

from pathlib import Path

from training.data.dataset import published
from training.judge.report import interval, table
from training.package.cards import AMAZON_TERMS, UNKNOWN_TERMS, data_card, data_terms
from training.running.folder import read_facts


def test_terms_are_those_stated_else_what_is_known_of_the_files() -> None:
    assert data_terms("CC0", ["amazon_reviews_us_Gift_Card_v1_00.tsv.gz"]) == "CC0"
    assert data_terms("", ["ours.tsv", "amazon_reviews_us_Gift_Card_v1_00.tsv.gz"]) == AMAZON_TERMS
    assert data_terms("", ["ours.tsv"]) == UNKNOWN_TERMS


def test_shares_are_percentages_and_distances_are_not() -> None:
    measured = {"value": 0.6125, "low": 0.6, "high": 0.625}
    assert interval("accuracy", measured) == "61.3 % (60.0 % to 62.5 %)"
    assert interval("mae", measured) == "0.613 (0.600 to 0.625)"


def test_a_cell_cannot_end_its_column() -> None:
    assert table(["a", "b"], [["x|y", "1"]]).splitlines() == ["| a | b |", "| --- | --: |", "| x\\|y | 1 |"]


def test_a_data_card_says_where_each_file_came_from(tiny_inputs: dict[str, Path]) -> None:
    card = data_card(read_facts(tiny_inputs["prepare"]), "Apache-2.0")
    row = f"| made_up.tsv | https://example.com/made_up.tsv, 2026-11-01 | 705 | 90,000 | Apache-2.0 | `{'0' * 64}` |"
    assert row in card.splitlines()


def test_a_folder_of_this_machine_is_in_no_release() -> None:
    source = dict.fromkeys(("file", "sha256", "rows", "bytes", "licence", "downloaded"), "")
    assert published(source | {"location": "/home/me/reviews.tsv", "key": "x"}) == source | {"url": ""}
    assert published(source | {"location": "s3://bucket/a.tsv"})["url"] == "s3://bucket/a.tsv"
