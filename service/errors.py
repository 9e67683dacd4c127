"""What can go wrong with a request, and the one place that turns an exception into a status and a body.

Every error, whatever it comes from, is {"error": {"type", "message", "request_id", "docs"}}. `type` is a stable word
that clients may match on; `docs` leads to its paragraph on this gateway's own page of errors.
"""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any, NamedTuple

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import Receive, Scope, Send

from contracts import errors as contract
from contracts.validation import wording

ERRORS_PAGE = "/errors"

log = structlog.get_logger()


class ClientError(contract.StarsError):
    """What a request is told about itself: anybody may read it, so it names no file, folder or URL of this machine."""


class MalformedRequest(ClientError):
    """Not HTTP/1.1."""


class HeadTooLarge(ClientError):
    """The first line, the headers, or what frames the body are over the limit."""


class HeadTooSlow(ClientError):
    """The headers did not arrive in time."""


class Crowded(ClientError):
    """Too many connections, or too many requests waiting on one of them."""


class MalformedBody(ClientError):
    """The body is not JSON in UTF-8, or not a JSON object."""


class BodyTooLarge(ClientError):
    """The body is over the limit."""


class BodyTooSlow(ClientError):
    """The body did not arrive within the deadline."""


class UnsupportedMedia(ClientError):
    """The body is not declared as JSON in UTF-8."""


class InvalidRequest(ClientError):
    """JSON, but not what this address takes."""


class MissingKey(ClientError):
    """No admin key was sent."""


class WrongKey(ClientError):
    """An admin key was sent, but not the right one; or none is configured."""


class NoSuchVersion(ClientError):
    """The store has no release of this version."""


class NotServing(ClientError):
    """No release is being served yet, or the model server lost it. The cause may not be for everybody."""


class Busy(ClientError):
    """Another change of the served release is under way."""


class ClientLeft(Exception):
    """The client closed the connection before its answer was ready. Nobody reads the answer."""


class Problem(NamedTuple):
    """One kind of error: its stable word, its status, what it means and what to do."""

    kind: str
    status: int
    meaning: str
    raised_by: tuple[type[Exception], ...] = ()
    retry_after: int | None = None


# The first line whose exceptions fit wins, so subclasses stand above their bases.
PROBLEMS = (
    Problem("malformed_request", 400, "This is not HTTP/1.1. Check what sent the request.", (MalformedRequest,)),
    Problem("malformed_json", 400, "The body is not a JSON object in UTF-8. Send valid JSON.", (MalformedBody,)),
    Problem("unauthorized", 401, "No admin key came with the request. Send Authorization: Bearer KEY.", (MissingKey,)),
    Problem("forbidden", 403, "The admin key is wrong, or this gateway has none configured.", (WrongKey,)),
    Problem(
        "not_found",
        404,
        "There is nothing at this address: no such path, release or job.",
        (NoSuchVersion, contract.NotFound, contract.JobNotFound),
    ),
    Problem("method_not_allowed", 405, "The address exists, but not for this method. See the Allow header."),
    Problem("head_too_slow", 408, "The headers did not arrive in time. Send the request again.", (HeadTooSlow,)),
    Problem("body_too_slow", 408, "The body did not arrive in time. Send it again.", (BodyTooSlow,)),
    Problem(
        "conflict",
        409,
        "Something else got there first: another change of release is under way, or the Idempotency-Key or the "
        "version is taken.",
        (Busy, contract.Conflict, contract.JobConflict),
    ),
    Problem("body_too_large", 413, "The body is over the limit. Send fewer or shorter reviews.", (BodyTooLarge,)),
    Problem(
        "unsupported_media_type",
        415,
        "Send the body as application/json, in UTF-8, not compressed.",
        (UnsupportedMedia,),
    ),
    Problem(
        "invalid_request",
        422,
        "The JSON is not what this address takes. The message names the field.",
        (InvalidRequest, contract.ConfigError, contract.JobError),
    ),
    Problem("invalid_review", 422, "The review cannot be read. The message says why.", (contract.ReviewError,)),
    Problem("blank_text", 422, "The review's text is empty or blank. Send text."),
    Problem("text_too_long", 422, "A review's text, title or category is over its limit. Shorten it."),
    Problem("too_many_tokens", 422, "The review is over the token limit of a release that refuses to shorten it."),
    Problem(
        "bad_release",
        422,
        "The release is damaged, unsafe, or its golden predictions do not come out. The one in service stays.",
        (contract.ReleaseError, contract.GateError, contract.ModelError),
    ),
    Problem(
        "overloaded",
        429,
        "Too many reviews are waiting, or too many connections are open. Try again after the seconds in Retry-After.",
        (contract.BackendOverloaded, Crowded),
        retry_after=1,
    ),
    Problem(
        "head_too_large",
        431,
        "The address and the headers are over the limit. Send fewer or shorter ones.",
        (HeadTooLarge,),
    ),
    Problem("internal", 500, "A mistake of ours. The log has the request id."),
    Problem(
        "review_failed",
        500,
        "A mistake of ours over this one review; it fails again. The others of the request have their answers. The "
        "model server's log says where.",
    ),
    Problem(
        "not_ready",
        503,
        "Something the answer needs is missing: the model is loading, or a server is down.",
        (NotServing, contract.BackendUnavailable, contract.StoreError, contract.DatabaseError, contract.MachineError),
        retry_after=2,
    ),
    Problem(
        "deadline_exceeded",
        504,
        "The answer was not ready within the deadline. Send fewer reviews, or try later.",
        (contract.DeadlineExceeded,),
    ),
    Problem(
        "model_server_error", 502, "The model server gave an answer that makes no sense.", (contract.BackendError,)
    ),
)
BY_TYPE = {problem.kind: problem for problem in PROBLEMS}


