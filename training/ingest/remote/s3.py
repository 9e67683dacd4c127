"""Files in a bucket, read with the release store's own client: its server, its credentials, its retries."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from fnmatch import fnmatchcase
from typing import Any

from botocore.exceptions import (
    ClientError,
    FlexibleChecksumError,
    IncompleteReadError,
    ReadTimeoutError,
    ResponseStreamingError,
)

from contracts.errors import DataError, StoreAway
from contracts.stages import SUFFIXES
from contracts.store.s3_client import Operation, error_code, new_client
from training.ingest.remote.address import Address, file_name
from training.ingest.remote.file import Broken, RemoteBytes

CHUNK_BYTES = 1 << 20

_CUT = (FlexibleChecksumError, IncompleteReadError, ReadTimeoutError, ResponseStreamingError)


class S3File:
    """One object of a bucket."""

    sha256 = ""

    def __init__(self, client: Any, bucket: str, key: str) -> None:
        self.url, self.name = f"s3://{bucket}/{key}", file_name(key)
        self._client, self._bucket, self._key = client, bucket, key

    @contextmanager
    def open(self, start: int, validator: str) -> Iterator[RemoteBytes | None]:
        place = {"Bucket": self._bucket, "Key": self._key}
        condition: dict[str, str] = {}
        if start:
            condition = {"Range": f"bytes={start}-", "IfMatch": validator}
        elif validator:
            condition = {"IfNoneMatch": validator}
        try:
            with _operation(self._client, self._bucket, self._key) as operation:
                try:
                    answer = self._client.get_object(**place, **condition)
                except ClientError as error:
                    if error_code(error) in {"304", "NotModified"}:
                        yield None
                        return
                    if error_code(error) not in {"PreconditionFailed", "412"}:
                        raise
                    start, answer = 0, self._client.get_object(**place)
                with closing(answer["Body"]) as body:
                    operation.expect(answer["ContentLength"])
                    part = answer["ResponseMetadata"]["HTTPStatusCode"] == 206
                    at = start if part else 0
                    chunks = _chunks(body, operation)
                    yield RemoteBytes(at, at + answer["ContentLength"], str(answer["ETag"]), chunks)
        except StoreAway as error:
            raise Broken(str(error)) from error


def s3_files(address: Address) -> list[S3File]:
    """The object, those of a folder (`s3://bucket/folder/`) or those that a pattern fits. Raises DataError for none."""
    client, bucket = new_client(), address.parts.netloc
    key = address.shown.removeprefix(f"s3://{bucket}").removeprefix("/")
    pattern = any(sign in key for sign in "*?[")
    if not pattern and key and not key.endswith("/"):
        return [S3File(client, bucket, key)]
    beginning = key.split("*")[0].split("?")[0].split("[")[0]
    with _operation(client, bucket, f"the keys under {beginning!r}"):
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=beginning)
        keys = [each["Key"] for page in pages for each in page.get("Contents", []) if each["Size"]]
    if pattern:
        found = [each for each in keys if fnmatchcase(each, key)]
    else:
        found = [each for each in keys if "/" not in each[len(key) :] and each.endswith(SUFFIXES)]
    if not found:
        raise DataError(f"{address.shown} holds no file of reviews: their names end in {', '.join(SUFFIXES)}")
    return [S3File(client, bucket, each) for each in sorted(found)]


@contextmanager
def _operation(client: Any, bucket: str, what: str) -> Iterator[Operation]:
    with Operation(client, bucket, f"s3://{bucket}", what) as operation:
        try:
            yield operation
        except ClientError as error:
            if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") != 403 or error_code(error) not in {
                "AccessDenied",
                "403",
            }:
                raise
            raise DataError(
                f"s3://{bucket} does not allow reading {what} ({error_code(error)}): the credentials need s3:GetObject "
                "on it, and s3:ListBucket for a folder or a pattern"
            ) from error


def _chunks(body: Any, operation: Operation) -> Iterator[bytes]:
    try:
        while chunk := body.read(CHUNK_BYTES):
            yield chunk
            operation.check()
    except _CUT as error:
        raise Broken(type(error).__name__) from error
