"""Deequ's jar for the tests that need it: where a setting names it, beside the project, or where a run has kept it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from contracts.settings import Home
from training.quality.jar import NAME

_PLACES = (
    Path(os.environ.get("STARS_QUALITY_JAR") or NAME),
    Path(__file__).parents[3] / "shared" / "jars" / NAME,
    Home.default().jars / NAME,
)
JAR = next((place for place in _PLACES if place.is_file()), _PLACES[1])
with_jar = pytest.mark.skipif(not JAR.is_file(), reason=f"no {NAME}: name one with STARS_QUALITY_JAR")
