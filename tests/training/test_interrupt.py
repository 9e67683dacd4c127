"""An interrupt is said at once, and is an interrupt whatever the code that it hits makes of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from contracts.stages import StageConfig
from training import cli
from training.judge import release
from training.pipeline import __main__ as pipeline
from training.pipeline import entry, local
from training.running import interrupt
from training.running.execution import execute
from training.running.interrupt import STOPPING, check, interruptible
from training.running.reporting import Reporter, StageReporter
from training.running.stage import Stage

LIBRARY = """
import signal
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    raise ImportError("To use this library, you need to have another one installed") from None
"""


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Imports a library while somebody presses Ctrl-C, which the library takes for a missing dependency."""
    (tmp_path / "takes_ctrl_c_for_something_else.py").write_text(LIBRARY)
    monkeypatch.syspath_prepend(tmp_path)

    def use(*_args: Any, **_kwargs: Any) -> Any:
        import takes_ctrl_c_for_something_else  # type: ignore[import-not-found]

        return takes_ctrl_c_for_something_else

    return use


def test_an_import_error_out_of_an_interrupted_import_is_an_interruption(library: Callable[..., Any]) -> None:
    said: list[str] = []
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(KeyboardInterrupt) as raised, interruptible(said.append):
        library()
    assert isinstance(raised.value.__cause__, ImportError)
    assert [STOPPING in line for line in said] == [True]
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == handlers


def test_an_import_error_that_nobody_interrupted_stays_one() -> None:
    with pytest.raises(ImportError), interruptible(lambda _: None):
        import no_such_library  # type: ignore[import-not-found]  # noqa: F401


def test_every_command_ends_with_one_sentence_and_130(
    library: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STARS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(local, "run", library)
    monkeypatch.setattr(pipeline, "run", library)
    monkeypatch.setattr(release, "evaluate_release", library)
    asked = ["--data", "reviews.tsv", "--store", str(tmp_path / "store"), "--work", str(tmp_path / "work")]

    def main(command: Callable[[], int], *arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["python -m training", *arguments])
        return command(), capfd.readouterr().err

    def stars(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(cli.app, list(arguments))
        return result.exit_code, result.stderr

    copy = Stage("copy", StageConfig, library)
    for code, err in (
        stars("pipeline", "run", *asked),
        stars("evaluate", "--data", "reviews.tsv"),
        main(pipeline.main, *asked),
        main(lambda: entry.main(copy, ["--output", str(tmp_path / "out")])),
    ):
        assert code == 130
        assert "interrupted" in err
        assert "Traceback" not in err and "another one installed" not in err


def test_an_interrupt_that_a_library_loses_ends_the_stage_at_its_next_word(tmp_path: Path) -> None:
    def run(_config: Any, _inputs: Mapping[str, Path], _outputs: Path, report: Reporter) -> dict[str, Any]:
        with suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        heard.wait(60)
        report.progress(0.5, "half of it")
        raise AssertionError("it went on")

    heard = interrupt._asked
    lossy = Stage("copy", StageConfig, run)
    with pytest.raises(KeyboardInterrupt), interruptible(lambda _: None):
        execute(lossy, StageConfig(), {}, tmp_path / "out", StageReporter("copy", []))
    check()


def test_an_interrupt_in_a_finaliser_is_kept_and_needs_no_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    class Finalised:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt), interruptible(lambda _: None):
        made = Finalised()
        del made
        interrupt._asked.wait(60)
        check()
    assert "Traceback" not in capfd.readouterr().err


def test_a_second_sigterm_does_not_disturb_what_is_being_saved() -> None:
    saved = []
    with pytest.raises(KeyboardInterrupt), interruptible(lambda _: None):
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGTERM)
            saved.append(True)
    assert saved


def test_what_the_shell_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interruptible(lambda _: None):
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


HARD_AT_WORK = """
import hashlib, sys, threading
from training.running.interrupt import interruptible
def say(line):
    sys.stderr.write(line + "\\n")
    sys.stderr.flush()
def tell():
    begun.wait()
    say("begun")
begun = threading.Event()
threading.Thread(target=tell, daemon=True).start()
with interruptible(say):
    sys.setswitchinterval(3600)  # so the other thread runs when this one is in C, and not before
    begun.set()
    hashlib.pbkdf2_hmac("sha512", b"a", b"b", 2_000_000_000)  # an hour, which no signal ends
say("finished")
"""


def test_a_step_in_c_is_answered_at_once_and_a_second_ctrl_c_ends_it() -> None:
    """Fault 31: Ctrl-C in training was answered when the step was done."""
    with subprocess.Popen([sys.executable, "-c", HARD_AT_WORK], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "begun\n"
        os.kill(process.pid, signal.SIGINT)
        assert process.stderr.readline().startswith(STOPPING)
        assert process.poll() is None
        os.kill(process.pid, signal.SIGINT)
        assert "goes on from what was last saved" in process.stderr.read()
    assert process.returncode == 130
