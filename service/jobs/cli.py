"""`stars jobs`: the jobs, straight from the job store. The gateway need not run."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from contracts.errors import ConfigError, DatabaseError, JobError
from contracts.options import StateFolder
from contracts.settings import Home

if TYPE_CHECKING:
    from contracts.jobs.event import JobEvent
    from contracts.jobs.job import Job
    from contracts.jobs.queue import Queue
    from contracts.jobs.store import JobStore

app = typer.Typer(no_args_is_help=True, help="Look at retraining jobs, follow one, or cancel it.")

LOOK_SECONDS = 1.0
FAILED, CANCELLED, INTERRUPTED = 1, 3, 130
"""Exit codes of `follow`, besides 0 for a job that succeeded."""

SHORT = 12
"""Characters of an id that are shown in a list; every command takes them, or fewer, for the whole."""

JobId = Annotated[str, typer.Argument(metavar="JOB", help="The job's id, or the beginning of it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, as the gateway answers it.")]


@app.command()
def ls(
    state: Annotated[
        str | None, typer.Option(help="Only these: queued, running, succeeded, failed or cancelled.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="The youngest so many.")] = 50,
    as_json: AsJson = False,
    home: StateFolder = None,
) -> None:
    """List the jobs, the youngest first."""
    from contracts.jobs.job import JobState
    from contracts.validation import nearest
    from service.jobs.schemas import JobOut

    if state is not None and state not in list(JobState):
        raise ConfigError(f"--state {state} is no state; {nearest(state, list(JobState))}")
    store = _open(home)
    jobs, queue = store.list(limit, None if state is None else JobState(state)), store.queue()
    if as_json:
        typer.echo(json.dumps({"jobs": [JobOut.of(job, queue).model_dump(mode="json") for job in jobs]}))
        return
    line = "{:<12}  {:<9}  {:<8}  {:>5}  {:<16}  {}"
    typer.echo(line.format("JOB", "STATE", "STAGE", "DONE", "QUEUED", "RESULT"))
    for job in jobs:
        result = _first_line(job.release or job.error or queue.waits_for(job.id) or "")
        queued = f"{job.created_at.astimezone():%Y-%m-%d %H:%M}"
        typer.echo(line.format(job.id[:SHORT], job.state, job.stage or "", f"{job.progress:.0%}", queued, result))


@app.command()
def show(job: JobId, as_json: AsJson = False, home: StateFolder = None) -> None:
    """Show everything about a job."""
    from service.jobs.schemas import JobOut

    store = _open(home)
    row, queue = store.find(job), store.queue()
    out = JobOut.of(row, queue).model_dump(mode="json")
    if as_json:
        typer.echo(json.dumps(out))
        return
    for name, value in out.items():
        if name != "log_tail" and value not in (None, {}, False):
            typer.echo(f"{name.replace('_', ' '):<13} {json.dumps(value) if isinstance(value, dict) else value}")
    log = _home(home).runs / f"{row.id}.log"
    if log.exists():
        typer.echo(f"{'log':<13} {log}")
    for line in row.log_tail:
        typer.echo(f"  {line}")


@app.command()
def follow(job: JobId, home: StateFolder = None) -> None:
    """Print how far a job is, and what it says, until it ends. Ctrl-C leaves it running.

    Exit code 0 when it succeeded, 1 when it failed, 3 when it was cancelled.
    """
    store = _open(home)
    followed = store.find(job)
    try:
        _follow(store, followed)
    except KeyboardInterrupt:
        typer.echo(f"the job goes on; look again with: stars jobs follow {followed.id[:SHORT]}", err=True)
        raise typer.Exit(INTERRUPTED) from None


@app.command()
def cancel(job: JobId, home: StateFolder = None) -> None:
    """Cancel a job: a queued one at once, a running one as soon as its worker hears of it."""
    store = _open(home)
    row = store.request_cancel(store.find(job).id)
    outcome = "is cancelled" if row.state.final else "will be stopped by its worker within seconds"
    typer.echo(f"job {row.id[:SHORT]} {outcome}")


def _follow(store: JobStore, job: Job) -> None:
    """Ends with typer.Exit when the job does."""
    from contracts.jobs.job import JobState

    after, printed = 0, ""
    while True:
        try:
            job = store.get(job.id)  # before its events: if it has ended, all of them are there
            while events := store.events(job.id, after):
                for line in filter(None, map(_line, events)):
                    typer.echo(line)
                after = events[-1].sequence
            standing = _standing(job, store.queue())
        except DatabaseError:  # busy: later, then
            standing = printed
        if standing != printed:
            typer.echo(standing)
            printed = standing
            if job.state.final:
                raise typer.Exit({JobState.SUCCEEDED: 0, JobState.FAILED: FAILED}.get(job.state, CANCELLED))
        time.sleep(LOOK_SECONDS)


def _line(event: JobEvent) -> str | None:
    """What an event adds to the output; None for what the line on the job's standing says."""
    from contracts.jobs.event import EventKind

    if event.kind is not EventKind.METRIC:
        return event.line
    values = ", ".join(f"{name} {value:.6g}" for name, value in event.data["values"].items() if value is not None)
    return f"step {event.data['step']}: {values}" if values else None


def _standing(job: Job, queue: Queue) -> str:
    """How the job stands, in a line."""
    if job.state.final:
        result = {"succeeded": f"release {job.release}", "failed": job.error}.get(job.state)
        return f"{job.state}: {result}" if result else str(job.state)
    waits = queue.waits_for(job.id)
    return f"queued: {waits}" if waits else f"{job.state}: stage {job.stage or 'none yet'}, {job.progress:.0%} done"


def _first_line(text: str) -> str:
    return text.splitlines()[0] if text else ""


def _home(home: Path | None) -> Home:
    return Home(home.expanduser().absolute()) if home else Home.default()


def _open(home: Path | None) -> JobStore:
    """The job store that is there; looking makes none."""
    from contracts.database.database import database_file
    from contracts.jobs.store import JobStore

    url = _home(home).job_store_url()
    file = database_file(url)
    if file is not None and not file.exists():
        raise JobError(f"there are no jobs in {file.parent} yet: name the state folder with --home or STARS_HOME")
    return JobStore(url)
