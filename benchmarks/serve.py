"""What serving costs: an engine beside the plain Hugging Face pipeline, and TorchServe's memory and start.

    python -m benchmarks.serve [--engine torch] [--release bundled] [--data examples/reviews.tsv] [--rounds 5]

All ways go from review text to logits on one thread in this process, in turns over the same reviews, and are timed in
CPU seconds, so that other programs disturb them little and all alike. Hugging Face's pipeline computes batches of 32:
as it is mostly used, padded to the token limit, and at its best, sorted by length and padded to a batch's longest.
Before anything is timed it must find the reference's logits for every review that fits the limit: otherwise it would
judge another model. (A longer review it shortens in another way, to as many tokens.) How far the engine is from the
reference stands below the table.
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

from benchmarks.running import EXAMPLES, authorization
from contracts.model_folder import write_model_folder
from contracts.release.lookup import find
from contracts.release.release import Release
from contracts.review import Segments, segments
from contracts.store.urls import open_store
from torchserve.engines.table import ENGINES, open_engine
from training.data.tokens import TokenRows
from training.model.reference import ReferenceModel

PIPELINE_BATCH = 32
START_SECONDS = 180
SAME_LOGITS = 1e-4
"""Both sides compute in float32, in different orders."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--release", default="bundled", help="bundled, a folder, or a version in --store")
    parser.add_argument("--engine", choices=sorted(ENGINES), default="torch", help="which to time")
    parser.add_argument("--store", default=None, help="where versions are looked up [the bundled store]")
    parser.add_argument("--data", type=Path, default=EXAMPLES, help="reviews in the AWS layout (TSV)")
    parser.add_argument("--reviews", type=int, default=400, help="at most so many of them")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each way; the median counts")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ts-") as folder:
        store = open_store(args.store) if args.store else None
        release = find(args.release, store, Path(folder) / "releases")
        texts = read_segments(args.data, args.reviews)
        report_speed(release, args.engine, texts, args.rounds)
        report_server(release, texts, Path(folder))


def read_segments(path: Path, most: int) -> list[Segments]:
    """The model's text of the first readable reviews."""
    with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        texts = [
            segments(row["review_body"], row["review_headline"], row["product_category"])
            for row in rows
            if row.get("review_date") is not None
        ]
    return [text for text in texts if text.second][:most]


def report_speed(release: Release, kind: str, texts: Sequence[Segments], rounds: int) -> None:
    torch.set_num_threads(1)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    limit = release.manifest.token_limit
    encoder, engine = release.encoder(), open_engine(kind, release.folder, limit)
    engine.warm_up()
    encoded = encoder.encode(texts)
    lengths = [len(review.input_ids) for review in encoded]
    by_length = [texts[at] for at in np.argsort(lengths, kind="stable")]
    pipeline = hugging_face(release)
    reference = ReferenceModel(release.folder).logits(TokenRows.of(encoded))
    check_same_model(reference, pipeline_logits(pipeline, texts, limit), [review.truncated for review in encoded])
    ways: dict[str, Callable[[], object]] = {
        "Hugging Face pipeline, padded to the limit": lambda: pipeline_logits(pipeline, texts, limit),
        "Hugging Face pipeline, sorted by length": lambda: pipeline_logits(pipeline, by_length, limit, padding=True),
        f"engine {kind}": lambda: engine.infer(encoder.encode(texts)),
    }
    seconds = in_turns(ways, rounds)
    one_by_one = statistics.median(
        cpu_seconds(lambda review=review: engine.infer([review])) for review in encoded[:100]
    )

    title = f"{len(texts)} reviews, {statistics.mean(lengths):.0f} tokens on average, one thread, {rounds} turns"
    table = Table("way", "reviews per CPU-second", "lowest … highest", "engine against it", title=title)
    ours = len(texts) / statistics.median(seconds[f"engine {kind}"])
    for name, values in seconds.items():
        speed = len(texts) / statistics.median(values)
        span = f"{len(texts) / max(values):.1f} … {len(texts) / min(values):.1f}"
        table.add_row(name, f"{speed:.1f}", span, f"{ours / speed:.2f}x")
    console = Console()
    console.print(table)
    difference = np.abs(engine.infer(encoded) - reference).max()
    console.print(
        f"largest difference of a logit from the reference: {difference:.1e} "
        f"(the largest logit is {np.abs(reference).max():.1f})"
    )
    console.print(f"one review alone: {one_by_one * 1000:.1f} ms of CPU")


def check_same_model(ours: np.ndarray, theirs: np.ndarray, shortened: Sequence[bool]) -> None:
    """Exit unless both sides find the same logits for the reviews that neither has to shorten."""
    whole = ~np.array(shortened)
    difference = float(np.abs(ours - theirs)[whole].max())
    if difference > SAME_LOGITS:
        sys.exit(f"the two sides judge different models: a logit differs by {difference:.1e}")
    Console().print(f"the same logits on both sides, to {difference:.0e}, for {whole.sum()} reviews that fit the limit")


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
        if model.config.model_type != "distilbert":  # without them every token would count as the first segment's
            tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
        return transformers.pipeline("text-classification", model=model, tokenizer=tokenizer, device="cpu")


def pipeline_logits(
    pipeline: Any, texts: Sequence[Segments], limit: int, padding: bool | str = "max_length"
) -> np.ndarray:
    """The pipeline's logits, of shape (reviews, 5)."""
    pairs = [{"text": text.first, "text_pair": text.second} for text in texts]
    options = {"batch_size": PIPELINE_BATCH, "padding": padding, "max_length": limit, "truncation": True}
    answers = pipeline(pairs, top_k=None, function_to_apply="none", **options)
    at = pipeline.model.config.label2id
    by_star = [sorted(labels, key=lambda label: at[label["label"]]) for labels in answers]
    return np.array([[label["score"] for label in labels] for labels in by_star])


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
    body = {"reviews": [{"review_body": text.second, "review_headline": text.first} for text in texts[:64]]}
    with torchserve(folder) as (process, server), httpx.Client(timeout=START_SECONDS, trust_env=False) as client:
        began = time.perf_counter()
        parameters = {"url": model.name, "initial_workers": "1", "synchronous": "true"}
        management, inference = authorization(server, "management"), authorization(server, "inference")
        client.post(f"{server['management']}/models", params=parameters, headers=management).raise_for_status()
        loaded = time.perf_counter() - began
        path = f"predictions/{release.manifest.name}/{release.manifest.version}"
        for _ in range(20):
            client.post(f"{server['inference']}/{path}", json=body, headers=inference).raise_for_status()
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
                endpoints = json.loads((folder / "work" / "endpoints.json").read_text())
                keys = authorization(endpoints, "inference")
                if httpx.get(f"{endpoints['inference']}/ping", headers=keys, trust_env=False).status_code == 200:
                    server = endpoints
        yield process, server | {"seconds": time.perf_counter() - began}
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
