"""Sources into a data set: rows in are rows out, what is finished stays finished, what has changed is replaced."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from contracts.errors import DataError
from contracts.stages import IngestConfig
from training.data.dataset import QUARANTINE_SCHEMA, REVIEW_SCHEMA, open_reviews
from training.ingest import lake, part, processes, sources
from training.ingest.lake import ingest
from training.running.execution import execute
from training.stages import ingest as stage

from .amazon import HEADER, row, write
from .recorder import Recorder

EXAMPLES = Path(__file__).parents[2] / "examples" / "reviews.tsv"


def made(folder: Path, *data: Path, **settings: Any) -> dict[str, Any]:
    return ingest(data, folder, IngestConfig(**settings), Recorder())


def reviews(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = open_reviews(folder).to_table().to_pylist()
    return sorted(found, key=lambda each: (each["source"], each["row"]))


def files(folder: Path) -> dict[str, bytes]:
    found = [*folder.glob("reviews/*/*"), *folder.glob("quarantine/*")]
    return {str(file.relative_to(folder)): file.read_bytes() for file in found}


def test_the_examples_become_a_data_set_with_its_quarantine_and_card(tmp_path: Path) -> None:
    facts = execute(stage.STAGE, stage.Config(licence="Apache-2.0"), {"data": EXAMPLES}, tmp_path / "lake", Recorder())
    assert facts["rows_in"] == facts["reviews"] + facts["quarantined"] == 477
    assert facts["reasons"] == {
        "bad_star_rating": 3,
        "empty_body": 2,
        "empty_star_rating": 1,
        "invalid_utf8": 1,
        "nul_byte": 1,
        "too_few_columns": 1,
        "too_many_columns": 1,
    }
    [source] = facts["sources"]
    assert (source["file"], source["layout"], source["licence"]) == ("reviews.tsv", "amazon", "Apache-2.0")
    assert source["sha256"] and source["bytes"] == EXAMPLES.stat().st_size
    table = open_reviews(tmp_path / "lake").to_table()
    assert set(table.schema) == set(REVIEW_SCHEMA) and len(table) == facts["reviews"]
    stars = Counter(zip(table["product_category"].to_pylist(), table["star_rating"].to_pylist(), strict=True))
    assert stars == {
        (name, star): counts[star - 1] for name, counts in facts["categories"].items() for star in range(1, 6)
    }
    raw = EXAMPLES.read_bytes().split(b"\n")
    [file] = (tmp_path / "lake" / "quarantine").iterdir()
    quarantine = pq.read_table(file)
    assert quarantine.schema.equals(QUARANTINE_SCHEMA)
    for entry in quarantine.to_pylist():
        assert entry["line"] == raw[entry["row"]] and entry["reasons"]


def test_an_unchanged_source_is_skipped_and_a_changed_one_replaced(tmp_path: Path) -> None:
    one, two = write(tmp_path / "one.tsv", row()), write(tmp_path / "two.tsv", row(review_id="R2", star_rating="9"))
    assert made(tmp_path / "lake", one)["reviews"] == 1
    before = files(tmp_path / "lake")
    facts = made(tmp_path / "lake", one, two)
    assert [each["file"] for each in facts["sources"]] == ["one.tsv", "two.tsv"]
    assert (facts["rows_in"], facts["quarantined"]) == (2, 1)
    assert before.items() <= files(tmp_path / "lake").items()
    write(one, row(product_category="Baby"), row(review_id="R3", product_category="Baby"))
    facts = made(tmp_path / "lake", one)
    assert [(each["source"], each["product_category"]) for each in reviews(tmp_path / "lake")] == [
        ("one.tsv", "Baby")
    ] * 2
    assert facts["rows_in"] == 3
    assert made(tmp_path / "lake", one, columns="stars=star_rating,text=review_headline")["rows_in"] == 3
    assert {each["review_body"] for each in reviews(tmp_path / "lake")} == {"Handy"}, "other settings, other rows"


def test_files_of_one_name_are_two_sources_and_the_same_bytes_again_are_none(tmp_path: Path) -> None:
    for folder in ("jan", "feb"):
        (tmp_path / folder).mkdir()
    jan = write(tmp_path / "jan" / "a.tsv", row())
    feb = write(tmp_path / "feb" / "a.tsv", row(review_id="R2"))
    made(tmp_path / "lake", jan)
    made(tmp_path / "lake", feb)
    assert {each["source"] for each in reviews(tmp_path / "lake")} == {"a.tsv", "feb/a.tsv"}
    moved = jan.rename(tmp_path / "b.tsv")
    assert len(made(tmp_path / "lake", moved)["sources"]) == 2


def test_a_source_without_a_row_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no reviews"):
        made(tmp_path / "lake", write(tmp_path / "a.tsv"))
    with pytest.raises(DataError, match=r"all 2 rows are bad \(1 bad_star_rating, 1 empty_body\)"):
        file = write(tmp_path / "b.tsv", row(star_rating="7"), row(review_id="R2", review_body=""))
        execute(stage.STAGE, stage.Config(), {"data": file}, tmp_path / "stage", Recorder())
    assert not (tmp_path / "stage" / "facts.json").exists()


def test_a_cut_file_is_refused_and_nothing_of_it_is_kept(tmp_path: Path) -> None:
    whole = gzip.compress("\n".join([HEADER, *(row(review_id=f"R{i}") for i in range(5000))]).encode())
    (tmp_path / "a.tsv.gz").write_bytes(whole[:-20])
    with pytest.raises(DataError, match="a.tsv.gz is cut short or damaged"):
        made(tmp_path / "lake", tmp_path / "a.tsv.gz")
    assert not files(tmp_path / "lake")


@pytest.mark.parametrize("category", ["Video|Games", "a/b: 100%?", "2014", "Bücher & Café", ".hidden", "x" * 100])
def test_a_category_comes_back_whatever_it_is_called(tmp_path: Path, category: str) -> None:
    made(tmp_path / "lake", write(tmp_path / "a.tsv", row(product_category=category)))
    assert [each["product_category"] for each in reviews(tmp_path / "lake")] == [category]


def test_parts_and_processes_change_nothing_but_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is cut into parts, read by several processes, is the rows and row numbers of one that is not."""
    lines = [row(review_id=f"R{i}", star_rating=str(i % 7)) for i in range(3000)]
    lines[1000:1000] = ["", HEADER]
    file = write(tmp_path / "a.tsv", *lines)
    records = [json.dumps({"stars": i % 7, "text": f"Number {i}."}) for i in range(3000)]
    (tmp_path / "b.jsonl").write_text("\n".join(records))
    once = made(tmp_path / "once", file, tmp_path / "b.jsonl")
    monkeypatch.setattr(sources, "PART_BYTES", 50_000)
    monkeypatch.setattr(sources, "BLOCK", 4096)
    monkeypatch.setattr(processes, "ALONE_BYTES", 0)
    again = made(tmp_path / "again", file, tmp_path / "b.jsonl")
    assert len(files(tmp_path / "again")) > 2 * len(files(tmp_path / "once"))
    assert reviews(tmp_path / "again") == reviews(tmp_path / "once")
    clock = {"ingested": ""}
    assert [each | clock for each in again["sources"]] == [each | clock for each in once["sources"]]
    numbers = [each["row"] for each in reviews(tmp_path / "once") if each["source"] == "a.tsv"]
    kept = file.read_text().split("\n")
    assert all(kept[number].split("\t")[2].startswith("R") for number in numbers)


