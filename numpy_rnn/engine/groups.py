"""The division of an ensemble into groups, which are computed one after the other.

A reader who looks for one network never meets this file. What a network computes does
not depend on its group, bit for bit.
"""

from __future__ import annotations

from itertools import pairwise
from math import ceil

from numpy_rnn.engine.vectors import CACHE_LINE, Sizes

MAX_GROUPED = 64  # B·H of the largest networks that are computed as a group
# Bytes of what an update of a group reads and writes. They stay in the cache of a core
# from one update to the next where that has 2 MiB. Smaller groups need more calls of
# NumPy, which large networks pay for first: H = 32 has 112 networks in a group.
GROUP_BYTES = 3 * 2**19


def network_bytes(sizes: Sizes, k2: int) -> int:
    """Return the bytes that an update of one network reads and writes.

    These are the parameters and the gradient, the latter twice, as a step writes it;
    and of every step of a window its row, and a, dh, φ' and da.
    """
    vectors = 3 * sizes.P
    step = sizes.B * (sizes.D + 5 * sizes.H + 3 * sizes.O + sizes.bias)
    return (vectors + k2 * step) * sizes.dtype.itemsize


def group_slices(sizes: Sizes, networks: int, k2: int) -> list[slice]:
    """Return the networks of every group, as slices, of groups that fit into
    GROUP_BYTES.

    Each has as many cache lines of networks as the others, or one less: a line is one
    or more vector registers, so all rows of a group begin at a cache line, and no
    operation has a rest. The last group has the rest of the networks too: the product
    of a single one is rounded otherwise, so results would depend on the groups.
    """
    line = CACHE_LINE // sizes.dtype.itemsize
    lines = max(1, networks // line)
    most = max(1, GROUP_BYTES // (network_bytes(sizes, k2) * line))
    count = ceil(lines / most)
    ends = [lines * number // count * line for number in range(count)]
    return [slice(*pair) for pair in pairwise([*ends, networks])]
