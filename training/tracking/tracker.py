"""Where runs are kept: an MLflow tracking store, which is a server or a sqlite file."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

EXPERIMENT = "review-stars"
VARIABLES = ("STARS_TRAIN_TRACKING", "MLFLOW_TRACKING_URI")
"""What may name it: the setting `tracking` of train, and MLflow's own."""

FORMAT = 1
"""Of what is written into a run. A program refuses to read the runs of a newer one."""
FORMAT_TAG = "stars.format"
DATASET_TAG = "stars.dataset_sha256"
REVISION_TAG = "mlflow.source.git.commit"
RELEASE_TAG = "stars.release"
VERDICT_TAG = "stars.verdict"
NOTES = "mlflow.note.content"
"""What MLflow shows as a run's description: the lines that the run said, the rules' among them."""
LONGEST = 5000
"""Characters of a tag or a parameter that every version of MLflow takes."""

_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
"""With MLflow's own defaults a server that is away would hold a training up for minutes."""


def default_tracking(otherwise: str) -> str:
    """The URI that an environment variable names, if any."""
    return next((os.environ[name] for name in VARIABLES if os.environ.get(name)), otherwise)


def open_tracking(uri: str) -> Any:
    """An MlflowClient, which says nothing on the terminal. What goes wrong with it is one of `failures`."""
    for name, value in _PATIENCE.items():
        os.environ.setdefault(name, value)
    import mlflow

    for chatty in ("alembic", "mlflow"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    return mlflow.MlflowClient(uri)


def failures() -> tuple[type[Exception], ...]:
    """What MLflow raises where a tracking store cannot be used."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    return (MlflowException, SQLAlchemyError, OSError)


def why(error: Exception) -> str:
    """What went wrong, in one line."""
    return (str(error).splitlines() or [type(error).__name__])[0][:300]


def is_there(client: Any, run: str) -> bool:
    from mlflow.exceptions import MlflowException

    try:
        return bool(client.get_run(run).info.lifecycle_stage == "active")
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise


def open_experiment(uri: str) -> tuple[Any, str]:
    """A client, and the id of our experiment, which is made where it is not there.

    Artifacts of a sqlite file lie beside it, in a folder that is its owner's where it has to be made.
    """
    folder = Path(uri.removeprefix("sqlite:///")).absolute().parent if uri.startswith("sqlite:///") else None
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    client = open_tracking(uri)
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is not None:
        return client, str(found.experiment_id)
    place = None if folder is None else (folder / "mlflow-artifacts").as_uri()
    return client, str(client.create_experiment(EXPERIMENT, artifact_location=place))
