"""One review at a time: whatever goes wrong over it stays with it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from contracts.errors import ReviewError, places

FAILED = "review_failed"
"""The kind of a ReviewError that is a mistake of ours."""

Given = TypeVar("Given")
Made = TypeVar("Made")

log = logging.getLogger(__name__)


def alone(make: Callable[[Given], Made], given: Given) -> Made | ReviewError:
    """make(given), or the ReviewError that it raised. An exception that nobody foresaw is logged and becomes one."""
    try:
        return make(given)
    except ReviewError as error:
        return error
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a panic in the tokenizer's Rust is no Exception
        return failure(error)


def failure(error: BaseException) -> ReviewError:
    """What the client is told of a mistake of ours. The log gets its type and the places it passed, never its words."""
    log.error("a review failed: %s, by way of %s", type(error).__name__, ", ".join(places(error)))
    return ReviewError("reading this review failed, which is a mistake of ours: the log says where", kind=FAILED)
