"""A record becomes a row or reasons; what is wrong with a file as a whole is said at once."""

from __future__ import annotations

import gzip
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from contracts import review as contract
from contracts.errors import DataError
from contracts.stages import IngestConfig
from training.ingest.labelled import read_labelled
from training.ingest.part import rows_of
from training.ingest.recognise import recognise
from training.ingest.row import ReviewRow, Rules, review_row
from training.ingest.sources import find_files
from training.ingest.stars import guess_scale, stars

from .amazon import HEADER, row, write

RULES = Rules("5", "", False)


def read(path: Path, **settings: Any) -> list[ReviewRow | list[str]]:
    return [review for _, _, review in rows_of(recognise(path, IngestConfig(**settings)), path)]


def reasons(path: Path) -> list[list[str]]:
    return [review if isinstance(review, list) else [] for review in read(path)]


def test_a_good_line_becomes_a_typed_row(tmp_path: Path) -> None:
    line = row(helpful_votes="3", total_votes="x", verified_purchase="Y", review_date="2015-08-31", marketplace="US")
    [review] = read(write(tmp_path / "a.tsv", line))
    assert isinstance(review, ReviewRow)
    assert (review.review_id, review.star_rating, review.product_category) == ("R1", 4, "Gift_Card")
    assert (review.helpful_votes, review.total_votes, review.verified_purchase) == (3, None, "Y")
    assert (review.review_date, review.marketplace, review.vine) == (date(2015, 8, 31), "US", None)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (row(star_rating="0"), "bad_star_rating"),
        (row(star_rating="6"), "bad_star_rating"),
        (row(star_rating="five"), "bad_star_rating"),
        (row(star_rating="4.5"), "bad_star_rating"),
        (row(star_rating=""), "empty_star_rating"),
        (row(review_body=""), "empty_body"),
        (row(review_body="  \r "), "empty_body"),
        (row(review_body="<br /><br />"), "empty_body"),
        (row(review_id=" "), "empty_review_id"),
        (row(review_body="half\x00way"), "nul_byte"),
        (row(review_body="BAD").encode().replace(b"BAD", b"caf\xe9"), "invalid_utf8"),
        (row(product_category="x" * 101), "bad_category"),
        ("US\t1\tR1", "too_few_columns"),
        (row() + "\textra", "too_many_columns"),
    ],
)
def test_a_bad_line_has_its_reason(tmp_path: Path, line: str | bytes, reason: str) -> None:
    assert reasons(write(tmp_path / "a.tsv", line, row(review_id="R2"))) == [[reason], []]


def test_every_reason_of_a_line_is_kept(tmp_path: Path) -> None:
    assert reasons(write(tmp_path / "a.tsv", row(star_rating="9", review_body=""))) == [
        ["bad_star_rating", "empty_body"]
    ]


def test_a_lone_carriage_return_does_not_end_a_row(tmp_path: Path) -> None:
    found = read(write(tmp_path / "a.tsv", row(review_body="one\rtwo"), row(review_id="R2") + "\r"))
    assert [review.review_id for review in found if isinstance(review, ReviewRow)] == ["R1", "R2"]


@pytest.mark.parametrize("again", [HEADER, HEADER + "\r", "\ufeff" + HEADER, "\ufeff" + HEADER + "\r"])
def test_a_header_in_the_middle_of_a_file_is_put_aside(tmp_path: Path, again: str) -> None:
    """Fault 24: files put together by cat."""
    assert reasons(write(tmp_path / "a.tsv", row(), again, row(review_id="R2"))) == [[], ["header_line"], []]


def test_a_header_again_is_known_in_csv_too(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text('stars,text\n5,"Fine, in the end"\nstars,text\n4,Well\n')
    assert reasons(file) == [[], ["header_line"], []]


def test_two_columns_are_enough_in_any_order(tmp_path: Path) -> None:
    file = tmp_path / "a.tsv"
    file.write_bytes("\ufeffreview_body\tstar_rating\r\nFine\t3\r\n\t4\r\n".encode())
    first, second = read(file)
    assert isinstance(first, ReviewRow)
    assert (first.review_body, first.star_rating, first.product_category) == ("Fine", 3, "unknown")
    assert second == ["empty_body"]


def test_an_id_is_made_of_what_the_review_says() -> None:
    said = {"star_rating": 5, "review_body": "Good."}
    made = [review_row(fields, RULES) for fields in (said, said, said | {"review_body": "Better."})]
    ids = [review.review_id for review in made if isinstance(review, ReviewRow)]
    assert len(ids) == 3 and ids[0] == ids[1] != ids[2]
    assert review_row(said | {"review_id": " "}, Rules("5", "", True)) == ["empty_review_id"]


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"review_body": ["a", "list"]}, ["wrong_type"]),
        ({"review_headline": {"an": "object"}}, ["wrong_type"]),
        ({"star_rating": {"an": "object"}}, ["bad_star_rating"]),
        ({"star_rating": True}, ["bad_star_rating"]),
        ({"star_rating": float("nan")}, ["bad_star_rating"]),
        ({"star_rating": None}, ["empty_star_rating"]),
        ({"review_body": "half an emoji \ud83d"}, ["invalid_utf8"]),
        ({"review_body": "a\x00b"}, ["nul_byte"]),
        ({"review_body": None}, ["empty_body"]),
    ],
)
def test_a_value_of_another_type_is_a_reason(fields: dict[str, Any], found: list[str]) -> None:
    assert review_row({"star_rating": 5, "review_body": "Good."} | fields, RULES) == found


