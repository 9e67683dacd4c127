"""What a safetensors file says about itself, read without loading a tensor, and without any code that unpickles.

Format: 8 bytes little-endian header length, that many bytes of JSON, then the tensors' bytes without gaps
(https://huggingface.co/docs/safetensors/#format).
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from contracts.errors import ModelError
from contracts.release.strict_json import load_json

HEADER_LIMIT = 4 * 1024 * 1024
FLOATS: Mapping[str, int] = {"F32": 4, "F16": 2}
"""The number formats of the trained weights, with the bytes of a number."""

QUANTISED: Mapping[str, int] = {**FLOATS, "I8": 1, "U8": 1, "I32": 4}
"""Those of weights in fewer bits, with their scales and offsets."""

_FOREIGN = {b"\x80": "a pickle file", b"PK": "a zip archive, as torch.save writes it", b"\x89HDF": "an HDF5 file"}


class Tensor(NamedTuple):
    """One tensor as the header describes it: its number format, such as "F32", and its shape."""

    dtype: str
    shape: tuple[int, ...]


def read_header(path: Path, formats: Mapping[str, int] = FLOATS) -> dict[str, Tensor]:
    """The tensors by name. Raises ModelError for anything but a sound safetensors file of tensors in these formats."""
    try:
        with path.open("rb") as source:
            total = os.fstat(source.fileno()).st_size
            start = source.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
            if not 2 <= length <= min(HEADER_LIMIT, total - 8):
                kind = next((kind for magic, kind in _FOREIGN.items() if start.startswith(magic)), "something else")
                raise ModelError(
                    f"{path.name} is {kind}, not safetensors, and is never loaded: export the weights again"
                )
            header = load_json(source.read(length))
    except OSError as error:
        raise ModelError(f"{path.name} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ModelError(f"{path.name} is not a safetensors file: its header is not JSON") from error
    if not isinstance(header, dict):
        raise ModelError(f"{path.name} is not a safetensors file: its header is not a JSON object")

    header.pop("__metadata__", None)
    spans, tensors = [], {}
    for name, entry in header.items():
        tensor, begin, end = _entry(path.name, name, entry, formats)
        tensors[name] = tensor
        spans.append((begin, end))
    position = 0
    for begin, end in sorted(spans):
        if begin != position:
            raise ModelError(f"{path.name} has overlapping tensors or a gap at byte {position}: export it again")
        position = end
    if position != total - 8 - length:
        raise ModelError(f"{path.name} has {total - 8 - length} bytes of tensors and its header names {position}")
    return tensors


def _entry(file: str, name: str, entry: Any, formats: Mapping[str, int]) -> tuple[Tensor, int, int]:
    """One entry of the header as (tensor, first byte, last byte + 1)."""
    fault = ModelError(f"{file}: the header's entry for {name[:80]!r} is damaged: export it again")
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise fault
    shape, offsets = entry["shape"], entry["data_offsets"]
    for numbers in (shape, offsets):
        # `type`, because True is an int too.
        if not isinstance(numbers, list) or not all(type(n) is int and 0 <= n < 2**48 for n in numbers):
            raise fault
    if len(offsets) != 2 or len(shape) > 8:
        raise fault
    item = formats.get(str(entry["dtype"]))
    if item is None:
        raise ModelError(f"{file}: {name[:80]!r} is not stored as {' or '.join(formats)}: convert it first")
    begin, end = offsets
    if end - begin != math.prod(shape) * item:
        raise ModelError(f"{file}: {name[:80]!r} has a size that does not fit its shape: export it again")
    return Tensor(entry["dtype"], tuple(shape)), begin, end
