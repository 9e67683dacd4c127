"""`stars data fetch`: a data set that grows, knows where all of it came from, and survives what ends the filling."""

from __future__ import annotations

import csv
import gzip
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from contracts.errors import ConfigError, DataError, MachineError
from contracts.review import TSV_COLUMNS
from contracts.stages import IngestConfig
from training.data.dataset import open_reviews, read_card
from training.ingest import lake, part
from training.ingest.fetch import DOWNLOADS, fetch
from training.running.reporting import Listener

from .amazon import HEADER, row, write
from .web import Web, served

EXAMPLES = Path(__file__).parents[2] / "examples" / "reviews.tsv"


LONG = "word " * 50


class Heard(Listener):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def log(self, message: str) -> None:
        self.lines.append(message)


def filled(folder: Path, *data: str | Path, tsv: bool = False, **settings: Any) -> tuple[dict[str, Any], list[str]]:
    heard = Heard()
    return fetch([str(each) for each in data], folder, IngestConfig(**settings), heard, tsv), heard.lines


@pytest.fixture
def web() -> Iterator[Web]:
    with served() as found:
        found.body = f"{HEADER}\n{row()}\n{row(review_id='R2', star_rating='7')}\n".encode()
        yield found


def test_a_data_set_grows_and_its_card_says_where_all_came_from(tmp_path: Path, web: Web) -> None:
    folder = tmp_path / "lake"
    filled(folder, EXAMPLES, licence="Apache-2.0")
    first = read_card(folder)
    facts, _ = filled(folder, f"{web.url}?token=secret", category="Toys")
    assert facts == read_card(folder)
    assert facts["rows_in"] == 479 and facts["fingerprint"] != first["fingerprint"]
    ours, theirs = sorted(facts["sources"], key=lambda source: -int(source["rows"]))
    assert (ours["location"], ours["licence"], ours["downloaded"]) == (str(EXAMPLES), "Apache-2.0", "")
    assert (theirs["location"], theirs["rows"], theirs["quarantined"]) == (web.url, 2, 1)
    assert theirs["downloaded"] and theirs["bytes"] == len(web.body)
    assert not (folder / DOWNLOADS).exists()
    assert "secret" not in "".join(path.read_text() for path in folder.rglob("*.json"))


def test_what_is_unchanged_elsewhere_is_not_downloaded_again(tmp_path: Path, web: Web) -> None:
    filled(tmp_path, web.url)
    before, sent = read_card(tmp_path), web.sent
    facts, _ = filled(tmp_path, web.url)
    assert web.sent == sent and facts["fingerprint"] == before["fingerprint"]
    facts, _ = filled(tmp_path, web.url, columns="stars=star_rating,text=review_headline")
    assert web.sent == 2 * sent, "read with other settings, it is another source"
    assert facts["fingerprint"] != before["fingerprint"] and facts["rows_in"] == 2
    with pytest.raises(DataError, match="has another sha256 than you named"):
        filled(tmp_path, f"{web.url}#sha256={'0' * 64}", columns="stars=star_rating,text=review_headline")
    web.body, web.etag = web.body + row(review_id="R3").encode() + b"\n", '"two"'
    assert filled(tmp_path, web.url)[0]["rows_in"] == 3


def test_the_same_sources_make_the_same_fingerprint(tmp_path: Path) -> None:
    one, two = write(tmp_path / "one.tsv", row()), write(tmp_path / "two.tsv", row(review_id="R2"))
    together = filled(tmp_path / "a", one, two)[0]
    filled(tmp_path / "b", two)
    assert filled(tmp_path / "b", one)[0]["fingerprint"] == together["fingerprint"]


def test_the_tsv_is_what_athena_reads_and_follows_the_data_set(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('stars,text,title,date\n5,"Two\nlines,\ta tab and ""quotes""",,2020-01-02\n')
    folder = tmp_path / "lake"
    filled(folder, tmp_path / "a.csv", tsv=True)
    filled(folder, write(tmp_path / "b.tsv", row(), row(review_id="R2", star_rating="")))
    tables = {path.name: gzip.decompress(path.read_bytes()).decode() for path in (folder / "reviews_tsv").iterdir()}
    assert sorted(tables) == ["a.csv.tsv.gz", "b.tsv.tsv.gz"]
    for name, text in tables.items():
        header, *lines = csv.reader(text.split("\n")[:-1], delimiter="\t", quoting=csv.QUOTE_NONE)
        assert tuple(header) == TSV_COLUMNS and [len(line) for line in lines] == [15], name
    cells = dict(zip(TSV_COLUMNS, tables["a.csv.tsv.gz"].split("\n")[1].split("\t"), strict=True))
    assert cells["review_body"] == 'Two lines, a tab and "quotes"'
    assert (cells["star_rating"], cells["review_headline"], cells["review_date"]) == ("5", "", "2020-01-02")
    [review] = open_reviews(folder).to_table(columns=["review_body", "review_date"], filter=None).to_pylist()[:1]
    assert review["review_date"] in (date(2020, 1, 2), None)
    write(tmp_path / "b.tsv", row(review_body="Another"))
    filled(folder, tmp_path / "b.tsv")
    assert b"Another" in gzip.decompress((folder / "reviews_tsv" / "b.tsv.tsv.gz").read_bytes())


def test_a_folder_of_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="holds other things than a data set: name another folder with --to"):
        filled(tmp_path / "mine", EXAMPLES)
    with pytest.raises(ConfigError, match="is no folder"):
        filled(tmp_path / "mine" / "notes.txt", EXAMPLES)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_a_data_set_is_no_source_of_another(tmp_path: Path) -> None:
    filled(tmp_path / "one", EXAMPLES)
    with pytest.raises(DataError, match="one is a data set: name what it was made of"):
        filled(tmp_path / "two", tmp_path / "one")


