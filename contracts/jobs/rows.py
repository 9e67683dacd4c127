"""A job's rows read and written, inside the transaction of whoever calls."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from contracts.jobs.event import IN_LOG, EventKind, JobEvent, NewEvent, log_text
from contracts.jobs.job import LOG_TAIL, Job, JobState
from contracts.jobs.schema import EVENTS, JOBS

KEPT = {EventKind.LOG: 500, EventKind.PROGRESS: 100, EventKind.METRIC: 1000}
"""How many events of these kinds a job keeps at least, the newest; all of the other kinds."""

_PRUNED_EVERY = 100
"""After so many events the old ones are looked for: up to so many more than KEPT are there meanwhile."""

_LOG_TAIL = (
    sa.select(EVENTS.c.stage, EVENTS.c.data)
    .where(EVENTS.c.job == sa.bindparam("id"), EVENTS.c.kind.in_(sorted(IN_LOG)))
    .order_by(EVENTS.c.sequence.desc())
    .limit(LOG_TAIL)
)
"""The last lines of a job's log, backwards. Built once: that takes longer than the database does."""

_TIMES = ("created_at", "started_at", "finished_at", "heartbeat_at", "lease_until")


def read_jobs(connection: sa.Connection, query: sa.Select[Any]) -> list[Job]:
    """The jobs whose whole rows a query selects, each with the end of its log."""
    rows = connection.execute(query).mappings().all()
    # One small query for each: PostgreSQL takes seconds over the one that would do for all.
    return [_job(row, _log_tail(connection, row["id"])) for row in rows]


def read_job(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> Job | None:
    """The one job that the condition is true of."""
    jobs = read_jobs(connection, sa.select(JOBS).where(condition))
    return jobs[0] if jobs else None


def read_events(connection: sa.Connection, job_id: str, after: int, limit: int) -> list[JobEvent]:
    """The job's events whose sequence numbers are above `after`, the oldest first, at most `limit`."""
    query = sa.select(EVENTS).where(EVENTS.c.job == job_id, EVENTS.c.sequence > after)
    rows = connection.execute(query.order_by(EVENTS.c.sequence).limit(limit)).mappings()
    return [_event(row) for row in rows]


def record(connection: sa.Connection, job_id: str, at: float, events: Sequence[NewEvent]) -> None:
    """Write down what happened to a job.

    The transaction must have written the job's own row before: this keeps others from counting on from the same number.
    """
    if not events:
        return
    last = connection.scalar(sa.select(sa.func.max(EVENTS.c.sequence)).where(EVENTS.c.job == job_id)) or 0
    rows = [
        {
            "job": job_id,
            "sequence": sequence,
            "at": at,
            "kind": event.kind,
            "stage": event.stage,
            "data": json.dumps(event.data, allow_nan=False),
        }
        for sequence, event in enumerate(events, last + 1)
    ]
    connection.execute(EVENTS.insert(), rows)
    if last // _PRUNED_EVERY != (last + len(rows)) // _PRUNED_EVERY:
        _prune(connection, job_id)


def _prune(connection: sa.Connection, job_id: str) -> None:
    for kind, kept in KEPT.items():
        of_kind = sa.and_(EVENTS.c.job == job_id, EVENTS.c.kind == kind)
        newest = sa.select(EVENTS.c.sequence).where(of_kind).order_by(EVENTS.c.sequence.desc())
        given_up = connection.scalar(newest.limit(1).offset(kept))
        if given_up is not None:
            connection.execute(EVENTS.delete().where(of_kind, EVENTS.c.sequence <= given_up))


def _log_tail(connection: sa.Connection, job_id: str) -> list[str]:
    lines = connection.execute(_LOG_TAIL, {"id": job_id}).all()[::-1]
    return [log_text(stage, json.loads(data)) for stage, data in lines]


def _job(row: Mapping[Any, Any], log_tail: list[str]) -> Job:
    values = dict(row) | {"log_tail": log_tail, "state": JobState(row["state"])}
    for name in _TIMES:
        if values[name] is not None:
            values[name] = datetime.fromtimestamp(values[name], UTC)
    for name in ("config", "facts"):
        values[name] = json.loads(values[name])
    return Job(**values)


def _event(row: Mapping[Any, Any]) -> JobEvent:
    at = datetime.fromtimestamp(row["at"], UTC)
    return JobEvent(row["sequence"], at, EventKind(row["kind"]), row["stage"], json.loads(row["data"]))
