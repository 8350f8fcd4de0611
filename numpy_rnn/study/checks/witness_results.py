"""Differences between the hand-derived values and those of the witnesses, in three units, aggregated by equation."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.app.format import to_jsonable
from numpy_rnn.common.errors import InputError
from numpy_rnn.conformance.bounds.local_bounds import ratios
from numpy_rnn.study.checks.equations import Equation, element


class Witnessed(NamedTuple):
    """The values that a witness computes for some elements of a tensor: high + low, to within its own accuracy."""

    at: np.ndarray  # which elements, as indices into the flattened tensor
    high: np.ndarray
    low: np.ndarray  # zero, but of witnesses that know more digits than a float64 has

    def difference(self, hand: np.ndarray) -> np.ndarray:
        """by hand − witness, of these elements."""
        return (hand.ravel()[self.at] - self.high) - self.low


class Difference(NamedTuple):
    """The largest differences of one tensor.

    ulps: |difference| over the distance from the tensor's largest element, in size, to the next float64; so an element
    that is smaller than others of its tensor is measured in the same unit. bounds: |difference| / E by element, the
    largest; infinite where there is a difference and none is allowed.
    """

    difference: float
    ulps: float
    bounds: float
    compared: int  # elements
    of: int


def whole(values, low=None) -> Witnessed:
    """The values that a witness computes for all elements."""
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


Results = dict[str, dict[str, Witnessed]]
UNITS = ("difference", "ulps", "bounds")


class Check(NamedTuple):
    """The comparison of one tensor with one witness at one place."""

    where: str
    witness: str
    difference: Difference


def aggregate(checks: list[Check]) -> list[dict[str, Any]]:
    """By witness, in the order of their first appearance: the largest of all places, and each place.

    `bounds` is None where a witness differs and no difference is allowed.
    """
    result = []
    for witness in dict.fromkeys(check.witness for check in checks):
        of_witness = [check for check in checks if check.witness == witness]
        differences = [check.difference for check in of_witness]
        counts = {name: sum(getattr(d, name) for d in differences) for name in ("compared", "of")}
        by_place = [
            {"where": where, **_largest(check.difference for check in of_witness if check.where == where)}
            for where in dict.fromkeys(check.where for check in of_witness)
        ]
        result.append({"witness": witness, **_largest(differences), **counts, "by_place": by_place})
    return result


def example(equation: Equation, hand: np.ndarray, witnesses: dict[str, Witnessed]) -> dict[str, Any]:
    """The largest element, in size, of those that all witnesses computed: by hand, and by each of them."""
    common = np.arange(np.size(hand))
    for witnessed in witnesses.values():
        common = np.intersect1d(common, witnessed.at)
    flat = np.ravel(hand)
    at = int(common[np.abs(flat[common]).argmax()])
    elements = {name: v.high[np.flatnonzero(v.at == at)[0]] for name, v in witnesses.items()}
    values = [{"by": by, "value": to_jsonable(value)} for by, value in {"by hand": flat[at], **elements}.items()]
    return {"element": element(equation, at, np.shape(hand)), "values": values}


def compared(where: str, hand, E, witnesses: dict[str, Witnessed]) -> list[Check]:
    """A check of one tensor by each witness."""
    return [Check(where, name, compare(hand, witnessed, E)) for name, witnessed in witnesses.items()]


def evaluate(
    witnesses: Mapping[str, Callable[[Any], dict[str, Witnessed]]], problem, absent: dict[str, str]
) -> Results:
    """The tensors that each witness computes, by witness and tensor.

    A witness that is not installed, or that cannot compute this problem, has its reason in `absent` instead.
    """
    results: Results = {}
    for name, witness in witnesses.items():
        try:
            results[name] = witness(problem)
        except InputError as error:
            absent[name] = str(error)
    return results


def findings_of(
    equations: dict[str, Equation], checks: dict[str, list[Check]], examples: dict[str, Any]
) -> dict[str, Any]:
    """By equation, as plain values."""
    return {
        id: {
            "what": equation.what,
            "quantity": equation.quantity,
            "checks": aggregate(checks[id]),
            "example": examples[id],
        }
        for id, equation in equations.items()
    }


def _largest(differences):
    differences = list(differences)
    return {unit: to_jsonable(max(getattr(d, unit) for d in differences)) for unit in UNITS}
