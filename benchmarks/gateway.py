"""What the gateway costs: time added to a call of TorchServe, CPU, memory, and seconds to the first answer.

    python -m benchmarks.gateway [--store STORE] [--rate 20] [--seconds 30] [--pairs 300]

Starts `stars up` on a store. The time that the gateway adds is measured on pairs: the same review is asked directly at
TorchServe and through the gateway, one right after the other and each first in every second pair, with nothing else in
flight. The difference belongs to that pair; its median is given with a 95 % bootstrap interval. Quantiles of two
separate distributions cannot be subtracted: their difference is no request's.

The table of a fixed rate shows what both ways take where requests meet, in turns of a few seconds, so that both see the
same machine. Needs a machine that is otherwise idle.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable
from itertools import cycle, islice
from typing import Any, NamedTuple

import httpx
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.running import Service, examples, stars_up

TURN_SECONDS = 5
WARM_UP = 20
RESAMPLES = 2000


class Way(NamedTuple):
    """Where a review is asked about, and how."""

    url: str
    headers: dict[str, str]
    body: Callable[[dict[str, str]], dict[str, Any]]


class Pairs(NamedTuple):
    """Milliseconds by pair: directly, through the gateway, and in the gateway beside its call of TorchServe."""

    direct: np.ndarray
    through: np.ndarray
    beside: np.ndarray


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", default=None, help="where the release is [the bundled one]")
    parser.add_argument("--rate", type=float, default=20, help="requests a second")
    parser.add_argument("--seconds", type=float, default=30, help="seconds of each way")
    parser.add_argument("--pairs", type=int, default=300, help="reviews asked about in both ways")
    args = parser.parse_args()
    with stars_up(args.store) as service:
        direct = Way(*service.torchserve(), lambda review: {"reviews": [{"review_body": review["text"]}]})
        through = Way(f"{service.url}/predict", {}, lambda review: review)
        pairs = asyncio.run(in_pairs(direct, through, args.pairs))
        before = gateway_seconds(service)
        measured = asyncio.run(in_turns({"TorchServe": direct, "gateway": through}, args.rate, args.seconds))
        cpu = (gateway_seconds(service) - before) / len(measured["gateway"])
        report(pairs, measured, args.rate, cpu, service)


async def in_pairs(direct: Way, through: Way, count: int) -> Pairs:
    """One review after the other in both ways. Both connections are warm when it counts."""
    rows = []
    async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
        for at, review in enumerate(islice(reviews(), WARM_UP + count)):
            took = {}
            for way in (direct, through) if at % 2 else (through, direct):
                took[way.url], answer = await ask(client, way, review)
                if way is through:
                    timing = server_timing(answer)
            if at >= WARM_UP:
                rows.append((took[direct.url], took[through.url], timing["total"] - timing["model"]))
    return Pairs(*np.array(rows).T)


async def in_turns(ways: dict[str, Way], rate: float, seconds: float) -> dict[str, list[float]]:
    """Milliseconds of every request at a fixed rate, by way."""
    stream = reviews()
    measured: dict[str, list[float]] = {name: [] for name in ways}
    async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
        for _ in range(max(1, round(seconds / TURN_SECONDS))):
            part = list(islice(stream, round(rate * TURN_SECONDS)))  # the same ones for every way
            for name, way in ways.items():
                tasks = []
                for review in part:
                    tasks.append(asyncio.create_task(ask(client, way, review)))
                    await asyncio.sleep(1 / rate)
                measured[name] += [took for took, _ in await asyncio.gather(*tasks)]
    return measured


async def ask(client: httpx.AsyncClient, way: Way, review: dict[str, str]) -> tuple[float, httpx.Response]:
    started = time.perf_counter()
    answer = (await client.post(way.url, json=way.body(review), headers=way.headers)).raise_for_status()
    return (time.perf_counter() - started) * 1000, answer


def reviews() -> cycle[dict[str, str]]:
    return cycle([{"text": text} for text in examples()])


def server_timing(answer: httpx.Response) -> dict[str, float]:
    """Milliseconds by name."""
    parts = (part.partition(";dur=") for part in answer.headers["server-timing"].split(", "))
    return {name: float(ms) for name, _, ms in parts}


def gateway_seconds(service: Service) -> float:
    """CPU seconds that the gateway has used so far."""
    return sum(sum(each.cpu_times()[:2]) for name, each in service.processes() if name == "gateway")


def added(pairs: Pairs) -> tuple[float, float, float]:
    """Milliseconds that the gateway adds: the median of the pairs' differences and its 95 % bootstrap interval."""
    differences = pairs.through - pairs.direct
    draws = np.random.default_rng(0).choice(differences, (RESAMPLES, len(differences)))
    low, high = np.quantile(np.median(draws, axis=1), (0.025, 0.975))
    return float(np.median(differences)), float(low), float(high)


def report(pairs: Pairs, measured: dict[str, list[float]], rate: float, cpu: float, service: Service) -> None:
    console = Console()
    table = Table("one review at a time", "p50 ms", "p95 ms", title=f"{len(pairs.direct)} pairs")
    for name, values in (
        ("directly at TorchServe", pairs.direct),
        ("through the gateway", pairs.through),
        ("in the gateway, beside its call of TorchServe", pairs.beside),
    ):
        p50, p95 = np.quantile(values, (0.5, 0.95))
        table.add_row(name, f"{p50:.2f}", f"{p95:.2f}")
    console.print(table)
    median, low, high = added(pairs)
    console.print(
        f"the gateway adds {median:.2f} ms to the same review (median, 95 % interval {low:.2f} to {high:.2f})"
    )
    table = Table("way", "requests", "p50 ms", "p95 ms", title=f"{rate:g} single reviews a second, in turns")
    for name, took in measured.items():
        p50, p95 = np.quantile(took, (0.5, 0.95))
        table.add_row(name, str(len(took)), f"{p50:.2f}", f"{p95:.2f}")
    console.print(table)
    table = Table("process", "MB resident")
    for name, each in service.processes():
        table.add_row(name, f"{each.memory_info().rss / 1e6:.0f}")
    console.print(table)
    console.print(f"gateway: {cpu * 1000:.2f} ms of CPU a request")
    console.print(f"stars up to the first answer: {service.seconds:.1f} s")


if __name__ == "__main__":
    main()
