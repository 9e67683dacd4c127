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
from service.backend.torchserve import TorchServe
from service.gateway import Gateway
from service.health import endpoints as health
from service.health.service import Readiness
from service.http.middleware import PlainAddresses, RequestLog
from service.jobs import endpoints as jobs
from service.jobs.service import Jobs
from service.metrics import Metrics
from service.predict import endpoints as predict
from service.predict.service import Predictor
from service.releases import endpoints as releases
from service.releases.service import Releases
from service.settings import Settings

DESCRIPTION = """Any customer review in, a star rating out: 1 to 5, five calibrated probabilities, and an honest word on
how sure it is. Every error has the same shape; [this page](/errors) explains each type."""

DOCS = "/docs"


def create_app(settings: Settings) -> FastAPI:
    """The gateway as an ASGI app. Raises ConfigError for settings that cannot be used.

    Its lifespan brings a release into service in the background: until then /readyz and /predict answer 503.
    """
    gateway = _gateway(settings)
    app = FastAPIOffline(
        title="review-stars",
        version=version("review-stars"),
        description=DESCRIPTION,
        lifespan=_lifespan,
        docs_url=DOCS,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.gateway = gateway
    app.add_middleware(PlainAddresses)
    app.add_middleware(RequestLog, metrics=gateway.metrics)
    errors.install(app, is_admin)
    for router in (predict.router, releases.router, jobs.router, health.router):
        app.include_router(router)
    app.add_api_route("/", _home, include_in_schema=False)
    openapi.document(app, settings.limits)
    return app


async def _home() -> RedirectResponse:
    return RedirectResponse(DOCS)


def _gateway(settings: Settings) -> Gateway:
    limits = settings.limits
    metrics = Metrics()
    backend = TorchServe(
        settings.name,
        str(settings.inference_url),
        str(settings.management_url),
        connections=limits.model_reviews,
        worker=settings.worker,
        keys=settings.model_server_keys,
    )
    served = Releases(backend, settings, metrics)
    predictor = Predictor(backend, served, limits, metrics)
    metrics.watch_queue(lambda: predictor.queue.admitted, lambda: predictor.queue.running)
    return Gateway(
        settings=settings,
        admin_key=AdminKey(settings),
        metrics=metrics,
        backend=backend,
        releases=served,
        predictor=predictor,
        readiness=Readiness(served, settings.ready_seconds),
        jobs=Jobs(JobStore(settings.job_store_url), settings.data_roots),
    )


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    gateway: Gateway = app.state.gateway
    watching = asyncio.create_task(gateway.releases.watch())
    try:
        yield
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        await gateway.predictor.close()
        await gateway.backend.close()
        await gateway.jobs.close()
