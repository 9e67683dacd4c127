"""Two ways to compute a dense layer, where nearly all of the time goes: oneDNN's for serving, torch's own for the rest.

A network (network.py) takes either. An engine with kernels of its own brings a third.
"""

from __future__ import annotations

import platform
from typing import Protocol, cast

import torch
from torch import Tensor
from torch.nn import functional

from torchserve.engines.weights import Affine

ROWS_MOST = 768
"""Tokens that go through the network at once: enough to fill the processor's vector units, and few enough that what
is computed stays in its cache."""

_ONEDNN = torch.ops.mkldnn._linear_pointwise


class Dense(Protocol):
    """A dense layer, ready to be computed."""

    def __call__(self, x: Tensor, gelu: bool = False) -> Tensor:
        """(rows, in) to (rows, out), through the gelu where it is asked for."""

    def onto(self, residual: Tensor, x: Tensor) -> Tensor:
        """The layer's output for x, added to the residual."""


class TorchDense:
    """PyTorch's own operators: they run everywhere, in any number format, and have gradients."""

    def __init__(self, weights: Affine) -> None:
        self._weights = weights

    def __call__(self, x: Tensor, gelu: bool = False) -> Tensor:
        y = functional.linear(x, *self._weights)
        return functional.gelu(y) if gelu else y

    def onto(self, residual: Tensor, x: Tensor) -> Tensor:
        return functional.linear(x, *self._weights).add_(residual)


class PackedDense:
    """The weight in oneDNN's packed layout, which adds the bias and computes gelu while a tile is in the cache.

    On x86 in float32, without gradients. These are the operators that PyTorch's own compiler emits, which would need a
    C++ compiler to run.
    """

    def __init__(self, weights: Affine) -> None:
        self._bias = weights.bias
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weights.weight, ROWS_MOST)

    def __call__(self, x: Tensor, gelu: bool = False) -> Tensor:
        kind, algorithm = ("gelu", "none") if gelu else ("none", "")
        return cast(Tensor, _ONEDNN(x, self._weight, self._bias, kind, [], algorithm))

    def onto(self, residual: Tensor, x: Tensor) -> Tensor:
        return cast(Tensor, _ONEDNN.binary(x, residual, self._weight, self._bias, "add"))


def can_pack() -> bool:
    """Whether this machine has what PackedDense needs."""
    x86 = platform.machine().lower() in {"x86_64", "amd64"}
    return x86 and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
