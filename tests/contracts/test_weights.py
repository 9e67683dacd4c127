from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import ModelError
from contracts.release.weights import Tensor, read_header

GOOD = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def write(folder: Path, header: Any, data: bytes = b"", length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path = folder / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def test_what_the_library_writes(tmp_path: Path) -> None:
    arrays = {"a": np.ones((3, 4), np.float32), "b": np.ones(5, np.float16), "c": np.ones((), np.float32)}
    safetensors.numpy.save_file(arrays, tmp_path / "x", metadata={"format": "pt"})
    assert read_header(tmp_path / "x") == {"a": Tensor("F32", (3, 4)), "b": Tensor("F16", (5,)), "c": Tensor("F32", ())}


@pytest.mark.parametrize(
    ("header", "data", "word"),
    [
        ({"a": GOOD}, bytes(7), "header names 8"),
        ({"a": GOOD}, bytes(9), "header names 8"),
        ({"a": GOOD | {"data_offsets": [0, 7]}}, bytes(7), "fit its shape"),
        ({"a": GOOD | {"data_offsets": [8, 0]}}, bytes(8), "fit its shape"),
        ({"a": GOOD | {"data_offsets": [-8, 0]}}, bytes(8), "damaged"),
        ({"a": GOOD | {"data_offsets": [0, 8, 8]}}, bytes(8), "damaged"),
        ({"a": GOOD | {"data_offsets": [0, 2**60]}}, bytes(8), "damaged"),
        ({"a": GOOD | {"data_offsets": [0.0, 8.0]}}, bytes(8), "damaged"),
        ({"a": GOOD | {"shape": [True, 2]}}, bytes(8), "damaged"),
        ({"a": GOOD | {"shape": "2"}}, bytes(8), "damaged"),
        ({"a": GOOD | {"shape": [2**40, 2**40]}}, bytes(8), "fit its shape"),
        ({"a": GOOD | {"dtype": "I64", "shape": [1]}}, bytes(8), "F32 or F16"),
        ({"a": GOOD | {"dtype": ["F32"]}}, bytes(8), "F32 or F16"),
        ({"a": GOOD | {"extra": 1}}, bytes(8), "damaged"),
        ({"a": {}}, b"", "damaged"),
        ({"a": []}, b"", "damaged"),
        ({"a": GOOD, "b": GOOD}, bytes(8), "overlapping"),
        ({"a": GOOD, "b": GOOD | {"data_offsets": [4, 12]}}, bytes(12), "overlapping"),
        ({"a": GOOD, "b": GOOD | {"data_offsets": [12, 20]}}, bytes(20), "gap"),
        ([], b"", "JSON object"),
        (b"{", b"", "not safetensors"),
        (b'{"a": ', b"", "not JSON"),
        (b"\xff\xff\xff", b"", "not JSON"),
        (b"[" * 100_000, b"", "not JSON"),
    ],
)
def test_damaged_headers(tmp_path: Path, header: Any, data: bytes, word: str) -> None:
    with pytest.raises(ModelError, match=word):
        read_header(write(tmp_path, header, data))


@pytest.mark.parametrize("length", [0, 1, 10**6, 2**63, 2**64 - 1])
def test_header_lengths(tmp_path: Path, length: int) -> None:
    with pytest.raises(ModelError, match="not safetensors"):
        read_header(write(tmp_path, {"a": GOOD}, bytes(8), length))


@pytest.mark.parametrize(
    "content", [b"", b"\x00", b"\x80\x04", b"PK\x03\x04" + bytes(100), b"\x89HDF\r\n\x1a\n", b"version https://git-lfs"]
)
def test_other_files(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(ModelError, match="export the weights again"):
        read_header(tmp_path / "x")


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        read_header(tmp_path / "absent")


@given(data=st.data())
def test_what_we_accept_the_library_accepts(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("weights")
    arrays = {"a": np.ones((3, 4), np.float32), "b": np.ones(5, np.float16)}
    content = bytearray(safetensors.numpy.save(arrays))
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(len(content) - 10, len(content)))]
    (folder / "x").write_bytes(content)
    try:
        tensors = read_header(folder / "x")
    except ModelError:
        return
    with safetensors.safe_open(folder / "x", "np") as opened:
        assert {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()} == {  # noqa: SIM118
            name: tensor.shape for name, tensor in tensors.items()
        }
