"""One review at a time: whatever goes wrong over it stays with it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from contracts.errors import ReviewError, places

FAILED = "review_failed"
"""The kind of a ReviewError that is a mistake of ours."""

Taken = TypeVar("Taken")
Made = TypeVar("Made")

log = logging.getLogger(__name__)


def alone(make: Callable[[Taken], Made], value: Taken) -> Made | ReviewError:
    """make(value), or the ReviewError that it raised. An exception that nobody foresaw is logged and becomes one."""
    try:
        return make(value)
    except ReviewError as error:
        return error
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a panic in the tokenizer's Rust is no Exception
        return failure(error)


def together(make: Callable[[Sequence[Taken]], Iterable[Made]], values: Sequence[Taken]) -> list[Made | ReviewError]:
    """make(values) for all of them at once, or one by one where that fails over one of them."""
    made = alone(make, values) if values else []
    if not isinstance(made, ReviewError):
        return list(made)
    return [alone(lambda value: next(iter(make([value]))), value) for value in values]


def failure(error: BaseException) -> ReviewError:
    """What the client is told of a mistake of ours. The log gets its type and the places it passed, never its words."""
    log.error("a review failed: %s, by way of %s", type(error).__name__, ", ".join(places(error)))
    return ReviewError("reading this review failed, which is a mistake of ours: the log says where", kind=FAILED)
