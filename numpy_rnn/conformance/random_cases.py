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
from numpy_rnn.conformance.ports.protocol import CAPABILITIES, EVERYTHING, Abilities

MAX_SIZE = 8  # of T, B, D, H and O in most cases
LARGE_SIZES = {"T": (17, 40), "H": (17, 40), "B": (9, 20), "D": (17, 40), "O": (17, 40)}
SATURATING = (
    64  # the factor of the incoming weights of a saturated unit: mostly |a| > 20
)
SCALES = (10.0, 100.0, 1000.0)  # of unscaled data
LOGITS = (1.0, 1.0, 5.0, 10.0, 20.0, 30.0)  # scales of outputs, whose softmax is sure
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
        if self.learnt and loss == "cross_entropy":
            y = window_update(case._replace(step=None))["y"]
            return case._replace(target=y[T - K :].argmax(axis=-1))
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


def available(names: Sequence[T], abilities: Abilities) -> list[T]:
    """The choices of these names that a port has."""
    has, lacks, _ = abilities
    return [n for n in names if (n in has if n in CAPABILITIES else n not in lacks)]


def random_recipe(
    draw: RandomDraw, dtype: str | None = None, abilities: Abilities = EVERYTHING
) -> Recipe:
    """A recipe with the options of ports that have these abilities."""
    (has, lacks, _), are_distinct = abilities, draw.one_in(2)
    T, B, D, H, O = map(
        int, draw.generator.choice(MAX_SIZE, 5, replace=not are_distinct) + 1
    )
    kinds: N = records.NONLINEARITY_NAMES, records.LOSS_NAMES, records.REDUCTION_NAMES
    objective = Objective(
        *(draw.choice(available(names, abilities)) for names in kinds)
    )
    step = random_step(draw, abilities)
    recipe = Recipe(
        *(T, B, D, H),
        O=max(
            H if draw.one_in(7) else O, 2 if objective.loss == "cross_entropy" else 1
        ),
        K=draw.integer(1, T) if draw.one_in(2) else T,
        dtype=dtype or draw.choice(records.DTYPES),
        objective=objective,
        step=step,
        bias="no biases" in lacks or ("bias" not in lacks and draw.one_in(2)),
        zeros=draw.one_in(7),
        gain=draw.choice((1.0, 0.5, 1.5)),
        seed=draw.integer(0, 2**32 - 1),
        velocity=step.has_velocity and not draw.one_in(3),
        scale=draw.choice(SCALES) if draw.one_in(4) else 1.0,
        logits=random_logits(draw, objective),
        learnt=objective.loss == "cross_entropy" and draw.one_in(2),
        class_inputs="class_inputs" in has and draw.one_in(3),
        saturated=draw.one_in(7),
        silent=draw.one_in(7),
        subnormal=draw.one_in(10),
    )
    return restricted(sized(recipe, draw, abilities), abilities)


def random_logits(draw: RandomDraw, objective: Objective) -> float:
    """The scale of the outputs of a cross-entropy, from order one to one that overflows
    exponentials; 1 for other losses.
    """
    if objective.loss != "cross_entropy":
        return 1.0
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


def random_step(draw: RandomDraw, abilities: Abilities = EVERYTHING) -> Step:
    """Every valid combination of options that the port has."""
    has, lacks, _ = abilities
    step = Step(draw.choice((0.1, 0.01, 0.5, 0.0)))
    if "sgd_options" in has:
        momentum = 0.0 if "momentum" in lacks else draw.choice((0.0, 0.5, 0.9))
        dampening = (
            draw.choice((0.0, 0.25, 0.7))
            if momentum and "dampening" not in lacks
            else 0.0
        )
        nesterov = (
            momentum > 0
            and dampening == 0
            and "nesterov" not in lacks
            and draw.one_in(2)
        )
        decay = 0.0 if "weight_decay" in lacks else draw.choice((0.0, 0.01, 0.1))
        norms = (None, None, 0.1, 0.5, 1.0, 5.0, 30.0)
        max_norm = None if "max_norm" in lacks else draw.choice(norms)
        step = Step(
            step.learning_rate, momentum, dampening, nesterov, decay, max_norm=max_norm
        )
    if "clip_by_value" in has and draw.one_in(4):
        step = step._replace(max_norm=None, max_value=draw.choice((0.03, 0.2, 1.0)))
    if "adagrad" in has and ("plain SGD" in lacks or draw.one_in(5)):
        step = step._replace(momentum=0.0, dampening=0.0, nesterov=False, adagrad=True)
    return step


RESTRICTIONS: dict[
    str, dict[str, N]
] = {  # the fields of a recipe for what a port lacks
    "step": {"step": None},
    "many losses": {"K": 1},
    "batch": {"B": 1},
    "vector_inputs": {"class_inputs": True},
    "h_0": {"no_h_0": True},
}


def restricted(recipe: Recipe, abilities: Abilities) -> Recipe:
    """The recipe without what a port lacks."""
    own = RESTRICTIONS | {"older steps": {"K": recipe.T}}
    for name in (name for name in own if name in abilities.lacks):
        recipe = recipe._replace(**own[name])
    if "large outputs" in abilities.lacks:
        recipe = recipe._replace(logits=min(recipe.logits, max(LOGITS)))
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
    lacks = abilities.lacks
    recipe = random_recipe(draw, dtype, abilities)._replace(**PLAIN, velocity=False)
    sizes = {letter: min(getattr(recipe, letter), 6) for letter in "BDHO"}
    sizes |= {"H": draw.integer(*LARGE_SIZES["H"])} if draw.one_in(10) else {}
    T = draw.integer(4, 12)
    k1 = 1 if "many losses" in lacks else T if "h_0" in lacks else draw.integer(1, 4)
    k2 = T if "h_0" in lacks else k1 + draw.integer(0, 3)  # T: all start at step 0
    if "older steps" in lacks:
        k2 = k1
    if abilities.sizes:
        shape = dict(draw.choice(abilities.sizes))
        if "T" in shape:  # of all windows
            k1 = k2 = shape["T"]
            T = k1 * (1 if "h_0" in lacks else draw.integer(2, 3))
        sizes |= {letter: size for letter, size in shape.items() if letter not in "TK"}
    sizes |= {"B": 1} if "batch" in lacks else {}
    recipe = recipe._replace(**sizes, T=T, K=T)
    case = recipe.case()
    # Small steps: momentum multiplies a constant gradient by 1/(1 − μ).
    step = random_step(draw, abilities) if recipe.step is None else recipe.step
    terms = recipe.B * recipe.O * k1 * recipe.scale**2
    rate = draw.choice((1.0, 0.3, 0.1)) / (10 * terms) * (1 - step.momentum)
    step, schedule = step._replace(learning_rate=rate), records.Schedule(k1, k2, 2)
    options = records.RunOptions(schedule, recipe.objective, step)
    return Run(case.params, case.x, case.target, initial_state(case), options)
