"""Learning curves and settings, to MLflow."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from contracts.stages import StageConfig, TrackedConfig
from training.running.reporting import Listener

EXPERIMENT = "review-stars"


class Curves(Listener):
    """A stage's metrics as one MLflow run, which begins with the first of them: a stage that is skipped leaves none.

    They go to the setting `tracking`, or to mlflow.db in the stage's folder. A tracking server that fails must not end
    hours of training: it is said once, then left alone.
    """

    def __init__(self, config: StageConfig, outputs: Path) -> None:
        chosen = config.tracking if isinstance(config, TrackedConfig) else ""
        self._uri = chosen or f"sqlite:///{outputs / 'mlflow.db'}"
        self._settings = config.model_dump(mode="json")
        self._begun = False
        self._failed = False

    def metric(self, stage: str, values: Mapping[str, float], step: int) -> None:
        if self._failed:
            return
        import mlflow

        with self._leaving_it_alone():
            if not self._begun:
                self._begin(stage)
            mlflow.log_metrics(dict(values), step=step)

    @contextmanager
    def _leaving_it_alone(self) -> Iterator[None]:
        from mlflow.exceptions import MlflowException

        try:
            yield
        except MlflowException as error:
            self._failed = True
            logging.getLogger(__name__).warning("MLflow takes no more points, the run goes on: %s", error)

    def _begin(self, stage: str) -> None:
        import mlflow

        logging.getLogger("alembic").setLevel(logging.WARNING)
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        mlflow.set_tracking_uri(self._uri)
        mlflow.set_experiment(EXPERIMENT)
        mlflow.start_run(tags={"stage": stage})
        self._begun = True
        mlflow.log_params(self._settings)

    def __enter__(self) -> Curves:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._begun:
            import mlflow

            with self._leaving_it_alone():
                mlflow.end_run("FINISHED" if kind is None else "FAILED")
