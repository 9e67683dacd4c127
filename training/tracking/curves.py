"""A run as MLflow keeps it: its settings, its curves, what it was trained on and what came of it."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from contracts.stages import StageConfig, TrackedConfig
from training.running.folder import write_whole
from training.running.reporting import Listener
from training.tracking.tracker import (
    FORMAT,
    FORMAT_TAG,
    LONGEST,
    NOTES,
    RELEASE_TAG,
    failures,
    is_there,
    open_experiment,
    open_tracking,
    why,
)

FILE = "mlflow.json"


class Curves(Listener):
    """One MLflow run, which begins with the first metric: what measures nothing leaves none.

    It goes to the setting `tracking`, or to mlflow.db in the stage's folder. There lies mlflow.json too, which says
    which run it is, so that a training that was cut off goes on in the same one. A tracking store that fails must not
    end hours of training: it is said once, then left alone.
    """

    def __init__(
        self,
        config: StageConfig,
        outputs: Path,
        name: str | None = None,
        parameters: Mapping[str, Any] | None = None,
    ) -> None:
        """`name` is what people call the run; `parameters` are its settings, the stage's own if not given."""
        chosen = config.tracking if isinstance(config, TrackedConfig) else ""
        self._uri = chosen or f"sqlite:///{outputs / 'mlflow.db'}"
        self._outputs, self._name = outputs, name
        self._parameters = config.model_dump(mode="json") if parameters is None else parameters
        self._tags = {FORMAT_TAG: str(FORMAT)}
        self._notes: list[str] = []
        self._client: Any = None
        self._run = ""
        self._failed = False

    def metric(self, stage: str, values: Mapping[str, float], step: int) -> None:
        if not self._run:
            self._safely(lambda: self._begin(stage))
        if self._run:
            self._safely(lambda: self._write(values, step))

    def log(self, message: str) -> None:
        self._notes.append(message)
        if self._run:
            self._safely(lambda: self._tag({NOTES: "\n\n".join(self._notes)}))

    def know(self, tags: Mapping[str, str]) -> None:
        """What there is to know of the run besides: said when it begins, or at once where it has begun."""
        new = {name: value for name, value in tags.items() if self._tags.get(name) != value}
        self._tags |= new
        if self._run and new:
            self._safely(lambda: self._tag(new))

    def conclude(self, metrics: Mapping[str, float], artifacts: Sequence[Path]) -> None:
        """What came of it, with files to keep beside it. Of a training that an earlier process ran it is said too."""
        if not self._run and self._named().get("release") != self._tags.get(RELEASE_TAG):
            self._safely(self._go_on)
        if self._run:
            self._safely(lambda: self._write(metrics, 0))
            self._safely(lambda: self._keep(artifacts))
            self._remember()

    def _safely(self, work: Callable[[], None]) -> None:
        if self._failed:
            return
        try:
            work()
        except failures() as error:
            self._failed = True
            logging.getLogger(__name__).warning("MLflow takes no more, the run goes on without it: %s", why(error))

    def _begin(self, stage: str) -> None:
        from mlflow.entities import Param

        client, experiment = open_experiment(self._uri)
        run = self._named().get("run", "")
        if run and is_there(client, run):
            client.update_run(run, status="RUNNING")
            self._notes.insert(0, client.get_run(run).data.tags.get(NOTES, ""))
        else:
            tags = {"mlflow.source.name": "review-stars", "stage": stage}
            run = client.create_run(experiment, tags=tags, run_name=self._name).info.run_id
            parameters = [Param(name, str(value)[:LONGEST]) for name, value in self._parameters.items()]
            client.log_batch(run, params=parameters)
        self._client, self._run = client, run
        self._remember()
        self._tag(self._tags)

    def _go_on(self) -> None:
        run = self._named().get("run", "")
        client = open_tracking(self._uri)
        if run and is_there(client, run):
            self._client, self._run = client, run
            self._tag(self._tags)

    def _write(self, values: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._client.log_batch(self._run, [Metric(name, value, now, step) for name, value in values.items()])

    def _keep(self, files: Sequence[Path]) -> None:
        for file in files:
            if file.is_file():
                self._client.log_artifact(self._run, str(file))

    def _tag(self, tags: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        self._client.log_batch(self._run, tags=[RunTag(name, value[-LONGEST:]) for name, value in tags.items()])

    def _named(self) -> dict[str, str]:
        """The run that the stage's folder names, in the same tracking store; empty where there is none."""
        with suppress(OSError, ValueError):
            named = json.loads((self._outputs / FILE).read_text(encoding="utf-8"))
            if isinstance(named, dict) and named.get("tracking") == self._uri:
                return {name: str(value) for name, value in named.items()}
        return {}

    def _remember(self) -> None:
        named = {"tracking": self._uri, "run": self._run, "release": self._tags.get(RELEASE_TAG, "")}
        write_whole(self._outputs / FILE, json.dumps(named) + "\n")

    def __enter__(self) -> Curves:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._run:
            state = "FINISHED" if kind is None else "KILLED" if issubclass(kind, KeyboardInterrupt) else "FAILED"
            if error is not None and state == "FAILED":
                self.log(str(error))
            self._safely(lambda: self._client.set_terminated(self._run, state))
