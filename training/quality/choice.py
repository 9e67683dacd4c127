"""Which engine measures: the one that was asked for, or the best that can be had."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

from contracts.errors import ConfigError, MachineError
from training.quality.deequ import Deequ
from training.quality.engine import QualityEngine
from training.quality.jar import find_jar
from training.quality.plain_spark import PlainSpark

EngineName = Literal["auto", "deequ", "spark"]


class Choice(NamedTuple):
    """An engine, the jar that Spark must be started with, and why it was chosen."""

    engine: QualityEngine
    jar: Path | None
    reason: str


def choose(wanted: EngineName, jar: str, folder: Path) -> Choice:
    """`auto` takes Deequ where its jar can be had, else plain Spark. `jar` and `folder` as `find_jar` takes them.

    Raises ConfigError or MachineError when Deequ was asked for, or its jar named, and it cannot be had.
    """
    if wanted == "spark":
        return Choice(PlainSpark(), None, "asked for")
    try:
        found = find_jar(jar, folder)
    except (ConfigError, MachineError) as error:
        if wanted == "deequ" or jar:
            raise
        return Choice(PlainSpark(), None, str(error))
    return Choice(Deequ(), found, "asked for" if wanted == "deequ" else "its jar is there")
