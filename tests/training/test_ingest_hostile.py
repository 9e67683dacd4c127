"""Files that were made, or have become, what no reader should trust: each is bounded, and each is one sentence."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contracts.errors import DataError
from contracts.stages import IngestConfig
from training.data.dataset import open_reviews
from training.ingest import opening
from training.ingest.fetch import fetch
from training.ingest.labelled import read_labelled
from training.ingest.part import rows_of
from training.ingest.recognise import recognise
from training.running.reporting import Listener

from .amazon import HEADER, row, write


def outcomes(path: Path) -> Counter[str]:
    """What became of the rows: `good`, or each reason."""
    rows = [review for _, _, review in rows_of(recognise(path, IngestConfig()), path)]
    return Counter(reason for review in rows for reason in (review if isinstance(review, list) else ["good"]))


def filled(folder: Path, *data: Path) -> dict[str, Any]:
    return fetch(data, folder, IngestConfig(), Listener())


def test_a_json_line_of_50_megabytes_is_put_aside_and_the_next_is_read(tmp_path: Path) -> None:
    with (tmp_path / "a.jsonl").open("wb") as file:
        file.write(b'{"stars": 5, "text": "first"}\n{"stars": 5, "text": "' + b"x" * (50 << 20) + b'"}\n')
        file.write(b'{"stars": 4, "text": "last"}\n{"stars": 4, "te')
    assert outcomes(tmp_path / "a.jsonl") == {"good": 2, "too_long": 1, "bad_json": 1}
    facts = filled(tmp_path / "lake", tmp_path / "a.jsonl")
    assert facts["rows_in"] == 4
    assert sum(file.stat().st_size for file in (tmp_path / "lake").rglob("*") if file.is_file()) < 1 << 20


def test_a_column_of_another_type_half_way_is_a_reason_from_there(tmp_path: Path) -> None:
    good = [{"stars": 4, "text": f"Number {n}"} for n in range(100)]
    odd = [{"stars": "4 stars", "text": 7}, {"stars": [4], "text": "a"}, {"stars": 4, "text": {"en": "a"}}, [4, "a"], 4]
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps(each) for each in (*good, *odd, *good)))
    assert outcomes(tmp_path / "a.jsonl") == {"good": 201, "bad_star_rating": 1, "wrong_type": 1, "bad_json": 2}


def test_a_file_in_another_encoding_says_how_to_change_it(tmp_path: Path) -> None:
    rows = [row(review_id=f"R{n}", review_body="Très bien, déjà vu").encode("cp1252") for n in range(30)]
    with pytest.raises(DataError, match=r"a\.tsv is not UTF-8, 30 of its first 31 lines .*iconv -f WINDOWS-1252"):
        recognise(write(tmp_path / "a.tsv", *rows), IngestConfig())
    few = write(tmp_path / "b.tsv", rows[0], *(row(review_id=f"S{n}") for n in range(30)))
    assert outcomes(few) == {"good": 30, "invalid_utf8": 1}


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_a_bomb_is_refused_and_the_limit_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(opening, "_BOMB_BYTES", 20 << 20)
    file = tmp_path / "a.csv.packed"
    with pa.CompressedOutputStream(str(file), kind) as out:
        out.write(b"stars,text\n5,Fine\n")
        for _ in range(40):
            out.write(b" " * (1 << 20))
    assert file.stat().st_size < 1 << 17
    with pytest.raises(DataError, match=r"unpacks to more than 200 times its size.*unpack it yourself"):
        outcomes(file)


BOUNDED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[2]),) * 2)
from pathlib import Path
from contracts.stages import IngestConfig
from training.ingest.part import rows_of
from training.ingest.recognise import recognise
path = Path(sys.argv[1])
rows = [each.review for each in rows_of(recognise(path, IngestConfig()), path)]
print(sum(isinstance(each, list) for each in rows), len(rows))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "block", "count"),
    [
        ("one line", b"x" * (1 << 20), 600),
        ("a quote that ends nowhere", b'"' + b"x\n" * (1 << 19), 1),
        ("a row of quoted line ends", b'5,' + b'"\n",' * (1 << 19), 120),
        ("nothing but commas", b"," * (1 << 20), 200),
    ],
)  # fmt: skip
def test_no_csv_needs_more_memory_than_a_row_may_have(tmp_path: Path, name: str, block: bytes, count: int) -> None:
    file = tmp_path / "a.csv"
    with file.open("wb") as out:
        out.write(b"stars,text\n5,Fine\n")
        for _ in range(count):
            out.write(block)
        out.write(b'"\n4,Good\n')
    memory = 3 << 30  # of addresses: a Python with Arrow has one and a half of them before it begins
    done = subprocess.run(
        [sys.executable, "-c", BOUNDED, str(file), str(memory)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{name}: {done.stderr[-500:]}"
    bad, rows = map(int, done.stdout.split())
    assert 0 < bad < rows


@pytest.mark.parametrize("name", ["a.csv.gz", "a.csv.zst", "a.parquet"])
def test_a_source_that_was_cut_is_refused(tmp_path: Path, name: str) -> None:
    whole = tmp_path / name
    if name.endswith("parquet"):
        pq.write_table(pa.Table.from_pylist([{"stars": 5, "text": f"Number {n}"} for n in range(500)]), whole)
    else:
        with pa.CompressedOutputStream(str(whole), "gzip" if name.endswith("gz") else "zstd") as out:
            out.write(b"stars,text\n" + b"".join(b"5,Number %d\n" % n for n in range(500)))
    assert outcomes(whole) == {"good": 500}
    whole.write_bytes(whole.read_bytes()[:-9])
    with pytest.raises(DataError, match=rf"{name} is cut short or damaged.*copy it again"):
        filled(tmp_path / "lake", whole)


def test_a_body_of_100_000_words_is_kept_whole(tmp_path: Path) -> None:
    body = "word " * 99_999 + "end"
    file = write(tmp_path / "a.tsv", row(review_body=body))
    filled(tmp_path / "lake", file)
    assert open_reviews(tmp_path / "lake").to_table()["review_body"].to_pylist() == [body]
    assert read_labelled([tmp_path / "lake"])[0].body_words.tolist() == [100_000]


def test_a_category_with_one_star_only_is_counted_as_it_is(tmp_path: Path) -> None:
    rows = [row(review_id=f"R{n}", star_rating="5", product_category="Toys") for n in range(3)]
    assert filled(tmp_path / "lake", write(tmp_path / "a.tsv", *rows))["categories"] == {"Toys": [0, 0, 0, 0, 3]}


def test_a_data_set_in_which_no_row_is_good_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "a.tsv", row(review_body="<br />"), row(review_id="R2", star_rating="90"))
    with pytest.raises(DataError, match=r"all 2 rows are bad \(1 bad_star_rating, 1 empty_body\): see .*quarantine"):
        filled(tmp_path / "lake", file)
    write(file, row())
    assert filled(tmp_path / "lake", file)["reviews"] == 1, "mended, it replaces what was bad"


def test_files_that_were_put_together_packed_are_read_to_the_end(tmp_path: Path) -> None:
    (tmp_path / "a.tsv.gz").write_bytes(
        gzip.compress(f"{HEADER}\n{row()}\n".encode()) + gzip.compress(f"{HEADER}\n{row(review_id='R2')}\n".encode())
    )
    assert outcomes(tmp_path / "a.tsv.gz") == {"good": 2, "header_line": 1}
