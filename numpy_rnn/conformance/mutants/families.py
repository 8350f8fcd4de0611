"""Mistakes with a number, which is measured, and those that a table of places makes.

A place is where the numbers of a step pass: a tensor, or an operand of an equation.
There they may be with_factors, in part or all, clamped, or rounded.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.records import NumpyArray, Step
from numpy_rnn.common.texts import pluralize
from numpy_rnn.conformance.arithmetics.arithmetic import loss_divisor
from numpy_rnn.conformance.case import FIELDS, present
from numpy_rnn.conformance.definition import DEFINITION as right
from numpy_rnn.conformance.definition import GRADIENTS
from numpy_rnn.conformance.mutants.catalogue import (
    MUTANTS,
    each_loss_over,
    of_dh,
    with_input_rows,
)
from numpy_rnn.conformance.mutants.edits import (
    STEP_FIELDS,
    SUMS,
    Change,
    Equations,
    Mutant,
    Replacement,
    changed,
    changed_loss,
    clamped,
    neighbours,
    of_losses,
    operands,
    reading,
    recording,
    rounded,
    slope,
    with_step,
    with_weights,
)
from numpy_rnn.conformance.mutants.fits import Fit
from numpy_rnn.conformance.ports.abilities import SGD_OPTIONS

LIMITS = (0.5, 1, 2, 3, 5, 10, 20)  # of numbers that are clamped
LEAST = (0.1, 0.01, 1e-3, 1e-4)  # of slopes
MAX_SEQUENCES = 8  # of which each may be wrong
FEW_STEPS = 3  # fewer: many mistakes are alike
MAX_BACK = 30  # over which each loss goes back
# Of steps and units, as people choose them.
PART_COUNTS = (*range(2, 11), 12, 15, 16, 20, 24, 25, 30, 32, 40, 48, 50, 64, 100, 128)
DIGITS = {8: "bfloat16", 11: "float16", 24: "float32"}
OF_GRADIENTS = tuple("d" + name for name in FIELDS)
OF_VELOCITIES = tuple("v" + name for name in FIELDS)


class Family(NamedTuple):
    """A mistake with a number, which is solved for."""

    words: str  # with {number}, and {names} for the tensors that are wrong
    equations: Callable[[float], Equations]
    start: float | Callable[[Fit], float] = 1.0  # where the solver begins
    plain: str = ""  # the words for the number `at`, which is tried first
    at: Any = 0.0


# -- places and parts

Place = Callable[[Change], Equations]
FLOW = ("state_adjoint", "initial_state_adjoint")


def when_recorded(tensor: str) -> Place:
    """Return how a tensor is changed when it is recorded."""

    def of(change: Change) -> Equations:
        """Return the change of the tensor."""
        return recording((tensor,), lambda n, name, t, v: change(v, t, n.steps))

    return of


def flow_back(change: Change) -> Equations:
    """Return a changed flow into dh_t from the step after."""

    def adjoint(n, w, p, t):
        """Return dh_t with the changed flow."""
        flow = n.affine([(w.da[t + 1], p.W_hh.mT)])
        return n.affine([(w.dy[t], p.W_hy.mT)]) + change(flow, t, len(w.x))

    return {"state_adjoint": adjoint}


PLACES: dict[str, Place] = {
    "dh": when_recorded("dh"),
    "{names}": operands(SUMS, "da dy"),
    **{name: when_recorded(name) for name in ("a", "h", "y", "dy", "da")},
    "h_{t-1} in a": operands(["pre_activation"], "h", -1),
    "the loss": of_losses,
    "the flow back": flow_back,
    "da in dh": operands(FLOW, "da", 1),
    "dy in dh": operands(["state_adjoint"], "dy"),
}
FORWARD_PLACES = ("a", "h", "y", "h_{t-1} in a", "the loss")


def is_sequence(b: int, v: NumpyArray, t: int, T: int) -> NumpyArray:
    """Return which rows of a tensor of one step, (B, N), are of this sequence."""
    return np.arange(len(v))[:, None] == b


def are_units(
    start: int, stop: int | None, v: NumpyArray, t: int, T: int
) -> NumpyArray:
    """Return which columns are units from start to stop; negative ones from the end."""
    return np.isin(np.arange(v.shape[1]), np.arange(v.shape[1])[start:stop])


def are_newest(k: int, v: NumpyArray, t: int, T: int) -> bool:
    """Return whether a step is one of the last k."""
    return t > T - k


def are_oldest(k: int, v: NumpyArray, t: int, T: int) -> bool:
    """Return whether a step is one of the first k."""
    return t <= k


def is_multiple(k: int, v: NumpyArray, t: int, T: int) -> bool:
    """Return whether the number of a step is a multiple of k."""
    return t % k == 0


def parts(sizes: Mapping[str, int]) -> dict[str, Change]:
    """Return the parts of a tensor: whether a value of step t of T belongs to it."""
    found: dict[str, Change] = {
        "the first step": partial(are_oldest, 1),
        "the last step": partial(are_newest, 1),
        "the first unit": partial(are_units, 0, 1),
        "the last unit": partial(are_units, -1, None),
    }
    for b in range(min(sizes["B"], MAX_SEQUENCES)):
        found[f"sequence {b}"] = partial(is_sequence, b)
    for k in PART_COUNTS:
        if k < sizes["T"]:
            found[f"the newest {k} steps"] = partial(are_newest, k)
            found[f"the first {k} steps"] = partial(are_oldest, k)
            found[f"every {k}th step"] = partial(is_multiple, k)
        if k < sizes["H"]:
            found[f"the first {k} units"] = partial(are_units, 0, k)
    return found


def with_factors(make: Place, part: Change, outside: float, number: float) -> Equations:
    """Return a place with a part times one number, and the rest times another."""

    def change(v: NumpyArray, t: int, T: int) -> NumpyArray:
        """Return the tensor with both factors."""
        is_part = part(v, t, T)
        return v * (number * is_part + outside * (1 - is_part))

    return make(change)


def placed(place: str, sizes: Mapping[str, int]) -> Iterator[Mutant | Family]:
    """Yield the mistakes of a place."""
    make = PLACES[place]
    if place not in ("{names}", "the loss"):
        every = partial(are_oldest, sizes["T"])
        whole = partial(with_factors, make, every, 1.0)
        yield Family(f"{place} × {{number}}", whole, plain=f"{place} left out")
        for c in LIMITS:
            yield Mutant(f"{place} within ±{c}", make(partial(clamped, c)))
        for bits, dtype in DIGITS.items():
            yield Mutant(f"{place} rounded to {dtype}", make(partial(rounded, bits)))
    for words, part in parts(sizes).items():
        text = f"{place} of {words}"
        times, alone = (partial(with_factors, make, part, rest) for rest in (1.0, 0.0))
        yield Family(f"{text} × {{number}}", times, plain=f"{place} without {words}")
        words = f"{text} alone, × {{number}}"
        yield Family(words, alone, plain=f"{text} alone", at=1.0)


# -- other steps and tensors

# Which tensor an equation may read of another step.
READS = {
    "pre_activation": ("x", "a"),
    "state_adjoint": ("dy", "dh"),
    GRADIENTS["W_xh"]: ("x", "dW_xh"),
    GRADIENTS["W_hh"]: ("h", "dW_hh"),
    GRADIENTS["W_hy"]: ("h", "dW_hy"),
}


def rereading() -> Iterator[Mutant]:
    """Yield equations that read another step, another tensor, or other weights."""
    for field, (tensor, of) in READS.items():
        for by, words in ((-1, "before"), (1, "after")):
            edit = reading([field], tensor, neighbours(by))
            yield Mutant(f"{tensor} of the step {words} in {of}", edit)
    yield Mutant("dh for da in {names}", reading(SUMS, "da", of_dh))
    yield Mutant(
        "{names} transposed", recording(("dW_hh",), lambda n, name, t, g: g.mT)
    )
    yield Mutant(
        "the rows of the inputs for those of h in dh",
        changed("state_adjoint", given=with_input_rows),
    )


# -- losses


def smoothed(number: float) -> Equations:
    """Return the loss of smoothed targets."""

    def change(L, dy, n, y, z, objective):
        """Return the loss and error of targets that are smoothed."""
        soft = (1 - number) * z + number / z.shape[-1]
        return right.loss_and_error(n, y, soft, objective)

    return changed_loss(change, "cross_entropy")


def at_temperature(number: float, power: int) -> Equations:
    """Return the loss of outputs over a number; power: 1 where the error is the
    gradient of the loss, 0 where it is not.
    """

    def change(L, dy, n, y, *given):
        """Return the loss and error of the divided outputs."""
        L, dy = right.loss_and_error(n, y / number, *given)
        return L, dy / number**power

    return changed_loss(change, "cross_entropy")


def in_logarithm(number: float) -> Equations:
    """Return the loss −log(p + number)."""

    def change(L, dy, n, y, z, objective):
        """Return this loss and its derivative."""
        p, C = np.exp(n.log_softmax(y)), loss_divisor(y.shape, objective)
        share = z * p / (p + number)
        dy = p * share.sum(axis=-1, keepdims=True) - share
        return -(z * np.log(p + number)).sum(axis=(0, -2, -1)) / C, dy / C

    return changed_loss(change, "cross_entropy")


def of_target(number: float) -> Equations:
    """Return the error with a part of the target."""

    def change(L, dy, n, y, z, objective):
        """Return the loss, and the error with a part of the target."""
        return L, dy + (1 - number) * z / loss_divisor(y.shape, objective)

    return changed_loss(change)


PENALTIES: dict[str, Replacement] = {
    "Σ h_T²": lambda n: (n.seen["h"][n.steps] ** 2).sum(),
    "Σ h²": lambda n: sum((h**2).sum() for h in n.seen["h"].values()),
    "Σ W²": lambda n: sum((W**2).sum() for W in n.params[:3]),
    "Σ θ²": lambda n: sum((v**2).sum() for v in present(n.params).values()),
}


def penalized(penalty: Replacement, number: float) -> Equations:
    """Return the loss with another term."""
    return recording(("loss",), lambda n, name, t, L: L + number * penalty(n))


# -- gradients


def of_each(change: Replacement) -> Equations:
    """Return changed gradients: change(g, theta)."""
    return recording(
        OF_GRADIENTS, lambda n, name, t, g: change(g, getattr(n.params, name[1:]))
    )


def clipped(number: float) -> Equations:
    """Return gradients of a norm of at most a number."""

    def result(d, n, *given):
        """Return the gradients times the factor of their norm."""
        factor = n.factor(n.norm(list(d.values())), number)
        return {name: n.record("d" + name, None, factor * g) for name, g in d.items()}

    return changed("backward", result=result)


def off_diagonal(number: float) -> Equations:
    """Return dW_hh with another diagonal."""

    def change(n, name, t, g):
        """Return the gradient with its diagonal times the number."""
        return g * (1 + (number - 1) * np.eye(len(g)))

    return recording(("dW_hh",), change)


def wrong_gradients(fit: Fit) -> NumpyArray:
    """Return the wrong gradients that are reported, as a vector."""
    names = fit.wrong & {*OF_GRADIENTS}
    return np.concatenate([fit.report[name].ravel() for name in names])


GRADIENT_FAMILIES = (
    Family("{names} × {number}", lambda c: of_each(lambda g, theta: c * g)),
    Family(
        "{names} + {number} of the parameter",
        lambda c: of_each(lambda g, theta: g + c * theta),
        0.0,
    ),
    Family(
        "the diagonal of {names} × {number}",
        off_diagonal,
        plain="{names} without its diagonal",
    ),
    Family(
        "{names} within ±{number}",
        lambda c: of_each(lambda g, theta: clamped(c, g)),
        lambda fit: float(np.abs(wrong_gradients(fit)).max()),
    ),
    Family(
        "gradients clipped at norm {number}",
        clipped,
        lambda fit: float(np.linalg.norm(wrong_gradients(fit))),
    ),
)
LOSS_FAMILIES = (
    Family(
        "loss × {number}", lambda c: recording(("loss",), lambda n, name, t, L: c * L)
    ),
    Family(
        "consistent: × {number} of this loss",
        lambda c: changed_loss(lambda L, dy, *_: (c * L, c * dy)),
    ),
    Family("dy without the target", of_target, plain="dy without the target"),
    Family("label smoothing of {number}", smoothed, 0.0),
    Family("softmax of y/{number}", partial(at_temperature, power=1)),
    Family("softmax of y/{number}", partial(at_temperature, power=0)),
    Family("{number} inside of the logarithm", in_logarithm, 0.0),
    *(
        Family(f"loss + {{number}} {words}", partial(penalized, penalty), 0.0)
        for words, penalty in PENALTIES.items()
    ),
)
SLOPE_FAMILIES = (
    Family("{number} added to φ′", lambda c: slope(lambda phi, a, h: phi + c), 0.0),
    Family(
        "1 − {number} h² for 1 − h²",
        lambda c: slope(lambda phi, a, h: 1 - c * h * h, "tanh"),
    ),
)


def with_share(name: str, number: float) -> Equations:
    """Return the forward pass with a multiple of a weight matrix or bias."""
    field = "output" if name.endswith("y") else "pre_activation"
    return with_weights(field, name, lambda theta: number * theta)


def window_mistakes(
    sizes: Mapping[str, int], is_forward: bool
) -> Iterator[Mutant | Family]:
    """Yield the mistakes that a window may have; sizes: the largest by letter;
    is_forward: whether the loss is wrong.
    """
    yield from (mutant for mutant in MUTANTS if not mutant.in_run)
    yield from GRADIENT_FAMILIES[:1]
    if sizes["T"] < FEW_STEPS:
        return
    yield from LOSS_FAMILIES
    for k in range(1, min(sizes["T"], MAX_BACK)):
        words = f"over {pluralize(k, 'step')} (bptt_truncate = {k - 1})"
        edit: Equations = {"backward": partial(each_loss_over, k)}
        yield Mutant(f"each loss goes back {words}", edit)
    yield from GRADIENT_FAMILIES[1:]
    yield from SLOPE_FAMILIES
    for c in LEAST:
        edit = slope(lambda phi, a, h, c=c: np.maximum(phi, c))
        yield Mutant(f"φ′ at least {c}", edit)
    edit = slope(lambda phi, a, h: 1 - np.tanh(h) ** 2, "tanh")
    yield Mutant("1 − tanh(h)² for 1 − h²", edit)
    for name in FIELDS:
        make = partial(with_share, name)
        yield Family(f"{name} × {{number}}", make, plain=f"{name} left out")
    yield from rereading()
    for place in PLACES:
        if (place in FORWARD_PLACES) == is_forward:
            yield from placed(place, sizes)


# -- steps


def option_mistakes(name: str) -> Iterator[Family]:
    """Yield another value of an option of the step, and a multiple of it."""

    def value(number: float) -> Equations:
        """Return a step whose option is a number."""
        return with_step(lambda s: s._replace(**{name: number}), *STEP_FIELDS)

    def multiple(number: float) -> Equations:
        """Return a step whose option is multiplied by a number."""

        def change(step: Step) -> Step:
            """Return the step with the multiple."""
            return step._replace(**{name: number * getattr(step, name)})

        return with_step(change, *STEP_FIELDS)

    default = Step._field_defaults[name]
    yield Family(f"{name} × {{number}}", multiple)
    yield Family(f"{name} of {{number}}", value, 0.1, f"{name} left out", default)


def heavy_ball(number: float) -> Equations:
    """Return plain descent with momentum; `before` is the change before."""

    def result(value, n, g, v, before, step):
        """Return the direction, with the change before where there is no velocity."""
        is_plain = before is not None and v is None
        return g + number * before if is_plain else value

    return changed("direction", result=result)


def rated(number: float) -> Equations:
    """Return parameters whose change is multiplied by a number."""

    def change(n, name, t, value):
        """Return the parameter with a multiple of its change."""
        theta = getattr(n.params, name)
        return theta + number * (value - theta)

    return recording(FIELDS, change)


FORGOTTEN = changed("velocity", given=lambda n, g, v, step: (n, g, None, step))


def step_mistakes() -> Iterator[Mutant | Family]:
    """Yield the mistakes that a step may have."""
    yield from (each for each in MUTANTS if each.equations.keys() & {*STEP_FIELDS})
    yield Family("{names} × {number}", rated, plain="{names} × 0")
    yield Mutant("the velocity, or sum of squares, of before left out", FORGOTTEN)
    for name in (*SGD_OPTIONS, "max_value"):
        yield from option_mistakes(name)
    yield Family(
        "{names} × {number}",
        lambda c: recording(OF_VELOCITIES, lambda n, name, t, v: c * v),
    )
    yield Family("momentum of {number}", heavy_ball, 0.0)
