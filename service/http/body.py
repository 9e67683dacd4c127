"""A request's body: read within its limits, as strict JSON, and checked without ever quoting it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from email.message import Message
from typing import Any

from pydantic import BaseModel
from pydantic_core import from_json
from starlette.requests import ClientDisconnect, Request

from service.errors import BodyTooLarge, BodyTooSlow, ClientLeft, MalformedBody, UnsupportedMedia
from service.settings import Limits

MODEL_REF = "#/components/schemas/{model}"
_DRAIN_BYTES = 16 * 1024 * 1024
_DRAIN_SECONDS = 2.0


async def read_json(request: Request, limits: Limits) -> dict[str, Any]:
    """The body as a JSON object.

    Raises UnsupportedMedia, BodyTooLarge, BodyTooSlow, MalformedBody, or ClientLeft.
    """
    return parse_json((await read_body(request, limits, ("application/json",)))[1])


async def read_body(request: Request, limits: Limits, kinds: Sequence[str]) -> tuple[str, bytes]:
    """The body as it came, and which of the media types it is.

    Raises UnsupportedMedia, BodyTooLarge, BodyTooSlow, or ClientLeft.
    """
    kind = _media(request, kinds)
    try:
        async with asyncio.timeout(limits.deadline_seconds):
            return kind, await _read(request, limits.body_bytes)
    except TimeoutError:
        raise BodyTooSlow(f"the body did not arrive within {limits.deadline_seconds:g} s: send it again") from None
    except ClientDisconnect:
        raise ClientLeft from None


def parse_json(raw: bytes) -> dict[str, Any]:
    """A JSON object. Raises MalformedBody, which never quotes it."""
    try:
        # Strict where Python's json is not: no NaN, no lone surrogates, no bytes that are not UTF-8, bounded nesting.
        parsed = from_json(raw, allow_inf_nan=False, cache_strings="keys")
    except ValueError as error:
        where = str(error).rpartition(" at ")[2]  # the rest may quote the body
        place = f" (at {where})" if where.startswith("line ") else ""
        raise MalformedBody(f"the body is not JSON in UTF-8{place}: send a valid JSON object") from None
    if not isinstance(parsed, dict):
        raise MalformedBody("the body is JSON, but not an object: send {…}")
    return parsed


def json_body(*models: type[BaseModel]) -> dict[str, Any]:
    """OpenAPI's word for a body that the endpoint reads itself: a JSON object that is one of `models`."""
    refs: list[dict[str, Any]] = [{"$ref": MODEL_REF.format(model=model.__name__)} for model in models]
    schema = refs[0] if len(refs) == 1 else {"oneOf": refs}
    examples = {
        model.__name__: {"value": example}
        for model in models
        for example in model.model_json_schema().get("examples", [])[:1]
    }
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema, "examples": examples}}}
    }


def _media(request: Request, kinds: Sequence[str]) -> str:
    header = Message()
    header["content-type"] = request.headers.get("content-type", "")
    kind = header.get_content_type() if request.headers.get("content-type") else "nothing"
    charset = str(header.get_param("charset") or "utf-8").lower()
    if kind not in kinds or charset not in {"utf-8", "utf8"}:
        what = "JSON in UTF-8" if len(kinds) == 1 else "one of these in UTF-8"
        raise UnsupportedMedia(f"the body must be {what}: send content-type: {', '.join(kinds)}")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMedia("the body must not be compressed: leave out content-encoding")
    return kind


async def _read(request: Request, limit: int) -> bytes:
    declared = request.headers.get("content-length", "")
    too_large = declared.isdecimal() and int(declared) > limit
    body = bytearray()
    if not too_large:
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                too_large = True
                break
    if too_large:
        if request.headers.get("expect", "").lower() != "100-continue":  # then it waits for our word before it sends
            await _drain(request)
        raise BodyTooLarge(f"the body is over {limit} bytes: send fewer or shorter reviews")
    return bytes(body)


async def _drain(request: Request) -> None:
    """Read on for a while: a client that is still sending would see a reset connection instead of its answer."""
    drained = 0
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            while drained < _DRAIN_BYTES:
                message = await request.receive()
                drained += len(message.get("body", b""))
                if not message.get("more_body", False):
                    return
    except TimeoutError:
        return