def test_rows_wait_in_bounded_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for a few rows and few open files, everything is written all the same."""
    monkeypatch.setattr(part, "BUFFER_BYTES", 10_000)
    monkeypatch.setattr(part, "OPEN_FILES", 3)
    lines = [row(review_id=f"R{i}", product_category=f"C{i % 11}") for i in range(500)]
    facts = made(tmp_path / "lake", write(tmp_path / "a.tsv", *lines))
    assert len(reviews(tmp_path / "lake")) == facts["reviews"] == 500
    monkeypatch.setattr(part, "MOST_CATEGORIES", 10)
    with pytest.raises(DataError, match="more than 10 categories"):
        made(tmp_path / "other", tmp_path / "a.tsv")


def test_a_source_that_changes_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "a.tsv", row())
    begins = lake._begin

    def grows(*given: Any) -> None:
        with file.open("a") as more:
            more.write(row(review_id="R2") + "\n")
        begins(*given)

    monkeypatch.setattr(lake, "_begin", grows)
    with pytest.raises(DataError, match="changed while it was read"):
        made(tmp_path / "lake", file)
    assert not files(tmp_path / "lake")


INGEST = """
import sys
from pathlib import Path
from contracts.stages import IngestConfig
from training.ingest import lake, processes
from training.running.reporting import PlainLines, StageReporter
processes.ALONE_BYTES = 0 if sys.argv[1] == "many" else processes.ALONE_BYTES
lake.ingest(sys.argv[3:], Path(sys.argv[2]), IngestConfig(), StageReporter("ingest", [PlainLines()]))
"""


@pytest.mark.slow
def test_kill_9_loses_nothing_that_was_finished(tmp_path: Path) -> None:
    """Killed again and again at any moment, it comes to the same data set in the end, and no process is left behind."""
    data = [
        write(tmp_path / f"{name}.tsv", *(row(review_id=f"{name}{i}", star_rating=str(i % 6)) for i in range(30_000)))
        for name in "abc"
    ]
    expected = made(tmp_path / "expected", *data)
    command = [sys.executable, "-c", INGEST, "many", str(tmp_path / "lake"), *map(str, data)]
    finished: set[str] = set()
    for seconds in (1.5, 2.0, 2.5, 3.0, 60.0):
        running = subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True)
        until = time.monotonic() + seconds
        while running.poll() is None and time.monotonic() < until:
            time.sleep(0.02)
        running.send_signal(signal.SIGKILL)
        running.communicate()
        now = {file.name for file in (tmp_path / "lake" / lake.FINISHED).glob("*.json")}
        assert finished <= now
        finished = now
    assert running.returncode == 0 and len(finished) == 3
    assert reviews(tmp_path / "lake") == reviews(tmp_path / "expected")
    assert files(tmp_path / "lake").keys() == files(tmp_path / "expected").keys()
    assert lake.card(tmp_path / "lake")["categories"] == expected["categories"]
    until = time.monotonic() + 20
    while left := [pid for pid in _processes() if str(tmp_path) in _command(pid)]:
        assert time.monotonic() < until, left
        time.sleep(0.1)


def _processes() -> list[str]:
    return [name for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]


def _command(pid: str) -> str:
    try:
        return Path("/proc", pid, "cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""
