"""Spark as a guest: it starts without a system's Java, keeps off the terminal, and fails in one sentence."""

from __future__ import annotations

import gc
import signal
from pathlib import Path

import pytest
from pyspark import SparkContext

from contracts.errors import MachineError
from training.data.spark import java_home, spark_session

# pyspark leaves its sockets to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


def test_java_missing_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(MachineError, match="no bin/java"):
        java_home()


@pytest.mark.slow
def test_its_words_go_to_the_log_and_its_failure_is_a_sentence(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Fault 32."""
    log = tmp_path / "spark.log"
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(MachineError) as failed, spark_session("test", tmp_path / "scratch", log) as spark:
        assert signal.getsignal(signal.SIGINT) == handler
        spark.range(1).selectExpr("raise_error('what a customer wrote')").collect()
    assert str(failed.value) == f"Spark failed: its log is {log}"
    assert "WARN" in log.read_text() and "what a customer wrote" in log.read_text()
    assert capfd.readouterr() == ("", "")
    assert SparkContext._gateway is None
    assert signal.getsignal(signal.SIGINT) == handler


@pytest.mark.slow
def test_java_that_dies_is_a_sentence_too(tmp_path: Path) -> None:
    log = tmp_path / "spark.log"
    said = pytest.raises(MachineError, match=r"Spark failed, it was killed, .*: its log is .*spark\.log")
    with said, spark_session("test", tmp_path / "scratch", log) as spark:
        gateway = SparkContext._gateway
        assert gateway is not None
        gateway.proc.kill()
        gateway.proc.wait()
        spark.range(1).count()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # pyspark's, to the Java that is gone
def test_java_that_does_not_start_is_a_sentence_too(tmp_path: Path) -> None:
    said = pytest.raises(MachineError, match=r"Spark failed: its log is .*spark\.log")
    no_size = {"spark.driver.memory": "no size"}
    with said, spark_session("test", tmp_path / "scratch", tmp_path / "spark.log", more=no_size):
        raise AssertionError("it started")
    del said
    gc.collect()
    assert "no size" in (tmp_path / "spark.log").read_text()