def test_two_do_not_fill_one_data_set(tmp_path: Path) -> None:
    (tmp_path / ".ingest").mkdir()
    with (
        FileLock(tmp_path / ".ingest" / "lock"),
        pytest.raises(ConfigError, match="is being filled by another process"),
    ):
        filled(tmp_path, EXAMPLES)


def test_what_was_finished_before_a_failure_is_a_data_set(tmp_path: Path) -> None:
    whole = gzip.compress("\n".join([HEADER, *(row(review_id=f"R{i}") for i in range(30_000))]).encode())
    (tmp_path / "z.tsv.gz").write_bytes(whole[:-20])
    with pytest.raises(DataError, match=r"z\.tsv\.gz is cut short or damaged"):
        filled(tmp_path / "lake", EXAMPLES, tmp_path / "z.tsv.gz")
    assert [source["file"] for source in read_card(tmp_path / "lake")["sources"]] == ["reviews.tsv"]
    (tmp_path / "z.tsv.gz").write_bytes(whole)
    facts, lines = filled(tmp_path / "lake", EXAMPLES, tmp_path / "z.tsv.gz")
    assert facts["rows_in"] == 30_477 and "reviews.tsv: unchanged, skipped" in lines


def test_there_are_no_facts_while_files_are_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "a.tsv", row())
    filled(tmp_path / "lake", file)
    write(file, row(), row(review_id="R2"))
    rename = Path.rename

    def dies(path: Path, target: Path) -> Path:
        if path.suffix == ".parquet":
            raise KeyboardInterrupt
        return rename(path, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "rename", dies)
        filled(tmp_path / "lake", file)
    with pytest.raises(DataError, match="is being filled, or something has ended that: run stars data fetch"):
        read_card(tmp_path / "lake")
    assert filled(tmp_path / "lake", file)[0]["rows_in"] == 2


def test_a_full_disk_is_said_before_it_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch, pytest.raises(MachineError, match="nearly full: free some space"):
        patch.setattr(part, "FREE_BYTES", 1 << 62)
        filled(tmp_path / "lake", EXAMPLES)
    assert filled(tmp_path / "lake", EXAMPLES)[0]["rows_in"] == 477


FETCH = """
import resource, signal, sys
if sys.argv[1] == "small":
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
from training.cli import app
from contracts.errors import StarsError
try:
    app(["data", "fetch", "--to", *sys.argv[2:]])
except StarsError as error:
    sys.exit(f"error: {error}")
"""


def test_a_disk_that_takes_no_more_is_one_sentence(tmp_path: Path) -> None:
    rows = [row(review_id=f"R{i}", review_body=os.urandom(40).hex()) for i in range(3000)]
    command = [sys.executable, "-c", FETCH, "small", str(tmp_path / "lake"), str(write(tmp_path / "a.tsv", *rows))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    said = " ".join(done.stderr.split())
    assert re.search(r"cannot be written: .*File too large\. Free some space or choose another folder with --to", said)


@pytest.mark.slow
def test_ctrl_c_ends_it_in_a_sentence_and_the_same_command_goes_on(tmp_path: Path) -> None:
    data = [
        write(tmp_path / f"{name}.tsv", *(row(review_id=f"{name}{i}", review_body=LONG) for i in range(50_000)))
        for name in "abc"
    ]
    command = [sys.executable, "-c", FETCH, "many", str(tmp_path / "lake"), *map(str, data)]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    with running:
        until = time.monotonic() + 60
        while not list(tmp_path.glob("lake/.ingest/begun/*/*/reviews")):
            assert running.poll() is None and time.monotonic() < until
            time.sleep(0.01)
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=60)
    assert running.returncode == 130 and "Traceback" not in said, said
    assert said.splitlines()[-1].startswith("interrupted: run the same command again")
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "150,000 reviews of 3 sources" in " ".join(done.stderr.split())
    assert read_card(tmp_path / "lake")["rows_in"] == 150_000
    assert not list((tmp_path / "lake" / lake.BEGUN).iterdir())


def test_kill_9_while_it_downloads_costs_nothing_that_was_there(tmp_path: Path, web: Web) -> None:
    web.body = "\n".join([HEADER, *(row(review_id=f"R{n}") for n in range(30_000))]).encode()
    web.stalls = [1 << 20]
    command = [sys.executable, "-c", FETCH, "many", str(tmp_path / "lake"), web.url]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as running:
        until = time.monotonic() + 60
        while sum(file.stat().st_size for file in (tmp_path / "lake").rglob("partial")) < 1_000_000:
            assert running.poll() is None and time.monotonic() < until
            time.sleep(0.02)
        running.kill()
    subprocess.run(command, stderr=subprocess.DEVNULL, check=True)
    assert read_card(tmp_path / "lake")["rows_in"] == 30_000
    assert len(web.body) <= web.sent < len(web.body) + 100_000, "what had not reached the disk is sent again, no more"


def test_the_card_is_json_that_anything_reads(tmp_path: Path) -> None:
    filled(tmp_path, EXAMPLES)
    assert json.loads((tmp_path / "facts.json").read_text())["stage"] == "ingest"
