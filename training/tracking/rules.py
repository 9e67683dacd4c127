"""What can go wrong while a network learns, seen in what it measures: one function a rule.

A rule looks at the history so far and answers with a sentence that says what is wrong and what to do, or with None.
They are the successors of the built-in rules of SageMaker's debugger, and look at curves instead of tensors.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from statistics import fmean, median

from training.tracking.history import History

FEW = 5
"""Reports that are looked at together: one alone is noise."""
FALL = 0.02
"""By so much of itself the loss must have fallen."""
EXPLODED = 50.0
"""Times the median of the norms before."""
VANISHED = 1e-6
WORSE = 1.05
"""Times the best validation cross-entropy: above that it has risen."""
WAITING = 0.3
SAME_LOGITS = 1e-3
SAME_STAR = 0.99

Rule = Callable[[History], str | None]


def not_finite(history: History) -> str | None:
    """The loss or its gradient is no number: the weights are lost. This one cannot be told to go on."""
    last = next(reversed(history.points.values()), {})
    if all(math.isfinite(last[name]) for name in ("loss", "gradient_norm") if name in last):
        return None
    return "the loss or its gradient is not a number: lower learning_rate, or set precision to float32"


def loss_not_falling(history: History) -> str | None:
    """Over the last reports the loss is about what it was over the first, or higher."""
    losses = history.values("loss")
    if len(losses) < 2 * FEW:
        return None
    first, last = fmean(losses[:FEW]), fmean(losses[-FEW:])
    if last < (1 - FALL) * first:
        return None
    return (
        f"the loss does not fall, from {first:.3f} at first to {last:.3f} now: nothing new is learnt. Try another "
        "learning_rate, and look whether the stars belong to the texts"
    )


def exploding_gradient(history: History) -> str | None:
    """The norm of the gradients is far above all that it was."""
    norms = history.values("gradient_norm")
    if len(norms) <= FEW:
        return None
    usual = median(norms[:-1])
    if norms[-1] <= EXPLODED * usual:
        return None
    return (
        f"the gradients' norm is {norms[-1]:.3g}, and was {usual:.3g} so far: lower learning_rate or gradient_norm, or "
        "lengthen warmup_fraction"
    )


def vanishing_gradient(history: History) -> str | None:
    """There is next to no gradient any more."""
    norms = history.values("gradient_norm")[-FEW:]
    if len(norms) < FEW or max(norms) >= VANISHED:
        return None
    return (
        f"the gradients' norm is {norms[-1]:.1g}: nothing is learnt any more. Lower learning_rate, and look whether "
        "the base model's weights are whole"
    )


def overfit(history: History) -> str | None:
    """Validation has become worse while the loss went on falling."""
    scored = history.curve("validation_cross_entropy")
    if len(scored) < 2:
        return None
    best = min(range(len(scored) - 1), key=lambda epoch: scored[epoch][1])
    losses = [_mean_loss(history, *ends) for ends in pairwise([0, *(step for step, _ in scored)])]
    if scored[-1][1] <= WORSE * scored[best][1] or losses[-1] >= losses[best]:
        return None
    return (
        f"validation cross-entropy rose from {scored[best][1]:.3f} after epoch {best + 1} to "
        f"{scored[-1][1]:.3f} while the loss fell from {losses[best]:.3f} to {losses[-1]:.3f}. Train for fewer epochs, "
        "with more dropout or on more reviews; the weights of the epoch with the best accuracy are kept"
    )


def _mean_loss(history: History, after: int, until: int) -> float:
    return fmean([loss for step, loss in history.curve("loss") if after < step <= until] or [math.inf])


def input_wait(history: History) -> str | None:
    """Much of the time goes into getting batches."""
    waits = history.values("input_wait")[-FEW:]
    if len(waits) < FEW or fmean(waits) <= WAITING:
        return None
    return (
        f"{fmean(waits):.0%} of the time is spent waiting for batches: end what else uses this machine's processors "
        "and disk, or raise batch_size"
    )


def dead_head(history: History) -> str | None:
    """The network says the same of every review."""
    spreads = history.values("validation_spread")[-1:]
    if not spreads or spreads[0] >= SAME_LOGITS:
        return None
    return (
        "the head is dead: it says the same of every review of the validation split. Lower learning_rate, lengthen "
        "warmup_fraction, and begin anew"
    )


def class_collapse(history: History) -> str | None:
    """All reviews get one star."""
    shares = history.values("validation_largest_share")[-1:]
    if not shares or shares[0] < SAME_STAR:
        return None
    return (
        f"{shares[0]:.0%} of the validation split get the same star: train for longer, try another learning_rate, or "
        "bring more reviews of the rare stars"
    )


ALWAYS_STOPS = "not_finite"
RULES: dict[str, Rule] = {
    rule.__name__: rule
    for rule in (
        not_finite,
        loss_not_falling,
        exploding_gradient,
        vanishing_gradient,
        overfit,
        input_wait,
        dead_head,
        class_collapse,
    )
}
