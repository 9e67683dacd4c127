"""The arrays that the rooms of training hand each other. A name without a width is the widest: 64 bits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
"""Stars from 1 to 5, counts, and the numbers of rows."""
Floats = NDArray[np.float64]
"""What is measured: logits, probabilities, metrics."""
Ints32 = NDArray[np.int32]
"""What goes into the network: token ids, labels from 0 to 4."""
Floats32 = NDArray[np.float32]
"""What the network computes with while it trains: features, targets."""
