"""`python -m training <stage>`: the one entry of every stage, in a shell or in a container."""

import sys
from importlib import import_module

from training.pipeline.entry import main
from training.pipeline.runner import PLAN

STAGES = [name for name, _, _ in PLAN]

if len(sys.argv) < 2 or sys.argv[1] not in STAGES:
    sys.exit(f"usage: python -m training <stage> [--help], the stage being one of {', '.join(STAGES)}")
sys.exit(main(import_module(f"training.stages.{sys.argv.pop(1)}")))
