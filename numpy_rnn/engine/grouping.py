"""The division of an ensemble into groups, which are computed one after the other."""

from itertools import pairwise
from math import ceil
from types import EllipsisType
from typing import NamedTuple

import numpy as np

from numpy_rnn.arrays import Array
from numpy_rnn.common.records import Parameters
from numpy_rnn.engine.memory import CACHE_LINE, Layout

MAX_GROUPED = 64  # B·H of the largest networks that are computed as a group
MIN_GROUP = 3  # fewer small networks are faster one by one
WIDE_ENSEMBLE = 512  # networks from which on the rows of groups are whole cache lines
# Bytes of a vector of a group: three of them are to fit into a cache of 2 MB.
GROUP_BYTES = 2**19


class Group(NamedTuple):
    """Networks that are computed together; perhaps a single one."""

    members: EllipsisType | int | Array
    """The index of the networks, in arrays with their axis."""
    layout: Layout


def make_groups(params: Parameters[Array], B: int) -> list[Group]:
    """Return the groups of an ensemble, which are computed one after the other.

    Small networks form groups that fit into the cache; large ones, and a few, are
    computed one by one. The rows of the groups of a wide ensemble are whole cache
    lines: the last network is repeated to fill them.
    """
    D, H = params.W_xh.shape[-2:]
    O = params.W_hy.shape[-1]
    bias = params.b_h is not None
    dtype = params.W_hh.dtype
    single = Layout(D, H, O, B, bias, dtype)
    networks = params.networks
    if networks is None:
        return [Group(..., single)]
    if B * H > MAX_GROUPED or networks < MIN_GROUP:
        return [Group(n, single) for n in range(networks)]
    line = CACHE_LINE // dtype.itemsize if networks >= WIDE_ENSEMBLE else 1
    lines = ceil(networks / line)
    most = max(MIN_GROUP, GROUP_BYTES // (single.size * dtype.itemsize * line))
    count = ceil(lines / most)
    ends = [lines * n // count * line for n in range(count + 1)]
    groups = []
    for first, stop in pairwise(ends):
        members = np.minimum(np.arange(first, stop), networks - 1)
        layout = single._replace(networks=stop - first)
        groups.append(Group(members, layout))
    return groups
