"""The stage `quality` by itself, on any data set: as the pipeline would check it, before there is a pipeline."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from contracts.errors import GateError
from contracts.settings import Home
from training.ingest.remote.address import is_url
from training.quality.report import JSON
from training.running.configuration import load_config
from training.running.execution import execute
from training.running.reporting import Reporter
from training.stages import quality


def check_data_set(
    folder: Path, told: Sequence[str], settings: Mapping[str, Any], outputs: Path, report: Reporter
) -> dict[str, Any]:
    """The report on a data set: training/quality/report.py. It lies in `outputs` too.

    What was measured is kept in the state folder for the next time, under the name of the data as it was `told`.
    `settings` are the stage's. Raises as the stage does, but not for rules that are broken.
    """
    defaults = {"store": Home.default().create().root.as_uri(), "name": series(told)}
    config = load_config(quality.Config, quality.STAGE.name, defaults=defaults, flags=settings)
    try:
        execute(quality.STAGE, config, {"ingest": folder}, outputs, report)
    except GateError:
        if not (outputs / JSON).is_file():
            raise
    found: dict[str, Any] = json.loads((outputs / JSON).read_text(encoding="utf-8"))
    return found


def series(data: Sequence[str]) -> str:
    """The name under which data is compared with itself: that of the first file or folder, and which ones they are."""
    places = [each if is_url(each) else str(Path(each).resolve()) for each in data]
    name = re.sub(r"[^a-z0-9._-]+", "-", places[0].rsplit("/", 1)[-1].lower()).strip(".-_") or "data"
    return f"{name[:50]}-{hashlib.sha256(repr(sorted(places)).encode()).hexdigest()[:8]}"
