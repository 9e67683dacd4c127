"""The gateway's commands of `stars`, each group from where it is at home."""

from __future__ import annotations

import typer

from service.jobs.cli import app as jobs
from service.local.cli import app as local
from service.predict.cli import predict
from service.releases.cli import app as releases

app = typer.Typer(no_args_is_help=True)
app.add_typer(local)
app.command()(predict)
app.add_typer(releases, name="release")
app.add_typer(jobs, name="jobs")
