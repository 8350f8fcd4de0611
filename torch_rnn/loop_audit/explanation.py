"""What an exception of autograd means in a training loop, as a note of the exception:
Python prints it below the traceback.
"""

from bisect import bisect

from torch_rnn.loop_audit.events import BackwardPass, ForwardPass
from torch_rnn.loop_audit.loop import TrainingLoop

AGAIN = "backward through the graph a second time"
IN_PLACE = "modified by an inplace operation"


def _earlier_pass(loop: TrainingLoop, failed: BackwardPass) -> ForwardPass | None:
    """Return the latest pass behind a failed backward pass that an earlier one has gone
    through, or after which parameters have changed.
    """
    done = {
        forward
        for backward in loop.backwards
        if backward is not failed
        for forward in backward.reached
    }
    ends = [change.number for change in loop.changes]
    last = max((forward.number for forward in failed.reached), default=0)
    begun = bisect(ends, last)
    old = [f for f in failed.reached if f in done or bisect(ends, f.number) < begun]
    return max(old, key=lambda forward: forward.number, default=None)


def _meaning(loop: TrainingLoop, failed: BackwardPass, is_again: bool) -> str:
    """Return what has made the graph that a backward pass cannot go through."""
    again = "a backward() before has gone through this graph, and freed it"
    changed = "its values have changed since, as by the step of an optimizer"
    reason = again if is_again else changed
    for backward in loop.backwards:
        common = backward.losses & failed.losses
        if backward is not failed and common and is_again:
            (loss, *_) = common
            return (
                f"the loss of {loss.location} is in it again: {again}. Begin each sum"
                " of losses at 0 after an update, and call backward() once for a loss"
            )
    forward = _earlier_pass(loop, failed)
    if forward is not None:
        number = bisect([s[-1].number for s in loop.groups], forward.number) + 1
        return (
            f"it goes on into the graph that {forward.location} has made before update"
            f" {number}: {reason}. Cut the state that is passed on, as by"
            " state = state.detach()"
        )
    if failed.shared is not None and is_again:
        node, place = failed.shared
        return (
            f"it reaches a {node} that the backward() of {place} has gone through:"
            f" {again}. Compute what is shared again for each update, or detach() it"
        )
    if is_again:
        return f"{again}. Compute it again for each update, or detach() it"
    return (
        "a tensor that the gradient needs has been changed in place, as by x[i] = ..."
        " or x += ...: make a new one, as by torch.stack or x = x + ..."
    )


def explain(error: BaseException, loop: TrainingLoop) -> None:
    """Add a note to an exception of backward() that says what it means."""
    message = str(error)
    is_again = AGAIN in message
    failed = [backward for backward in loop.backwards if backward.has_failed]
    if not failed or not (is_again or IN_PLACE in message):
        return
    text = _meaning(loop, failed[-1], is_again)
    error.add_note(f"audit: in backward() of {failed[-1].location}, {text}.")
