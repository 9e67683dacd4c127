"""Whether a model is good enough to be released, and better than the one in production."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from contracts.errors import GateError
from training.judge.metrics import Interval


class Verdict(NamedTuple):
    """Whether a candidate should replace what is in production, and why."""

    verdict: Literal["promote", "keep"]
    reason: str


def decide(production: Mapping[str, Any] | None) -> Verdict:
    """Promote what is better beyond chance in accuracy or in MAE, and worse beyond chance in neither."""
    if production is None:
        return Verdict("promote", "There is no version in production to compare with.")
    accuracy, mae = production["difference"]["accuracy"], production["difference"]["mae"]
    figures = (
        f"accuracy {accuracy['value']:+.1%} ({accuracy['low']:+.1%} to {accuracy['high']:+.1%}), "
        f"MAE {mae['value']:+.3f} ({mae['low']:+.3f} to {mae['high']:+.3f}) "
        f"against {production['version']} on {production['rows']:,} reviews"
    ).replace("%", " %")
    if accuracy["high"] < 0 or mae["low"] > 0:
        return Verdict("keep", f"The new model is worse beyond chance: {figures}.")
    if accuracy["low"] > 0 or mae["high"] < 0:
        return Verdict("promote", f"The new model is better beyond chance: {figures}.")
    return Verdict("keep", f"The new model is neither better nor worse beyond chance: {figures}.")


def check_floor(metrics: Mapping[str, Interval], floor: Mapping[str, Interval], name: str) -> None:
    """Raises GateError unless the accuracy is higher than the baseline's."""
    ours, theirs = metrics["accuracy"]["value"], floor["accuracy"]["value"]
    if ours <= theirs:
        raise GateError(
            f"the model gets {ours:.1%} of the test split right and the {name} baseline {theirs:.1%}: "
            "it has not learnt enough to be released. Train longer, or on more data"
        )