class ErrorDetail(BaseModel):
    """What went wrong with one request or one review."""

    type: str = Field(description="A stable word that programs may match on.", examples=["invalid_request"])
    message: str = Field(description="One sentence for people: what is wrong and what to do.")
    request_id: str = Field(description="Also in the X-Request-ID header and in the gateway's log.")
    docs: str = Field(description="Where this type of error is explained.", examples=["/errors#invalid_request"])


class ErrorBody(BaseModel):
    """The one shape of every error."""

    error: ErrorDetail


def problem_of(error: Exception) -> Problem:
    """The kind of problem that an exception is; "internal" for one that nobody foresaw."""
    if isinstance(error, contract.ReviewError):
        return BY_TYPE.get(error.kind, BY_TYPE["invalid_review"])
    if isinstance(error, RequestValidationError):
        return BY_TYPE["invalid_request"]
    if isinstance(error, HTTPException):
        return next((problem for problem in PROBLEMS if problem.status == error.status_code), BY_TYPE["internal"])
    return next((problem for problem in PROBLEMS if isinstance(error, problem.raised_by)), BY_TYPE["internal"])


def message_of(error: Exception, admin: bool = False) -> str:
    """What the client is told.

    Only our own exceptions speak for themselves: others may quote what was sent. Those about this machine, its store or
    its jobs name paths and URLs, so only an administrator reads them; the log has them for the others.
    """
    if isinstance(error, contract.StarsError) and (admin or _is_for_everybody(error)):
        return str(error)
    if isinstance(error, RequestValidationError):
        return wrong_parameters(error)
    return problem_of(error).meaning


def wrong_parameters(error: RequestValidationError) -> str:
    """What is wrong with a request's path, query and headers, in sentences."""
    return "; ".join(f"{part['loc'][0]} {part['loc'][-1]}: {wording(part)}" for part in error.errors())


def _is_for_everybody(error: BaseException) -> bool:
    if isinstance(error, NotServing) and isinstance(error.__cause__, contract.StarsError):
        return _is_for_everybody(error.__cause__)
    return isinstance(error, ClientError | contract.ReviewError | contract.BackendError | contract.JobNotFound)


def error_body(error: Exception, request_id: str, admin: bool = False) -> dict[str, Any]:
    """The error shape as a JSON-able dict."""
    kind = problem_of(error).kind
    docs = f"{ERRORS_PAGE}#{kind}"
    return {"error": {"type": kind, "message": message_of(error, admin), "request_id": request_id, "docs": docs}}


def error_response(error: Exception, request_id: str, admin: bool = False) -> Response:
    """The whole answer for an exception: status, body, and the headers that belong to the status."""
    problem = problem_of(error)
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    if problem.retry_after is not None:
        headers["Retry-After"] = str(getattr(error, "retry_after", problem.retry_after))
    if problem.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if problem.status in {408, 413}:
        headers["Connection"] = "close"  # the rest of the body is not worth reading
    return JSONResponse(error_body(error, request_id, admin), problem.status, headers)


async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """An ASGI app that answers with the exception in the request's state as `refusal`."""
    state = scope["state"]
    state["error"] = problem_of(state["refusal"]).kind
    await error_response(state["refusal"], state["request_id"])(scope, receive, send)


def responses(*types: str) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI entries of an address for the types of errors that it can answer with."""
    entries: dict[int | str, dict[str, Any]] = {}
    for problem in (BY_TYPE[name] for name in types):
        entry = entries.setdefault(problem.status, {"model": ErrorBody, "description": problem.meaning})
        example = {"error": {"type": problem.kind, "message": problem.meaning, "request_id": "0f6c…"}}
        example["error"]["docs"] = f"{ERRORS_PAGE}#{problem.kind}"
        content = entry.setdefault("content", {"application/json": {"examples": {}}})
        content["application/json"]["examples"][problem.kind] = {"value": example}
    return entries


async def _errors_page() -> HTMLResponse:
    """What every `docs` link leads to: each type of error, its status, and what to do."""
    rows = "".join(
        f"<h2 id={problem.kind}>{problem.status} {problem.kind}</h2><p>{html.escape(problem.meaning)}</p>"
        for problem in PROBLEMS
    )
    return HTMLResponse(f"<!doctype html><html lang=en><title>Errors</title><h1>Errors</h1>{rows}")


def install(app: FastAPI, is_admin: Callable[[Request], bool]) -> None:
    """Let every error of `app`, its own 404 and 405 included, take the one shape."""

    async def handle(request: Request, error: Exception) -> Response:
        request.state.error = problem_of(error).kind
        admin = isinstance(error, contract.StarsError) and is_admin(request)
        if message_of(error, admin=True) != message_of(error) and not isinstance(error, contract.NotFound):
            log.warning("request_refused", kind=type(error).__name__, reason=str(error))
        return error_response(error, request.state.request_id, admin)

    for kind in (contract.StarsError, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, handle)
    app.add_api_route(ERRORS_PAGE, _errors_page, include_in_schema=False)
