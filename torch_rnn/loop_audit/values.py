"""The warnings of an audit on numbers: losses, probabilities, what is not finite."""

from collections.abc import Iterator

from torch_rnn.loop_audit.events import (
    Event,
    LossCall,
    NonFinite,
    parameters_in,
    union,
)
from torch_rnn.loop_audit.findings import warning
from torch_rnn.loop_audit.loop import TrainingLoop, grouped, is_most


def signed_losses(loop: TrainingLoop, sign: str) -> Iterator[LossCall]:
    """Yield the losses with a sign that reach backward(), where most of their line
    have it.
    """
    reached = union(backward.losses for backward in loop.backwards)
    losses = [loss for loss in loop.losses if loss in reached]
    for line in grouped(losses, lambda loss: loss.location).values():
        signed = [loss for loss in line if sign in loss.signs]
        if is_most(len(signed), len(line)):
            yield from signed


@warning(
    "the output and the target have different shapes, and the loss compares each number"
    " of one with each of the other: give both the same shape",
    LossCall,
    least=1,
)
def loss_broadcasts(loop: TrainingLoop) -> Iterator[Event]:
    """Yield losses that are larger than their output and their target."""
    yield from signed_losses(loop, "loss-broadcasts")


@warning(
    "this loss computes the probabilities itself, and gets probabilities: give it the"
    " numbers before softmax or sigmoid, or for nll_loss their log_softmax",
    LossCall,
)
def loss_of_probabilities(loop: TrainingLoop) -> Iterator[Event]:
    """Yield losses whose input is the result of softmax or sigmoid."""
    yield from signed_losses(loop, "loss-of-probabilities")


@warning(
    "nll_loss gets positive numbers, which are no logarithms of probabilities: give it"
    " log_softmax, or use cross_entropy",
    LossCall,
)
def loss_of_no_probabilities(loop: TrainingLoop) -> Iterator[Event]:
    """Yield negative log likelihoods of positive numbers."""
    yield from signed_losses(loop, "loss-of-no-probabilities")


@warning(
    "the target of each step is the next input, which a bidirectional module has seen:"
    " use one direction",
    LossCall,
)
def target_seen(loop: TrainingLoop) -> Iterator[Event]:
    """Yield losses whose target a bidirectional module reads."""
    yield from signed_losses(loop, "target-seen")


@warning(
    "here is the first value that is nan or infinite, and the parameters become so:"
    " check the data and the learning rate, or clip the gradient",
    least=1,
)
def not_finite(loop: TrainingLoop) -> Iterator[Event]:
    """Yield the first value that is not finite, if parameters are not."""
    found = [event for event in loop.record.events if isinstance(event, NonFinite)]
    if any(event.kind == "a parameter" for event in found):
        yield found[0]


@warning("the gradient of each parameter is zero after every backward()", least=1)
def gradient_is_zero(loop: TrainingLoop) -> Iterator[Event]:
    """Yield the first backward pass if no parameter ever gets a gradient."""
    reached = parameters_in(loop.backwards)
    if reached and reached <= loop.record.zero:
        yield loop.backwards[0]


def parameters_without_gradient(loop: TrainingLoop) -> list[int]:
    """Return the ids of parameters whose gradient is always zero, unless it is so of
    all.
    """
    reached = parameters_in(loop.backwards)
    zero = reached & loop.record.zero
    return sorted(zero) if zero < reached else []
