"""Minutes of good, worst and hostile requests at once: every good one is answered right, and memory is flat.

    python -m benchmarks.soak [--store STORE] [--seconds 300] [--clients 16] [--hostile 1] [--seed 0]

Starts `stars up` on a store, the bundled release by default, and asks about every review alone first. Then clients ask
about the same reviews for minutes, alone and in batches, with and without bad ones between them, while others send what
benchmarks/hostile.py holds. The exit code is 1, and each fault is named, where

- a good request got anything but the answer that the review got alone, or 429 with Retry-After;
- a hostile one came to an end that is not among those for its kind, a 5xx above all;
- /healthz failed, or a process was started anew;
- a process's memory was not flat, from the first fifth of the time to the last;
- fewer than half of the good requests were answered otherwise than by 429.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.hostile import KINDS
from benchmarks.running import Answer, Service, examples, read_answer, request, stars_up

TOLERANCE = 5e-4
"""Of a probability, which is rounded to four digits: a review's neighbours in a batch change its last bits."""

PATIENCE_SECONDS = 60.0
THINKING_SECONDS = 0.5
"""Between two requests of one client, on average."""

SAMPLE_SECONDS = 1.0
GROWTH = 1.05
GROWTH_MEGABYTES = 10.0
"""Memory is flat if it has grown by less than one of the two."""

BATCH = 8
HOSTILE_PAUSE = 4.0
GOOD = ("batch", "good", "worst")
WORST = (
    "word " * 4000,
    "a" * 20_000,
    "&amp;" * 4000,
    "&#" + "9" * 19_000 + ";",
    "&#x1F600;" * 2000,
    "a" + "".join(chr(0x0300 + at % 0x70) for at in range(19_999)),
    "a" + "\u0345" * 6000 + "\u0301" * 6000 + "\u0316" * 6000,
    "\u1100\u1161\u11a8" * 6000,
    "\U0001f468\u200d\U0001f469\u200d\U0001f467" * 3000,
    "\ufdfa" * 20_000,
    "\u202e\u200b\ufeff" * 5000 + "good",
    "<b>" * 5000 + "great" + "</b>" * 1000,
    "好用" * 10_000,
    "…!?" * 6000,
    "\x01\x02\x7f" * 5000 + "fine",
    "ﬃ" * 20_000,
)
"""Texts within the limits that cost the most, or that break what is not careful."""

BLANK = {"text": " \t "}


class Question(NamedTuple):
    """A review, its kind, and the answer that it got alone."""

    review: dict[str, str]
    kind: str
    answer: dict[str, Any]


@dataclass
class Record:
    """Milliseconds of right answers, statuses and hostile ends by kind, megabytes by process, and the faults."""

    took: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    statuses: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    ends: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    memory: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    faults: Counter[str] = field(default_factory=Counter)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", default=None, help="where the release is [the bundled one]")
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--clients", type=int, default=16, help="clients that mean well")
    parser.add_argument("--hostile", type=int, default=1, help="clients of each hostile kind")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with stars_up(args.store) as service:
        record = asyncio.run(soak(service, args.seconds, args.clients, args.hostile, args.seed))
    report(record, args.seconds)
    if record.faults:
        sys.exit("\n".join(f"fault: {fault} ({count})" for fault, count in record.faults.most_common()))


async def soak(service: Service, seconds: float, clients: int, hostile: int, seed: int) -> Record:
    record = Record()
    before = {each.pid for _, each in service.processes()}
    alone = [Question({"text": text}, "worst", {}) for text in WORST]
    alone += [Question({"text": text}, "good", {}) for text in examples()]
    questions = await ask_alone(service.port, alone, record)
    until = time.monotonic() + seconds
    tasks: list[Coroutine[Any, Any, None]] = [watch(service, until, record)]
    for at in range(clients):
        tasks.append(mean_well(service.port, questions, until, random.Random(f"{seed} {at}"), record))
    for name in KINDS:
        for at in range(hostile):
            tasks.append(attack(service.port, name, until, random.Random(f"{seed} {name} {at}"), record))
    await asyncio.gather(*tasks)
    await ask_alone(service.port, questions[::10], record)
    if before != {each.pid for _, each in service.processes()}:
        record.faults["a process died and was started anew"] += 1
    judge(record)
    return record


async def ask_alone(port: int, questions: Sequence[Question], record: Record) -> list[Question]:
    """Ask about one review after the other with nothing else going on. An answer that one had already must stay."""
    found = []
    for each in questions:
        answer = await ask(port, predict(each.review))
        if answer is None or answer.status != 200:
            what = f"status {answer.status}" if answer else "no answer"
            record.faults[f"alone, {each.review['text'][:12]!r}…: {what}"] += 1
        elif each.answer and not is_same(answer.json(), each.answer):
            record.faults[f"alone after the soak, {each.review['text'][:12]!r}…: another answer than before"] += 1
        else:
            found.append(each._replace(answer=answer.json()))
    return found


