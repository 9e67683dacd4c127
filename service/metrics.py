"""What /metrics tells Prometheus. Numbers and fixed words only: no text that a client sent ever becomes a label."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from contracts.wire import Prediction

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """One gateway's metrics in a registry of their own."""

    def __init__(self) -> None:
        # Not a time of birth for every series.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._requests = Counter(
            "stars_requests_total",
            "Requests by address and status.",
            ["method", "route", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "stars_request_seconds",
            "Seconds from a request's first byte to its answer.",
            ["route"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._stars = Counter(
            "stars_predicted_total", "Predictions by star rating.", ["stars"], registry=self._registry
        )
        self._truncated = Counter(
            "stars_truncated_total", "Predicted reviews that were over the token limit.", registry=self._registry
        )
        self._unfamiliar = Counter(
            "stars_unfamiliar_total",
            "Predicted reviews in a script or a language outside the training.",
            ["by"],
            registry=self._registry,
        )
        self._serving = Gauge(
            "stars_release_serving", "1 for the release in service.", ["version"], registry=self._registry
        )

    def watch_queue(self, admitted: Callable[[], float], running: Callable[[], float]) -> None:
        """Let the queue be read whenever the metrics are."""
        for name, text, read in (
            ("stars_queue_reviews", "Reviews in the gateway, waiting or being read.", admitted),
            ("stars_model_reviews", "Reviews with the model server.", running),
        ):
            Gauge(name, text, registry=self._registry).set_function(read)

    def watch_connections(self, connections: Callable[[], float]) -> None:
        Gauge("stars_connections", "Connections open.", registry=self._registry).set_function(connections)

    def watch_behind(self, behind: Callable[[], bool]) -> None:
        """The same for whether another release serves than the store wants."""
        text = "1 while the release that production points at could not be brought into service."
        Gauge("stars_release_behind", text, registry=self._registry).set_function(lambda: float(behind()))

    def requested(self, method: str, route: str, status: int, seconds: float) -> None:
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def predicted(self, prediction: Prediction) -> None:
        self._stars.labels(str(prediction.logits.index(max(prediction.logits)) + 1)).inc()
        if prediction.truncated:
            self._truncated.inc()
        if prediction.unfamiliar is not None:
            self._unfamiliar.labels(prediction.unfamiliar).inc()

    def serves(self, version: str | None) -> None:
        """`version` is the release in service from now on; None while there is none."""
        self._serving.clear()
        if version is not None:
            self._serving.labels(version).set(1)

    def render(self) -> bytes:
        """The text format that Prometheus reads."""
        return generate_latest(self._registry)
