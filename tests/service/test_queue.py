from __future__ import annotations

import asyncio

import pytest

from contracts.errors import BackendOverloaded
from service.predict.queue import ReviewQueue

DEADLINE = 10.0


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def _hold(queue: ReviewQueue, reviews: int, order: list[str], name: str, until: asyncio.Event) -> None:
    await queue.enter(reviews)
    order.append(name)
    await until.wait()
    queue.leave(reviews, answered=True)


def _measured(size: int, width: int, pace: float = 0.0, deadline: float = DEADLINE) -> ReviewQueue:
    """A queue that has seen a review come back after so many seconds."""
    clock = Clock()
    queue = ReviewQueue(size, width, deadline, clock)
    asyncio.run(queue.enter(1))
    clock.now += pace
    queue.leave(1, answered=True)
    return queue


def test_reviews_wait_their_turn_and_no_more_than_fit_are_admitted() -> None:
    queue = _measured(8, 4)

    async def scenario() -> None:
        order, done = [], asyncio.Event()
        tasks = [asyncio.create_task(_hold(queue, n, order, name, done)) for name, n in (("a", 3), ("b", 3), ("c", 1))]
        await asyncio.sleep(0)
        assert order == ["a"], "c would fit, but b came first"
        assert (queue.admitted, queue.running) == (7, 3)
        with pytest.raises(BackendOverloaded):
            await queue.enter(2)
        assert queue.admitted == 7
        done.set()
        await asyncio.gather(*tasks)
        assert order == ["a", "b", "c"]
        assert (queue.admitted, queue.running) == (0, 0)

    asyncio.run(scenario())


@pytest.mark.parametrize("settle", [False, True], ids=["waiting", "turn just came"])
def test_a_client_that_leaves_gives_its_place_back(settle: bool) -> None:
    queue = _measured(12, 4)

    async def scenario() -> None:
        order: list[str] = []
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


def test_before_the_first_review_has_come_back_only_what_the_model_may_have_is_admitted() -> None:
    async def scenario() -> None:
        queue = ReviewQueue(size=256, width=4, deadline=DEADLINE, clock=Clock())
        await queue.enter(4)
        with pytest.raises(BackendOverloaded):
            await queue.enter(1)

    asyncio.run(scenario())


def test_the_pace_is_that_of_reviews_that_come_back_while_the_model_is_busy() -> None:
    async def scenario() -> None:
        clock = Clock()
        queue = ReviewQueue(256, 64, DEADLINE, clock)
        for _ in range(3):
            await queue.enter(8)
            clock.now += 0.8
            queue.leave(8, answered=True)
            clock.now += 1000.0  # nobody asks
        assert queue.pace == pytest.approx(0.1)
        await queue.enter(8)
        await queue.enter(8)
        clock.now += 1.6  # both come back in one batch
        queue.leave(8, answered=True)
        queue.leave(8, answered=True)
        assert queue.pace == pytest.approx(0.1, rel=0.05)
        before = queue.pace
        await queue.enter(8)
        queue.leave(8, answered=False)  # a model server that refuses at once is not a fast one
        assert queue.pace == before

    asyncio.run(scenario())


def test_what_could_not_be_answered_in_half_the_deadline_is_refused_with_the_seconds_to_wait() -> None:
    queue = _measured(256, 4, pace=0.1)

    async def scenario() -> None:
        tasks = [asyncio.create_task(queue.enter(1)) for _ in range(50)]
        await asyncio.sleep(0)
        assert queue.admitted == 50
        with pytest.raises(BackendOverloaded) as caught:
            await queue.enter(20)
        assert caught.value.retry_after == 2
        for task in tasks:
            task.cancel()

    asyncio.run(scenario())


def test_a_request_that_is_alone_is_never_refused_however_slow_the_model_is() -> None:
    queue = _measured(256, 64, pace=1.0)
    asyncio.run(queue.enter(64))
    assert queue.running == 64


def test_a_slow_model_is_given_a_quarter_of_a_deadlines_work_at_a_time() -> None:
    queue = _measured(256, 64, pace=0.5)

    async def scenario() -> None:
        tasks = [asyncio.create_task(queue.enter(1)) for _ in range(8)]
        await asyncio.sleep(0)
        assert queue.running == 5
        queue.leave(1, answered=False)
        await asyncio.sleep(0)
        assert queue.running == 5
        for task in tasks:
            task.cancel()

    asyncio.run(scenario())


def test_whoever_gets_no_turn_in_half_the_deadline_is_refused_not_timed_out() -> None:
    queue = _measured(8, 4, deadline=0.08)

    async def scenario() -> None:
        await queue.enter(4)
        with pytest.raises(BackendOverloaded, match="no turn came"):
            await queue.enter(1)
        assert (queue.admitted, queue.running) == (4, 4)

    asyncio.run(scenario())
