"""Input files: what is wrong with a file is said at once; what is wrong with a row is a reason."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from contracts.errors import DataError
from training.reading import HEADER, find_files, inspect, parse_line, read_reviews


def row(**changes: str) -> str:
    cells = dict.fromkeys(HEADER.split("\t"), "") | {
        "review_id": "R1",
        "product_category": "Gift_Card",
        "star_rating": "4",
        "review_headline": "Handy",
        "review_body": "Arrived at once and worked.",
    }
    return "\t".join((cells | changes).values())


def write(path: Path, *rows: str | bytes, header: str = HEADER) -> Path:
    lines = [header.encode(), *(r if isinstance(r, bytes) else r.encode() for r in rows)]
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def test_a_good_line_becomes_a_review() -> None:
    review, reasons = parse_line(row())
    assert reasons == []
    assert review is not None
    assert (review.star_rating, review.review_headline, review.product_category) == (4, "Handy", "Gift_Card")


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
        (row(review_body="caf\ufffd"), "invalid_utf8"),
        ("US\t1\tR1", "too_few_columns"),
        (row() + "\textra", "too_many_columns"),
        ("", "too_few_columns"),
    ],
)
def test_a_bad_line_has_its_reason(line: str, reason: str) -> None:
    review, reasons = parse_line(line)
    assert review is None
    assert reason in reasons


def test_every_reason_of_a_line_is_kept() -> None:
    assert parse_line(row(star_rating="9", review_body=""))[1] == ["bad_star_rating", "empty_body"]


def test_a_lone_carriage_return_does_not_end_a_row(tmp_path: Path) -> None:
    file = write(tmp_path / "a.tsv", row(review_body="one\rtwo"), row(review_id="R2") + "\r")
    reviews = [review for review, _ in read_reviews(file)]
    assert [review.review_id for review in reviews if review] == ["R1", "R2"]


def test_invalid_utf8_is_a_reason_and_not_a_crash(tmp_path: Path) -> None:
    file = write(tmp_path / "a.tsv", row(review_body="BAD").encode().replace(b"BAD", b"caf\xe9"), row(review_id="R2"))
    assert [reasons for _, reasons in read_reviews(file)] == [["invalid_utf8"], []]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing\.tsv"):
        find_files([tmp_path / "nothing.tsv"])
    with pytest.raises(DataError, match=r"holds no \.tsv"):
        find_files([tmp_path])


def test_a_wrong_header_names_the_missing_columns(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="star_rating"):
        inspect(write(tmp_path / "a.tsv", row(), header="review_id\treview_body"))


def test_judging_needs_two_columns_in_any_order(tmp_path: Path) -> None:
    file = tmp_path / "a.tsv"
    file.write_bytes("\ufeffreview_body\tstar_rating\r\nFine\t3\r\n\t4\r\n".encode())
    reviews = [review for review, _ in read_reviews(file)]
    assert [review and (review.review_body, review.star_rating) for review in reviews] == [("Fine", 3), None]
    file.write_text("review_body\tstars\nFine\t3\n")
    with pytest.raises(DataError, match="star_rating"):
        read_reviews(file)


@pytest.mark.parametrize("content", [b"", b"\n", HEADER.encode(), HEADER.encode() + b"\n"])
def test_a_file_without_reviews_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.tsv").write_bytes(content)
    with pytest.raises(DataError):
        inspect(tmp_path / "a.tsv")


def test_a_gzip_file_cut_in_the_middle_is_refused(tmp_path: Path) -> None:
    whole = gzip.compress("\n".join([HEADER, *(row(review_id=f"R{i}") for i in range(500))]).encode())
    (tmp_path / "a.tsv.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cut short"):
        inspect(tmp_path / "a.tsv.gz")


def test_a_gzip_file_must_be_named_so(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_bytes(gzip.compress(f"{HEADER}\n{row()}\n".encode()))
    with pytest.raises(DataError, match=r"\.gz"):
        inspect(tmp_path / "a.tsv")
    write(tmp_path / "b.tsv.gz", row())
    with pytest.raises(DataError, match="not a gzip"):
        inspect(tmp_path / "b.tsv.gz")
