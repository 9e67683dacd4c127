"""Ctrl-C and SIGTERM: answered at once, obeyed at the next step, and never mistaken for something else.

Python acts on a signal only between two steps of its own, so a long step in C keeps a person waiting; and a
KeyboardInterrupt in the middle of a library's import, or in a callback from C, may come out as another exception or as
none. So a thread of its own listens and speaks, and the wish to stop is kept until the run has ended.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 + SIGINT, as shells give it."""
STOPPING = "stopping after this step"
AT_ONCE = "; Ctrl-C again stops at once"
AGAIN = "interrupted: run the same command again to go on"

_LEFT = b"\0"
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_asked = threading.Event()
_ways_to_end: list[Callable[[], None]] = []


def check() -> None:
    """Raises KeyboardInterrupt when this run was asked to stop: between two steps, where a library may have lost it."""
    if _asked.is_set():
        raise KeyboardInterrupt


@contextmanager
def ended_by(end: Callable[[], None]) -> Iterator[None]:
    """For a library that works long in C and hears no signal: `end` is called, in a thread of its own, on Ctrl-C."""
    _ways_to_end.append(end)
    try:
        yield
    finally:
        _ways_to_end.remove(end)


@contextmanager
def interruptible(say: Callable[[str], None]) -> Iterator[None]:
    """Run a command that Ctrl-C and SIGTERM may end. Use it in the main thread, around all of the work.

    `say` is told at once that the run is going to stop. Whatever exception ends it from then on, KeyboardInterrupt is
    raised. A second Ctrl-C ends the process without another word to the work: as after kill -9, the next run goes on
    from what was last saved.
    """
    _asked.clear()
    hear, speak = socket.socketpair()
    speak.setblocking(False)

    def listen() -> None:
        while (heard := hear.recv(1)) not in (_LEFT, b""):
            if heard[0] not in _SIGNALS:
                continue
            if not _asked.is_set():
                _asked.set()
                say(STOPPING + (AT_ONCE if heard[0] == signal.SIGINT else ""))
                for end in tuple(_ways_to_end):
                    end()
            elif heard[0] == signal.SIGINT:
                _end()

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        if not raised:
            raised.append(True)
            raise KeyboardInterrupt

    def ignored(found: sys.UnraisableHookArgs) -> None:
        if not issubclass(found.exc_type, KeyboardInterrupt):  # that one is remembered, and needs no traceback
            complain(found)

    raised: list[bool] = []
    complain, sys.unraisablehook = sys.unraisablehook, ignored
    # What a shell's background jobs ignore stays ignored.
    before = {each: signal.getsignal(each) for each in _SIGNALS if signal.getsignal(each) is not signal.SIG_IGN}
    pipe = signal.set_wakeup_fd(speak.fileno(), warn_on_full_buffer=False)
    listener = threading.Thread(target=listen, name="interrupt", daemon=True)
    listener.start()
    try:
        for each in before:
            signal.signal(each, interrupt)
        yield
    except BaseException as error:
        raised.append(True)
        _hear_out(listener, speak)
        if _asked.is_set() and not isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        raise
    finally:
        raised.append(True)
        _hear_out(listener, speak)
        signal.set_wakeup_fd(pipe)
        for each, handler in before.items():
            signal.signal(each, handler)
        hear.close()
        speak.close()
        sys.unraisablehook = complain
        _asked.clear()


def _hear_out(listener: threading.Thread, speak: socket.socket) -> None:
    """Wait until every signal that has come is known."""
    if listener.is_alive():
        speak.send(_LEFT)
        listener.join()


def _end() -> None:
    """End now. Nothing of Python's is used that the main thread may hold."""
    cursor = "\x1b[?25h" if os.isatty(2) else ""  # which a progress bar hides
    os.write(2, f"{cursor}stopped at once: the next run goes on from what was last saved\n".encode())
    os._exit(INTERRUPTED)
