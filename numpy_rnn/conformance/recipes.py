"""Random cases that make faults visible.

Mostly the sizes differ from each other, weights are of order one and not symmetric, tanh is not saturated and the older
steps of the window have no loss. Some cases have a square output matrix, exact zeros before relu, a batch or a window
of one, a saturated unit, a unit without incoming weights, or subnormal inputs. Large cases have one size of up to 40,
beyond small buffers and the registers of vector instructions. The options of SGD and a learned initial state are drawn
for ports that have them. A case is drawn either at random, here, or by Hypothesis, in `properties`.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.experiment import Experiment
from numpy_rnn.common.records import DTYPES, Parameters, SgdOptions
from numpy_rnn.conformance.case import TWO_BIASES, Case
from numpy_rnn.conformance.ports.protocol import GIVEN_DY, OF_LOSS
from numpy_rnn.conformance.random_parts import (
    ADAGRAD,
    LEARNED_H_0,
    SGD_OPTIONS,
    SIGMOID,
    random_classes,
    random_distributions,
    random_losses,
    random_parameters,
    random_sgd,
    random_velocity,
    random_weights,
    restricted_sgd,
    states,
    supported,
    with_adagrad,
    with_clip_by_value,
    with_second_bias,
)
from numpy_rnn.conformance.truncations import truncation_of

NONLINEARITIES = ("tanh", "relu")
REDUCTIONS = ("sum", "mean")
MAX_SIZE = 8  # of T, B, D, H and O in most cases
LARGE_SIZES = {"T": (9, 40), "H": (17, 40), "B": (9, 20), "D": (17, 40), "O": (17, 40)}  # of one of them, in the others
SATURATING = 64  # the factor of the incoming weights of a saturated unit: mostly |a| > 20


class Recipe(NamedTuple):
    """The description of a case, from which it can be made again."""

    T: int
    B: int
    D: int
    H: int
    O: int
    K: int
    dtype: str
    nonlinearity: str = "tanh"
    reduction: str = "sum"
    bias: bool = False
    zeros: bool = False  # whether the first input and the initial state are zero
    gain: float = 1.0
    learning_rate: float = 0.1
    seed: int = 0  # of the numbers in the arrays
    momentum: float = 0.0
    dampening: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    max_norm: float | None = None
    learned: bool = False  # the initial state
    velocity: bool = False  # whether there is one before the update, with momentum
    max_value: float | None = None
    loss: str = "squared_error"
    classes: bool = False  # whether the target of a cross-entropy holds classes
    logits: float = 1.0  # the scale of the outputs of a cross-entropy
    class_inputs: bool = False
    weights: bool = False
    saturated: bool = False  # the last unit, of tanh
    silent: bool = False  # the first unit of several, which has no incoming weights: a = 0
    subnormal: bool = False  # the first component of the inputs and of the initial state
    no_h_0: bool = False  # whether the initial state is zero
    given_dy: bool = False  # whether dy is given in place of a target
    has_step: bool = True
    adagrad: bool = False
    truncation: str = ""
    two_biases: bool = False  # of the hidden layer

    def __repr__(self) -> str:
        """The call that makes the recipe again, without the fields that have their defaults."""
        fields = (f"{n}={v!r}" for n, v in self._asdict().items() if n not in DEFAULTS or v != DEFAULTS[n])
        return f"Recipe({', '.join(fields)})"

    @property
    def sgd(self) -> SgdOptions:
        """The options of SGD."""
        return SgdOptions(*(getattr(self, name) for name in SgdOptions._fields))

    def case(self) -> Case:
        """The case."""
        generator = np.random.default_rng(self.seed)
        T, B, D, H, O, K = self[:6]
        params: Any = random_parameters(generator, D, H, O, self.bias, self.dtype, self.gain)
        x, target, h_0 = (generator.normal(size=size) for size in ((T, B, D), (K, B, O), (B, H)))
        h_0 = states(h_0, self.nonlinearity)
        if self.zeros:
            x[0], h_0[...] = 0, 0
        if self.subnormal:
            x[..., 0], h_0[..., 0] = (np.finfo(self.dtype).smallest_normal / 4 * v[..., 0] for v in (x, h_0))
        if self.no_h_0:
            h_0[...] = 0
        params = self._special_units(params)
        if self.two_biases:
            params = with_second_bias(np.random.default_rng((self.seed, 1)), params)
        x, target, h_0 = (array.astype(self.dtype) for array in (x, target, h_0))
        if self.learned:
            params = params._replace(h_0=h_0)
        has_velocity = self.velocity and self.sgd.has_velocity
        velocity = random_velocity(generator, params, self.adagrad) if has_velocity else None
        if self.class_inputs:
            x = random_classes(generator, (T, B), D)
        if self.loss == "cross_entropy":
            target = random_classes(generator, (K, B), O) if self.classes else random_distributions(generator, target)
            params = params._replace(W_hy=params.W_hy * params.W_hy.dtype.type(self.logits))
        weights = random_weights(generator, (K, B), self.dtype) if self.weights else None
        options = (self.learning_rate, self.nonlinearity, self.reduction, self.sgd, velocity, self.loss, weights)
        case = Case(params, x, target, h_0, *options, given_dy=self.given_dy, has_step=self.has_step)
        return case._replace(truncation=truncation_of(self.truncation), has_h_0=not self.no_h_0)

    def _special_units(self, params: Parameters) -> Parameters:
        """The parameters with a saturated and a silent unit; in a long window W_hh has a norm of 1 at most."""
        if self.T > MAX_SIZE:
            norm = np.linalg.norm(params.W_hh.astype(np.float64), 2)
            params = params._replace(W_hh=(params.W_hh / max(1.0, norm)).astype(self.dtype))
        factors = np.ones(self.H, self.dtype)
        if self.saturated and self.nonlinearity == "tanh":
            factors[-1] = SATURATING
        if self.silent and self.H > 1:
            factors[0] = 0
        b_h = None if params.b_h is None else params.b_h * factors
        return params._replace(W_xh=params.W_xh * factors, W_hh=params.W_hh * factors, b_h=b_h)


DEFAULTS = Recipe._field_defaults


def restricted(recipe: Recipe, lacks: Sequence[str], has: Sequence[str]) -> Recipe:
    """The recipe without what a port lacks, and with dy in place of a target if that is what the port is given."""
    recipe = recipe._replace(**restricted_sgd(recipe.sgd, lacks)._asdict())
    if "older steps" in lacks:
        recipe = recipe._replace(K=recipe.T)
    if GIVEN_DY in has:
        recipe = recipe._replace(given_dy=True, reduction="sum", loss="squared_error", classes=False, weights=False)
    if "step" in lacks:
        recipe = recipe._replace(**SgdOptions()._asdict())
    recipe = recipe._replace(K=1 if "many losses" in lacks else recipe.K, B=1 if "batch" in lacks else recipe.B)
    if "squared_error" in lacks:
        recipe = recipe._replace(loss="cross_entropy")
    if "large outputs" in lacks:
        recipe = recipe._replace(logits=1.0)
    if "distributions" in lacks:
        recipe = recipe._replace(classes=recipe.loss == "cross_entropy")
    class_inputs = recipe.class_inputs or "vector_inputs" in lacks
    recipe = recipe._replace(no_h_0="h_0" in lacks, has_step="step" not in lacks, class_inputs=class_inputs)
    return recipe._replace(two_biases=TWO_BIASES in has)


def random_sizes(generator: np.random.Generator, max_size: int = MAX_SIZE) -> tuple[int, ...]:
    """T, B, D, H, O: mostly all different, otherwise independent of each other."""
    if generator.random() < 0.6:
        return tuple(int(size) for size in generator.permutation(np.arange(1, max_size + 1))[:5])
    return tuple(int(size) for size in generator.integers(1, max_size + 1, 5))


def random_recipe(
    generator: np.random.Generator, dtype: str | None = None, has: Sequence[str] = (), lacks: Sequence[str] = ()
) -> Recipe:
    """A random recipe, with the options of ports that have these capabilities, without those that they lack."""
    T, B, D, H, O = random_sizes(generator)
    nonlinearity, reduction = (str(generator.choice(supported(o, lacks))) for o in (NONLINEARITIES, REDUCTIONS))
    plain = Recipe(
        T,
        B,
        D,
        H,
        O=H if generator.random() < 0.15 else O,
        K=T if generator.random() < 0.5 else int(generator.integers(1, T + 1)),
        dtype=dtype or DTYPES[generator.integers(2)],
        nonlinearity=nonlinearity,
        reduction=reduction,
        bias=bool(generator.integers(2)) and "bias" not in lacks,
        zeros=generator.random() < 0.15,
        gain=float(generator.uniform(0.5, 1.5)),
        learning_rate=float(generator.uniform(0.01, 0.5)),
        seed=int(generator.integers(2**32)),
        saturated=generator.random() < 0.15,
        silent=generator.random() < 0.15,
        subnormal=generator.random() < 0.1,
    )
    if SGD_OPTIONS in has:
        plain = plain._replace(**random_sgd(generator)._asdict(), velocity=generator.random() < 0.7)
    if LEARNED_H_0 in has:
        plain = plain._replace(learned=bool(generator.integers(2)))
    [further] = generator.spawn(1)  # so that the draws above stay what they are
    if SIGMOID in has and further.random() < 0.25:
        plain = plain._replace(nonlinearity="sigmoid")
    plain = plain._replace(**with_clip_by_value(further, plain.sgd, has)._asdict())
    plain = plain._replace(**random_losses(further, has))
    if ADAGRAD in has and further.random() < 0.2:
        plain = plain._replace(**with_adagrad(plain.sgd)._asdict(), velocity=further.random() < 0.7)
    return restricted(plain, lacks, has)


def large_recipes(
    count: int, seed: int, dtype: str, lacks: Sequence[str] = (), has: Sequence[str] = ()
) -> Iterator[Recipe]:
    """So many recipes with large T, B, D, H and O by turns; every other one has a saturated or a silent unit."""
    for index in range(count):
        generator = np.random.default_rng((seed, index))
        recipe = random_recipe(generator, dtype, has, lacks)
        which = "THBDO"[index % 5]
        low, high = LARGE_SIZES[which]
        size = int(generator.integers(low, high + 1))
        older = 0 if recipe.K == recipe.T or which != "T" else int(generator.integers(size))  # steps without a loss
        K = size - older if which == "T" else recipe.K
        special: dict[str, Any] = {"saturated": index % 4 == 0, "silent": index % 4 == 2, "subnormal": index % 8 == 7}
        yield restricted(recipe._replace(**{which: size, "K": K, **special}), lacks, has)


def random_run(
    generator: np.random.Generator,
    dtype: str | None = None,
    max_steps: int = 12,
    lacks: Sequence[str] = (),
    has: Sequence[str] = (),
) -> tuple[Experiment, Configuration]:
    """A run of several updates of TBPTT(k1, k2) on a random series; windows overlap, and the last may be shorter.

    lacks, has: those of the port. A learned initial state is in the parameters and equals the experiment's h_0.
    """
    _, B, D, H, O = random_sizes(generator, 6)
    if generator.random() < 0.1:
        H = int(generator.integers(*LARGE_SIZES["H"]))
    T = int(generator.integers(4, max_steps + 1))
    dtype = dtype or DTYPES[generator.integers(2)]
    B = 1 if "batch" in lacks else B
    k1 = T if "h_0" in lacks else int(generator.integers(1, 5))
    if "many losses" in lacks:
        T, k1 = (1, 1) if "h_0" in lacks else (T, 1)
    if "older steps" in lacks:
        T -= T % k1  # the last window has as many steps as the others
    learning_rate = float(generator.uniform(0.1, 1)) / (10 * B * O * k1)
    configuration = Configuration(
        epochs=2,
        learning_rate=learning_rate,
        k1=k1,
        k2=k1 + int(generator.integers(0, 4)) * ("older steps" not in lacks),
        nonlinearity=str(generator.choice(supported(NONLINEARITIES, lacks))),
        reduction=str(generator.choice(supported(REDUCTIONS, lacks))),
    )
    gain = float(generator.uniform(0.5, 1.2))
    bias = bool(generator.integers(2)) and "bias" not in lacks
    params: Any = random_parameters(generator, D, H, O, bias, dtype, gain)
    if TWO_BIASES in has:
        params = with_second_bias(np.random.default_rng(H), params)
    x, target = (generator.normal(size=(T, B, size)).astype(dtype) for size in (D, O))
    h_0 = np.abs(np.tanh(generator.normal(size=(B, H)))).astype(dtype) * np.array("h_0" not in lacks, dtype)
    if SGD_OPTIONS in has:
        sgd = restricted_sgd(random_sgd(generator), lacks)
        # Momentum multiplies a constant gradient by 1/(1 − μ).
        configuration = configuration.changed(**sgd._asdict(), learning_rate=learning_rate * (1 - sgd.momentum))
    if LEARNED_H_0 in has and generator.integers(2):
        params = params._replace(h_0=h_0)
        configuration = configuration.changed(learn_initial_state=True)
    [further] = generator.spawn(1)
    if SIGMOID in has and further.random() < 0.25:
        configuration = configuration.changed(nonlinearity="sigmoid")
    configuration = configuration.changed(**with_clip_by_value(further, configuration.sgd_options(), has)._asdict())
    of_loss = random_losses(further, has)
    required = restricted(Recipe(T, B, D, H, O, T, dtype, **of_loss), [name for name in lacks if name in OF_LOSS], ())
    of_loss = {name: getattr(required, name) for name in of_loss}
    configuration = configuration.changed(loss=of_loss["loss"])
    if of_loss["class_inputs"]:
        x = random_classes(further, (T, B), D)
    if of_loss["loss"] == "cross_entropy":
        target = random_classes(further, (T, B), O) if of_loss["classes"] else random_distributions(further, target)
    weights = random_weights(further, (T, B), dtype) if of_loss["weights"] else None
    if ADAGRAD in has and further.random() < 0.2:
        configuration = configuration.changed(**with_adagrad(configuration.sgd_options())._asdict())
    return Experiment("random series", x, target, h_0, params, weights=weights), configuration
