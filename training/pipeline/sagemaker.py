"""How SageMaker starts a container: what it mounts where, and where it looks for the reason of a failure.

https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-running-container.html
https://docs.aws.amazon.com/sagemaker/latest/dg/byoc-metadata.html
The variables SM_… are those of its training toolkit; without that, they are what it would say.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

CHANNEL = "SM_CHANNEL_"
REASON_BYTES = 1024
"""What SageMaker keeps of a reason."""


@dataclass(frozen=True)
class TrainingJob:
    """A training job's folders and settings, in its container."""

    inputs: dict[str, Path]
    """By channel."""
    hyperparameters: dict[str, Any]
    """All of them text."""
    model: Path
    """What becomes model.tar.gz."""
    data: Path
    """What becomes output.tar.gz."""

    @classmethod
    def here(cls) -> Self | None:
        """The job whose container this is; None in a shell, and in a processing job, which has flags."""
        model = os.environ.get("SM_MODEL_DIR")
        if model is None:
            return None
        base = Path(os.environ.get("SM_INPUT_DIR", "/opt/ml/input"))
        config = Path(os.environ.get("SM_INPUT_CONFIG_DIR", base / "config"))
        channels = {k.removeprefix(CHANNEL).lower(): Path(v) for k, v in os.environ.items() if k.startswith(CHANNEL)}
        given = _read(config / "hyperparameters.json")
        return cls(
            inputs=channels or {name: base / "data" / name for name in _read(config / "inputdataconfig.json")},
            hyperparameters={name: value for name, value in given.items() if not name.startswith("sagemaker_")},
            model=Path(model),
            data=Path(os.environ.get("SM_OUTPUT_DATA_DIR", _output() / "data")),
        )


def tell(reason: str) -> None:
    """Write down why a job failed, where its description will show it. Does nothing where there is no SageMaker."""
    if "SM_MODEL_DIR" in os.environ:
        file = _output() / "failure"
    elif Path("/opt/ml/config/processingjobconfig.json").exists():
        file = _output() / "message"
    else:
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(reason.encode()[:REASON_BYTES].decode(errors="ignore").encode())
    except OSError as error:
        sys.stderr.write(f"{file} could not be written: {error.strerror}. SageMaker's folders are root's\n")


def _output() -> Path:
    return Path(os.environ.get("SM_OUTPUT_DIR", "/opt/ml/output"))


def _read(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return found
