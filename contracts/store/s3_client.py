"""How an S3 server is talked to: retries, timeouts, one deadline for an operation, and its errors as ours."""

from __future__ import annotations

import time
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any, NoReturn, Self

from boto3.session import Session
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    CredentialRetrievalError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
    NoAuthTokenError,
    NoCredentialsError,
    PartialCredentialsError,
    SSLError,
    TokenRetrievalError,
)

from contracts.errors import ConfigError, NotFound, StoreAway, StoreError

CONNECT_SECONDS = 5.0
SILENT_SECONDS = 20.0
"""How long a server may say nothing."""

ATTEMPTS = 4
"""Botocore's standard mode: which failures are tried again, with jitter and growing waits, is its business."""

OPERATION_SECONDS = 30.0
SLOWEST = 128 * 1024
"""Bytes in a second. An operation may take 30 s, and as long as its bytes take at this speed."""

_WRONG_KEY = {
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "InvalidToken",
    "TokenRefreshRequired",
    "AuthFailure",
}
_NO_KEY = (
    CredentialRetrievalError,
    NoAuthTokenError,
    NoCredentialsError,
    PartialCredentialsError,
    TokenRetrievalError,
)
_NO_ANSWER = (ConnectionError, HTTPClientError, IncompleteReadError)


def new_client() -> Any:
    """A client for the server and with the credentials that the environment names. Threads may share it."""
    try:
        client = Session().client(
            "s3",
            config=Config(
                connect_timeout=CONNECT_SECONDS,
                read_timeout=SILENT_SECONDS,
                retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            ),
        )
    except (BotoCoreError, ValueError) as error:
        raise ConfigError(f"S3 cannot be used as AWS_… and ~/.aws say: {error}") from error
    client.meta.events.register("before-send.s3", _before_attempt)
    return client


class Operation:
    """What is done on the store for one call of ours, in one thread: `with Operation(…):`.

    It ends in time, whatever the server does, and every failure is a StoreError that says what to do: a StoreAway
    where waiting may help.
    """

    def __init__(self, client: Any, bucket: str, url: str, what: str) -> None:
        self._endpoint = client.meta.endpoint_url
        self._bucket = bucket
        self._url = url
        self._what = what
        self._until = time.monotonic() + OPERATION_SECONDS
        self._token: Token[Operation | None]

    def expect(self, size: int) -> None:
        """Allow the time for so many bytes besides."""
        self._until += size / SLOWEST

    def check(self) -> None:
        """Raises StoreAway when the operation's time is over."""
        if time.monotonic() > self._until:
            raise StoreAway(
                f"{self._url} is too slow: {self._what} was given up. Look at the network and at {self._endpoint}, "
                "then run it again"
            )

    def __enter__(self) -> Self:
        self._token = _running.set(self)
        return self

    def __exit__(self, _kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        _running.reset(self._token)
        if isinstance(error, ClientError):
            self._explain_answer(error)
        if isinstance(error, BotoCoreError):
            raise self._explained(error) from error

    def _explain_answer(self, error: ClientError) -> NoReturn:
        code, where = error_code(error), f"{self._url} at {self._endpoint}"
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code == "NoSuchBucket":
            said = f"there is no bucket {self._bucket} at {self._endpoint}: create it, or correct the store's URL"
        elif code in {"NoSuchKey", "404"}:
            raise NotFound(f"no {self._what} in {self._url}") from None
        elif code in _WRONG_KEY:
            said = (
                f"{where} refuses the credentials ({code}): correct AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
                "AWS_PROFILE, or log in again"
            )
        elif code == "RequestTimeTooSkewed":
            said = f"{where} has another time than this machine, by more than 15 minutes: set the clocks"
        elif status == 403:
            said = (
                f"{where} does not allow {error.operation_name} of {self._what} ({code}): the credentials need "
                f"s3:ListBucket on {self._bucket}, and s3:GetObject, s3:PutObject and s3:DeleteObject below the prefix"
            )
        elif code in {"PreconditionFailed", "412"}:
            said = f"{self._what} in {self._url} was changed while it was read: run it again"
        elif status >= 500 or code == "SlowDown":
            raise StoreAway(
                f"{where} fails over {error.operation_name} of {self._what} ({code}): try again in a while"
            ) from error
        else:
            message = error.response.get("Error", {}).get("Message")
            said = f"{where} refuses {error.operation_name} of {self._what}: {code}, {message}"
        raise StoreError(said) from error

    def _explained(self, error: BotoCoreError) -> StoreError:
        if isinstance(error, _NO_KEY):
            return StoreError(
                f"there are no credentials for {self._url} ({error}): set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
                "or AWS_PROFILE"
            )
        if isinstance(error, SSLError):
            return StoreError(
                f"{self._endpoint} is not trusted: {error}. Name its certificate authority with AWS_CA_BUNDLE"
            )
        if isinstance(error, FlexibleChecksumError):
            return StoreError(f"{self._what} from {self._url} arrives damaged, again and again: {error}")
        if isinstance(error, _NO_ANSWER):
            return StoreAway(
                f"{self._url} cannot be reached at {self._endpoint}, or breaks off over {self._what}: is it running, "
                f"and is AWS_ENDPOINT_URL right? ({type(error).__name__})"
            )
        return StoreError(f"{self._url}: {error}")


_running: ContextVar[Operation | None] = ContextVar("operation", default=None)


def _before_attempt(**_: Any) -> None:
    if operation := _running.get():
        operation.check()


def error_code(error: ClientError) -> str:
    """S3's word for what is wrong: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html"""
    return str(error.response.get("Error", {}).get("Code", ""))


def was_repeated(error: ClientError) -> bool:
    """Whether this answers another attempt than the first."""
    return bool(error.response.get("ResponseMetadata", {}).get("RetryAttempts"))
