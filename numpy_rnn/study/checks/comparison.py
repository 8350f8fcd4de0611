"""Values by hand compared with those of witnesses, absolutely and in units of the bound, equation by equation."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.errors import InputError
from numpy_rnn.study.checks.equations import Equation, element
from numpy_rnn.study.findings import Difference, EquationCheck
from numpy_rnn.study.suite_parts import Values, ratios


class Witnessed(NamedTuple):
    """The values that a witness computes for some elements of a tensor: high + low, to within its own accuracy."""

    at: np.ndarray  # which elements, as indices into the flattened tensor
    high: np.ndarray
    low: np.ndarray  # zero, but of witnesses that know more digits than a float64 has

    def difference(self, hand: np.ndarray) -> np.ndarray:
        """by hand − witness, of these elements."""
        return (hand.ravel()[self.at] - self.high) - self.low


def whole(values, low=None) -> Witnessed:
    """The values that a witness computes for all elements."""
    values = np.asarray(values, np.float64).ravel()
    return Witnessed(
        np.arange(values.size), values, np.zeros_like(values) if low is None else np.ravel(low)
    )


def from_exact(numbers: list[Any]) -> Witnessed:
    """Fractions or decimals, as a sum of two float64: some 106 bits."""
    high = [float(number) for number in numbers]
    return whole(
        high, [float(number - type(number)(nearest)) for number, nearest in zip(numbers, high)]
    )


def fractions(array: np.ndarray) -> list[Fraction]:
    """Exactly these numbers."""
    return [Fraction(number) for number in array.ravel().tolist()]


Results = dict[str, dict[str, Witnessed]]  # by witness and tensor


def evaluate(
    witnesses: Mapping[str, Callable[..., Any]], problem: Any, absent: dict[str, str]
) -> Results:
    """The tensors that each witness computes.

    A witness that is not installed, or that cannot compute this problem, has its reason in `absent` instead.
    """
    results: Results = {}
    for name, witness in witnesses.items():
        try:
            results[name] = witness(problem)
        except InputError as error:
            absent[name] = str(error)
    return results


class Comparison(NamedTuple):
    """Some tensors by hand, their bounds, and the same tensors by witnesses."""

    equations: Mapping[
        str, Equation
    ]  # by id; one whose tensor is not among those by hand is not compared
    hand: Values
    E: Values  # the derived bounds; a tensor that is not in it must be equal
    results: Results
    where: str  # the numbers are from, in words
    is_shown: bool = True  # whether the page shows an element of it
    params: Any = None  # of a row of all parameters: see `element`


def check_equations(comparisons: Iterable[Comparison]) -> dict[str, EquationCheck]:
    """For each equation, the largest difference from each witness, and an element of the last comparison shown."""
    found: dict[str, EquationCheck] = {}
    for one in comparisons:
        for id, equation in one.equations.items():
            if equation.name not in one.hand:
                continue
            hand = np.asarray(one.hand[equation.name])
            E = one.E.get(equation.name, np.zeros(hand.shape))
            witnesses = {
                by: said[equation.name] for by, said in one.results.items() if equation.name in said
            }
            check = found.get(
                id, EquationCheck(equation.what, equation.quantity, one.where, [], "", {})
            )
            differences = [compare(by, hand, witnessed, E) for by, witnessed in witnesses.items()]
            check = replace(check, differences=aggregate([*check.differences, *differences]))
            if one.is_shown:
                at = _largest(hand, witnesses)
                values = {"by hand": float(hand.flat[at])}
                values |= {
                    by: float((v.high + v.low)[v.at == at][0]) for by, v in witnesses.items()
                }
                check = replace(
                    check, element=element(equation, at, hand.shape, one.params), values=values
                )
            found[id] = check
    return found


def _largest(hand: np.ndarray, witnesses: Mapping[str, Witnessed]) -> int:
    """The index of the largest element, in size, of those that all witnesses computed."""
    common = np.arange(hand.size)
    for witnessed in witnesses.values():
        common = np.intersect1d(common, witnessed.at)
    return int(common[np.abs(hand.ravel()[common]).argmax()])


def compare(witness: str, hand: np.ndarray, witnessed: Witnessed, E: np.ndarray) -> Difference:
    """The largest differences; E: the derived bound of every element of `hand`."""
    difference = np.abs(witnessed.difference(hand))
    bounds = ratios(difference, np.ravel(E)[witnessed.at]).max()
    return Difference(witness, float(difference.max()), float(bounds), difference.size, hand.size)


def aggregate(differences: list[Difference]) -> list[Difference]:
    """One difference per witness, in the order of their first appearance: the largest of all, by unit."""
    result: dict[str, Difference] = {}
    for one in differences:
        of = result.get(one.witness, Difference(one.witness, 0.0, 0.0, 0, 0))
        largest = max(of.difference, one.difference), max(of.bounds, one.bounds)
        result[one.witness] = Difference(
            one.witness, *largest, of.compared + one.compared, of.of + one.of
        )
    return list(result.values())
