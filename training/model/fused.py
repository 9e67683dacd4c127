"""The two element-wise chains of a BERT block that cost most on a CPU, each compiled into one loop by XLA.

TensorFlow runs exact gelu and its gradient as nine passes over memory; fused they take a fifth of the time, a third of
a whole training step (`python -m benchmarks.train`). Both compute in float32 whatever the policy.
"""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    @tf.function(jit_compile=True)  # type: ignore[untyped-decorator]
    def _gelu(x: Any) -> Any:
        wide = tf.cast(x, tf.float32)
        return tf.cast(0.5 * wide * (1.0 + tf.math.erf(wide / math.sqrt(2.0))), x.dtype)

    @tf.function(jit_compile=True)  # type: ignore[untyped-decorator]
    def _gelu_gradient(x: Any, upstream: Any) -> Any:
        wide = tf.cast(x, tf.float32)
        cumulative = 0.5 * (1.0 + tf.math.erf(wide / math.sqrt(2.0)))
        density = tf.exp(-0.5 * wide * wide) / math.sqrt(2.0 * math.pi)
        return tf.cast(tf.cast(upstream, tf.float32) * (cumulative + wide * density), x.dtype)

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def gelu(x: Any) -> Any:
        """Exact gelu, x Φ(x) (Hendrycks & Gimpel 2016, arXiv:1606.08415)."""
        return _gelu(x), lambda upstream: _gelu_gradient(x, upstream)

    @tf.function(jit_compile=True)  # type: ignore[untyped-decorator]
    def _softmax(scores: Any, bias: Any) -> Any:
        return tf.cast(tf.nn.softmax(tf.cast(scores, tf.float32) + tf.cast(bias, tf.float32)), scores.dtype)

    @tf.function(jit_compile=True)  # type: ignore[untyped-decorator]
    def _softmax_gradient(weights: Any, upstream: Any) -> Any:
        wide, up = tf.cast(weights, tf.float32), tf.cast(upstream, tf.float32)
        return tf.cast(wide * (up - tf.reduce_sum(wide * up, axis=-1, keepdims=True)), weights.dtype)

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def biased_softmax(scores: Any, bias: Any) -> Any:
        """softmax(scores + bias) over the last axis. No gradient flows into the bias, which is a mask."""
        weights = _softmax(scores, bias)
        return weights, lambda upstream: (_softmax_gradient(weights, upstream), None)

else:

    def gelu(x: Any) -> Any:
        """Exact gelu, x Φ(x) (Hendrycks & Gimpel 2016, arXiv:1606.08415)."""
        return ops.gelu(x, approximate=False)

    def biased_softmax(scores: Any, bias: Any) -> Any:
        """softmax(scores + bias) over the last axis."""
        return ops.softmax(scores + bias, axis=-1)
