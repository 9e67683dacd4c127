"""The files of labelled reviews: found, checked and hashed before Spark starts, then read as lines with reasons."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from contracts.errors import DataError, ReviewError
from contracts.isolation import alone
from contracts.review import STARS, TSV_COLUMNS, Cleaned

HEADER = "\t".join(TSV_COLUMNS)
HEADER_LINE = "header_line"
"""The reason against a header that is not the first line: files were put together by cat."""

_AT = {name: i for i, name in enumerate(TSV_COLUMNS)}


@dataclass(frozen=True)
class SourceFile:
    """One input file. `sha256` is of the bytes as they lie on disk.

    `lines` counts what follows the header and is not empty, `headers` are those of them that are the header again.
    """

    path: Path
    sha256: str
    lines: int
    headers: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class LabelledReview:
    """A good row: its true stars, and its text, cleaned here and nowhere after. The category is as the file has it."""

    review_id: str
    product_category: str
    star_rating: int
    text: Cleaned


def parse_line(line: str, at: Mapping[str, int] = _AT) -> tuple[LabelledReview | None, list[str]]:
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
    cell = {name: cells[column] for name, column in at.items()}
    star, category = cell["star_rating"].strip(), cell.get("product_category", "")
    text = Cleaned.of(cell["review_body"], cell.get("review_headline", ""), category)
    if star not in {str(s) for s in STARS}:
        reasons.append("bad_star_rating" if star else "empty_star_rating")
    if not text.body:
        reasons.append("empty_body")
    review_id = cell.get("review_id", "").strip()
    if "review_id" in at and not review_id:
        reasons.append("empty_review_id")
    return (None, reasons) if reasons else (LabelledReview(review_id, category, int(star), text), [])


def parse_bytes(line: bytes, at: Mapping[str, int] = _AT) -> tuple[LabelledReview | None, list[str]]:
    """`parse_line` for a line as it lies on disk. Where that fails, which is a mistake of ours, it is a reason too."""
    parsed = alone(lambda text: parse_line(text, at), line.decode("utf-8", "replace"))
    return (None, [parsed.kind]) if isinstance(parsed, ReviewError) else parsed


def bare(line: bytes) -> bytes:
    """A line without the byte order mark and the carriage return that editors put around a header."""
    return line.rstrip(b"\r").removeprefix(b"\xef\xbb\xbf")


def is_header(line: bytes) -> bool:
    """Whether a line is the header of the Amazon reviews layout, wherever it stands."""
    return line.startswith((b"\xef\xbb\xbf", HEADER[:1].encode())) and bare(line) == HEADER.encode()


def find_files(data: Sequence[Path]) -> list[Path]:
    """The .tsv and .tsv.gz files named, or in the folders named, without repeats. Raises DataError for none."""
    files: dict[Path, None] = {}
    for path in data:
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.name.endswith((".tsv", ".tsv.gz")))
            if not inside:
                raise DataError(f"the folder {path} holds no .tsv or .tsv.gz file")
            files |= dict.fromkeys(p.resolve() for p in inside)
        elif path.is_file():
            files[path.resolve()] = None
        else:
            raise DataError(f"there is no file {path}: check the path")
    if not files:
        raise DataError("no data: name at least one .tsv or .tsv.gz file")
    return list(files)


def raw_lines(path: Path) -> Iterator[bytes]:
    """A plain or gzip file's lines without their "\\n". Raises DataError for a gzip file that is cut or damaged."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    # Spark looks at the name alone to know a gzip file, so the name must be right.
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
    header = bare(next(lines, b"")).decode("utf-8", "replace")
    if header != HEADER:
        columns = header.split("\t")
        missing = [name for name in TSV_COLUMNS if name not in columns]
        wrong = f"missing: {', '.join(missing)}" if missing else "the columns stand in another order"
        raise DataError(
            f"{path.name} does not start with the header of the Amazon reviews layout ({wrong}): "
            "its first line must name the 15 columns, tab-separated"
        )
    count = 0
    headers = []
    for line in lines:
        count += line != b""
        if is_header(line):
            headers.append(line)
    if count == len(headers):
        raise DataError(f"{path.name} holds a header and no reviews")
    with path.open("rb") as file:
        return SourceFile(path, hashlib.file_digest(file, "sha256").hexdigest(), count, tuple(headers))


def read_reviews(path: Path) -> Iterator[tuple[LabelledReview | None, list[str]]]:
    """Every line after the header as `parse_line` answers it, without Spark: for judging a release on a file.

    The columns may stand in any order; star_rating and review_body are needed, the others used where they are. A line
    that is the header again is put aside.
    """
    lines = raw_lines(path)
    header = bare(next(lines, b""))
    columns = header.decode("utf-8", "replace").split("\t")
    if missing := [name for name in ("star_rating", "review_body") if columns.count(name) != 1]:
        raise DataError(
            f"the first line of {path.name} does not name the column {' and '.join(missing)} once: "
            "bring a tab-separated file with a header line"
        )
    at = {name: i for i, name in enumerate(columns)}
    if len(at) < len(columns):
        raise DataError(f"the first line of {path.name} names a column twice: give each its own name")
    return ((None, [HEADER_LINE]) if bare(line) == header else parse_bytes(line, at) for line in lines if line)
