"""Stands in for `python -m training.pipeline`: the same flags, events and resuming, in milliseconds.

Its first argument says how it behaves. It writes down in <work>.journal what it does, and OVERLAP when another of its
kind works in the same folder.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any


def say(event: str, **values: Any) -> None:
    sys.stdout.write(json.dumps({"event": event, **values}) + "\n")
    sys.stdout.flush()


def main() -> int:
    mode = sys.argv[1]
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", action="append")
    parser.add_argument("--set", action="append", default=[])
    for flag in ("preset", "store", "work", "name", "events", "patience"):
        parser.add_argument(f"--{flag}")
    asked = parser.parse_args(sys.argv[2:])
    work = Path(asked.work)
    work.mkdir(parents=True, exist_ok=True)
    journal = Path(f"{work}.journal")

    def note(line: str) -> None:
        with journal.open("a") as file:
            file.write(f"{line}\n")

    def on_term(_number: int, _frame: FrameType | None) -> None:
        note("asked to stop")
        if mode != "stubborn":
            raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, on_term)
    with (work / "busy").open("w") as busy:
        try:
            fcntl.flock(busy, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            note("OVERLAP")
        note(f"pid {os.getpid()}")
        note(json.dumps(vars(asked)))
        try:
            return behave(mode, work, note)
        except KeyboardInterrupt:
            return 130


def behave(mode: str, work: Path, note: Any) -> int:
    for i, stage in enumerate(("prepare", "train", "export")):
        say("stage", stage=stage)
        if (work / stage).exists():
            say("log", message=f"{stage}: unchanged, skipped")
            continue
        note(f"runs {stage}")
        say("progress", stage=stage, progress=i / 3, message="")
        say("metric", stage=stage, step=50, values={"loss": 0.7, "rate": float("nan")})
        if stage == "train":
            if mode == "fails":
                for line in range(60):
                    say("log", message=f"line {line}")
                say("error", message="the disk is full: free some space")
                return 1
            if mode == "crashes":
                sys.stderr.write("Traceback: a customer wrote something\n")
                return 3
            if mode == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            if mode == "noisy":
                sys.stdout.write("a library prints\n[1, 2]\n{\n" + "[" * 100_000 + '\n{"event": 7}\n')
            if mode == "works-at-last":
                note("waits")
                while not (work / "go").exists():
                    time.sleep(0.02)
            if mode in {"slow", "stubborn"}:
                subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
                note("waits")
                # Where the first attempt hangs, the next ones go on.
                until = time.monotonic() + (600 if mode == "stubborn" or not (work / "again").exists() else 0)
                (work / "again").touch()
                while time.monotonic() < until:
                    time.sleep(0.05)
        (work / stage).touch()
    facts = {"accuracy": float("nan") if mode == "noisy" else 0.61}
    say("done", version="v7", facts=facts)
    return 1 if mode == "dies-late" else 0


if __name__ == "__main__":
    sys.exit(main())
