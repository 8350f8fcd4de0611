"""Random cases and runs that make faults visible.

Mostly the sizes differ from each other, weights are of order one and not symmetric,
tanh is not saturated, and the older steps of the window have no loss. Some cases have
inputs, targets and outputs of 10 to 1000, as data that nobody scaled; a square output
matrix, exact zeros before relu, a batch or a window of one, a saturated unit, a unit
without incoming weights, or subnormal inputs. Large cases have one size of up to 40,
beyond small buffers and the registers of vector instructions.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from numpy_rnn.common import records
from numpy_rnn.common.records import NumpyArray, Objective, Parameters, Run, Step, T
from numpy_rnn.conformance.arithmetics.arithmetic import N, nonlinearity_of
from numpy_rnn.conformance.case import (
    WindowCase,
    initial_state,
    parameters_from,
    present,
)
from numpy_rnn.conformance.definition import window_update
from numpy_rnn.conformance.ports.abilities import (
    EVERYTHING,
    LARGEST_LOGIT,
    Abilities,
    Use,
    forced_fields,
    forced_schedule,
    missing,
)

MAX_SIZE = 8  # of T, B, D, H and O in most cases
LARGE_SIZES = {"T": (17, 40), "H": (17, 40), "B": (9, 20), "D": (17, 40), "O": (17, 40)}
SATURATING = (
    64  # the factor of the incoming weights of a saturated unit: mostly |a| > 20
)
SCALES = (10.0, 100.0, 1000.0)  # of unscaled data
LOGITS = (
    1.0,
    1.0,
    5.0,
    10.0,
    20.0,
    LARGEST_LOGIT,
)  # scales of outputs, whose softmax is sure
MAX_LOGIT = 1e4  # the scale of large outputs, whose exponentials overflow every dtype

PLAIN: dict[str, N] = {
    "logits": 1.0,
    "learnt": False,
    "saturated": False,
    "silent": False,
    "subnormal": False,
}


class RandomDraw:
    """Choices made by a generator of random numbers."""

    def __init__(self, *seed: int):
        self.generator = np.random.default_rng(seed)

    def integer(self, low: int, high: int) -> int:
        """From low to high, both included."""
        return int(self.generator.integers(low, high, endpoint=True))

    def choice(self, options: Sequence[T]) -> T:
        return options[self.integer(0, len(options) - 1)]

    def one_in(self, n: int) -> bool:
        """True in one of n draws."""
        return self.integer(1, n) == 1


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
    velocity: bool = (
        False  # whether there is one before the update, if the step has any
    )
    scale: float = 1.0  # of inputs, and of the targets and outputs of the squared error
    logits: float = 1.0  # the scale of the outputs of a cross-entropy
    learnt: bool = False  # whether the targets are the network's likeliest classes
    class_inputs: bool = False
    saturated: bool = False  # the last unit, of tanh
    silent: bool = (
        False  # the first unit of several, which has no incoming weights: a = 0
    )
    subnormal: bool = (
        False  # the first component of the inputs and of the initial state
    )
    no_h_0: bool = False  # whether the initial state is zero

    def __repr__(self) -> str:
        """The call that makes the recipe again, without its defaults."""
        return _call(self)

    def case(self) -> WindowCase:
        generator, (nonlinearity, loss, _) = (
            np.random.default_rng(self.seed),
            self.objective,
        )
        T, B, D, H, O, K = self[:6]
        params = self._parameters(generator)
        x, target, h_0 = (
            generator.normal(size=size) for size in ((T, B, D), (K, B, O), (B, H))
        )
        h_0 = nonlinearity_of(nonlinearity).phi(h_0)
        x, target = self.scale * x, self.scale * target
        if self.zeros:
            x[0], h_0[...] = 0, 0
        if self.subnormal:
            tiny = np.finfo(self.dtype).smallest_normal / 4
            x[..., 0], h_0[..., 0] = (tiny * v[..., 0] for v in (x / self.scale, h_0))
        x, target, h_0 = (array.astype(self.dtype) for array in (x, target, h_0))

        def classes(shape: tuple[int, ...], size: int) -> NumpyArray:
            """Classes, some of which occur several times."""
            return generator.integers(0, generator.integers(1, size + 1), shape)

        velocity, step = None, self.step
        if self.velocity and step is not None and step.has_velocity:  # of order one
            given = {
                n: generator.normal(size=p.shape) for n, p in present(params).items()
            }
            power = 2 if step.adagrad else 1
            velocity = parameters_from(
                {n: (v**power).astype(self.dtype) for n, v in given.items()}
            )
        x = classes((T, B), D) if self.class_inputs else x
        target = classes((K, B), O) if loss == "cross_entropy" else target
        state: N = None if self.no_h_0 else h_0
        case = WindowCase(params, x, target, state, self.objective, step, velocity)  # type: ignore[arg-type]
        if loss != "cross_entropy" or not (self.learnt or self.logits > 1):
            return case
        with np.errstate(all="ignore"):
            y = window_update(case)["y"][T - K :]
        if 1 < self.logits <= LARGEST_LOGIT:  # of the largest output
            factor = self.logits / max(float(np.abs(y).max()), 1e-3)
            outputs = {"W_hy": params.W_hy, "b_y": params.b_y}
            scaled = {
                name: (factor * theta).astype(self.dtype)
                for name, theta in outputs.items()
                if theta is not None
            }
            case = case._replace(params=params._replace(**scaled))
        if self.learnt:
            case = case._replace(target=y.argmax(axis=-1))
        return case

    def _parameters(self, generator: np.random.Generator) -> Parameters[NumpyArray]:
        """Weights of order one, scaled so that tanh does not saturate, with the special
        units.
        """

        def numbers(*shape: int) -> NumpyArray:
            return self.gain * generator.normal(size=shape) / np.sqrt(shape[0])

        D, H, O = self.D, self.H, self.O
        shapes: dict[str, tuple[int, ...]] = {
            "W_xh": (D, H),
            "W_hh": (H, H),
            "W_hy": (H, O),
        }
        shapes |= {"b_h": (H,), "b_y": (O,)} if self.bias else {}
        arrays = {name: numbers(*shape) for name, shape in shapes.items()}
        factors = np.ones(H)
        if self.saturated and self.objective.nonlinearity == "tanh":
            factors[-1] = SATURATING
        if self.silent and H > 1:
            factors[0] = 0
        outputs = self.scale if self.objective.loss == "squared_error" else self.logits
        for name in arrays:
            arrays[name] *= outputs if name.endswith("y") else factors
        arrays["W_xh"] /= 1.0 if self.class_inputs else self.scale
        return parameters_from(
            {name: v.astype(self.dtype) for name, v in arrays.items()}
        )


def _call(record: N) -> str:
    if not hasattr(record, "_field_defaults"):
        return repr(record)
    defaults = record._field_defaults
    given = {n: v for n, v in record._asdict().items() if defaults.get(n, ...) != v}
    arguments = ", ".join(f"{name}={_call(value)}" for name, value in given.items())
    return f"{type(record).__name__}({arguments})"


def random_recipe(
    draw: RandomDraw, dtype: str | None = None, abilities: Abilities = EVERYTHING
) -> Recipe:
    """A recipe with the options of ports that have these abilities."""
    are_distinct = draw.one_in(2)
    sizes = draw.generator.choice(MAX_SIZE, 5, replace=not are_distinct) + 1
    T, B, D, H, O = map(int, sizes)
    objective = Objective(
        draw.choice(records.NONLINEARITY_NAMES),
        draw.choice(records.LOSS_NAMES),
        draw.choice(records.REDUCTION_NAMES),
    )
    if draw.one_in(7):
        O = H
    step = random_step(draw)
    recipe = Recipe(
        *(T, B, D, H, O),
        K=draw.integer(1, T) if draw.one_in(2) else T,
        dtype=dtype or draw.choice(records.DTYPES),
        objective=objective,
        step=step,
        bias=draw.one_in(2),
        zeros=draw.one_in(7),
        gain=draw.choice((1.0, 0.5, 1.5)),
        seed=draw.integer(0, 2**32 - 1),
        velocity=not draw.one_in(3),
        scale=draw.choice(SCALES) if draw.one_in(4) else 1.0,
        logits=random_logits(draw),
        learnt=draw.one_in(2),
        class_inputs=draw.one_in(3),
        saturated=draw.one_in(7),
        silent=draw.one_in(7),
        subnormal=draw.one_in(10),
    )
    recipe = restricted(recipe, abilities)
    if recipe.step is None or not recipe.step.has_velocity:
        recipe = recipe._replace(velocity=False)
    if recipe.objective.loss == "cross_entropy":
        recipe = recipe._replace(O=max(recipe.O, 2))
    else:
        recipe = recipe._replace(logits=1.0, learnt=False)
    return restricted(sized(recipe, draw, abilities), abilities)


def random_logits(draw: RandomDraw) -> float:
    """The scale of the outputs of a cross-entropy, from order one to one that overflows
    exponentials.
    """
    if draw.one_in(7):
        return MAX_LOGIT
    return draw.choice(LOGITS)


def sized(recipe: Recipe, draw: RandomDraw, abilities: Abilities) -> Recipe:
    """The recipe with sizes that the port has. In half of the cases every step has a
    loss.
    """
    if not abilities.sizes:
        return recipe
    shape: dict[str, N] = dict(draw.choice(abilities.sizes))
    T = shape.get("T", max(recipe.T, shape.get("K", 1)))
    K = min(recipe.K, T)
    if "T" in shape:
        K = T if draw.one_in(2) else draw.integer(1, T)
    return recipe._replace(**{"T": T, "K": K} | shape)


def random_step(draw: RandomDraw) -> Step:
    """Every valid combination of options."""
    momentum = draw.choice((0.0, 0.5, 0.9))
    step = Step(
        draw.choice((0.1, 0.01, 0.5, 0.0)),
        momentum=momentum,
        dampening=draw.choice((0.0, 0.25, 0.7)) if momentum else 0.0,
        weight_decay=draw.choice((0.0, 0.01, 0.1)),
        max_norm=draw.choice((None, None, 0.1, 0.5, 1.0, 5.0, 30.0)),
    )
    if momentum and not step.dampening:
        step = step._replace(nesterov=draw.one_in(2))
    if draw.one_in(4):
        step = step._replace(max_norm=None, max_value=draw.choice((0.03, 0.2, 1.0)))
    if draw.one_in(5):
        step = step._replace(momentum=0.0, dampening=0.0, nesterov=False, adagrad=True)
    return step


def use_of_recipe(recipe: Recipe) -> Use:
    """What a case of this recipe uses of a port."""
    return Use(
        objective=recipe.objective,
        dtype=recipe.dtype,
        step=recipe.step,
        bias=recipe.bias,
        class_inputs=recipe.class_inputs,
        batch=recipe.B > 1,
        h_0=not recipe.no_h_0,
        older_steps=recipe.K < recipe.T,
        many_losses=recipe.K > 1,
        logits=recipe.logits,
    )


def restricted(recipe: Recipe, abilities: Abilities) -> Recipe:
    """The recipe without what a port has not, and with its reduction."""
    for ability in missing(use_of_recipe(recipe), abilities):
        fields = ability.remedy if ability.case_remedy is None else ability.case_remedy
        for name, value in fields:
            if value == "T":
                value = recipe.T
            if name in Objective._fields:
                changed = recipe.objective._replace(**{name: value})
                recipe = recipe._replace(objective=changed)
            elif name in Step._fields and recipe.step is not None:
                recipe = recipe._replace(step=recipe.step._replace(**{name: value}))
            elif name in Recipe._fields:
                recipe = recipe._replace(**{name: value})
    if abilities.reduction is not None:
        objective = recipe.objective._replace(reduction=abilities.reduction)
        recipe = recipe._replace(objective=objective)
    return recipe


def large_recipe(
    draw: RandomDraw, dtype: str, abilities: Abilities = EVERYTHING
) -> Recipe:
    """A recipe with a large T, H, B, D or O, and some special numbers."""
    recipe, letter = random_recipe(draw, dtype, abilities), draw.choice("THBDO")
    size = draw.integer(*LARGE_SIZES[letter])
    special = draw.choice(("saturated", "silent", "subnormal", "zeros"))
    changes: dict[str, N] = {letter: size, special: True}
    if letter == "T":
        changes["K"] = size if recipe.K == recipe.T else draw.integer(1, size)
    return restricted(sized(recipe._replace(**changes), draw, abilities), abilities)


def random_run(
    draw: RandomDraw, dtype: str | None = None, abilities: Abilities = EVERYTHING
) -> Run:
    """A run of several updates of TBPTT(k1, k2): windows overlap, and the last may be
    shorter.
    """
    fields = forced_fields(abilities)
    recipe = random_recipe(draw, dtype, abilities)._replace(**PLAIN, velocity=False)
    sizes = {letter: min(getattr(recipe, letter), 6) for letter in "BDHO"}
    if draw.one_in(10):
        sizes["H"] = draw.integer(*LARGE_SIZES["H"])
    T, k1 = draw.integer(4, 12), draw.integer(1, 4)
    k1, k2 = forced_schedule(fields, k1, k1 + draw.integer(0, 3), T)
    if abilities.sizes:
        shape = dict(draw.choice(abilities.sizes))
        if "T" in shape:  # of all windows
            k1 = k2 = T = shape["T"]
            if fields.get("k2") != "T":
                T = k1 * draw.integer(2, 3)
        sizes |= {letter: size for letter, size in shape.items() if letter not in "TK"}
    sizes["B"] = fields.get("B", sizes["B"])
    recipe = recipe._replace(**sizes, T=T, K=T)
    case = recipe.case()
    # Small steps: momentum multiplies a constant gradient by 1/(1 − μ).
    step = recipe.step or Step(0.1)
    terms = recipe.B * recipe.O * k1 * recipe.scale**2
    rate = draw.choice((1.0, 0.3, 0.1)) / (10 * terms) * (1 - step.momentum)
    step, schedule = step._replace(learning_rate=rate), records.Schedule(k1, k2, 2)
    options = records.RunOptions(schedule, recipe.objective, step)
    return Run(case.params, case.x, case.target, initial_state(case), options)
