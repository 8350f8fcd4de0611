"""How many updates a run makes at once: between two looks at its numbers, at the clock and for signals."""

from math import prod

from numpy_rnn.common.records import Parameters

MOST_UPDATES = 256  # also of the smallest network: a divergence is found by making them once more
SECONDS = 0.2  # that they take at most, about: Ctrl-C has to wait for them
OF_A_STEP = 5e-5  # seconds: the calls of one step of one window, of the slower backend
FLOPS = 2e9  # a second, of a slow core


def updates_at_once(params: Parameters, k2: int) -> int:
    """The `yield_every` of a run on one sequence. By sizes and not by the clock: a run that is resumed has the same."""
    *E, D, H = params.W_xh.shape
    O = params.W_hy.shape[-1]
    of_a_step = 6 * prod(E) * H * (D + H + O)  # flops: two a weight in the forward pass, four in the backward pass
    return max(1, min(MOST_UPDATES, int(SECONDS / (k2 * (OF_A_STEP + of_a_step / FLOPS)))))
