"""How far a witness is from the value by hand, in three units."""

from typing import NamedTuple

import numpy as np

from numpy_rnn.conformance.bounds.local_bounds import ratios


class Witnessed(NamedTuple):
    """What a witness says of some elements of a tensor: high + low, to within its own accuracy."""

    at: np.ndarray  # which elements, by their number in the flattened tensor
    high: np.ndarray
    low: np.ndarray  # zero, but of witnesses that know more digits than a float64 has

    def difference(self, hand: np.ndarray) -> np.ndarray:
        """by hand − witness, of these elements."""
        return (hand.ravel()[self.at] - self.high) - self.low


class Difference(NamedTuple):
    """The largest differences of one tensor.

    ulps: |difference| over the distance from the tensor's largest element, in size, to the next float64; so an element
    that is small beside others of its tensor counts no more than they do. bounds: |difference| / E by element, the
    largest; infinite where there is a difference and none is allowed.
    """

    difference: float
    ulps: float
    bounds: float
    compared: int  # elements
    of: int


def whole(values, low=None) -> Witnessed:
    """What a witness says of all elements."""
    values = np.asarray(values, np.float64).ravel()
    return Witnessed(np.arange(values.size), values, np.zeros_like(values) if low is None else np.ravel(low))


def compare(hand: np.ndarray, witnessed: Witnessed, E: np.ndarray) -> Difference:
    """The largest differences; E: the derived bound of every element of `hand`."""
    hand = np.asarray(hand)
    difference = np.abs(witnessed.difference(hand))
    unit = np.spacing(np.abs(hand).max())
    bounds = ratios(difference, np.ravel(E)[witnessed.at])
    return Difference(
        float(difference.max()), float(difference.max() / unit), float(bounds.max()), difference.size, hand.size
    )
