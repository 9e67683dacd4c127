"""What a bucket costs: a release's way into it and out of it, beside the aws CLI's, and following its channel.

    python -m benchmarks.store --store s3://bucket/prefix [--aws PATH] [--rounds 7] [--looks 500]

Asks the S3 server that the environment names (AWS_ENDPOINT_URL, credentials), and leaves what it wrote below the
prefix. `stars release push` and `pull` hash every file at this end; the aws CLI copies the same folder. The two take
turns, each first in every second round, and the medians of whole commands are given. Following is the CPU time of a
look at the production channel in this process, at the gateway's default pace.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from contracts.release import channels
from contracts.release.bundled import bundled_store
from contracts.release.lookup import find
from contracts.release.published import MODEL_NAME
from contracts.store.urls import open_store
from service.settings import Settings

STARS = [sys.executable, "-m", "contracts.cli", "release"]
JITTER = 0.75
"""A gateway waits between half and all of its follow_seconds."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", required=True, help="an s3:// URL that may be written below")
    parser.add_argument("--aws", default=shutil.which("aws"), help="the aws command [the one on PATH]")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--looks", type=int, default=500)
    args = parser.parse_args()
    base = f"{args.store}/{time.time_ns()}"
    with tempfile.TemporaryDirectory(prefix="stars-") as scratch:
        print_copies(base, args.aws, args.rounds, Path(scratch))
    print_following(f"{base}/0-stars", args.looks)


def print_copies(base: str, aws: str | None, rounds: int, scratch: Path) -> None:
    release = find("bundled", None, scratch / "bundled")
    version = release.manifest.version
    copy = [aws, "s3", "cp", "--recursive", "--only-show-errors"]
    ways: dict[str, dict[str, Callable[[int], list[str | None]]]] = {
        "push": {
            "stars": lambda n: [*STARS, "push", str(release.folder), "--store", f"{base}/{n}-stars"],
            "aws": lambda n: [*copy, str(release.folder), f"{base}/{n}-aws"],
        },
        "pull": {
            "stars": lambda n: [
                *STARS,
                "pull",
                version,
                "--store",
                f"{base}/0-stars",
                "--into",
                f"{scratch}/{n}-stars",
            ],
            "aws": lambda n: [*copy, f"{base}/0-aws", f"{scratch}/{n}-aws"],
        },
    }
    size = sum(path.stat().st_size for path in release.folder.iterdir()) / 1e6
    table = Table("", "stars", "aws CLI", "ratio", title=f"the bundled release, {size:.0f} MB, medians of {rounds}")
    for what, programs in ways.items():
        taken: dict[str, list[float]] = {"stars": [], "aws": []}
        for number in range(rounds):
            for who in sorted(programs, reverse=bool(number % 2)):
                if who == "stars" or aws:
                    taken[who].append(seconds([str(word) for word in programs[who](number)]))
        ours, theirs = (median(each) if each else None for each in taken.values())
        shown = [f"{each:.2f} s" if each else "-" for each in (ours, theirs)]
        table.add_row(what, *shown, f"{ours / theirs:.2f}" if ours and theirs else "-")
    Console().print(table)


def seconds(command: list[str]) -> float:
    start = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - start


def print_following(url: str, looks: int) -> None:
    bucket, folder = open_store(url), bundled_store()
    version = channels.read(folder, MODEL_NAME, channels.PRODUCTION)[0].version
    channels.move(bucket, MODEL_NAME, channels.PRODUCTION, version, "a benchmark", None)
    pace = Settings.model_fields["follow_seconds"].default * JITTER
    table = Table("", "CPU a look", "of a core", title=f"following a channel, a look every {pace:g} s, {looks} looks")
    for name, store in (("bucket", bucket), ("folder", folder)):
        channels.read(store, MODEL_NAME, channels.PRODUCTION)
        start = time.process_time()
        for _ in range(looks):
            channels.read(store, MODEL_NAME, channels.PRODUCTION)
        spent = (time.process_time() - start) / looks
        table.add_row(name, f"{1000 * spent:.2f} ms", f"{100 * spent / pace:.3f} %")
    Console().print(table)


if __name__ == "__main__":
    main()
