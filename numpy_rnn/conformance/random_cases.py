"""Random cases and runs that make faults visible.

Mostly the sizes differ from each other, weights are of order one and not symmetric, tanh is not saturated and the older
steps of the window have no loss. Some cases have a square output matrix, exact zeros before relu, a batch or a window
of one, a saturated unit, a unit without incoming weights, or subnormal inputs. Large cases have one size of up to 40,
beyond small buffers and the registers of vector instructions. A choice is made by a `Draw`, at random or by Hypothesis.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np

from numpy_rnn.common.records import (
    DTYPES,
    Objective,
    Parameters,
    Run,
    RunOptions,
    Schedule,
    Step,
    WindowCase,
)
from numpy_rnn.conformance.arithmetics.exact import exact_report
from numpy_rnn.conformance.case import GIVEN_DY, RateInVelocity, TwoBiases, present
from numpy_rnn.conformance.ports.protocol import EVERYTHING, Abilities

MAX_SIZE = 8  # of T, B, D, H and O in most cases
LARGE_SIZES = {
    "T": (17, 40),
    "H": (17, 40),
    "B": (9, 20),
    "D": (17, 40),
    "O": (17, 40),
}  # of one of the letters
SATURATING = 64  # the factor of the incoming weights of a saturated unit: mostly |a| > 20
MAX_ATTEMPTS = 16  # to find a case in which nothing rounds
MAX_LOGIT = 1e4  # the scale of large outputs, whose exponentials overflow every dtype


T = TypeVar("T")


class Draw(NamedTuple):
    """A source of choices. integer: a number from low to high, both included; the smallest is the simplest."""

    integer: Callable[[int, int], int]
    rare: int = -1  # what integer(0, n − 1) is, modulo n, in one of n draws

    def choice(self, options: Sequence[T]) -> T:
        """One of the options. The first is the simplest."""
        return options[self.integer(0, len(options) - 1)]

    def one_in(self, n: int) -> bool:
        """True in one of n draws. The simplest is False."""
        return self.integer(0, n - 1) == self.rare % n


def RandomDraw(*seed: int) -> Draw:
    """Choices made by a generator of random numbers."""
    generator = np.random.default_rng(seed)
    return Draw(lambda low, high: int(generator.integers(low, high, endpoint=True)), rare=0)


class Recipe(NamedTuple):
    """The description of a case, from which it can be made again."""

    T: int
    B: int
    D: int
    H: int
    O: int
    K: int
    dtype: str
    objective: Objective = Objective()
    step: Step | None = Step(0.1)
    bias: bool = False
    zeros: bool = False  # whether the first input and the initial state are zero
    gain: float = 1.0
    seed: int = 0  # of the numbers in the arrays
    learned: bool = False  # the initial state
    velocity: bool = False  # whether there is one before the update, if the step has any
    classes: bool = False  # whether the target of a cross-entropy holds classes
    logits: float = 1.0  # the scale of the outputs of a cross-entropy
    class_inputs: bool = False
    weights: bool = False
    saturated: bool = False  # the last unit, of tanh
    silent: bool = False  # the first unit of several, which has no incoming weights: a = 0
    subnormal: bool = False  # the first component of the inputs and of the initial state
    no_h_0: bool = False  # whether the initial state is zero
    two_biases: bool = False  # of the hidden layer
    exact: bool = False  # whether all numbers are small integers, and W_hh has one ±1 per column

    def __repr__(self) -> str:
        """The call that makes the recipe again, without the arguments that have their defaults."""

        def call(record: Any) -> str:
            if not hasattr(record, "_field_defaults"):
                return repr(record)
            values = {
                n: v for n, v in record._asdict().items() if record._field_defaults.get(n, ...) != v
            }
            return f"{type(record).__name__}({', '.join(f'{name}={call(value)}' for name, value in values.items())})"

        return call(self)

    def case(self) -> WindowCase:
        """The case."""
        generator, (nonlinearity, loss, _) = np.random.default_rng(self.seed), self.objective
        T, B, D, H, O, K = self[:6]
        drawn: Any = partial(generator.integers, -2, 3) if self.exact else generator.normal
        params = self._parameters(generator, drawn)
        x, target, h_0 = (drawn(size=size).astype(float) for size in ((T, B, D), (K, B, O), (B, H)))
        phi: dict[str, Any] = {
            "tanh": np.tanh,
            "relu": np.abs,
            "sigmoid": lambda v: 0.5 + 0.5 * np.tanh(v),
        }
        h_0 = phi[nonlinearity](h_0)
        if self.zeros:
            x[0], h_0[...] = 0, 0
        if self.subnormal:
            x[..., 0], h_0[..., 0] = (
                np.finfo(self.dtype).smallest_normal / 4 * v[..., 0] for v in (x, h_0)
            )
        x, target, h_0 = (array.astype(self.dtype) for array in (x, target, h_0))
        if self.learned:
            params = params._replace(h_0=h_0)
        velocity, weights, step = None, None, self.step
        if (
            self.velocity and step is not None and step.has_velocity
        ):  # of order one, as the gradients
            given = {
                name: drawn(size=p.shape).astype(p.dtype) for name, p in present(params).items()
            }
            velocity = params._replace(
                **{name: v * v if step.adagrad else v for name, v in given.items()}
            )

        def classes(
            shape: tuple[int, ...], size: int
        ) -> np.ndarray:  # some of which occur several times
            return generator.integers(0, generator.integers(1, size + 1), shape)

        if self.class_inputs:
            x = classes((T, B), D)
        if loss == "cross_entropy" and self.classes:
            target = classes((K, B), O)
        elif loss == "cross_entropy":  # distributions, with some zeros
            numbers = np.maximum(generator.normal(0.5, 1, target.shape), 0)
            numbers[..., 0] += 1e-3
            target = (numbers / numbers.sum(axis=-1, keepdims=True)).astype(self.dtype)
        if self.weights:  # a third of them 0, a third 1
            other = 2.0 if self.exact else generator.uniform(0.25, 2)
            weights = generator.choice([0.0, 1.0, other], (K, B)).astype(self.dtype)
        state: Any = None if self.learned or self.no_h_0 else h_0
        return WindowCase(params, x, target, state, weights, self.objective, step, velocity)  # type: ignore[arg-type]

    def _parameters(self, generator: np.random.Generator, drawn: Callable[..., np.ndarray]) -> Any:
        """Weights of order one, scaled by their fan-in so that tanh does not saturate, with the special units.

        Exact ones are integers; W_hh permutes units and changes signs, so that numbers grow with t and not with Hᵗ.
        """

        def numbers(*shape: int) -> np.ndarray:
            array = drawn(size=shape)
            return (array if self.exact else self.gain * array / np.sqrt(shape[0])).astype(
                self.dtype
            )

        D, H, O = self.D, self.H, self.O
        W_xh, W_hh, W_hy = numbers(D, H), numbers(H, H), numbers(H, O)
        if self.exact:
            W_hh = np.eye(H, dtype=self.dtype)[:, generator.integers(0, H, H)]
            W_hh = W_hh * generator.choice([-1, 1], H).astype(self.dtype)
        b_h, b_y = (numbers(H), numbers(O)) if self.bias else (None, None)
        factors = np.ones(H, self.dtype)
        if self.saturated and self.objective.nonlinearity == "tanh":
            factors[-1] = SATURATING
        if self.silent and H > 1:
            factors[0] = 0
        b_h = None if b_h is None else b_h * factors
        if self.objective.loss == "cross_entropy":
            W_hy = W_hy * W_hy.dtype.type(self.logits)
        if self.two_biases:
            b_hh = None if b_h is None else generator.permutation(b_h)
            return TwoBiases(W_xh * factors, W_hh * factors, W_hy, b_h, b_y, b_hh=b_hh)
        return Parameters(W_xh * factors, W_hh * factors, W_hy, b_h, b_y)


def random_recipe(
    draw: Draw, dtype: str | None = None, abilities: Abilities = EVERYTHING
) -> Recipe:
    """A recipe with the options of ports that have these abilities."""
    sizes, distinct, drawn = list(range(1, MAX_SIZE + 1)), draw.one_in(2), list[int]()
    for _ in range(5):  # mostly all different
        drawn.append(draw.choice(sizes))
        sizes = [size for size in sizes if not distinct or size != drawn[-1]]
    (T, B, D, H, O), (has, lacks, _) = drawn, abilities
    nonlinearity: Any = draw.choice(
        [name for name in ("tanh", "relu") if name not in lacks] or ["sigmoid"]
    )
    if "sigmoid" in has and draw.one_in(4):
        nonlinearity = "sigmoid"
    loss: Any = "cross_entropy" if "cross_entropy" in has and draw.one_in(2) else "squared_error"
    objective = Objective(
        nonlinearity, loss, draw.choice([name for name in ("sum", "mean") if name not in lacks])
    )
    step = random_step(draw, abilities)
    recipe = Recipe(
        T, B, D, H,
        O=H if draw.one_in(7) else O,
        K=draw.integer(1, T) if draw.one_in(2) else T,
        dtype=dtype or draw.choice(DTYPES),
        objective=objective,
        step=step,
        bias="no biases" in lacks or ("bias" not in lacks and draw.one_in(2)),
        zeros=draw.one_in(7),
        gain=draw.choice((1.0, 0.5, 1.5)),
        seed=draw.integer(0, 2**32 - 1),
        learned="learned_h_0" in has and draw.one_in(2),
        velocity=step.has_velocity and not draw.one_in(3),
        classes=objective.loss == "cross_entropy" and draw.one_in(2),
        logits=MAX_LOGIT if objective.loss == "cross_entropy" and draw.one_in(7) else 1.0,
        class_inputs="class_inputs" in has and draw.one_in(3),
        weights="loss_weights" in has and draw.one_in(2),
        saturated=draw.one_in(7),
        silent=draw.one_in(7),
        subnormal=draw.one_in(10),
    )  # fmt: skip
    return restricted(sized(recipe, draw, abilities), abilities)


def sized(recipe: Recipe, draw: Draw, abilities: Abilities) -> Recipe:
    """The recipe with sizes that the port has."""
    if not abilities.sizes:
        return recipe
    shape = draw.choice(abilities.sizes)
    T = shape.get("T", max(recipe.T, shape.get("K", 1)))
    sizes: dict[str, Any] = {"T": T, "K": min(recipe.K, T), **shape}
    return recipe._replace(**sizes)


def random_step(draw: Draw, abilities: Abilities) -> Step:
    """Every valid combination of options that the port has."""
    has, lacks, _ = abilities
    step = Step(draw.choice((0.1, 0.01, 0.5, 0.0)))
    if "sgd_options" in has:
        momentum = 0.0 if "momentum" in lacks else draw.choice((0.0, 0.5, 0.9))
        dampening = draw.choice((0.0, 0.25, 0.7)) if momentum and "dampening" not in lacks else 0.0
        nesterov = momentum > 0 and dampening == 0 and "nesterov" not in lacks and draw.one_in(2)
        decay = 0.0 if "weight_decay" in lacks else draw.choice((0.0, 0.01, 0.1))
        max_norm = (
            None if "max_norm" in lacks else draw.choice((None, None, 0.1, 0.5, 1.0, 5.0, 30.0))
        )
        step = Step(step.learning_rate, momentum, dampening, nesterov, decay, max_norm=max_norm)
    if "clip_by_value" in has and draw.one_in(4):
        step = step._replace(max_norm=None, max_value=draw.choice((0.03, 0.2, 1.0)))
    if "adagrad" in has and ("plain SGD" in lacks or draw.one_in(5)):
        step = step._replace(momentum=0.0, dampening=0.0, nesterov=False, adagrad=True)
    return step


RESTRICTIONS: dict[
    str, dict[str, Any]
] = {  # what a port lacks, and fields of a recipe that it then has
    "step": {"step": None},
    "many losses": {"K": 1},
    "batch": {"B": 1},
    "large outputs": {"logits": 1.0},
    "vector_inputs": {"class_inputs": True},
    "h_0": {"no_h_0": True},
}


def restricted(recipe: Recipe, abilities: Abilities) -> Recipe:
    """The recipe without what a port lacks, and with dy in place of a target if the port is given that."""
    has, lacks, _ = abilities
    if recipe.step is not None and "rate_in_velocity" in has:
        recipe = recipe._replace(step=RateInVelocity(*recipe.step))
    if "squared_error" in lacks:
        recipe = recipe._replace(objective=recipe.objective._replace(loss="cross_entropy"))
    if "distributions" in lacks:
        recipe = recipe._replace(classes=recipe.objective.loss == "cross_entropy")
    if "given_dy" in has:
        recipe = recipe._replace(
            objective=Objective(recipe.objective[0], GIVEN_DY), weights=False, classes=False
        )
    if "older steps" in lacks:
        recipe = recipe._replace(K=recipe.T)
    for what in RESTRICTIONS.keys() & set(lacks):
        recipe = recipe._replace(**RESTRICTIONS[what])
    return recipe._replace(two_biases="two_biases" in has)


def large_recipe(draw: Draw, dtype: str, abilities: Abilities = EVERYTHING) -> Recipe:
    """A recipe with a large T, H, B, D or O; half of them with a saturated or a silent unit."""
    recipe, letter = random_recipe(draw, dtype, abilities), draw.choice("THBDO")
    size, special = (
        draw.integer(*LARGE_SIZES[letter]),
        draw.choice(("saturated", "silent", "subnormal", "zeros")),
    )
    K = recipe.K if letter != "T" else size if recipe.K == recipe.T else draw.integer(1, size)
    changes: dict[str, Any] = {"K": K, letter: size, special: True}
    return restricted(sized(recipe._replace(**changes), draw, abilities), abilities)


def exact_recipe(draw: Draw, dtype: str, abilities: Abilities = EVERYTHING) -> Recipe | None:
    """A recipe of a case in which nothing rounds, with sizes up to those of the other levels; None if none is found."""
    for attempt in range(MAX_ATTEMPTS):
        recipe = (large_recipe if draw.one_in(3) else random_recipe)(draw, dtype, abilities)
        step = recipe.step and _exact_step(recipe.step, draw)
        loss: Any = GIVEN_DY if recipe.objective.loss == GIVEN_DY else "squared_error"
        objective = recipe.objective._replace(nonlinearity="relu", loss=loss)
        weights = recipe.weights and objective.reduction == "sum"
        changes: dict[str, Any] = {
            "step": step,
            "weights": weights,
            "classes": False,
            "subnormal": False,
        }
        recipe = recipe._replace(exact=True, objective=objective, **changes)
        if not abilities.sizes:
            shorter = max(1, recipe.T >> (attempt // 4))
            recipe = recipe._replace(T=shorter, K=min(recipe.K, shorter))
            if objective.reduction == "mean":  # only a division by a power of two is exact
                powers = {
                    letter: 1 << (getattr(recipe, letter).bit_length() - 1) for letter in "BOK"
                }
                recipe = recipe._replace(**powers)
        recipe = restricted(recipe, abilities)
        if exact_report(recipe.case()) is not None:
            return recipe
    return None


def has_exact_cases(abilities: Abilities) -> bool:
    """Whether a port can be checked at level L0."""
    return not {"relu", "plain SGD", "squared_error"} & set(abilities.lacks)


def _exact_step(step: Step, draw: Draw) -> Step:
    """A step with the same options, whose values are powers of two; without clipping by norm."""
    momentum, dampening, decay = (
        draw.choice((0.5, 0.25)) if value else 0.0
        for value in (step.momentum, step.dampening, step.weight_decay)
    )
    limit = None if step.max_value is None else draw.choice((1.0, 4.0))
    return Step(2.0**-4, momentum, dampening, step.nesterov, decay, max_value=limit)


def random_run(
    draw: Draw, dtype: str | None = None, abilities: Abilities = EVERYTHING, max_steps: int = 12
) -> Run:
    """A run of several updates of TBPTT(k1, k2) on a random series; windows overlap, and the last may be shorter."""
    lacks = abilities.lacks
    recipe = random_recipe(draw, dtype, abilities)._replace(
        saturated=False, silent=False, subnormal=False
    )
    sizes = {letter: min(getattr(recipe, letter), 6) for letter in "BDO"}
    T = draw.integer(4, max_steps)
    k1 = T if "h_0" in lacks else draw.integer(1, 4)
    if "many losses" in lacks:
        k1 = 1
    if "older steps" in lacks:
        T -= T % k1  # the last window has as many steps as the others
    k2 = (
        k1 if "older steps" in lacks else T if "h_0" in lacks else k1 + draw.integer(0, 3)
    )  # T: all start at step 0
    sizes["H"] = draw.integer(*LARGE_SIZES["H"]) if draw.one_in(10) else min(recipe.H, 6)
    if abilities.sizes:  # with a T, all windows have the same size, and every step has a loss
        shapes = [
            each for each in abilities.sizes if each.get("K", 0) in (0, each.get("T"))
        ] or abilities.sizes
        short = [each for each in shapes if each.get("T", 1) == 1]
        shape = draw.choice(short or shapes if "many losses" in lacks else shapes)
        if "T" in shape:
            k1 = k2 = shape["T"]
            T = k1 * (1 if "h_0" in lacks else draw.integer(2, 3))
        sizes |= {letter: size for letter, size in shape.items() if letter not in "TK"}
    sizes |= {"B": 1} if "batch" in lacks else {}
    recipe = recipe._replace(**sizes, T=T, K=T, logits=1.0, velocity=False)
    given = "given_dy" in abilities.capabilities  # then numpy_rnn computes the loss of the run
    recipe = (
        recipe._replace(objective=recipe.objective._replace(loss="squared_error"))
        if given
        else recipe
    )
    case = recipe.case()
    # Small steps: momentum multiplies a constant gradient by 1/(1 − μ).
    step = random_step(draw, abilities) if recipe.step is None else recipe.step
    scale = (
        draw.choice((1.0, 0.3, 0.1)) / (10 * case.x.shape[1] * recipe.O * k1) * (1 - step.momentum)
    )
    h_0 = (
        None
        if recipe.learned
        else np.zeros((recipe.B, recipe.H), recipe.dtype)
        if case.h_0 is None
        else case.h_0
    )
    options = RunOptions(Schedule(k1, k2, 2), recipe.objective, step._replace(learning_rate=scale))
    return Run(case.params, case.x, case.target, h_0, case.weights, options)
