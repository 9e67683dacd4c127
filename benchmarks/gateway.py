"""What the gateway costs: time added to a call of TorchServe, memory, and seconds from `stars up` to the first answer.

    python -m benchmarks.gateway [--store STORE] [--rate 20] [--seconds 30]

Starts `stars up` on a store and asks single reviews at a fixed rate, in turns of a few seconds directly at TorchServe
and through the gateway, so that both see the same machine. Needs a machine that is otherwise idle.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import httpx
import psutil
from rich.console import Console
from rich.table import Table

EXAMPLES = Path(__file__).parent.parent / "examples" / "reviews.tsv"
TURN_SECONDS = 5
READY_SECONDS = 180

Body = Callable[[dict[str, str]], dict[str, Any]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", default=None, help="where the release is [the bundled one]")
    parser.add_argument("--rate", type=float, default=20, help="requests a second")
    parser.add_argument("--seconds", type=float, default=30, help="seconds of each way")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, socket.create_server(("127.0.0.1", 0)) as probe:
        home, port = Path(folder), probe.getsockname()[1]
        probe.close()
        started = time.perf_counter()
        words = ["up", "--no-worker", "--home", str(home), "--port", str(port)]
        words += ["--store", args.store] if args.store else []
        process = subprocess.Popen([sys.executable, "-m", "contracts.cli", *words], stdout=subprocess.DEVNULL)
        try:
            version = wait_ready(process, f"http://127.0.0.1:{port}")
            first = time.perf_counter() - started
            torchserve = json.loads((home / "torchserve" / "endpoints.json").read_text())["inference"]
            ways: dict[str, tuple[str, Body]] = {
                "TorchServe": (f"{torchserve}/predictions/review-stars/{version}", lambda each: {"reviews": [each]}),
                "gateway": (f"http://127.0.0.1:{port}/predict", lambda each: each),
            }
            before = seconds_of(process)
            measured = asyncio.run(in_turns(ways, args.rate, args.seconds))
            after = seconds_of(process)
            report(measured, args.rate, first, process, after.get("gateway", 0) - before.get("gateway", 0))
        finally:
            process.terminate()
            process.wait()


def wait_ready(process: subprocess.Popen[bytes], url: str) -> str:
    """The version that serves, after its first answer."""
    until = time.monotonic() + READY_SECONDS
    with httpx.Client(timeout=30, trust_env=False) as client:
        while time.monotonic() < until and process.poll() is None:
            try:
                answer = client.post(f"{url}/predict", json={"text": "Works."})
                if answer.status_code == 200:
                    return str(answer.json()["version"])
            except httpx.TransportError:
                pass
            time.sleep(0.1)
    sys.exit("stars up did not start: run it by itself to see why")


async def in_turns(ways: dict[str, tuple[str, Body]], rate: float, seconds: float) -> dict[str, list[float]]:
    """Milliseconds of every request, by way."""
    with EXAMPLES.open(encoding="utf-8", errors="replace", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        texts = [row["review_body"] for row in rows if (row.get("review_body") or "").strip()]
    reviews = cycle({"text": text[:20_000]} for text in texts)
    measured: dict[str, list[float]] = {name: [] for name in ways}
    async with httpx.AsyncClient(timeout=60, trust_env=False) as client:

        async def ask(url: str, body: dict[str, Any]) -> float:
            started = time.perf_counter()
            (await client.post(url, json=body)).raise_for_status()
            return (time.perf_counter() - started) * 1000

        turn = round(rate * TURN_SECONDS)
        for _ in range(max(1, round(seconds / TURN_SECONDS))):
            part = list(islice(reviews, turn))  # the same ones for every way
            for name, (url, body) in ways.items():
                tasks = []
                for review in part:
                    tasks.append(asyncio.create_task(ask(url, body(review))))
                    await asyncio.sleep(1 / rate)
                measured[name] += await asyncio.gather(*tasks)
    return measured


def seconds_of(process: subprocess.Popen[bytes]) -> dict[str, float]:
    """CPU seconds used so far, by program."""
    return {name: sum(each.cpu_times()[:2]) for name, each in programs(process)}


def programs(process: subprocess.Popen[bytes]) -> list[tuple[str, psutil.Process]]:
    """The processes below `stars up`, named."""
    names = {"ModelServer": "TorchServe's Java", "-m service": "gateway", "model_service_worker": "TorchServe's worker"}
    found = []
    for each in psutil.Process(process.pid).children(recursive=True):
        line = " ".join(each.cmdline())
        found += [(name, each) for word, name in names.items() if word in line]
    return found


def report(
    measured: dict[str, list[float]], rate: float, first: float, process: subprocess.Popen[bytes], cpu_seconds: float
) -> None:
    console = Console()
    table = Table("way", "requests", "p50 ms", "p95 ms", title=f"{rate:g} single reviews a second, in turns")
    quantiles = {}
    for name, values in measured.items():
        cuts = statistics.quantiles(values, n=100)
        quantiles[name] = (cuts[49], cuts[94])
        table.add_row(name, str(len(values)), f"{cuts[49]:.2f}", f"{cuts[94]:.2f}")
    (direct, through) = quantiles.values()
    added = [f"{more - less:.2f}" for more, less in zip(through, direct, strict=True)]
    table.add_row("the gateway adds", "", *added, style="bold")
    console.print(table)
    memory = Table("process", "MB resident")
    for name, each in programs(process):
        memory.add_row(name, f"{each.memory_info().rss / 1e6:.0f}")
    console.print(memory)
    console.print(f"gateway: {cpu_seconds * 1000 / len(measured['gateway']):.2f} ms of CPU a request")
    console.print(f"stars up to the first answer: {first:.1f} s")


if __name__ == "__main__":
    main()