@pytest.mark.parametrize(
    ("value", "day"),
    [
        ("2018-07-07 22:09:11", date(2018, 7, 7)),
        (1252800000, date(2009, 9, 13)),
        ("1252800000", date(2009, 9, 13)),
        (1588687728923, date(2020, 5, 5)),
        ("yesterday", None),
        (1e300, None),
        (True, None),
    ],
)
def test_dates_are_read_or_left_out(value: Any, day: date | None) -> None:
    review = review_row({"star_rating": 5, "review_body": "Good.", "review_date": value}, RULES)
    assert isinstance(review, ReviewRow)
    assert review.review_date == day


@pytest.mark.parametrize(
    ("scale", "ratings"),
    [
        ("5", {4: 4, "4.5": 5, "3,5": 4, 0.5: 1, "4 stars": 4, "4.0 out of 5 stars": 4, "2/5": 2, 3.4: 3}),
        ("10", {1: 1, 2: 1, 3: 2, 8: 4, 9: 5, "10": 5, "7/10": 4, 9.5: 5}),
        ("exact", {"4": 4, " 5 ": 5, 3: 3}),
    ],
)
def test_ratings_become_stars_by_the_scale(scale: Any, ratings: dict[Any, int]) -> None:
    assert {rating: stars(rating, scale) for rating in ratings} == ratings


@pytest.mark.parametrize(
    ("scale", "rating"), [("5", 5.5), ("5", 0), ("5", "4/10"), ("10", 11), ("10", 0), ("10", -1), ("exact", "4.0")]
)
def test_a_rating_off_the_scale_has_no_stars(scale: Any, rating: Any) -> None:
    assert stars(rating, scale) == "bad_star_rating"


def test_the_scale_is_told_by_the_first_ratings() -> None:
    assert guess_scale(["4", "5.0", "x"]) == "5"
    assert guess_scale(["4", "8"]) == "10"
    assert guess_scale(["4", "85"]) == "5", "percent are no scale that is known: they become bad_star_rating"
    assert guess_scale([]) == "5"


def test_a_mistake_of_ours_over_one_line_is_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Fault 1, and nothing of the review gets into the log."""

    def fails(text: str) -> str:
        if "poison" in text:
            raise ZeroDivisionError(text)
        return text

    monkeypatch.setattr(contract, "clean", fails)
    file = write(tmp_path / "a.tsv", row(), row(review_body="poison"), row(review_id="R2"))
    reviews, skipped = read_labelled([file])
    assert (len(reviews), skipped.reasons) == (2, {"review_failed": 1})
    assert "ZeroDivisionError" in caplog.text and "poison" not in caplog.text


def test_a_mistake_of_ours_over_one_headline_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(headline: str) -> bool:
        if headline == "poison":
            raise ZeroDivisionError
        return False

    monkeypatch.setattr(contract, "names_the_star", fails)
    file = write(tmp_path / "a.tsv", row(), row(review_headline="poison"), row(review_id="R2"))
    reviews, skipped = read_labelled([file])
    assert (len(reviews), skipped.reasons) == (2, {"review_failed": 1})


def test_files_folders_and_patterns_are_found_once_each(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing\.tsv"):
        find_files([tmp_path / "nothing.tsv"])
    with pytest.raises(DataError, match=r"holds no file of reviews"):
        find_files([tmp_path])
    (tmp_path / "notes.txt").write_text("mine")
    one, two = write(tmp_path / "one.tsv", row()), write(tmp_path / "two.csv.gz", row())
    assert find_files([tmp_path, one]) == [one, two]
    assert find_files([tmp_path / "*.tsv"]) == [one]
    with pytest.raises(DataError, match="there is no file"):
        find_files([tmp_path / "*.jsonl"])


def test_a_packed_file_is_known_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_bytes(gzip.compress(f"{HEADER}\n{row()}\n".encode()))
    assert reasons(tmp_path / "a.tsv") == reasons(write(tmp_path / "b.tsv.gz", row())) == [[]]
