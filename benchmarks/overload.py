"""More clients than the model can serve: which statuses they get, how fast, and what each answer costs.

    python -m benchmarks.overload [--store STORE] [--clients 50 400] [--seconds 20] [--impatient]

Starts `stars up` on a store. Each client has a connection of its own and always one review in flight; after a 429 it
waits as Retry-After says, or not at all with --impatient. Anything but 200 and 429 makes the exit code 1.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import socket
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from itertools import cycle

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.gateway import EXAMPLES, wait_ready

Seen = dict[str, list[float]]
"""Seconds until the answer, by status. A connection that failed is "cut"."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", default=None, help="where the release is [the bundled one]")
    parser.add_argument("--clients", type=int, nargs="+", default=[50, 400])
    parser.add_argument("--seconds", type=float, default=20, help="seconds for each number of clients")
    parser.add_argument("--impatient", action="store_true", help="ask again at once after a 429")
    args = parser.parse_args()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    seen: dict[int, Seen] = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as home:
        words = ["up", "--no-worker", "--home", home, "--port", str(port)]
        words += ["--store", args.store] if args.store else []
        process = subprocess.Popen([sys.executable, "-m", "contracts.cli", *words], stdout=subprocess.DEVNULL)
        try:
            wait_ready(process, f"http://127.0.0.1:{port}")
            for clients in args.clients:
                seen[clients] = asyncio.run(crowd(port, clients, args.seconds, args.impatient))
        finally:
            process.terminate()
            process.wait()
    report(seen, args.seconds)
    if others := {status for each in seen.values() for status in each} - {"200", "429"}:
        sys.exit(f"answers other than 200 and 429: {', '.join(sorted(others))}")


async def crowd(port: int, clients: int, seconds: float, impatient: bool) -> Seen:
    """What so many clients see who all begin at once."""
    seen: Seen = defaultdict(list)
    bodies = cycle(requests())
    until = time.perf_counter() + seconds

    async def ask() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            while (sent := time.perf_counter()) < until:
                writer.write(next(bodies))
                head = await reader.readuntil(b"\r\n\r\n")
                headers = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if line)
                await reader.readexactly(int(headers[b"content-length"]))
                status = head.split(b" ", 2)[1].decode()
                seen[status].append(time.perf_counter() - sent)
                if status == "429" and not impatient:
                    await asyncio.sleep(float(headers[b"retry-after"]))
        except (OSError, asyncio.IncompleteReadError):
            seen["cut"].append(time.perf_counter() - sent)
        finally:
            writer.close()

    await asyncio.gather(*(ask() for _ in range(clients)))
    return seen


def requests() -> list[bytes]:
    """The examples' reviews as whole HTTP requests, so that asking costs the machine little."""
    with EXAMPLES.open(encoding="utf-8", errors="replace", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        texts = [row["review_body"] for row in rows if (row["review_body"] or "").strip()]
    bodies = [json.dumps({"text": text}).encode() for text in texts]
    head = "POST /predict HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n"
    return [head.format(len(body)).encode() + body for body in bodies]


def report(seen: dict[int, Seen], seconds: float) -> None:
    table = Table("clients", "status", "answers", "a second", "p50 ms", "p99 ms", "max ms", title="overload")
    for clients, statuses in seen.items():
        for status, took in sorted(statuses.items()):
            p50, p99, most = np.quantile(took, (0.5, 0.99, 1)) * 1000
            row = (clients, status, len(took), f"{len(took) / seconds:.1f}", f"{p50:.0f}", f"{p99:.0f}", f"{most:.0f}")
            table.add_row(*map(str, row))
    Console().print(table)


if __name__ == "__main__":
    main()
