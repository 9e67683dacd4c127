from __future__ import annotations

import subprocess
import sys


def test_it_prints_its_tables_without_the_aws_cli(bucket: str) -> None:
    command = [sys.executable, "-m", "benchmarks.store", "--store", bucket, "--aws", "", "--rounds", "1"]
    done = subprocess.run([*command, "--looks", "3"], capture_output=True, text=True, check=True)
    assert "push" in done.stdout and "of a core" in done.stdout
