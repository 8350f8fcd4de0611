"""Random cases and runs that make faults visible.

Mostly the sizes differ from each other, weights are of order one and not symmetric,
tanh is not saturated, and the older steps of the window have no loss. Some cases have
inputs, targets and outputs of 10 to 1000, as data that nobody scaled; a square output
matrix, a batch or a window of one, a saturated unit, or one without incoming weights,
whose a is exactly 0. Large cases have one size of up to 40, beyond small buffers and
the registers of vector instructions.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common import records
from numpy_rnn.common.records import (
    Gradients,
    NumpyArray,
    Objective,
    Parameters,
    Run,
    Step,
    Value,
)
from numpy_rnn.common.trees import tree_map
from numpy_rnn.conformance.arithmetics.arithmetic import nonlinearity_of
from numpy_rnn.conformance.case import (
    PARAMETER_AXES,
    STEP_OPTIONS,
    WindowCase,
    initial_state_of,
    parameters_from,
)
from numpy_rnn.conformance.definition import train, window_update
from numpy_rnn.conformance.ports.abilities import (
    EVERYTHING,
    LARGEST_LOGIT,
    NO_MOMENTUM,
    Abilities,
    Shape,
    facts_of,
    forced_fields,
    forced_schedule,
    missing_abilities,
)

MAX_SIZE = 8  # of T, B, D, H and O in most cases
WIDE_BATCHES = (9, 17)  # one or two blocks of 8 or 16 sequences, and a rest
LARGE_SIZES = {"T": (17, 40), "H": (17, 40), "B": (9, 20), "D": (17, 40), "O": (17, 40)}
SATURATING = 64  # factor of the incoming weights of a saturated unit: mostly |a| > 20
SCALES = (10.0, 100.0, 1000.0)  # of unscaled data
MAX_LOGIT = 1e4  # the scale of large outputs, whose exponentials overflow every dtype
# Scales of outputs of a cross-entropy, from order one to sure ones.
LOGITS = (1.0, 1.0, 5.0, 10.0, 20.0, LARGEST_LOGIT, MAX_LOGIT)
# Special numbers: the last unit of tanh saturated; the first unit of several without
# incoming weights, a = 0.
SPECIAL = ("saturated", "silent")
MAX_MAGNITUDE = 1e12  # its square is still far from float32's largest number, 3e38
PLAIN: dict[str, Any] = {"logits": 1.0, "learnt": False, "special": ""}


class RandomDraw:
    """Choices made by a generator of random numbers."""

    def __init__(self, *seed: int):
        """Begin the numbers of a seed."""
        self.generator = np.random.default_rng(seed)

    def integer(self, low: int, high: int) -> int:
        """Return an integer from low to high, both included."""
        return int(self.generator.integers(low, high, endpoint=True))

    def choice(self, options: Sequence[Value]) -> Value:
        """Return one of the options."""
        return options[self.integer(0, len(options) - 1)]

    def one_in(self, n: int) -> bool:
        """Return True in one of n draws."""
        return self.integer(1, n) == 1


class CaseSpec(NamedTuple):
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
    gain: float = 1.0
    seed: int = 0  # of the numbers in the arrays
    velocity: bool = False  # whether there is one, if the step has any
    scale: float = 1.0  # of inputs, and of the targets and outputs of the squared error
    logits: float = 1.0  # the scale of the outputs of a cross-entropy
    learnt: bool = False  # whether the targets are the network's likeliest classes
    class_inputs: bool = False
    special: str = ""  # one of SPECIAL, or none
    no_h_0: bool = False  # whether the initial state is zero

    def __repr__(self) -> str:
        """Return the call that makes the spec again, without its defaults."""
        return _call(self)

    def case(self) -> WindowCase:
        """Return the case."""
        generator = np.random.default_rng(self.seed)
        T, B, D, H, O, K = self[:6]
        params = self._parameters(generator)
        x = self.scale * generator.normal(size=(T, B, D))
        target = self.scale * generator.normal(size=(K, B, O))
        phi = nonlinearity_of(self.objective.nonlinearity).phi
        h_0 = phi(generator.normal(size=(B, H)))
        x, target, h_0 = (array.astype(self.dtype) for array in (x, target, h_0))
        velocity = self._velocity(generator, params)
        if self.class_inputs:
            x = random_classes(generator, (T, B), D)
        if self.objective.has_classes:
            target = random_classes(generator, (K, B), O)
        case = WindowCase(
            params=params,
            x=x,
            target=target,
            h_0=None if self.no_h_0 else h_0,
            objective=self.objective,
            step=self.step,
            velocity=velocity,
        )
        return self._with_outputs(case) if self.objective.has_classes else case

    def _velocity(
        self, generator: np.random.Generator, params: Parameters[NumpyArray]
    ) -> Gradients[NumpyArray] | None:
        """Return velocities of order one, or sums of squares; None without any."""
        step = self.step
        if not self.velocity or step is None or not step.has_velocity:
            return None

        def drawn(theta: NumpyArray) -> NumpyArray:
            """Return the velocity of a parameter."""
            v = generator.normal(size=theta.shape)
            return (v * v if step.adagrad else v).astype(self.dtype)

        return tree_map(drawn, Gradients(*params))

    def _with_outputs(self, case: WindowCase) -> WindowCase:
        """Return the case with outputs and classes as the spec says."""
        with np.errstate(all="ignore"):
            y = window_update(case)["y"][self.T - self.K :]
        params = case.params
        if self.logits > 1:  # the largest output
            params = scaled_outputs(params, self.logits / max(np.abs(y).max(), 1e-3))
        target = y.argmax(axis=-1) if self.learnt else case.target
        return case._replace(params=params, target=target)

    def _parameters(self, generator: np.random.Generator) -> Parameters[NumpyArray]:
        """Return normal weights of variance gain² / fan-in, so that tanh does not
        saturate, with the special units.
        """
        factors = np.ones(self.H)
        if self.special == "saturated" and self.objective.nonlinearity == "tanh":
            factors[-1] = SATURATING
        if self.special == "silent" and self.H > 1:
            factors[0] = 0
        scale = 1.0 if self.objective.has_classes else self.scale
        arrays = {}
        for name, axes in PARAMETER_AXES.items():
            if self.bias or len(axes) > 1:
                shape = [getattr(self, letter) for letter in axes]
                standard = self.gain * generator.normal(size=shape)
                factor = scale if name.endswith("y") else factors
                arrays[name] = standard / np.sqrt(shape[0]) * factor
        if not self.class_inputs:
            arrays["W_xh"] /= self.scale
        return parameters_from({n: v.astype(self.dtype) for n, v in arrays.items()})


def scaled_outputs(
    params: Parameters[NumpyArray], factor: float
) -> Parameters[NumpyArray]:
    """Return the parameters of a network with so many times the outputs."""
    readout = (params.W_hy, params.b_y)
    W_hy, b_y = tree_map(lambda v: (factor * v).astype(v.dtype), readout)
    return params._replace(W_hy=W_hy, b_y=b_y)


def random_classes(
    generator: np.random.Generator, shape: tuple[int, ...], size: int
) -> NumpyArray:
    """Return classes, some of which occur several times."""
    return generator.integers(0, generator.integers(1, size + 1), shape)


def _call(record: Any) -> str:
    """Return the call that makes a record, without the defaults."""
    if not hasattr(record, "_field_defaults"):
        return repr(record)
    defaults = record._field_defaults
    arguments = []
    for name, value in record._asdict().items():
        if name not in defaults or value != defaults[name]:
            arguments.append(f"{name}={_call(value)}")
    return f"{type(record).__name__}({', '.join(arguments)})"


def random_spec(
    draw: RandomDraw, dtype: str | None = None, abilities: Abilities = EVERYTHING
) -> CaseSpec:
    """Draw a spec with the options of ports that have these abilities."""
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
    if draw.one_in(10):
        B = draw.integer(*WIDE_BATCHES)
    spec = CaseSpec(
        *(T, B, D, H, O),
        K=draw.integer(1, T) if draw.one_in(2) else T,
        dtype=dtype or draw.choice(records.DTYPES),
        objective=objective,
        step=random_step(draw),
        bias=draw.one_in(2),
        gain=draw.choice((1.0, 0.5, 1.5)),
        seed=draw.integer(0, 2**32 - 1),
        velocity=not draw.one_in(3),
        scale=draw.choice(SCALES) if draw.one_in(4) else 1.0,
        logits=draw.choice(LOGITS),
        learnt=draw.one_in(2),
        class_inputs=draw.one_in(3),
        special=draw.choice(SPECIAL) if draw.one_in(2) else "",
    )
    spec = without_unsupported(spec, abilities)
    if spec.objective.has_classes:
        spec = spec._replace(O=max(spec.O, 2))
    spec = without_unsupported(with_sizes(spec, draw, abilities), abilities)
    if spec.step is None or not spec.step.has_velocity:
        spec = spec._replace(velocity=False)
    if not spec.objective.has_classes:
        spec = spec._replace(logits=1.0, learnt=False)
    return spec


def usable_shapes(spec: CaseSpec, abilities: Abilities) -> Sequence[Shape]:
    """Return the shapes that the port has; of several, those of more than one class,
    as the loss of one is constant.
    """
    if not spec.objective.has_classes:
        return abilities.sizes
    several = [shape for shape in abilities.sizes if shape.get("O") != 1]
    return several or abilities.sizes


def with_sizes(spec: CaseSpec, draw: RandomDraw, abilities: Abilities) -> CaseSpec:
    """Return the spec with sizes that the port has. In half of the cases or more every
    step has a loss.
    """
    if not abilities.sizes:
        return spec
    shape: dict[str, Any] = dict(draw.choice(usable_shapes(spec, abilities)))
    T = shape.get("T", max(spec.T, shape.get("K", 1)))
    K = draw.choice((T, draw.integer(1, T)))
    return spec._replace(**{"T": T, "K": K} | shape)


def random_step(draw: RandomDraw) -> Step:
    """Draw valid options."""
    drawn = {name: draw.choice(row.choices) for name, row in STEP_OPTIONS.items()}
    step = Step(draw.choice((0.1, 0.01, 0.5, 0.0)), **drawn)
    if step.adagrad or not step.momentum:
        step = step._replace(**dict(NO_MOMENTUM))
    if step.dampening:
        step = step._replace(nesterov=False)
    if step.max_value is not None:
        step = step._replace(max_norm=None)
    return step


def facts_of_spec(spec: CaseSpec) -> dict[str, Any]:
    """Return what is true of a case of this spec."""
    others = {
        "bias": spec.bias,
        "class_inputs": spec.class_inputs,
        "batch": spec.B > 1,
        "h_0": not spec.no_h_0,
        "older steps": spec.K < spec.T,
        "many losses": spec.K > 1,
        "large outputs": spec.logits > LARGEST_LOGIT,
    }
    return facts_of(spec.objective, spec.dtype, spec.step, others)


def with_fields(record: Value, fields: Mapping[str, Any]) -> Value:
    """Return a record with those of the fields that it has."""
    old: Any = record
    new: Value = old._replace(**{n: fields[n] for n in old._fields if n in fields})
    return new


def without_unsupported(spec: CaseSpec, abilities: Abilities) -> CaseSpec:
    """Return the spec without what a port has not, and with its reduction."""
    fields = dict[str, Any]()
    for ability in missing_abilities(facts_of_spec(spec), abilities):
        fields |= ability.remedy
    if fields.get("K") == "T":
        fields["K"] = spec.T
    if abilities.reduction is not None:
        fields["reduction"] = abilities.reduction
    spec = spec._replace(objective=with_fields(spec.objective, fields))
    if spec.step is not None:
        spec = spec._replace(step=with_fields(spec.step, fields))
    return with_fields(spec, fields)


def large_spec(
    draw: RandomDraw, letter: str, dtype: str, abilities: Abilities = EVERYTHING
) -> CaseSpec:
    """Draw a spec in which the size of this letter is large."""
    spec = random_spec(draw, dtype, abilities)
    size = draw.integer(*LARGE_SIZES[letter])
    changes: dict[str, Any] = {letter: size}
    if letter == "T":
        changes["K"] = draw.integer(1, size)
    spec = with_sizes(spec._replace(**changes), draw, abilities)
    return without_unsupported(spec, abilities)


def random_run(
    draw: RandomDraw, dtype: str | None = None, abilities: Abilities = EVERYTHING
) -> Run:
    """Draw a run of several updates of TBPTT(k1, k2) whose numbers do not overflow."""
    while True:
        run = unbounded_run(draw, dtype, abilities)
        if is_bounded(run):
            return run


def unbounded_run(
    draw: RandomDraw, dtype: str | None = None, abilities: Abilities = EVERYTHING
) -> Run:
    """Draw a run of several updates, which may overflow: windows overlap, and the last
    may be shorter.
    """
    fields = forced_fields(abilities)
    spec = random_spec(draw, dtype, abilities)
    spec = spec._replace(**PLAIN, velocity=False)
    sizes = {letter: min(getattr(spec, letter), 6) for letter in "BDHO"}
    if draw.one_in(10):
        sizes["H"] = draw.integer(*LARGE_SIZES["H"])
    T = draw.integer(4, 12)
    k1 = draw.integer(1, 4)
    k1, k2 = forced_schedule(fields, k1, k1 + draw.integer(0, 3), T)
    if abilities.sizes:
        shape = dict(draw.choice(usable_shapes(spec, abilities)))
        if "T" in shape:  # of all windows
            k1 = k2 = T = shape["T"]
            if fields.get("k2") != "T":
                T = k1 * draw.integer(2, 3)
        sizes |= {letter: size for letter, size in shape.items() if letter not in "TK"}
    schedule = records.Schedule(k1, k2, 2)
    share = draw.choice((1.0, 0.3, 0.1))
    return run_of(spec._replace(**sizes, T=T, K=T), schedule, share)


def run_of(spec: CaseSpec, schedule: records.Schedule, share: float) -> Run:
    """Return the run of a spec. share: of a learning rate at which most runs stay
    finite.
    """
    case = spec.case()
    # Small steps: momentum multiplies a constant gradient by 1/(1 − μ).
    step = spec.step or Step(0.1)
    terms = spec.B * spec.O * schedule.k1 * (spec.scale * spec.logits) ** 2
    rate = share / (10 * terms) * (1 - step.momentum)
    step = step._replace(learning_rate=rate)
    options = records.RunOptions(schedule, spec.objective, step)
    h_0 = initial_state_of(case)
    return Run(case.params, case.x, case.target, h_0, options, case.velocity)


def is_bounded(run: Run) -> bool:
    """Return whether the definition's run stays far within the range of float32."""
    with np.errstate(all="ignore"):
        for update in train(run):
            for array in update.report.values():
                if not (np.abs(array) < MAX_MAGNITUDE).all():
                    return False
    return True
