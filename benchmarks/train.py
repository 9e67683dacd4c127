"""How much faster training is with length-sorted windows, and with a frozen encoder, than the plain way.

    python -m benchmarks.train --data FOLDER_OR_FILE [--rows 3000]

Trains as the standard preset does, for one epoch on the same prepared rows: batches padded to 128 tokens in random
order, then length-sorted windows; and the head alone on cached features. Prints reviews a second, without the first
step of each shape, and where each ended.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from training.pipeline.request import PRESETS
from training.running.execution import execute
from training.running.reporting import PlainLines, StageReporter
from training.stages import ingest, prepare, train

WAYS: dict[str, dict[str, Any]] = {
    "padded to 128": {"window": 1, "pad_to": 128},
    "length-sorted windows": {"window": 64},
    "frozen, cached features": {"mode": "frozen", "epochs": 30, "learning_rate": 1e-3},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("examples/reviews.tsv"))
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--precision", choices=["auto", "float32", "mixed_bfloat16"], default="auto")
    args = parser.parse_args()
    standard = yaml.safe_load((PRESETS / "standard.yaml").read_text())["train"]
    table = Table("way", "reviews/s", "ratio", "padded tokens/s", "validation loss", "accuracy")
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        report = StageReporter("benchmark", [PlainLines()])
        execute(ingest.STAGE, ingest.Config(), {"data": args.data}, work / "ingest", report)
        execute(prepare.STAGE, prepare.Config(limit=args.rows), {"ingest": work / "ingest"}, work / "prepare", report)
        base = 0.0
        for at, (name, changes) in enumerate(WAYS.items()):
            settings = standard | {"epochs": 1, "precision": args.precision} | changes
            config = train.Config.model_validate(settings)
            facts = execute(train.STAGE, config, {"prepare": work / "prepare"}, work / str(at), report)
            rate, last = facts["reviews_per_second"], facts["validation"][-1]
            base = base or rate
            table.add_row(
                name,
                f"{rate:.1f}",
                f"{rate / base:.1f}x",
                f"{facts['tokens_per_second']:.0f}",
                f"{last['cross_entropy']:.3f}",
                f"{last['accuracy']:.3f}",
            )
    Console().print(table)


if __name__ == "__main__":
    main()
