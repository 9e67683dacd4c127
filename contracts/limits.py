"""The most that a model server takes: what its handler refuses, the gateway never promises.

Apart from the rest of the protocol, because a worker imports as little as it can.
"""

from __future__ import annotations

TEXT_LIMIT = 100_000
"""Characters that a worker takes of a text, a title or a category. The gateway's own limits may only be lower."""

REVIEWS_LIMIT = 256
"""Reviews in one request to a worker."""

QUEUED_REQUESTS = 256
"""Requests that TorchServe keeps waiting for one model's workers; it refuses the next one."""

BODY_LIMIT = 4 * 1024 * 1024
"""Bytes of a client's body that can be passed on."""

REQUEST_BYTES = BODY_LIMIT + 64 * 1024
"""Bytes of a request that TorchServe takes: a body, and what the gateway spells out of what a client left out."""
