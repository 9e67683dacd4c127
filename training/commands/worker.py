"""`stars worker`: the process that runs retraining jobs."""

from __future__ import annotations

import typer

from contracts.options import StateFolder, Store


def worker(
    store: Store = None,
    home: StateFolder = None,
) -> None:
    """Take retraining jobs from the job store and run them, one at a time. SIGTERM puts the job back."""
    from training.jobs.worker import serve

    raise typer.Exit(serve(store=store, home=home))
