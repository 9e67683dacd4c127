"""A data set as tables in DuckDB: what they hold, that nothing but them is read and nothing written, what is said."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import ConfigError, DataError, MachineError, StarsError
from contracts.stages import IngestConfig
from training.data.dataset import REVIEWS, open_reviews
from training.explore import lake as module
from training.explore.lake import open_lake, select
from training.pipeline.data_set import data_set_of
from training.running.interrupt import interruptible
from training.running.reporting import Listener

from .amazon import HEADER, row, write

LONG = "SELECT sum(a.range * b.range) FROM range(1000000) a, range(1000000) b"


def asked(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    with open_lake(folder) as lake:
        return list(select(lake, sql)[1])


def refusal(folder: Path, sql: str) -> str:
    with pytest.raises(ConfigError) as refused:
        asked(folder, sql)
    said = str(refused.value)
    assert "\n" not in said
    return said


def files(folder: Path) -> dict[str, tuple[int, int]]:
    found = (path.stat() for path in folder.rglob("*"))
    return {str(path): (each.st_size, each.st_mtime_ns) for path, each in zip(folder.rglob("*"), found, strict=True)}


def made(folder: Path, *rows: str | bytes, name: str = "a.tsv", header: str = HEADER) -> Path:
    return data_set_of([write(folder / name, *rows, header=header)], IngestConfig(), folder / "scratch", Listener())


def test_the_table_of_reviews_holds_the_data_set(examples_lake: Path) -> None:
    rows = open_reviews(examples_lake).to_table()
    with open_lake(examples_lake) as lake:
        names, found = select(lake, "SELECT * FROM reviews ORDER BY row")
        assert list(found) == sorted(zip(*rows.select(names).to_pydict().values(), strict=True), key=lambda r: r[-1])


def test_the_table_of_the_tsv_holds_its_good_rows_and_the_bad_ones_that_can_be_read(examples_lake: Path) -> None:
    columns = "SELECT review_id, star_rating, helpful_votes, review_headline, review_body, review_date FROM "
    good, raw = (Counter(asked(examples_lake, columns + table)) for table in ("reviews", "reviews_tsv"))
    assert raw.total() == 476, "all 477 but the one that is no UTF-8, which is left out when its text is read"
    assert good.total() == 467
    assert not good - raw
    assert Counter(star for _, star, *_ in raw - good) == {None: 2, 0: 1, 2: 1, 3: 2, 4: 1, 5: 1, 6: 1}


@pytest.mark.parametrize(
    "sql",
    [
        "DROP VIEW reviews",
        "CREATE TABLE mine AS SELECT 1",
        "COPY reviews TO '{lake}/reviews/mine.parquet'",
        "WITH mine AS (COPY (SELECT 1) TO '{lake}/reviews/mine.parquet') SELECT * FROM mine",
        "SELECT * FROM query('WITH mine AS (COPY (SELECT 1) TO ''{lake}/reviews/mine.parquet'') SELECT * FROM mine')",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '{lake}/reviews/mine.parquet'",
        "SELECT 1; DROP VIEW reviews",
        "SET enable_external_access = true",
        "ATTACH '{lake}/reviews/mine.db'",
        "",
        "-- nothing",
    ],
)
def test_what_would_write_is_refused(examples_lake: Path, sql: str) -> None:
    before = files(examples_lake)
    assert "must be one statement that asks, such as SELECT" in refusal(examples_lake, sql.format(lake=examples_lake))
    assert files(examples_lake) == before


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_text('{file}')",
        "SELECT * FROM '{file}'",
        "SELECT * FROM read_csv('{file}')",
        "SELECT * FROM read_text('{lake}/reviews/../facts.json')",
        "SELECT * FROM glob('/etc/*')",
        "SELECT * FROM read_text('https://example.com/a.csv')",
        "SELECT * FROM sql",  # a variable of this program
        "SELECT * FROM enable_logging(storage = 'file', storage_path = '{lake}/reviews')",
    ],
)
def test_nothing_else_is_read(examples_lake: Path, tmp_path: Path, sql: str) -> None:
    (tmp_path / "other.csv").write_text("secret\n1\n")
    assert "secret" not in refusal(examples_lake, sql.format(file=tmp_path / "other.csv", lake=examples_lake))


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELEC 1", 'syntax error at or near "SELEC"'),
        ("SELECT 'a", "unterminated string literal"),
        ("SELECT star FROM reviews", 'Referenced column "star" not found in FROM clause! Candidate bindings: "star_ra'),
        ("SELECT r.Star_ratin FROM reviews r", "there is no column Star_ratin: the nearest is star_rating"),
        ("SELECT * FROM review", "Table with name review does not exist: the tables are reviews and, where there is"),
        ("SELECT averag(star_rating) FROM reviews", "averag does not exist"),
        ("SELECT star_rating, count(*) FROM reviews", "must appear in the GROUP BY clause"),
        (
            "SELECT sum(review_body) FROM reviews",
            "No function matches the given name and argument types 'sum(VARCHAR)'",
        ),
        ("SELECT ?", "Values were not provided"),
    ],
)
def test_what_does_not_run_says_why_in_one_sentence(examples_lake: Path, sql: str, said: str) -> None:
    assert said in refusal(examples_lake, sql)


def test_a_cell_that_cannot_be_cast_is_not_quoted(examples_lake: Path) -> None:
    said = refusal(examples_lake, "SELECT CAST(review_body AS int) FROM reviews WHERE review_id = 'RTPDDZBNTXUFR2'")
    assert "watermarks" not in said
    assert "TRY_CAST" in said


@pytest.mark.parametrize("name", ["it's a [lake], 100%", "*", "what?", "{a,b}"])
def test_a_data_set_may_be_called_anything(examples_lake: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(examples_lake, tmp_path / name)
    assert asked(tmp_path / name, "SELECT count(*) FROM reviews") == [(467,)]
    assert asked(tmp_path / name, "SELECT count(*) FROM reviews_tsv") == [(477,)]


def test_a_category_is_text_whatever_it_looks_like(tmp_path: Path) -> None:
    names = ("2015", "2015-01-01", "Home/Garden = 50 %", "Ünïcode")
    folder = made(tmp_path, *(row(review_id=f"R{at}", product_category=name) for at, name in enumerate(names)))
    found = asked(folder, "SELECT product_category FROM reviews")
    assert sorted(found) == sorted((name,) for name in names)


def test_quotes_in_tsv_are_text_and_lines_that_are_none_of_its_rows_do_no_harm(tmp_path: Path) -> None:
    rows = (row(review_body='a 24" monitor'), row(review_id="R2", review_body='"fine"'), "US\tcut", HEADER)
    folder = made(tmp_path, *rows)
    found = asked(folder, "SELECT review_body, star_rating FROM reviews_tsv")
    assert found == [('a 24" monitor', 4), ('"fine"', 4), (None, None), ("review_body", None)]


@pytest.mark.parametrize("header", ["star_rating\treview_body\treview_id", HEADER.replace("vine\t", "")])
def test_without_tsv_of_the_layout_the_other_table_is_said_to_be_missing(tmp_path: Path, header: str) -> None:
    columns = header.split("\t")
    cells = dict(zip(HEADER.split("\t"), row().split("\t"), strict=True))
    folder = made(tmp_path, "\t".join(cells[name] for name in columns), header=header)
    assert "this data set has no TSV: add it with stars data fetch --tsv, or ask reviews" in refusal(
        folder, "FROM reviews_tsv"
    )


def test_a_folder_that_is_no_data_set_says_what_makes_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no data set: make one with stars data fetch SOURCE --to"):
        asked(tmp_path, "SELECT 1")


def test_a_data_set_without_a_review_says_so(tmp_path: Path) -> None:
    (tmp_path / REVIEWS).mkdir()
    with pytest.raises(DataError, match="holds no review: fill it with stars data fetch"):
        asked(tmp_path, "SELECT 1")


@pytest.mark.parametrize("damage", [b"", b"PAR1 and no more", b"<html>403</html>"])
def test_a_damaged_file_is_named(examples_lake: Path, tmp_path: Path, damage: bytes) -> None:
    shutil.copytree(examples_lake, tmp_path / "lake")
    damaged = next((tmp_path / "lake" / REVIEWS).glob("*/*.parquet"))
    damaged.write_bytes(damage)
    with pytest.raises(StarsError) as refused:
        asked(tmp_path / "lake", "SELECT count(*) FROM reviews WHERE length(review_body) > 3")
    assert damaged.name in str(refused.value)
    assert "\n" not in str(refused.value)


DISTINCT = "SELECT count(*) FROM (SELECT DISTINCT hash(range)::varchar || repeat('x', 100) FROM range(1000000))"


def test_what_is_larger_than_the_memory_goes_to_disk(examples_lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MEMORY", "60MB")
    assert asked(examples_lake, DISTINCT) == [(1_000_000,)]


def test_a_disk_that_is_full_is_said(examples_lake: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(small_disk))
    monkeypatch.setattr(module, "MEMORY", "60MB")
    with pytest.raises(MachineError, match="needs more than 60MB of memory, or more disk than"):
        asked(examples_lake, DISTINCT)


def test_ctrl_c_ends_a_long_query(examples_lake: Path) -> None:
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt), interruptible(lambda _: None):
        asked(examples_lake, LONG)
