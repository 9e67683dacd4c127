"""Every layout that is known, told by its columns; and what is said of one that is not."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contracts.columns import parse_columns
from contracts.errors import DataError
from contracts.stages import IngestConfig
from training.ingest.part import rows_of
from training.ingest.recognise import recognise
from training.ingest.row import ReviewRow

MCAULEY_2014 = {
    "reviewerID": "A2SUAM1J3GNN3B", "asin": "0000013714", "reviewerName": "J. McDonald", "helpful": [2, 3],
    "reviewText": "I bought this for my husband.", "overall": 5.0, "summary": "Heavenly Highway Hymns",
    "unixReviewTime": 1252800000, "reviewTime": "09 13, 2009",
}  # fmt: skip
MCAULEY_2018 = {
    "image": ["https://images-na.ssl-images-amazon.com/x.jpg"], "overall": 4.0, "vote": "1,234", "verified": True,
    "reviewTime": "01 1, 2018", "reviewerID": "AUI6WTTT0QZYS", "asin": "5120053084", "style": {"Size:": " Large"},
    "reviewerName": "Abbey", "reviewText": "I now have 4 of these.", "summary": "Comfy", "unixReviewTime": 1514764800,
}  # fmt: skip
MCAULEY_2023 = {
    "rating": 3.0, "helpful_votes": 0, "title": "Meh", "text": "These were lightweight.",
    "images": [], "asin": "B07DJWBYKP", "verified_purchase": False, "parent_asin": "B07DK1H3H5", "user_id": "AGKHLEW2",
    "timestamp": 1588687728923, "helpful_vote": 7,
}  # fmt: skip
YELP = {
    "review_id": "KU_O5udG6zpxOg-VcAEodg", "user_id": "mh_-eMZ6K5RLWhZyISBhwA", "business_id": "XQfwVwDr-v0ZS3_CbbE5Xw",
    "stars": 2.0, "useful": 1, "funny": 0, "cool": 0, "text": "Slow\nand cold.", "date": "2018-07-07 22:09:11",
}  # fmt: skip


def first(path: Path, **settings: Any) -> tuple[str, ReviewRow]:
    reading = recognise(path, IngestConfig(**settings))
    _, _, review = next(rows_of(reading, path))
    assert isinstance(review, ReviewRow), review
    return reading.layout, review


def lines(path: Path, *records: dict[str, Any]) -> Path:
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records))
    return path


@pytest.mark.parametrize(
    ("name", "record", "layout", "expected"),
    [
        (
            "reviews_Digital_Music_5.json", MCAULEY_2014, "mcauley-2014",
            {"star_rating": 5, "review_body": "I bought this for my husband.", "helpful_votes": 2, "total_votes": 3,
             "review_date": date(2009, 9, 13), "product_category": "Digital_Music", "product_id": "0000013714"},
        ),
        (
            "Toys_and_Games.json", MCAULEY_2018, "mcauley-2018",
            {"star_rating": 4, "review_headline": "Comfy", "helpful_votes": 1234, "verified_purchase": "Y",
             "review_date": date(2018, 1, 1), "product_category": "Toys_and_Games", "customer_id": "AUI6WTTT0QZYS"},
        ),
        (
            "Gift_Cards.jsonl", MCAULEY_2023, "mcauley-2023",
            {"star_rating": 3, "review_headline": "Meh", "helpful_votes": 7, "verified_purchase": "N",
             "review_date": date(2020, 5, 5), "product_category": "Gift_Cards", "product_parent": "B07DK1H3H5"},
        ),
        (
            "yelp_academic_dataset_review.json", YELP, "yelp",
            {"star_rating": 2, "review_body": "Slow\nand cold.", "review_id": "KU_O5udG6zpxOg-VcAEodg",
             "review_date": date(2018, 7, 7), "product_category": "unknown", "helpful_votes": 1},
        ),
    ],
)  # fmt: skip
def test_a_known_layout_is_told_by_its_columns(
    tmp_path: Path, name: str, record: dict[str, Any], layout: str, expected: dict[str, Any]
) -> None:
    told, review = first(lines(tmp_path / name, record))
    assert told == layout
    assert {column: getattr(review, column) for column in expected} == expected
    # The same columns in Parquet are the same layout.
    pq.write_table(pa.Table.from_pylist([record]), tmp_path / "same.parquet")
    assert first(tmp_path / "same.parquet")[0] == layout


def test_the_first_mcauley_files_are_dictionaries_as_python_writes_them(tmp_path: Path) -> None:
    (tmp_path / "reviews_Baby.json").write_text(f"{MCAULEY_2014!r}\n")
    assert first(tmp_path / "reviews_Baby.json")[1].star_rating == 5


def test_the_amazon_layout_in_parquet_has_whole_stars(tmp_path: Path) -> None:
    record = {"review_id": "R1", "star_rating": 4, "review_body": "Fine.", "product_category": "Gift_Card"}
    pq.write_table(pa.Table.from_pylist([record]), tmp_path / "a.parquet")
    assert first(tmp_path / "a.parquet") == ("amazon", first(tmp_path / "a.parquet")[1])
    assert first(tmp_path / "a.parquet")[1].review_id == "R1"


@pytest.mark.parametrize(
    ("content", "settings"),
    [
        ('Rating,Review\n8,"Two\nlines, and ""quotes"""\n10,x\n', {}),
        ('Rating;Review\n8;"Two\nlines, and ""quotes"""\n10;x\n', {}),
        ('"Rating"\t"Review"\n8\t"Two\nlines, and ""quotes"""\n10\tx\n', {}),
        ('a,b\n8,"Two\nlines, and ""quotes"""\n10,x\n', {"columns": "stars=a,text=b"}),
        ('a|b\n8|"Two\nlines, and ""quotes"""\n', {"columns": {"stars": "a", "text": "b"}, "scale": "10"}),
    ],
)
def test_a_csv_of_two_columns_is_enough(tmp_path: Path, content: str, settings: dict[str, Any]) -> None:
    (tmp_path / "a.csv").write_text(content)
    layout, review = first(tmp_path / "a.csv", **settings)
    assert (layout, review.star_rating, review.review_body) == ("columns", 4, 'Two\nlines, and "quotes"')


