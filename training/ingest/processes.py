"""Parts of sources on all cores of this machine: a process each, which ends with this one, whatever ends it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.synchronize import Event
from queue import Empty
from typing import Any

from contracts.errors import MachineError
from training.ingest.part import Part, PartFacts, ingest_part

ALONE_BYTES = 32 << 20
"""So much is done in this process before another one has started."""
TOLD_SECONDS = 0.5

Told = Callable[[int, int, int], None]
"""The number of a part, how many of its bytes are done, and how many rows."""


class _Stopped(Exception):
    pass


def run_parts(parts: Sequence[Part], sizes: Sequence[int], told: Told) -> Iterator[tuple[int, PartFacts]]:
    """Each part's number and what became of it, as they finish. `told` may raise, which ends them all.

    Raises what a part raised, and MachineError when one of the processes was killed.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if len(parts) == 1 or cores == 1 or sum(sizes) <= ALONE_BYTES:
        for number, part in enumerate(parts):
            yield number, ingest_part(part, lambda done, rows, number=number: told(number, done, rows))  # type: ignore[misc]
        return
    context = multiprocessing.get_context("spawn")  # forked, Arrow's threads would be missing
    stop, progress = context.Event(), context.Queue()
    pool = ProcessPoolExecutor(min(cores, len(parts)), context, _begin, (stop, progress))
    largest_first = sorted(range(len(parts)), key=lambda number: -sizes[number])
    try:
        waiting: dict[Future[PartFacts], int] = {pool.submit(_run, n, parts[n]): n for n in largest_first}
        while waiting:
            done, _ = wait(waiting, TOLD_SECONDS, FIRST_COMPLETED)
            _tell(progress, told)
            for future in done:
                yield waiting.pop(future), future.result()
    except BrokenProcessPool as error:
        raise MachineError(
            "a process that read the sources was killed, most likely for want of memory: run it again, it goes on"
        ) from error
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


def _tell(progress: Any, told: Told) -> None:
    while True:
        try:
            number, done, rows = progress.get_nowait()
        except Empty:
            return
        told(number, done, rows)


_stop: Event | None = None
_progress: Any = None


def _begin(stop: Event, progress: Any) -> None:
    """In a process of the pool: Ctrl-C is for the one that started it, and no pool outlives that."""
    global _stop, _progress
    _stop, _progress = stop, progress
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def end_with(parent: Any) -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=end_with, args=(parent,), daemon=True).start()


def _run(number: int, part: Part) -> PartFacts:
    def told(done: int, rows: int) -> None:
        if _stop is not None and _stop.is_set():
            raise _Stopped
        _progress.put((number, done, rows))

    return ingest_part(part, told)
