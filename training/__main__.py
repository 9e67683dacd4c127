"""`python -m training <stage>`: the one entry of every stage, in a shell or in a container."""

import sys

from training.pipeline.entry import main
from training.pipeline.plan import plan

if len(sys.argv) < 2 or sys.argv[1] not in plan():
    sys.exit(f"usage: python -m training <stage> [--help], the stage being one of {', '.join(plan())}")
sys.exit(main(plan()[sys.argv[1]], sys.argv[2:]))
