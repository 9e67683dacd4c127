"""One stage by itself, as `python -m training <stage>`: with plain flags, or in SageMaker's container layout."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from contracts.errors import ConfigError, StarsError, places
from contracts.stages import StageConfig
from training.pipeline.sagemaker import TrainingJob, tell
from training.running.configuration import load_config
from training.running.execution import execute
from training.running.folder import FACTS
from training.running.interrupt import AGAIN, INTERRUPTED, interruptible
from training.running.reporting import PlainLines, StageReporter
from training.running.stage import Stage
from training.tracking.curves import Curves
from training.tracking.outcome import parameters


def main(stage: Stage, arguments: Sequence[str]) -> int:
    """Run a stage; returns the exit code. In a training job of SageMaker's no arguments are read."""
    try:
        with interruptible(PlainLines().log):
            job = TrainingJob.here()
            if job is None:
                _main_flags(stage, arguments)
            else:
                _main_job(stage, job)
    except StarsError as error:
        tell(str(error))
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write(f"{AGAIN}\n")
        return INTERRUPTED
    except Exception as error:
        where = " < ".join(reversed(places(error)))  # and not its message, which may quote a review
        tell(f"{stage.name} failed with {type(error).__name__}: report this as a bug. {where}")
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


def _main_job(stage: Stage, job: TrainingJob) -> None:
    # Spot training keeps checkpoints in the output folder too: SageMaker syncs it when it is the checkpoint path.
    config = load_config(stage.config, stage.name, None, job.hyperparameters)
    facts = _execute(stage, config, job.inputs, job.model)
    job.data.mkdir(parents=True, exist_ok=True)
    (job.data / FACTS).write_text(json.dumps(facts, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _execute(stage: Stage, config: StageConfig, inputs: Mapping[str, Path], outputs: Path) -> dict[str, Any]:
    with Curves(config, outputs, parameters=parameters({stage.name: config})) as curves:
        return execute(stage, config, inputs, outputs, StageReporter(stage.name, [PlainLines(), curves]))


def _pair(text: str, flag: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise ConfigError(f"{flag} {text!r} must look like NAME=VALUE")
    return name, value
