"""`stars data`: what a person is told of a data set."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from contracts.errors import DataError
from training import cli
from training.data.dataset import PARTITION, REVIEW_SCHEMA, REVIEWS


def test_the_categories_of_a_data_set_are_listed_with_their_stars(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    schema = REVIEW_SCHEMA.remove(REVIEW_SCHEMA.get_field_index(PARTITION))
    for category, stars in {"Gift_Card": [5, 5, 1], "unknown": [3]}.items():
        folder = tmp_path / REVIEWS / f"{PARTITION}={category}"
        folder.mkdir(parents=True)
        rows = [
            {"review_id": f"R{at}", "star_rating": star, "review_body": "a review", "source": "a.tsv", "row": at}
            for at, star in enumerate(stars)
        ]
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), folder / "a-0.parquet")
    monkeypatch.setenv("STARS_LAKE", str(tmp_path))
    listed = CliRunner().invoke(cli.app, ["data", "ls"]).stdout
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in listed.splitlines() if line.startswith("│")]
    assert cells == [["Gift_Card", "3", "1", "0", "0", "0", "2"], ["unknown", "1", "0", "0", "1", "0", "0"]]


def test_a_folder_that_is_no_data_set_says_what_makes_one(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli.app, ["data", "ls", str(tmp_path)])
    assert isinstance(done.exception, DataError)
    assert "stars data fetch" in str(done.exception)
