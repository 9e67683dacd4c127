"""What a SageMaker endpoint reads and writes beside JSON: a review a line, as JSON or as CSV without a header.

https://docs.aws.amazon.com/sagemaker/latest/dg/cdf-inference.html
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from contracts.errors import ReviewError
from contracts.review import STARS, Review
from service.errors import InvalidRequest, MalformedBody, error_body
from service.http.body import parse_json
from service.predict.parsing import parse_review
from service.settings import Limits

JSON, LINES, CSV = "application/json", "application/jsonlines", "text/csv"
KINDS = (JSON, LINES, CSV)

COLUMNS = ("text", "title", "category")
"""Of a CSV line; the latter two may be left out."""


def read_lines(kind: str, raw: bytes, limits: Limits) -> list[Review | ReviewError]:
    """A review, or why it is none, for each line that is not empty. Raises MalformedBody, InvalidRequest."""
    try:
        text = raw.decode("utf-8")
        items = _csv(text) if kind == CSV else [_line(line) for line in text.splitlines() if line.strip()]
    except (UnicodeDecodeError, csv.Error):
        raise MalformedBody(f"the body is not {kind} in UTF-8") from None
    if not items:
        raise InvalidRequest("the body has no review: send one a line")
    reviews: list[Review | ReviewError] = []
    for item in items:
        try:
            reviews.append(item if isinstance(item, ReviewError) else parse_review(item, limits))
        except ReviewError as error:
            reviews.append(error)
    return reviews


def _line(line: str) -> dict[str, Any] | ReviewError:
    try:
        return parse_json(line.encode())
    except MalformedBody as error:
        return ReviewError(str(error).replace("the body", "the line"))


def _csv(text: str) -> list[dict[str, Any] | ReviewError]:
    rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    return [
        dict(zip(COLUMNS, row, strict=False))
        if len(row) <= len(COLUMNS)
        else ReviewError(
            f"the line has {len(row)} columns: send {', '.join(COLUMNS)}, in quotes where they hold commas"
        )
        for row in rows
    ]


def write_lines(kind: str, items: Sequence[dict[str, Any] | ReviewError], request_id: str) -> str:
    """A line for each review, in order: the gateway's own answer or error as JSON, or of CSV

    stars, expected_stars, confidence, and a probability for each star; a line that is only an error's message says why
    there is none.
    """
    if kind == LINES:
        lines = [error_body(item, request_id) if isinstance(item, ReviewError) else item for item in items]
        return "".join(json.dumps(line) + "\n" for line in lines)
    written = io.StringIO()
    rows = csv.writer(written, lineterminator="\n")
    for item in items:
        if isinstance(item, ReviewError):
            rows.writerow([f"error: {item}"])
        else:
            chances = [item["probabilities"][str(star)] for star in STARS]
            rows.writerow([item["stars"], item["expected_stars"], item["confidence"], *chances])
    return written.getvalue()
