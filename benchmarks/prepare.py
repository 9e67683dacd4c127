"""What Spark costs where one machine would do: the stage prepare beside a polars job that does the same work.

    python -m benchmarks.prepare --data FOLDER_OR_FILE [--rows 10000 100000 290000 3000000]

Both read the same data set, clean and tokenise with the same functions on all cores, put repeats aside, and write
balanced splits; how many rows each split holds is compared. Rows beyond those of the data are the same ones again
under other ids and with a word of their own, so that none repeats another. Near-duplicates are not looked for, which
the polars job has no way to do. Prints seconds, CPU seconds and the largest memory of each, with all their processes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import polars as pl
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from contracts.stages import PrepareConfig
from contracts.tokens import ReviewEncoder
from training.data.dataset import PARTITION, REVIEW_SCHEMA, REVIEWS, open_reviews
from training.data.rows import MAPPED_SCHEMA, REVIEW_COLUMNS, prepare_reviews
from training.data.splits import SPLITS
from training.model import base_model
from training.running.execution import execute
from training.running.folder import write_whole
from training.running.reporting import PlainLines, StageReporter
from training.stages import ingest, prepare

CONFIG = PrepareConfig(near_duplicates=False)
PIECE = 5000


class Spent(NamedTuple):
    """What a process with its children took."""

    seconds: float
    cpu: float
    megabytes: float


def with_polars(folder: Path, outputs: Path) -> None:
    """What the stage prepare does, on one machine."""
    tokenizer = base_model.locate(CONFIG.base_model) / "tokenizer.json"
    with ProcessPoolExecutor(os.cpu_count(), initializer=_begin, initargs=(tokenizer,)) as pool:
        pieces = open_reviews(folder).to_batches(columns=list(REVIEW_COLUMNS), batch_size=PIECE)
        mapped = pl.concat(pl.from_arrow(piece) for piece in pool.map(_map, pieces))  # type: ignore[type-var]
    rows = mapped.filter(pl.col("reasons").list.len() == 0)  # type: ignore[union-attr]
    for key, order in (("review_id", "text_key"), ("text_key", "review_id")):
        rows = rows.sort(key, order, "source", "row").unique(key, keep="first", maintain_order=True)
    for split in SPLITS:
        of_split = rows.filter(pl.col("split") == split).with_columns(pl.col("review_id").hash(1).alias("drawn"))
        if split == "train":
            rarest = of_split.group_by("star_rating").len()["len"].min()
            of_split = of_split.filter(pl.col("drawn").rank("ordinal").over("star_rating") <= rarest)
        (outputs / split).mkdir(parents=True)
        of_split.sort("drawn").drop("drawn").write_parquet(outputs / split / "part-0.parquet")


_encoder: ReviewEncoder


def _begin(tokenizer: Path) -> None:
    global _encoder
    _encoder = ReviewEncoder(tokenizer, CONFIG.token_limit, CONFIG.truncation)


def _map(piece: pa.RecordBatch) -> pa.Table:
    return pa.Table.from_pylist(prepare_reviews(piece.to_pylist(), _encoder, CONFIG), schema=MAPPED_SCHEMA)


def multiplied(lake: Path, rows: int, folder: Path) -> None:
    """A data set of so many rows of another."""
    schema = REVIEW_SCHEMA.remove(REVIEW_SCHEMA.get_field_index(PARTITION))
    place = folder / REVIEWS / f"{PARTITION}=Digital_Software"
    place.mkdir(parents=True)
    written = 0
    with pq.ParquetWriter(place / "a-0.parquet", schema) as out:
        for turn in range(rows):
            for batch in open_reviews(lake).to_batches(columns=schema.names):
                table = pa.Table.from_batches([batch.slice(0, rows - written)])
                if turn:
                    for name, form in (("review_id", "{}-{}"), ("review_body", "{} turn{}")):
                        again = [form.format(value, turn) for value in table[name].to_pylist()]
                        table = table.set_column(table.column_names.index(name), schema.field(name), [again])
                out.write_table(table.cast(schema))
                written += len(table)
                if written == rows:
                    write_whole(
                        folder / "facts.json",
                        f'{{"reviews": {rows}, "rows_in": {rows}, "quarantined": 0, "reasons": {{}}, "sources": [], '
                        f'"dataset_sha256": "{rows}", "stage": "ingest", "fingerprint": "{rows}"}}',
                    )
                    return


def measured(command: list[str]) -> Spent:
    """Run a command to its end."""
    began = time.monotonic()
    process = psutil.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    most, cpu = 0.0, {}
    while process.poll() is None:
        for each in _tree(process):
            try:
                times = each.cpu_times()
                cpu[each.pid] = times.user + times.system
            except psutil.Error:
                continue
        most = max(most, sum(_memory(each) for each in _tree(process)))
        time.sleep(0.2)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return Spent(time.monotonic() - began, sum(cpu.values()), most / 2**20)


def _tree(process: psutil.Process) -> Iterator[psutil.Process]:
    try:
        yield from (process, *process.children(recursive=True))
    except psutil.Error:
        return


def _memory(process: psutil.Process) -> float:
    try:
        return float(process.memory_full_info().pss)
    except psutil.Error:
        return 0.0


def kept(folder: Path) -> dict[str, int]:
    """How many rows each split holds."""
    return {split: pq.read_table(folder / split, columns=["star_rating"]).num_rows for split in SPLITS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("examples/reviews.tsv"))
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--only", choices=["spark", "polars"], help=argparse.SUPPRESS)
    parser.add_argument("--to", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only == "polars":
        return with_polars(args.data, args.to)
    if args.only == "spark":
        execute(prepare.STAGE, CONFIG, {"ingest": args.data}, args.to, StageReporter("prepare", [PlainLines()]))
        return None
    table = Table("rows", "kept", "Spark", "polars", "ratio of seconds", "ratio of CPU")
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        lake = work / "ingest"
        execute(ingest.STAGE, ingest.Config(), {"data": args.data}, lake, StageReporter("ingest", [PlainLines()]))
        for rows in args.rows:
            multiplied(lake, rows, work / f"{rows}")
            spent, splits = {}, {}
            for way in ("spark", "polars"):
                to = work / f"{rows}-{way}"
                command = [sys.executable, "-m", "benchmarks.prepare", "--data", str(work / f"{rows}")]
                spent[way] = measured([*command, "--only", way, "--to", str(to)])
                splits[way] = kept(to)
            assert splits["spark"] == splits["polars"], splits
            table.add_row(
                f"{rows:,}",
                ", ".join(f"{count:,}" for count in splits["spark"].values()),
                *(f"{each.seconds:.0f} s, {each.cpu:.0f} CPU-s, {each.megabytes:,.0f} MB" for each in spent.values()),
                f"{spent['spark'].seconds / spent['polars'].seconds:.1f}x",
                f"{spent['spark'].cpu / spent['polars'].cpu:.1f}x",
            )
    Console(width=160).print(table)
    return None


if __name__ == "__main__":
    main()
