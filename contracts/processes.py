"""Child processes that do not outlive their parent, and whole process groups that end."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> Callable[[], None] | None:
    """A `preexec_fn`: the new process gets SIGTERM when the thread that starts it is gone, even by kill -9.

    Linux only; None elsewhere.
    """
    if sys.platform != "linux":
        return None
    libc, parent = ctypes.CDLL(None, use_errno=True), os.getpid()

    def ask() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died before it could be asked for
            os._exit(1)

    return ask


def signal_group(group: int, number: signal.Signals) -> None:
    """Send a signal to every process of a group; to none when the group is gone."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
