"""The files of labelled reviews: found, checked and hashed before Spark starts, then read as lines with reasons."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from contracts.errors import DataError
from contracts.review import STARS, TSV_COLUMNS, Review, clean

HEADER = "\t".join(TSV_COLUMNS)
_AT = {name: i for i, name in enumerate(TSV_COLUMNS)}


@dataclass(frozen=True)
class SourceFile:
    """One input file. `sha256` is of the bytes as they lie on disk."""

    path: Path
    sha256: str
    lines: int


def parse_line(line: str, at: Mapping[str, int] = _AT) -> tuple[Review | None, list[str]]:
    """A TSV line as a review, or None and every reason why not.

    `line` has no line end; bytes that are not UTF-8 stand in it as U+FFFD. `at` says which column stands where;
    star_rating and review_body must be among them.
    """
    reasons = []
    if "\x00" in line:
        reasons.append("nul_byte")
    if "\ufffd" in line:
        reasons.append("invalid_utf8")
    cells = line.rstrip("\r").split("\t")
    if len(cells) != len(at):
        return None, [*reasons, "too_few_columns" if len(cells) < len(at) else "too_many_columns"]
    star = cells[at["star_rating"]].strip()
    if star not in {str(s) for s in STARS}:
        reasons.append("bad_star_rating" if star else "empty_star_rating")
    if not clean(cells[at["review_body"]]):
        reasons.append("empty_body")
    if "review_id" in at and not cells[at["review_id"]].strip():
        reasons.append("empty_review_id")
    if reasons:
        return None, reasons
    return (
        Review(
            review_body=cells[at["review_body"]],
            review_headline=cells[at["review_headline"]] if "review_headline" in at else "",
            product_category=cells[at["product_category"]] if "product_category" in at else "",
            star_rating=int(star),
            review_id=cells[at["review_id"]].strip() if "review_id" in at else "",
        ),
        [],
    )


def find_files(data: Sequence[Path]) -> list[Path]:
    """The .tsv and .tsv.gz files named, or in the folders named, without repeats. Raises DataError for none."""
    found: dict[Path, None] = {}
    for path in data:
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.name.endswith((".tsv", ".tsv.gz")))
            if not inside:
                raise DataError(f"the folder {path} holds no .tsv or .tsv.gz file")
            found |= dict.fromkeys(p.resolve() for p in inside)
        elif path.is_file():
            found[path.resolve()] = None
        else:
            raise DataError(f"there is no file {path}: check the path")
    if not found:
        raise DataError("no data: name at least one .tsv or .tsv.gz file")
    return list(found)


def raw_lines(path: Path) -> Iterator[bytes]:
    """A plain or gzip file's lines without their "\\n". Raises DataError for a gzip file that is cut or damaged."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    # Spark goes by the name, so the name must be right.
    if packed and path.suffix != ".gz":
        raise DataError(f"{path.name} is a gzip file: its name must end in .gz")
    if not packed and path.suffix == ".gz":
        raise DataError(f"{path.name} is not a gzip file: copy it again, or rename it")
    try:
        with gzip.open(path) if packed else path.open("rb") as file:
            for line in file:
                yield line.rstrip(b"\n")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path.name} is cut short or damaged ({error}): copy it again") from error


def inspect(path: Path) -> SourceFile:
    """Read a file once from end to end, so that what is wrong with it as a whole is said before any work is done."""
    lines = raw_lines(path)
    header = next(lines, b"").rstrip(b"\r").removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")
    if header != HEADER:
        columns = header.split("\t")
        missing = [name for name in TSV_COLUMNS if name not in columns]
        wrong = f"missing: {', '.join(missing)}" if missing else "the columns stand in another order"
        raise DataError(
            f"{path.name} does not start with the header of the Amazon reviews layout ({wrong}): "
            "its first line must name the 15 columns, tab-separated"
        )
    count = sum(1 for line in lines if line)
    if count == 0:
        raise DataError(f"{path.name} holds a header and no reviews")
    with path.open("rb") as file:
        return SourceFile(path, hashlib.file_digest(file, "sha256").hexdigest(), count)


def read_reviews(path: Path) -> Iterator[tuple[Review | None, list[str]]]:
    """Every line after the header as `parse_line` answers it, without Spark: for judging a release on a file.

    The columns may stand in any order; star_rating and review_body are needed, the others used where they are.
    """
    lines = raw_lines(path)
    columns = next(lines, b"").rstrip(b"\r").removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace").split("\t")
    if missing := [name for name in ("star_rating", "review_body") if columns.count(name) != 1]:
        raise DataError(
            f"the first line of {path.name} does not name the column {' and '.join(missing)} once: "
            "bring a tab-separated file with a header line"
        )
    at = {name: i for i, name in enumerate(columns)}
    if len(at) < len(columns):
        raise DataError(f"the first line of {path.name} names a column twice: give each its own name")
    return (parse_line(line.decode("utf-8", "replace"), at) for line in lines if line)
