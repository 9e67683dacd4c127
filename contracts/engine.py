"""What an engine is, for those who run one and those who judge one: encoded reviews in, logits out.

The engines themselves are torchserve's (torchserve/engines/). Training judges with the one that would serve without
importing torchserve: it is found by its entry point.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from contracts.errors import ConfigError
from contracts.installation import how_to_install

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from contracts.tokens import Encoded

Logits: TypeAlias = "npt.NDArray[np.float32]"
"""(reviews, 5), one star to five, untempered."""

GROUP = "stars.engines"
SERVING = "serving"


class Engine(Protocol):
    """One loaded model on one thread. Made from a release's folder and its token limit; raises ModelError then."""

    def infer(self, reviews: Sequence[Encoded]) -> Logits:
        """The logits in the order of the reviews."""

    def warm_up(self) -> None:
        """Pay for first times now, so that the first callers need not."""

    def close(self) -> None:
        """Let go of the weights."""


class NamedEngine(NamedTuple):
    """An engine and what the manifest calls it."""

    kind: str
    engine: Engine


def serving_engine(folder: Path) -> NamedEngine:
    """The engine with which a model server on this machine would serve the release in the folder.

    Raises ConfigError where none is installed, ModelError where none of the release's engines runs here.
    """
    missing = ""
    for point in entry_points(group=GROUP, name=SERVING):
        try:
            engine: NamedEngine = point.load()(folder)
        except ImportError as error:
            missing = f" ({error})"
        else:
            return engine
    raise ConfigError(f"no engine that serves is installed{missing}: {how_to_install('torchserve')}")
