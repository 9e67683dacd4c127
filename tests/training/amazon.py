"""Files in the layout of the Amazon Customer Reviews, row by row."""

from __future__ import annotations

from pathlib import Path

from contracts.review import TSV_COLUMNS

HEADER = "\t".join(TSV_COLUMNS)


def row(**changes: str) -> str:
    cells = dict.fromkeys(TSV_COLUMNS, "") | {
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
