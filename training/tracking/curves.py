"""Learning curves and settings, to MLflow."""

from __future__ import annotations

import logging
from types import TracebackType
from typing import Any


class Curves:
    """One MLflow run. A tracking server that fails must not end hours of training: it is said once, then left alone."""

    def __init__(self, tracking_uri: str, settings: dict[str, Any], experiment: str = "review-stars") -> None:
        import mlflow

        logging.getLogger("alembic").setLevel(logging.WARNING)
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        mlflow.set_tracking_uri(tracking_uri)
        mlflow.set_experiment(experiment)
        self._run = mlflow.start_run()
        mlflow.log_params(settings)
        self._mlflow = mlflow
        self._failed = False

    def log(self, values: dict[str, float], step: int) -> None:
        """Points of the curves at a step."""
        from mlflow.exceptions import MlflowException

        if self._failed:
            return
        try:
            self._mlflow.log_metrics(values, step=step)
        except MlflowException as error:
            self._failed = True
            logging.getLogger(__name__).warning("MLflow takes no more points, training goes on: %s", error)

    def __enter__(self) -> Curves:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._mlflow.end_run("FINISHED" if kind is None else "FAILED")
