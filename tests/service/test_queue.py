from __future__ import annotations

import asyncio

import pytest

from contracts.errors import BackendOverloaded
from service.predict.queue import ReviewQueue


async def _hold(queue: ReviewQueue, reviews: int, order: list[str], name: str, until: asyncio.Event) -> None:
    async with queue.place(reviews):
        order.append(name)
        await until.wait()


def test_reviews_wait_their_turn_and_no_more_than_fit_are_admitted() -> None:
    async def scenario() -> None:
        queue, order, done = ReviewQueue(size=8, width=4), [], asyncio.Event()
        tasks = [asyncio.create_task(_hold(queue, n, order, name, done)) for name, n in (("a", 3), ("b", 3), ("c", 1))]
        await asyncio.sleep(0)
        assert order == ["a"], "c would fit, but b came first"
        assert (queue.admitted, queue.running) == (7, 3)
        with pytest.raises(BackendOverloaded):
            async with queue.place(2):
                pass
        assert queue.admitted == 7
        done.set()
        await asyncio.gather(*tasks)
        assert order == ["a", "b", "c"]
        assert (queue.admitted, queue.running) == (0, 0)

    asyncio.run(scenario())


@pytest.mark.parametrize("settle", [False, True], ids=["waiting", "turn just came"])
def test_a_client_that_leaves_gives_its_place_back(settle: bool) -> None:
    async def scenario() -> None:
        queue, order = ReviewQueue(size=12, width=4), []
        first, rest = asyncio.Event(), asyncio.Event()
        rest.set()
        running = asyncio.create_task(_hold(queue, 4, order, "a", first))
        leaving = asyncio.create_task(_hold(queue, 4, order, "b", rest))
        behind = asyncio.create_task(_hold(queue, 2, order, "c", rest))
        await asyncio.sleep(0)
        if settle:
            first.set()
            await asyncio.sleep(0)  # a has ended and given b its turn, and b has not run since
            assert queue.running == 4 and order == ["a"]
        leaving.cancel()
        first.set()
        await asyncio.gather(running, behind)
        with pytest.raises(asyncio.CancelledError):
            await leaving
        assert (queue.admitted, queue.running) == (0, 0)
        assert order in (["a", "c"], ["a", "b", "c"])

    asyncio.run(scenario())
