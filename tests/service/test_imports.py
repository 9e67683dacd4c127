from __future__ import annotations

import subprocess
import sys

HEAVY = ("torch", "tensorflow", "keras", "pyspark", "transformers", "pandas", "numpy", "training", "torchserve", "ts")


def test_the_gateway_stays_light() -> None:
    """Its process imports none of the heavy libraries, nor what is on the other side of the contracts."""
    programs = "service.__main__, service.local.up, service.cli"
    code = f"import sys, {programs}; print([m for m in {HEAVY} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_the_commands_are_known_without_importing_the_gateway() -> None:
    code = (
        "import sys, service.cli; print([m for m in ('fastapi', 'uvicorn', 'httpx', 'sqlalchemy') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
