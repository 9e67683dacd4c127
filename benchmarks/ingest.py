"""How fast sources become a data set, and how much memory that takes.

    python -m benchmarks.ingest --data FOLDER_OR_FILE [--gigabytes 5]

Runs `stars data fetch` on the sources; with --gigabytes on one plain file of that size besides, made of the rows of the
largest one, over and over, each with an id of its own. Prints seconds, those of processor time too, which other work on
the machine changes least, rows a second, and the most memory that all its processes had at once: what each has for
itself, and its share of what they have together (PSS).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from training.ingest.opening import lines, opened
from training.ingest.sources import find_files


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("examples/reviews.tsv"))
    parser.add_argument("--gigabytes", type=float, default=0)
    args = parser.parse_args()
    table = Table("sources", "MB", "rows", "seconds", "of CPU", "rows/s", "peak MB of memory", "MB of Parquet")
    with tempfile.TemporaryDirectory() as scratch:
        table.add_row(str(args.data), *_measured([args.data], Path(scratch, "lake")))
        if args.gigabytes:
            large = Path(scratch, "large.tsv")
            _multiply(
                max(find_files([args.data]), key=lambda path: path.stat().st_size), large, int(args.gigabytes * 1e9)
            )
            table.add_row(f"one file of {args.gigabytes:g} GB", *_measured([large], Path(scratch, "large")))
    Console().print(table)


def _multiply(source: Path, target: Path, size: int) -> None:
    with opened(source) as blocks:
        header, *rows = (line for line in lines(blocks) if line)
    at = header.split(b"\t").index(b"review_id")
    cells = [row.split(b"\t") for row in rows]
    with target.open("wb") as file:
        file.write(header + b"\n")
        for turn in range(size):
            for row in cells:
                file.write(b"\t".join([*row[:at], b"%s-%d" % (row[at], turn), *row[at + 1 :]]) + b"\n")
            if file.tell() >= size:
                return


def _measured(data: list[Path], lake: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "contracts.cli", "data", "fetch", *map(str, data), "--to", str(lake)]
    began, peak, worked = time.monotonic(), 0, dict[int, float]()
    with subprocess.Popen(command) as process:
        while process.poll() is None:
            peak = max(peak, _memory(process.pid, worked))
            time.sleep(0.2)
    seconds = time.monotonic() - began
    if process.returncode:
        sys.exit(process.returncode)
    facts = json.loads((lake / "facts.json").read_text())
    bytes_read = sum(source["bytes"] for source in facts["sources"])
    written = sum(file.stat().st_size for file in lake.glob("reviews/*/*.parquet"))
    yield from (f"{bytes_read / 1e6:,.0f}", f"{facts['rows_in']:,}", f"{seconds:.1f}", f"{sum(worked.values()):.1f}")
    yield from (f"{facts['rows_in'] / seconds:,.0f}", f"{peak / 1e6:,.0f}", f"{written / 1e6:,.0f}")


def _memory(pid: int, worked: dict[int, float]) -> int:
    """Bytes that a process and those below it have; `worked` hears their seconds of processor time."""
    total = 0
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for each in [process, *process.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                times, memory = each.cpu_times(), each.memory_full_info()
                worked[each.pid] = times.user + times.system
                total += getattr(memory, "pss", memory.uss)
    return total


if __name__ == "__main__":
    main()
