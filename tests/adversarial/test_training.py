"""The worst texts as rows of a file: prepared and judged, each a row or put aside for a reason that is its own."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from contracts.release.release import Release
from training.judge.release import evaluate_release
from training.running.execution import execute
from training.stages import ingest, prepare

from ..training.amazon import HEADER
from ..training.recorder import Recorder
from .corpus import lines

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),  # pyspark leaves them to the collector
]

EXAMPLES = Path(__file__).parents[2] / "examples" / "reviews.tsv"
EXAMPLE_ROWS = 477
WORST = lines(20_000)
REASONS = {"empty_body", "nul_byte", "invalid_utf8", "duplicate_text"}
"""What may be wrong with a row of them."""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The examples, and behind them what cat would add: another header, the worst rows, another header."""
    path = tmp_path_factory.mktemp("worst") / "reviews.tsv"
    header = HEADER.encode()
    added = [b"\xef\xbb\xbf" + header + b"\r", *WORST.values(), header]
    path.write_bytes(EXAMPLES.read_bytes() + b"\n".join(added) + b"\n")
    return path


def test_prepare_keeps_or_quarantines_each(file: Path, tmp_path: Path) -> None:
    """Faults 1, 2, 24."""
    lake = tmp_path / "ingest"
    execute(ingest.STAGE, ingest.Config(), {"data": file}, lake, Recorder())
    facts = execute(prepare.STAGE, prepare.Config(), {"ingest": lake}, tmp_path / "prepare", Recorder())
    assert facts["rows_in"] == EXAMPLE_ROWS + len(WORST) + 2
    assert facts["reasons"]["header_line"] == 2
    assert facts["rows_in"] == facts["quarantined"] + sum(split["available"] for split in facts["splits"].values())
    raw = file.read_bytes().split(b"\n")
    put_aside = [folder / "quarantine" for folder in (lake, tmp_path / "prepare")]
    entries = [each for folder in put_aside for each in pq.read_table(folder).to_pylist()]
    quarantine = {raw[each["row"]]: set(each["reasons"]) for each in entries}
    assert len(entries) == facts["quarantined"]
    assert sum(line.removeprefix(b"\xef\xbb\xbf").rstrip(b"\r") == HEADER.encode() for line in quarantine) == 2
    worst = {name: quarantine[line] for name, line in WORST.items() if line in quarantine}
    assert {"NULs", "half a pair"} <= worst.keys() and "words of a hundred letters" not in worst
    assert set().union(*worst.values()) <= REASONS


def test_evaluate_judges_or_skips_each(file: Path, tiny_release: Release) -> None:
    """Faults 1, 2, 24."""
    found = evaluate_release(str(tiny_release.folder), [file])
    assert found["n"] + found["skipped"]["rows"] == EXAMPLE_ROWS + len(WORST) + 2
    assert found["skipped"]["reasons"]["header_line"] == 2
    assert "review_failed" not in found["skipped"]["reasons"]