async def mean_well(
    port: int, questions: Sequence[Question], until: float, draw: random.Random, record: Record
) -> None:
    """Ask, think, ask again; after a 429 as late as it says."""
    by_kind = {kind: [each for each in questions if each.kind == kind] for kind in ("good", "worst")}
    while time.monotonic() < until:
        await asyncio.sleep(draw.expovariate(1 / THINKING_SECONDS))
        [kind] = draw.choices(["good", "worst", "batch"], [75, 10, 15])
        asked: list[Question | None] = []
        if kind == "batch":
            asked += [None, *draw.choices(questions, k=draw.randint(1, BATCH))]  # None is a blank one
            draw.shuffle(asked)
            body: dict[str, Any] = {"reviews": [each.review if each else BLANK for each in asked]}
        else:
            asked += [question := draw.choice(by_kind[kind])]
            body = question.review
        started = time.perf_counter()
        answer = await ask(port, predict(body))
        record.statuses[kind][str(answer.status) if answer else "none"] += 1
        if answer is None:
            record.faults[f"{kind}: no answer"] += 1
        elif answer.status == 429 and answer.headers.get("retry-after", "").isdigit():
            await asyncio.sleep(int(answer.headers["retry-after"]))
        elif answer.status != 200:
            record.faults[f"{kind}: status {answer.status} {answer.body[:200]!r}"] += 1
        elif not is_right(answer.json(), asked, batch=kind == "batch"):
            record.faults[f"{kind}: another answer than alone"] += 1
        else:
            record.took[kind].append((time.perf_counter() - started) * 1000)


async def ask(port: int, sent: bytes) -> Answer | None:
    """The answer to a request on a connection of its own; None where there is none."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(sent)
                return await read_answer(reader)
            finally:
                writer.close()
    except (OSError, EOFError):  # a TimeoutError is an OSError
        return None


def predict(body: dict[str, Any]) -> bytes:
    return request(json.dumps(body).encode())


def is_right(answer: dict[str, Any], asked: Sequence[Question | None], batch: bool) -> bool:
    """Whether each review has the answer that it had alone, and each blank one its own error."""
    items = answer["predictions"] if batch else [answer]
    return len(items) == len(asked) and all(
        is_same(item, question.answer) if question else item.get("error", {}).get("type") == "blank_text"
        for item, question in zip(items, asked, strict=True)
    )


def is_same(answer: dict[str, Any], expected: dict[str, Any]) -> bool:
    exact = ("stars", "tokens", "truncated")
    found = answer.get("probabilities", {})
    return all(answer.get(name) == expected[name] for name in exact) and all(
        abs(found.get(star, 2) - chance) <= TOLERANCE for star, chance in expected["probabilities"].items()
    )


async def attack(port: int, name: str, until: float, draw: random.Random, record: Record) -> None:
    """Send requests of one hostile kind, with pauses."""
    kind = KINDS[name]
    while time.monotonic() < until:
        await asyncio.sleep(draw.random() * HOSTILE_PAUSE)
        try:
            end = await kind.send(port, draw)
        except OSError:
            end = "not let in"
        record.ends[name][end] += 1
        if end not in kind.allowed:
            record.faults[f"{name}: {end}"] += 1


async def watch(service: Service, until: float, record: Record) -> None:
    """Look at the processes' memory, and at /healthz, which must not wait for anything."""
    processes = service.processes()
    while time.monotonic() < until:
        await asyncio.sleep(SAMPLE_SECONDS)
        sizes: Counter[str] = Counter()
        for name, each in processes:
            with suppress(psutil.NoSuchProcess):
                sizes[name] += each.memory_info().rss
        for name, size in sizes.items():
            record.memory[name].append(size / 1e6)
        started = time.perf_counter()
        answer = await ask(service.port, request(b"", "GET", "/healthz"))
        record.statuses["healthz"][str(answer.status) if answer else "none"] += 1
        if answer is None or answer.status != 200:
            record.faults[f"healthz: {answer.status if answer else 'no answer'}"] += 1
        else:
            record.took["healthz"].append((time.perf_counter() - started) * 1000)


def judge(record: Record) -> None:
    """Add the faults that only the whole shows."""
    for name, sizes in record.memory.items():
        first, last, _ = trend(sizes)
        if last > first * GROWTH and last > first + GROWTH_MEGABYTES:
            record.faults[f"{name} grew from {first:.0f} to {last:.0f} MB"] += 1
    good = sum((record.statuses[kind] for kind in GOOD), Counter())
    if good["200"] < good.total() / 2:
        record.faults[f"only {good['200']} of {good.total()} good requests were answered"] += 1


def trend(sizes: Sequence[float]) -> tuple[float, float, float]:
    """The means of the first and the last fifth, and the slope between their middles for each minute."""
    part = max(1, len(sizes) // 5)
    first, last = statistics.mean(sizes[:part]), statistics.mean(sizes[-part:])
    minutes = (len(sizes) - part) * SAMPLE_SECONDS / 60
    return first, last, (last - first) / minutes if minutes else 0.0


def report(record: Record, seconds: float) -> None:
    console = Console()
    table = Table("requests", "statuses", "a second", "p50 ms", "p99 ms", "max ms", title=f"{seconds:g} seconds")
    for kind, statuses in sorted(record.statuses.items()):
        p50, p99, most = np.quantile(record.took[kind] or [0.0], (0.5, 0.99, 1))
        rate = f"{statuses.total() / seconds:.1f}"
        table.add_row(kind, _counts(statuses), rate, f"{p50:.0f}", f"{p99:.0f}", f"{most:.0f}")
    console.print(table)
    table = Table("hostile requests", "how they ended")
    for kind, ends in sorted(record.ends.items()):
        table.add_row(kind, _counts(ends))
    console.print(table)
    table = Table("process", "MB in the first fifth", "in the last", "a minute")
    for name, sizes in record.memory.items():
        first, last, slope = trend(sizes)
        table.add_row(name, f"{first:.0f}", f"{last:.0f}", f"{slope:+.2f}")
    console.print(table)


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name}: {count}" for name, count in sorted(counter.items()))


if __name__ == "__main__":
    main()
