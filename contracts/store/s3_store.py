"""A bucket as an object store: AWS S3, or any server that speaks its protocol with conditional writes.

Where the server is and who we are is found as every AWS tool finds it: AWS_ENDPOINT_URL, AWS_REGION, AWS_PROFILE,
~/.aws, the role of the machine. https://docs.aws.amazon.com/boto3/latest/guide/configuration.html
"""

from __future__ import annotations

import os
import random
import re
import time
from contextlib import closing, suppress
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from botocore.exceptions import (
    ClientError,
    FlexibleChecksumError,
    IncompleteReadError,
    ReadTimeoutError,
    ResponseStreamingError,
)

from contracts.errors import ConfigError, StoreError
from contracts.store.disk import explained, write_atomically
from contracts.store.protocol import READ_LIMIT, Stored, changed, check_key, check_size, is_key, taken
from contracts.store.s3_client import Operation, error_code, new_client, was_repeated

ENCRYPTION_VARIABLE = "STARS_STORE_ENCRYPTION"
PART_BYTES = 16 * 1024 * 1024
"""A larger file goes up in parts of this size, each with its checksum; S3 wants at least 5 MiB."""

CHUNK_BYTES = 256 * 1024
CUTS = 4
"""How often an answer may break off before a download is given up."""

LOST = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412"})
CUT = (FlexibleChecksumError, IncompleteReadError, ReadTimeoutError, ResponseStreamingError)

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


