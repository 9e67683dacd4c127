"""All stages, each after those that it needs. Unchanged ones are skipped, one that was cut off goes on.

`python -m training.pipeline --events -` is what the worker runs: one JSON object a line on standard output.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from contracts.errors import StarsError
from training.pipeline.local import run, summary
from training.pipeline.request import Run, parse_overrides, presets
from training.running.interrupt import AGAIN, INTERRUPTED, interruptible
from training.running.reporting import JsonLines, PlainLines


def main() -> int:
    """Returns the exit code. With `--events -` the last event is `done` or `error`, unless it was interrupted."""
    parser = argparse.ArgumentParser(prog="python -m training.pipeline", description=__doc__)
    parser.add_argument("--data", action="append", required=True, help="file, folder, URL or data set; repeat for more")
    parser.add_argument("--preset", default="standard", help=f"one of {', '.join(presets())}")
    parser.add_argument("--store", required=True, help="URL or folder of the release store")
    parser.add_argument("--work", required=True, type=Path, help="folder for every stage's artifacts")
    parser.add_argument("--name", default="review-stars", help="name of the release")
    parser.add_argument("--config", type=Path, help="YAML file with settings by stage")
    parser.add_argument("--set", action="append", default=[], metavar="STAGE.FIELD=VALUE", help="one setting")
    parser.add_argument("--patience", type=float, default=0, metavar="SECONDS", help="wait for a store that is away")
    parser.add_argument("--master", help="Spark master of the stages that run on Spark")
    parser.add_argument("--tracking", default="", metavar="URI", help="MLflow, where the settings name none")
    parser.add_argument("--events", choices=["-"], help="write JSON events to standard output")
    args = parser.parse_args()
    events = JsonLines(sys.stdout) if args.events else None
    if events is not None:
        sys.stdout = sys.stderr  # what a library prints must not stand between the events
    listener = events or PlainLines()
    try:
        with interruptible(listener.log):
            request = Run(
                data=tuple(args.data),
                preset=args.preset,
                store=args.store,
                work=args.work,
                name=args.name,
                config_file=args.config,
                overrides=parse_overrides(args.set),
                patience=args.patience,
                master=args.master,
                tracking=args.tracking,
            )
            facts = run(request, listener)
    except StarsError as error:
        sys.stderr.write(f"error: {error}\n")
        if events is not None:
            events.emit("error", message=str(error))
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write(f"{AGAIN}\n")
        return INTERRUPTED
    if events is not None:
        events.emit("done", version=facts["export"]["version"], facts=summary(facts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
