"""One stage by itself, as `python -m training <stage>`: with plain flags, or in SageMaker's container layout."""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from contracts.errors import ConfigError, StarsError
from contracts.stages import StageConfig
from training.running.configuration import load_config
from training.running.execution import execute
from training.running.folder import FACTS
from training.running.interrupt import AGAIN, INTERRUPTED, interruptible
from training.running.reporting import PlainLines, StageReporter
from training.running.stage import Stage
from training.tracking.curves import Curves


def main(stage: Stage, arguments: Sequence[str]) -> int:
    """Run a stage; returns the exit code. Inside SageMaker no arguments are read, and a failure is written down."""
    sagemaker = "SM_MODEL_DIR" in os.environ
    try:
        with interruptible(PlainLines().log):
            if sagemaker:
                _main_sagemaker(stage)
            else:
                _main_flags(stage, arguments)
    except StarsError as error:
        if sagemaker:
            _write_failure(str(error))
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write(f"{AGAIN}\n")
        return INTERRUPTED
    except Exception:
        if sagemaker:
            _write_failure(traceback.format_exc())
        raise
    return 0


def _main_flags(stage: Stage, arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog=f"python -m training {stage.name}", description=stage.run.__doc__)
    names = ", ".join((*stage.needs, *stage.reads))
    parser.add_argument("--input", action="append", default=[], metavar="NAME=PATH", help=f"NAME is one of {names}")
    parser.add_argument("--output", required=True, type=Path, help="folder for what the stage makes")
    parser.add_argument("--config", type=Path, help="YAML file with settings")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="one setting")
    args = parser.parse_args(arguments)
    inputs = {k: Path(v) for k, v in (_pair(text, "--input") for text in args.input)}
    config = load_config(stage.config, stage.name, args.config, dict(_pair(text, "--set") for text in args.set))
    _execute(stage, config, inputs, args.output)


def _main_sagemaker(stage: Stage) -> None:
    """SageMaker's layout: channels in SM_CHANNEL_*, hyperparameters.json, results in SM_MODEL_DIR."""
    base = Path(os.environ.get("SM_INPUT_CONFIG_DIR", "/opt/ml/input/config"))
    file = base / "hyperparameters.json"
    flags: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    flags = {name: value for name, value in flags.items() if not name.startswith("sagemaker_")}
    prefix = "SM_CHANNEL_"
    inputs = {k.removeprefix(prefix).lower(): Path(v) for k, v in os.environ.items() if k.startswith(prefix)}
    outputs = Path(os.environ["SM_MODEL_DIR"])
    # Spot training keeps checkpoints in the output folder too: SageMaker syncs it when it is the checkpoint path.
    facts = _execute(stage, load_config(stage.config, stage.name, None, flags), inputs, outputs)
    data = os.environ.get("SM_OUTPUT_DATA_DIR")
    if data is not None:
        Path(data).mkdir(parents=True, exist_ok=True)
        (Path(data) / FACTS).write_text(json.dumps(facts, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _execute(stage: Stage, config: StageConfig, inputs: Mapping[str, Path], outputs: Path) -> dict[str, Any]:
    with Curves(config, outputs) as curves:
        return execute(stage, config, inputs, outputs, StageReporter(stage.name, [PlainLines(), curves]))


def _write_failure(reason: str) -> None:
    folder = Path(os.environ.get("SM_OUTPUT_DIR", "/opt/ml/output"))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "failure").write_text(reason[:1024], encoding="utf-8")


def _pair(text: str, flag: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise ConfigError(f"{flag} {text!r} must look like NAME=VALUE")
    return name, value
