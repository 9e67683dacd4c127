"""What serving costs: the torch engine beside the plain Hugging Face pipeline, and TorchServe's memory and start.

    python -m benchmarks.serve [--release bundled] [--data examples/reviews.tsv] [--rounds 5]

Both ways go from review text to logits on one thread in this process, in turns over the same reviews, and are timed in
CPU seconds, so that other programs disturb them little and both alike. The pipeline pads to the token limit in batches
of 32. Logits are compared on the same tokens, with the release's weights in float32.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import torch
from rich.console import Console
from rich.table import Table

from contracts.release import Release, find
from contracts.review import Segments, segments
from contracts.serving import write_model_folder
from contracts.store import open_store
from torchserve.engine import TorchEngine
from training.predictor import Predictor

EXAMPLES = Path(__file__).parent.parent / "examples" / "reviews.tsv"
PIPELINE_BATCH = 32
START_SECONDS = 180
TARGET_RATIO = 4.0
TARGET_DIFFERENCE = 1e-5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--release", default="bundled", help="bundled, a folder, or a version in --store")
    parser.add_argument("--store", default=None, help="where versions are looked up [the bundled store]")
    parser.add_argument("--data", type=Path, default=EXAMPLES, help="reviews in the AWS layout (TSV)")
    parser.add_argument("--reviews", type=int, default=400, help="at most so many of them")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each way; the median counts")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ts-") as folder:
        store = open_store(args.store) if args.store else None
        release = find(args.release, store, Path(folder) / "releases")
        texts = read_segments(args.data, args.reviews)
        report_speed(release, texts, args.rounds)
        report_server(release, texts, Path(folder))


def read_segments(path: Path, most: int) -> list[Segments]:
    """The model's text of the first readable reviews."""
    with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        found = [
            segments(row["review_body"], row["review_headline"], row["product_category"])
            for row in rows
            if row.get("review_date") is not None
        ]
    return [each for each in found if each.second][:most]


def report_speed(release: Release, texts: Sequence[Segments], rounds: int) -> None:
    torch.set_num_threads(1)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    encoder, engine = release.encoder(), TorchEngine(release.folder, release.manifest.token_limit)
    engine.warm_up()
    pipeline = hugging_face(release)
    ways: dict[str, Callable[[], object]] = {
        "Hugging Face pipeline": pipeline_over(pipeline, texts, release.manifest.token_limit),
        "torch engine": lambda: engine.infer(encoder.encode(texts)),
    }
    seconds = in_turns(ways, rounds)
    encoded = encoder.encode(texts)
    expected = Predictor(release.folder).logits(encoded)
    difference = float(np.abs(engine.infer(encoded) - expected).max())
    one_by_one = statistics.median(cpu_seconds(lambda each=each: engine.infer([each])) for each in encoded[:100])
    tokens = statistics.mean(len(each.input_ids) for each in encoded)

    speeds = {name: len(texts) / statistics.median(values) for name, values in seconds.items()}
    table = Table(
        "way",
        "reviews per CPU-second",
        "lowest … highest",
        title=f"{len(texts)} reviews, {tokens:.0f} tokens on average, one thread, {rounds} turns",
    )
    for name, values in seconds.items():
        span = f"{len(texts) / max(values):.1f} … {len(texts) / min(values):.1f}"
        table.add_row(name, f"{speeds[name]:.1f}", span)
    baseline, ours = speeds.values()
    console = Console()
    console.print(table)
    console.print(f"torch engine / pipeline: {ours / baseline:.2f} (target: {TARGET_RATIO:g})")
    console.print(
        f"largest difference of a logit: {difference:.1e} (target: {TARGET_DIFFERENCE:g}; "
        f"the largest logit is {np.abs(expected).max():.1f})"
    )
    console.print(f"one review alone: {one_by_one * 1000:.1f} ms of CPU")


def hugging_face(release: Release) -> Any:
    """transformers' own pipeline over the release, computing in float32."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import transformers

        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        folder = release.folder
        model = transformers.AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
        names = {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "unk_token": "[UNK]"}
        tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), **names)
        if model.config.model_type == "distilbert":
            tokenizer.model_input_names = ["input_ids", "attention_mask"]
        return transformers.pipeline("text-classification", model=model, tokenizer=tokenizer, device="cpu")


def pipeline_over(pipeline: Any, texts: Sequence[Segments], limit: int) -> Callable[[], object]:
    pairs = [{"text": each.first, "text_pair": each.second} for each in texts]
    options = {"batch_size": PIPELINE_BATCH, "padding": "max_length", "max_length": limit, "truncation": True}
    return lambda: pipeline(pairs, top_k=None, function_to_apply="none", **options)


def in_turns(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """CPU seconds of every turn, by way; one more turn before, which does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, run in ways.items():
            taken = cpu_seconds(run)
            if turn:
                seconds[name].append(taken)
    return seconds


def cpu_seconds(run: Callable[[], object]) -> float:
    started = time.process_time()
    run()
    return time.process_time() - started


def report_server(release: Release, texts: Sequence[Segments], folder: Path) -> None:
    """Start a real TorchServe, load the release, keep it busy for a while and look at its processes."""
    model = write_model_folder(release, folder / "store")
    body = {"reviews": [{"text": each.second, "title": each.first} for each in texts[:64]]}
    with torchserve(folder) as (process, server), httpx.Client(timeout=START_SECONDS, trust_env=False) as client:
        began = time.perf_counter()
        parameters = {"url": model.name, "initial_workers": "1", "synchronous": "true"}
        client.post(f"{server['management']}/models", params=parameters).raise_for_status()
        loaded = time.perf_counter() - began
        path = f"predictions/{release.manifest.name}/{release.manifest.version}"
        for _ in range(20):
            client.post(f"{server['inference']}/{path}", json=body).raise_for_status()
        [worker] = psutil.Process(process.pid).children()
        table = Table("process", "MB resident", "at most", title="TorchServe after 20 requests of 64 reviews")
        for name, pid, most in (("Java", process.pid, 350), ("worker", worker.pid, 800)):
            table.add_row(name, f"{psutil.Process(pid).memory_info().rss / 1e6:.0f}", str(most))
    console = Console()
    console.print(table)
    console.print(f"TorchServe answers after {server['seconds']:.1f} s, the release after {loaded:.1f} s more")


@contextmanager
def torchserve(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, Any]]]:
    """A TorchServe of its own: the process and its endpoints, with the seconds until it answered."""
    words = ["--model-store", str(folder / "store"), "--work-dir", str(folder / "work")]
    words += ["--inference-port", "0", "--management-port", "0", "--metrics-port", "0"]
    began = time.perf_counter()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "torchserve.launch", *words], stdout=log, stderr=log)
    try:
        server: dict[str, Any] = {}
        while not server:
            if process.poll() is not None or time.perf_counter() - began > START_SECONDS:
                sys.exit(f"TorchServe did not start:\n{(folder / 'log').read_text()}")
            time.sleep(0.05)
            with suppress(OSError, ValueError, httpx.TransportError):
                found = json.loads((folder / "work" / "endpoints.json").read_text())
                if httpx.get(f"{found['inference']}/ping", trust_env=False).status_code == 200:
                    server = found
        yield process, server | {"seconds": time.perf_counter() - began}
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
