"""How long a run waits for a store that is away: its work is worth more than a few minutes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from contracts.errors import StoreAway
from training.running.interrupt import check

Result = TypeVar("Result")

ASK_AGAIN_SECONDS = 2.0


def patiently(do: Callable[[], Result], seconds: float, say: Callable[[str], None]) -> Result:
    """Do it, and again while the store is away, for so many seconds; `say` gets the store's own words meanwhile.

    What else goes wrong, such as a wrong key or no bucket, is raised at once. Raises StoreAway after the time.
    """
    until = None
    while True:
        try:
            return do()
        except StoreAway as away:
            now = time.monotonic()
            until = now + seconds if until is None else until
            if now >= until:
                raise
            say(f"waiting for the store, {seconds / 60:.0f} minutes at most: {away}")
        check()
        time.sleep(ASK_AGAIN_SECONDS)
