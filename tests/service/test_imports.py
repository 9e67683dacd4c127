from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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


def test_boto3_is_loaded_for_a_bucket_only(tmp_path: Path) -> None:
    """It takes memory and half a second of a start."""
    code = "import sys\nfrom service.app import create_app\nfrom service.settings import load_settings\n"
    code += "create_app(load_settings(home=sys.argv[1], store=sys.argv[2]))\n"
    code += "print([m for m in ('boto3', 'botocore') if m in sys.modules])"
    for store, loaded in ((str(tmp_path / "store"), "[]"), ("s3://stars", "['boto3', 'botocore']")):
        command = [sys.executable, "-c", code, str(tmp_path / "home"), store]
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == loaded
