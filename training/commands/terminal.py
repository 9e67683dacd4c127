"""What a person at a terminal sees of a command at work: its progress, and how it ends on Ctrl-C."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from training.running.interrupt import INTERRUPTED, interruptible
from training.running.reporting import Listener


class TerminalBar(Listener):
    """A pipeline's progress on a terminal: one bar, with the stage's own words for rate and time left."""

    def __init__(self, console: Console) -> None:
        columns = (TextColumn("{task.fields[stage]:>8}"), BarColumn(30), TaskProgressColumn(), TimeElapsedColumn())
        self.bar = Progress(*columns, TextColumn("{task.description}"), console=console)
        self.task = self.bar.add_task("", total=1.0, stage="", visible=False)  # a run may be refused before it begins

    def stage(self, stage: str) -> None:
        self.bar.start()
        self.bar.update(self.task, stage=stage, description="", visible=True)

    def progress(self, stage: str, overall: float, message: str) -> None:
        self.bar.update(self.task, stage=stage, completed=overall, description=escape(message))

    def log(self, message: str) -> None:
        self.bar.console.print(escape(message))

    def close(self) -> None:
        """Leave the bar as it is. Where no stage began there is none, nor the empty line with which rich ends one."""
        if self.bar.live.is_started:
            self.bar.stop()


@contextmanager
def ends_on_interrupt(console: Console, sentence: str) -> Iterator[None]:
    """Ctrl-C ends the command with this sentence and the exit code of an interruption."""
    try:
        with interruptible(lambda said: console.print(said, highlight=False)):
            yield
    except KeyboardInterrupt:
        console.print(sentence, highlight=False)
        raise typer.Exit(INTERRUPTED) from None