def test_what_is_named_counts_before_what_is_known(tmp_path: Path) -> None:
    file = lines(tmp_path / "a.jsonl", YELP | {"shop": "Bakery"})
    assert first(file)[1].product_category == "unknown"
    told, review = first(file, columns="stars=stars,text=text,category=shop")
    assert (told, review.product_category, review.review_id[0]) == ("columns", "Bakery", "H")
    assert first(file, columns="category=shop")[1].review_id == "KU_O5udG6zpxOg-VcAEodg", "the rest is found"
    assert first(file, layout="yelp", category="Food")[1].product_category == "Food"


def test_an_unknown_layout_says_what_was_found_and_what_was_wanted(tmp_path: Path) -> None:
    file = lines(tmp_path / "a.jsonl", {"reviewer": 1, "asin": 2, "overall": 3, "summary": 4, "txt": 5})
    with pytest.raises(DataError) as caught:
        recognise(file, IngestConfig())
    said = str(caught.value)
    assert "a.jsonl has the columns asin, overall, reviewer, summary, txt, and none of them is known to be" in said
    assert "review_body" in said and "--columns stars=rating,text=review" in said
    assert "nearest known layout is mcauley-2014, which has helpful, reviewText" in said
    with pytest.raises(DataError, match="the layout yelp needs business_id, stars, text"):
        recognise(file, IngestConfig(layout="yelp"))
    with pytest.raises(DataError, match="there is no words among them"):
        recognise(file, IngestConfig(columns="stars=overall,text=words"))


@pytest.mark.parametrize(
    "said", ["stars", "stars=", "star=a,text=b", "stars=a,star_rating=b", "{", 7, {"stars": ["a"]}]
)
def test_columns_that_name_nothing_are_refused(said: object) -> None:
    with pytest.raises(ValueError):
        parse_columns(said)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"<!DOCTYPE html><html><title>403 Forbidden</title>", "is a web page, which says 403"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "says AccessDenied"),
        ("star_rating\treview_body\n5\tx\n".encode("utf-16"), "is UTF-16.*iconv"),
        ("star_rating\treview_body\n5\tx\n".encode("utf-16-le"), "is UTF-16"),
        (b'[{"stars": 5, "text": "x"}]', "one JSON list.*jq"),
        (b"{]\n{]\n", "no JSON object a line"),
        (b"a\tb\ta\n", "names the column a twice"),
        (b"PAR1 and nothing else", "cut short or damaged"),
        (b"Just a text, without any column.\n", "none of them is known"),
    ],
)
def test_what_is_no_file_of_reviews_is_said(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "a.tsv").write_bytes(content)
    with pytest.raises(DataError, match=f"(?s)a.tsv.*{said}"):
        recognise(tmp_path / "a.tsv", IngestConfig())
