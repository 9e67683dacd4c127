"""Input files: what is wrong with a file is said at once; what is wrong with a row is a reason."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from contracts import review as contract
from contracts.errors import DataError
from training.data.labelled import read_labelled
from training.data.reading import HEADER, find_files, inspect, parse_line, read_reviews


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
    assert (review.review_id, review.star_rating, review.product_category) == ("R1", 4, "Gift_Card")
    assert review.text == ("Arrived at once and worked.", "Handy", "Gift Card")


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


@pytest.mark.parametrize("again", [HEADER, HEADER + "\r", "\ufeff" + HEADER, "\ufeff" + HEADER + "\r"])
def test_a_header_in_the_middle_of_a_file_is_put_aside_and_counted(tmp_path: Path, again: str) -> None:
    """Fault 24: files put together by cat."""
    file = write(tmp_path / "a.tsv", row(), again, row(review_id="R2"))
    found = inspect(file)
    assert (found.lines, found.headers) == (3, (again.encode(),))
    assert [reasons for _, reasons in read_reviews(file)] == [[], ["header_line"], []]


def test_any_header_in_the_middle_of_a_file_is_put_aside_when_judging(tmp_path: Path) -> None:
    file = tmp_path / "a.tsv"
    file.write_bytes(b"star_rating\treview_body\r\n5\tFine\r\n\xef\xbb\xbfstar_rating\treview_body\n4\tWell\n")
    assert [reasons for _, reasons in read_reviews(file)] == [[], ["header_line"], []]


def test_a_file_of_headers_holds_no_reviews(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no reviews"):
        inspect(write(tmp_path / "a.tsv", HEADER, HEADER))


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
    assert [reasons for _, reasons in read_reviews(file)] == [[], ["review_failed"], []]
    assert "ZeroDivisionError" in caplog.text and "poison" not in caplog.text
    reviews, skipped = read_labelled([file])
    assert (len(reviews), skipped.reasons) == (2, {"review_failed": 1})


def test_a_mistake_of_ours_over_one_headline_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(headline: str) -> bool:
        if headline == "poison":
            raise ZeroDivisionError
        return False

    monkeypatch.setattr(contract, "names_the_star", fails)
    file = write(tmp_path / "a.tsv", row(), row(review_headline="poison"), row(review_id="R2"))
    reviews, skipped = read_labelled([file])
    assert (len(reviews), skipped.reasons) == (2, {"review_failed": 1})


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
    assert [review and (review.text.body, review.star_rating) for review in reviews] == [("Fine", 3), None]
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
