"""More clients than the model can serve: which statuses they get, how fast, and what each answer costs.

    python -m benchmarks.overload [--store STORE] [--clients 50 400] [--seconds 20] [--impatient]

Starts `stars up` on a store. Each client has a connection of its own and always one review in flight; after a 429 it
waits as Retry-After says, or not at all with --impatient. Anything but 200 and 429 makes the exit code 1.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections import defaultdict
from itertools import cycle

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.running import examples, read_answer, request, stars_up

PATIENCE_SECONDS = 60.0
Seen = dict[str, list[float]]
"""Seconds until the answer, by status. A connection that failed is "cut", one without an answer in time "silent"."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", default=None, help="where the release is [the bundled one]")
    parser.add_argument("--clients", type=int, nargs="+", default=[50, 400])
    parser.add_argument("--seconds", type=float, default=20, help="seconds for each number of clients")
    parser.add_argument("--impatient", action="store_true", help="ask again at once after a 429")
    args = parser.parse_args()
    with stars_up(args.store) as service:
        seen = {each: asyncio.run(crowd(service.port, each, args.seconds, args.impatient)) for each in args.clients}
    report(seen, args.seconds)
    if others := {status for each in seen.values() for status in each} - {"200", "429"}:
        sys.exit(f"answers other than 200 and 429: {', '.join(sorted(others))}")


async def crowd(port: int, clients: int, seconds: float, impatient: bool) -> Seen:
    """What so many clients see who all begin at once."""
    seen: Seen = defaultdict(list)
    bodies = cycle(request(json.dumps({"text": text}).encode()) for text in examples())
    until = time.perf_counter() + seconds

    async def ask() -> None:
        sent = time.perf_counter()
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            while (sent := time.perf_counter()) < until:
                writer.write(next(bodies))
                async with asyncio.timeout(PATIENCE_SECONDS):
                    answer = await read_answer(reader)
                seen[str(answer.status)].append(time.perf_counter() - sent)
                if answer.status == 429 and not impatient:
                    await asyncio.sleep(float(answer.headers["retry-after"]))
            writer.close()
        except TimeoutError:
            seen["silent"].append(time.perf_counter() - sent)
        except (OSError, asyncio.IncompleteReadError):
            seen["cut"].append(time.perf_counter() - sent)

    await asyncio.gather(*(ask() for _ in range(clients)))
    return seen


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
