"""The gateway: `create_app` puts it together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.responses import RedirectResponse

from contracts.jobs.store import JobStore
from service import errors, openapi
from service.admin_key import AdminKey
from service.auth import is_admin
from service.backend.choice import open_backend
from service.health import endpoints as health_endpoints
from service.health.service import Readiness
from service.http.middleware import PlainAddresses, RequestLog
from service.jobs import endpoints as job_endpoints
from service.jobs.service import Jobs
from service.metrics import Metrics
from service.parts import share
from service.predict import endpoints as predict_endpoints
from service.predict.service import Predictor
from service.releases import endpoints as release_endpoints
from service.releases.service import Releases
from service.settings import Settings

DESCRIPTION = """Any customer review in, a star rating out: 1 to 5, five calibrated probabilities, and an honest word on
how sure it is. Every error has the same shape; [this page](/errors) explains each type."""

DOCS = "/docs"


def create_app(settings: Settings) -> FastAPI:
    """The gateway as an ASGI app. Raises ConfigError for settings that cannot be used.

    Its lifespan brings a release into service in the background: until then /readyz and /predict answer 503.
    """
    metrics = Metrics()
    backend = open_backend(settings)
    releases = Releases(backend, settings, metrics)
    predictor = Predictor(backend, releases, settings.limits, metrics)
    metrics.watch_queue(lambda: predictor.queue.admitted, lambda: predictor.queue.running)
    readiness = Readiness(releases, settings.ready_seconds)
    jobs = Jobs(JobStore(settings.job_store_url), settings.data_roots)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        watching = asyncio.create_task(releases.watch())
        try:
            yield
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching
            await predictor.close()
            await backend.close()
            await jobs.close()

    app = FastAPIOffline(
        title="review-stars",
        version=version("review-stars"),
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=DOCS,
        redoc_url=None,
        redirect_slashes=False,
    )
    share(app, settings, AdminKey(settings), metrics, releases, predictor, readiness, jobs)
    app.add_middleware(PlainAddresses)
    app.add_middleware(RequestLog, metrics=metrics)
    errors.install(app, is_admin)
    for endpoints in (predict_endpoints, release_endpoints, job_endpoints, health_endpoints):
        app.include_router(endpoints.router)
    app.add_api_route("/", _home, include_in_schema=False)
    openapi.document(app, settings.limits)
    return app


async def _home() -> RedirectResponse:
    return RedirectResponse(DOCS)
