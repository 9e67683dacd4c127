"""`stars status`: what runs on this machine, what it serves, and where everything lies."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from contracts.errors import StarsError
from contracts.options import GatewayUrl, StateFolder

if TYPE_CHECKING:
    from service.settings import Settings

ASK_SECONDS = 15.0
MODEL_SERVER = "org.pytorch.serve.ModelServer"


def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    url: GatewayUrl = None,
    home: StateFolder = None,
) -> None:
    """Say what runs, what it serves and where everything lies. Exit code 0 when it predicts, else 1."""
    from service.address import gateway_url
    from service.settings import load_settings

    settings = load_settings(**({"home": home} if home else {}))
    seen = {
        "gateway": _gateway(url or gateway_url(settings)),
        "torchserve": _torchserve(settings.home / "torchserve" / "endpoints.json"),
        "jobs": _jobs(settings),
        "paths": _paths(settings),
        "disk": _disk(settings.home),
    }
    if as_json:
        typer.echo(json.dumps(seen))
    else:
        for name, line in _lines(seen):
            typer.echo(f"{name:<11} {line}")
    raise typer.Exit(0 if seen["gateway"]["ready"] else 1)


def _gateway(url: str) -> dict[str, Any]:
    import httpx

    nobody: dict[str, Any] = {"url": url, "ready": False, "model": None, "version": None, "reason": None}
    try:
        answer = httpx.get(f"{url.rstrip('/')}/readyz", timeout=ASK_SECONDS, trust_env=False)
        body = answer.json()
        if answer.status_code == 200:
            return nobody | {"ready": True, "model": body["model"], "version": body["version"]}
        return nobody | {"reason": str(body["error"]["message"])}
    except (httpx.HTTPError, httpx.InvalidURL):
        return nobody | {"reason": "nobody answers there: start it with `stars up`"}
    except (ValueError, LookupError, TypeError):
        return nobody | {"reason": "what answers there is not our gateway"}


def _torchserve(endpoints: Path) -> dict[str, Any]:
    """The one that was last started with this state folder."""
    import psutil

    try:
        pid = int(json.loads(endpoints.read_bytes())["pid"])
        running = MODEL_SERVER in psutil.Process(pid).cmdline()
    except (OSError, ValueError, LookupError, TypeError, psutil.Error):
        running = False
    return {"running": running, "pid": pid if running else None}


def _jobs(settings: Settings) -> dict[str, Any]:
    from contracts.database.database import database_file
    from contracts.jobs.store import JobStore

    empty: dict[str, Any] = {"workers": [], "running": [], "waiting": 0, "waits_for": None, "problem": None}
    try:
        file = database_file(settings.job_store_url)
        if file is not None and not file.exists():
            return empty
        with closing(JobStore(settings.job_store_url)) as store:
            queue = store.queue()
    except StarsError as error:
        return empty | {"problem": str(error)}
    return empty | {
        "workers": [worker.id for worker in queue.workers],
        "running": [{"id": job.id, "stage": job.stage, "progress": job.progress} for job in queue.running],
        "waiting": len(queue.waiting),
        "waits_for": queue.waits_for(queue.waiting[0].id) if queue.waiting else None,
    }


def _paths(settings: Settings) -> dict[str, str]:
    from contracts.database.database import shown
    from service.running import Running

    running = Running.read(settings.paths.up)
    key = settings.admin_key_file or settings.paths.admin_key
    return {
        "state": str(settings.home),
        "store": running.store if running else settings.store or str(settings.paths.store),
        "logs": str(settings.paths.logs),
        "key": "in STARS_ADMIN_KEY" if settings.admin_key else str(key) if key.exists() else "none yet",
        "jobs": shown(settings.job_store_url),
    }


def _disk(home: Path) -> dict[str, int]:
    """Bytes on the disk, what is linked twice counted once; and what is free."""
    sizes: dict[tuple[int, int], int] = {}
    for folder, _, names in os.walk(home):
        for name in names:
            try:
                entry = os.lstat(Path(folder, name))
            except OSError:  # gone meanwhile
                continue
            sizes[entry.st_dev, entry.st_ino] = entry.st_blocks * 512
    there = next(folder for folder in (home, *home.parents) if folder.exists())
    return {"used_bytes": sum(sizes.values()), "free_bytes": shutil.disk_usage(there).free}


def _lines(seen: dict[str, Any]) -> list[tuple[str, str]]:
    gateway, server, jobs, paths, disk = (seen[name] for name in ("gateway", "torchserve", "jobs", "paths", "disk"))
    serves = f"predicts with {gateway['model']} {gateway['version']}" if gateway["ready"] else gateway["reason"]
    running = [
        f"{job['id'][:12]} in stage {job['stage'] or 'none yet'}, {job['progress']:.0%} done" for job in jobs["running"]
    ]
    queue = f"{'; '.join(running) or 'none running'}; {jobs['waiting']} waiting"
    if jobs["waits_for"]:
        queue += f" ({jobs['waits_for']})"
    return [
        ("gateway", f"{gateway['url']}: {serves}"),
        ("TorchServe", f"runs as process {server['pid']}" if server["running"] else "none that was started from here"),
        ("workers", ", ".join(jobs["workers"]) or "none is running: `stars worker` starts one"),
        ("jobs", jobs["problem"] or queue),
        ("job store", paths["jobs"]),
        ("state", f"{paths['state']}: {disk['used_bytes'] / 1e6:,.0f} MB, {disk['free_bytes'] / 1e9:,.1f} GB free"),
        ("store", paths["store"]),
        ("logs", paths["logs"]),
        ("admin key", paths["key"]),
    ]
