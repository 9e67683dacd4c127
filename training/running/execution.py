"""The one way to run a stage, wherever it runs."""

from __future__ import annotations

import hashlib
import inspect
import json
import platform
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from contracts.errors import ConfigError, MachineError
from contracts.stages import StageConfig
from training.running.fingerprint import code_fingerprint, input_fingerprint
from training.running.folder import FACTS, begin, check_folder, read_facts, started, write_whole
from training.running.reporting import Reporter
from training.running.stage import Stage

_FRAMEWORKS = ("keras", "tensorflow", "torch", "pyspark", "tokenizers", "numpy")


def execute(
    stage: Stage, config: StageConfig, inputs: Mapping[str, Path], outputs: Path, report: Reporter
) -> dict[str, Any]:
    """Run a stage unless it is done, and return its facts.

    A stage whose inputs, settings and code are unchanged is skipped; what an interrupted run of the same work left
    behind is kept, so that the stage may resume from it; `facts.json` is written last, so a folder with facts is a
    finished stage.

    Raises the stage's own StarsError, ConfigError when `outputs` is not the stage's own folder or an input is missing
    or not known, or MachineError for a full disk. What the stage wrote stays for the next run.
    """
    check_folder(outputs, stage.name)
    _check_inputs(stage, inputs)
    inputs = {**stage.named_inputs(config, inputs), **inputs}
    fingerprint = _fingerprint(stage, config, inputs)
    facts = _finished(stage, fingerprint, outputs)
    if facts is not None:
        report.log(f"{stage.name}: unchanged, skipped")
    else:
        facts = _run(stage, fingerprint, config, inputs, outputs, report)
    for remark in stage.remarks(facts, outputs):
        report.log(remark)
    return facts


def _finished(stage: Stage, fingerprint: str, outputs: Path) -> dict[str, Any] | None:
    """The facts of the same work, if it is done and still holds."""
    if not (outputs / FACTS).is_file():
        return None
    facts = read_facts(outputs)
    if facts.get("fingerprint") != fingerprint:
        return None
    if not stage.still_holds(facts):
        (outputs / FACTS).unlink()
        return None
    return facts


def _run(
    stage: Stage, fingerprint: str, config: StageConfig, inputs: Mapping[str, Path], outputs: Path, report: Reporter
) -> dict[str, Any]:
    try:
        resumed = started(outputs) == (stage.name, fingerprint)
        if not resumed:
            begin(outputs, stage.name, fingerprint)
        began = time.monotonic()
        facts = stage.run(config, inputs, outputs, report)
        facts |= {
            "stage": stage.name,
            "fingerprint": fingerprint,
            "seconds": round(time.monotonic() - began, 1),
            "resumed": resumed,
            "config": config.model_dump(mode="json"),
            "versions": {"python": platform.python_version()} | loaded_versions(),
        }
        write_whole(outputs / FACTS, json.dumps(facts, indent=2, sort_keys=True) + "\n")
    except OSError as error:
        raise MachineError(
            f"{stage.name} could not write to {outputs}: {error.strerror or error}. "
            "Free some space or choose another folder, then run it again: it goes on where it was"
        ) from error
    return facts


def _check_inputs(stage: Stage, inputs: Mapping[str, Path]) -> None:
    if missing := [name for name in stage.needs if name not in inputs]:
        raise ConfigError(
            f"the input {missing[0]!r} is missing: give its folder, on the command line as --input {missing[0]}=PATH, "
            "to a training job as a channel of that name"
        )
    known = (*stage.needs, *stage.reads)
    if unknown := [name for name in inputs if name.rstrip("0123456789") not in known]:
        raise ConfigError(f"{stage.name} reads no input {unknown[0]!r}: it takes {', '.join(known)}")


def _fingerprint(stage: Stage, config: StageConfig, inputs: Mapping[str, Path]) -> str:
    decides = {
        "stage": stage.name,
        "config": config.model_dump(mode="json"),
        "inputs": {name: input_fingerprint(path) for name, path in sorted(inputs.items())},
        "code": code_fingerprint(Path(inspect.getfile(stage.run))),
    }
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


def loaded_versions() -> dict[str, str]:
    """The versions of the frameworks that this process has loaded, by module: their packages have several names."""
    loaded = {name: sys.modules[name] for name in _FRAMEWORKS if name in sys.modules}
    return {name: str(module.__version__) for name, module in loaded.items() if hasattr(module, "__version__")}