class S3Store:
    """The objects of a bucket below a prefix: `s3://bucket/prefix`. Nothing outside the prefix is read or written.

    Conditions are the server's own (If-None-Match, If-Match), so they hold between machines. Etags are the server's.
    Every operation has one deadline over all its attempts. Raises ConfigError for a URL or settings that cannot be
    used; the server is first asked by an operation.
    """

    def __init__(self, url: str) -> None:
        self._bucket, _, prefix = url.removeprefix("s3://").partition("/")
        prefix = prefix.strip("/")
        if "@" in self._bucket or ":" in self._bucket:  # not shown: it may be a key
            raise ConfigError(
                "an s3:// URL holds no key and no host, only s3://bucket/prefix: set AWS_ACCESS_KEY_ID, "
                "AWS_SECRET_ACCESS_KEY and AWS_ENDPOINT_URL, or use AWS_PROFILE"
            )
        if not _BUCKET.fullmatch(self._bucket):
            raise ConfigError(f"{url} names no bucket: use s3://bucket/prefix, the bucket in small letters and digits")
        if prefix and not is_key(prefix):
            raise ConfigError(
                f"{url} is no store: a prefix is printable ASCII, its parts joined by '/', none beginning with a dot"
            )
        self._prefix = f"{prefix}/" if prefix else ""
        self._encryption = _encryption(os.environ.get(ENCRYPTION_VARIABLE, ""))
        self._client = new_client()

    @property
    def url(self) -> str:
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    def read(self, key: str, *, limit: int = READ_LIMIT) -> Stored:
        place = self._place(key)
        with self._operation(key) as operation:
            data = BytesIO()
            etag = self._receive(place, key, data, limit, operation)
        return Stored(data.getvalue(), etag)

    def write(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        place = self._place(key)
        with self._operation(key) as operation:
            operation.expect(len(data))
            return self._put(place, key, data, operation, if_absent, if_match)

    def upload(self, path: Path, key: str, *, if_absent: bool = False) -> None:
        place = self._place(key)
        with explained(path), path.open("rb") as source:
            size = os.fstat(source.fileno()).st_size
            with self._operation(key) as operation:
                operation.expect(size)
                if if_absent and self._exists(place):  # before the work; the condition is asked again at its end
                    raise taken(key)
                if size <= PART_BYTES:
                    self._put(place, key, source.read(), operation, if_absent, None)
                else:
                    self._put_parts(place, key, source, operation, if_absent)

    def download(self, key: str, path: Path, *, limit: int | None = None) -> None:
        place = self._place(key)
        with explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._operation(key) as operation:
                write_atomically(path, lambda target: self._receive(place, key, target, limit, operation))

    def check_writable(self) -> None:
        probe = {"Bucket": self._bucket, "Key": f"{self._prefix}.writable"}  # no key of ours, and so never listed
        with self._operation("a probe"):
            self._client.list_objects_v2(Bucket=self._bucket, Prefix=self._prefix, MaxKeys=1)
            self._client.put_object(**probe, Body=b"", **self._encryption)
            with suppress(ClientError):  # who may only add is told nothing else
                self._client.delete_object(**probe)

    def list(self, prefix: str) -> list[str]:
        start = prefix.rpartition("/")[0]
        if start:
            check_key(start)
        with self._operation(f"the keys under {prefix!r}"):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix + prefix
            )
            found = [each["Key"].removeprefix(self._prefix) for page in pages for each in page.get("Contents", [])]
        return sorted(key for key in found if is_key(key))  # what else lies there is no object of ours

    def delete(self, key: str) -> None:
        place = self._place(key)
        with self._operation(key):
            self._client.delete_object(**place)

    def _place(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + check_key(key)}

    def _operation(self, what: str) -> Operation:
        return Operation(self._client, self._bucket, self.url, what)

    def _exists(self, place: dict[str, str]) -> bool:
        try:
            self._client.head_object(**place)
        except ClientError as error:
            if error_code(error) == "404":
                return False
            raise
        return True

    def _put(
        self,
        place: dict[str, str],
        key: str,
        data: bytes,
        operation: Operation,
        if_absent: bool,
        if_match: str | None,
    ) -> str:
        body = _Body(data, operation)
        try:
            answer = self._client.put_object(**place, Body=body, **_condition(if_absent, if_match), **self._encryption)
            return str(answer["ETag"])
        except ClientError as error:
            gone = if_match is not None and error_code(error) == "NoSuchKey"
            if error_code(error) not in LOST and not gone:
                raise
            if was_repeated(error):  # the answer to the first attempt was lost: it may be ours that lies there
                found = BytesIO()
                with suppress(StoreError):  # larger than ours
                    etag = self._receive(place, key, found, len(data), operation)
                    if found.getvalue() == data:
                        return etag
            raise (changed(key) if if_match is not None else taken(key)) from None

    def _put_parts(
        self, place: dict[str, str], key: str, source: BinaryIO, operation: Operation, if_absent: bool
    ) -> None:
        checksum = {"ChecksumAlgorithm": "CRC32"}
        upload = self._client.create_multipart_upload(**place, **checksum, **self._encryption)["UploadId"]
        try:
            parts: list[dict[str, Any]] = []
            while data := source.read(PART_BYTES):
                number = {"PartNumber": len(parts) + 1}
                body = _Body(data, operation)
                sent = self._client.upload_part(**place, **number, **checksum, UploadId=upload, Body=body)
                parts.append(number | {name: sent[name] for name in ("ETag", "ChecksumCRC32") if name in sent})
            self._client.complete_multipart_upload(
                **place, UploadId=upload, MultipartUpload={"Parts": parts}, **_condition(if_absent, None)
            )
        except BaseException as error:
            with suppress(StoreError), self._operation(key):  # what was sent would lie there, unseen and paid for
                self._client.abort_multipart_upload(**place, UploadId=upload)
            if isinstance(error, ClientError) and error_code(error) in LOST:
                raise taken(key) from None
            raise

    def _receive(
        self, place: dict[str, str], key: str, target: BinaryIO, limit: int | None, operation: Operation
    ) -> str:
        """Copy the object's bytes into an empty file and return its etag. After a cut it goes on where it was cut."""
        etag, cuts = "", 0
        while True:
            part = {"Range": f"bytes={target.tell()}-", "IfMatch": etag} if target.tell() else {}
            answer = self._client.get_object(**place, **part)
            etag = str(answer["ETag"])
            if answer["ResponseMetadata"]["HTTPStatusCode"] != 206:
                _empty(target)
            check_size(key, target.tell() + answer["ContentLength"], limit)
            if not cuts:
                operation.expect(answer["ContentLength"])
            try:
                with closing(answer["Body"]) as body:
                    while chunk := body.read(CHUNK_BYTES):
                        target.write(chunk)
                        operation.check()
                return etag
            except CUT as error:
                cuts += 1
                if cuts == CUTS:
                    raise
                if isinstance(error, FlexibleChecksumError):
                    _empty(target)
                time.sleep(random.uniform(0, 0.2 * 2**cuts))  # noqa: S311


class _Body(BytesIO):
    """Bytes on their way, which stop when the operation's time is over. In small reads, each with its own timeout."""

    def __init__(self, data: bytes, operation: Operation) -> None:
        super().__init__(data)
        self._operation = operation

    def read(self, size: int | None = -1, /) -> bytes:
        self._operation.check()
        return super().read(size)


def _condition(if_absent: bool, if_match: str | None) -> dict[str, str]:
    return ({"IfNoneMatch": "*"} if if_absent else {}) | ({"IfMatch": if_match} if if_match is not None else {})


def _empty(target: BinaryIO) -> None:
    target.seek(0)
    target.truncate()


def _encryption(value: str) -> dict[str, str]:
    """The arguments for server-side encryption that a write takes. Without any the bucket's own default holds."""
    algorithm, _, key = value.partition(" ")
    if value and (algorithm not in {"AES256", "aws:kms"} or (key and algorithm == "AES256")):
        raise ConfigError(f"{ENCRYPTION_VARIABLE} is {value!r}: use AES256, aws:kms, or 'aws:kms KEY'")
    return ({"ServerSideEncryption": algorithm} if value else {}) | ({"SSEKMSKeyId": key} if key else {})
