"""The step from the gradient to the parameters in exact fractions, the square root to 2⁻³⁰⁰ beside its size."""

from fractions import Fraction
from math import isqrt

from numpy_rnn.clipping import SMALL
from numpy_rnn.study.checks.balls import of_fractions
from numpy_rnn.study.checks.comparing import Witnessed
from numpy_rnn.study.checks.descent import Descent, row

BITS = 300  # of a root, after its first


def exact(descent: Descent) -> dict[str, Witnessed]:
    """(U1) to (U6) on the numbers that enter the update, number by number.

    The learning rate and the options are the float64 that they are.
    """
    case = descent.case
    mu, tau, decay = map(Fraction, (*case.sgd[:2], case.sgd.weight_decay))
    found, gradients = {}, fractions(row(descent.gradients))
    theta = fractions(row(case.params))
    norm = root(sum((g * g for g in gradients), Fraction()))
    found["n"] = [norm]
    if case.sgd.max_norm is not None:
        factor = min(Fraction(1), Fraction(case.sgd.max_norm) / (norm + Fraction(SMALL)))
        gradients = found["clipped"] = [factor * g for g in gradients]
    d = found["d"] = [g + decay * p for g, p in zip(gradients, theta)]
    s = d
    if mu:
        v = found["v"] = d if case.velocity is None else velocity(fractions(row(case.velocity)), d, mu, tau)
        s = [one + mu * other for one, other in zip(d, v)] if case.sgd.nesterov else v
    rate = Fraction(float(case.learning_rate))
    found["s"], found["theta"] = s, [p - rate * one for p, one in zip(theta, s)]
    return {name: of_fractions(numbers) for name, numbers in found.items()}


def velocity(before: list[Fraction], d: list[Fraction], mu: Fraction, tau: Fraction) -> list[Fraction]:
    """(U5), after a parameter's first time."""
    return [mu * v + (1 - tau) * one for v, one in zip(before, d)]


def fractions(array) -> list[Fraction]:
    """Exactly these numbers."""
    return [Fraction(number) for number in array.tolist()]


def root(number: Fraction) -> Fraction:
    """√number from below, to a relative 2⁻³⁰⁰."""
    if not number:
        return number
    shift = max(0, BITS + (number.denominator.bit_length() - number.numerator.bit_length()) // 2 + 1)
    return Fraction(isqrt((number.numerator << 2 * shift) // number.denominator), 1 << shift)
