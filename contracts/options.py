"""The options that several `stars` commands take, worded once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Store = Annotated[
    str | None,
    typer.Option(
        "--store", help="The release store, a folder or URL. Default: $STARS_STORE, else the one in the state folder."
    ),
]
StateFolder = Annotated[
    Path | None,
    typer.Option("--home", help="The state folder. Default: $STARS_HOME, else ~/.local/state/review-stars."),
]
Tracking = Annotated[
    str | None,
    typer.Option(
        "--tracking",
        metavar="URI",
        help="The MLflow tracking store. Default: $STARS_TRAIN_TRACKING, $MLFLOW_TRACKING_URI, or mlflow.db in the "
        "state folder.",
    ),
]
GatewayUrl = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar="STARS_URL",
        help="The gateway to ask. Default: where STARS_HOST and STARS_PORT say, else the one that `stars up` started.",
    ),
]
