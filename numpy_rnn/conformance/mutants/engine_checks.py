"""Checks of the engine beyond those of a port: in every layout, with every `yield_every`, and of returned memory.

The sizes at which the engine takes another path are module constants. `reduced_limits` sets them so low that short runs
of small networks cross each of them.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.experiment import Experiment
from numpy_rnn.app.trace import Recorder
from numpy_rnn.common.records import Parameters, SgdOptions, State
from numpy_rnn.conformance.ports.protocol import CAPABILITIES
from numpy_rnn.conformance.recipes import random_run
from numpy_rnn.conformance.traces.first_divergence import CAUSAL_ORDER
from numpy_rnn.conformance.traces.judge import judge

LIMITS: dict[str, dict[str, tuple[int, ...]]] = {  # by module: small values, and at least one that is never reached
    "layout": {
        "MAX_GROUPED": (0, 1000),
        "MIN_GROUP": (1, 2, 3),
        "MIN_OF_THREAD": (1, 2, 1000),
        "GROUP_BYTES": (1, 2000, 2**20),
        "MIN_COLUMNS": (1, 1000),
        "MIN_COLUMN_STEPS": (1, 4),
        "MIN_COLUMN_BATCH": (1,),
        "REMEMBERED": (1, 3),
    },
    "window": {"MAX_STACKED": (0, 1000), "MIN_TRANSPOSED": (2, 1000)},
    "loop": {"TAPE_BYTES": (1, 500, 2**20), "MAX_WINDOWS": (1, 2, 3, 1000), "MAX_KEPT": (0, 1000)},
}
ENSEMBLES = ((), (), (2,), (5,), (7,), (2, 3))
# Fractions of the runs that can be computed in columns, which must be float32 and have no classes or weights, and of
# those with a plain step, which the engine computes in other memory.
FOR_COLUMNS, PLAIN_STEP = 0.3, 0.25
LOSSES = ("cross_entropy", "class_inputs", "loss_weights")
EVERY: tuple[int | str, ...] = (2, 3, 4, "epoch")  # updates per returned one


def random_limits(generator: np.random.Generator) -> dict[str, dict[str, int]]:
    """A value for each of the limits, by module and name."""
    return {
        module: {name: int(generator.choice(values)) for name, values in of.items()} for module, of in LIMITS.items()
    }


@contextmanager
def reduced_limits(engine, limits: dict[str, dict[str, int]], threads: int = 1) -> Iterator[None]:
    """Inside the block an engine, `numpy_rnn.engine` or a mutant, has these limits and this number of threads."""
    package = engine.train.__module__.rpartition(".")[0]
    values: dict[tuple[str, str], Any] = {
        (module, name): value for module, of in limits.items() for name, value in of.items()
    }
    values["loop", "available_threads"] = lambda: threads
    before = {(module, name): getattr(sys.modules[f"{package}.{module}"], name) for module, name in values}
    try:
        for (module, name), value in values.items():
            setattr(sys.modules[f"{package}.{module}"], name, value)
        yield
    finally:
        for (module, name), value in before.items():
            setattr(sys.modules[f"{package}.{module}"], name, value)


def random_engine_run(generator: np.random.Generator) -> tuple[Experiment, Configuration]:
    """A run of one network or an ensemble, sometimes with a learning rate per network."""
    dtype, has = None, list(CAPABILITIES)
    if generator.random() < FOR_COLUMNS:
        dtype, has = "float32", [name for name in has if name not in LOSSES]
    experiment, configuration = random_run(generator, dtype, has=has)
    if generator.random() < PLAIN_STEP:
        configuration = configuration.changed(**SgdOptions()._asdict())
    E = ENSEMBLES[generator.integers(len(ENSEMBLES))]
    if not E:
        return experiment, configuration
    factors = generator.uniform(0.5, 1.5, E)

    def of_ensemble(theta):
        return (theta * factors.reshape(*E, *(1,) * theta.ndim)).astype(theta.dtype)

    params = Parameters(*(None if theta is None else of_ensemble(theta) for theta in experiment.params))
    if len(E) == 1 and generator.integers(2):
        rates = np.multiply(configuration.learning_rate, generator.uniform(0.5, 1.5, E[0])).tolist()
        configuration = configuration.changed(learning_rate=tuple(rates))
    return experiment._replace(params=params, h_0=experiment.h_0 if params.h_0 is None else params.h_0), configuration


def engine_violation(engine, generator: np.random.Generator, threads: int = 1) -> tuple[str, float] | None:
    """The first tensor that is wrong in a random run of the engine, and error / bound; None if there is none.

    The run is judged update by update, like that of a port at level L3. It is then repeated without records, with every
    update, every n-th or one per epoch returned, and resumed from a state in the middle: all these runs must give the
    same bits, except losses, which must be within their bounds. Returned arrays must not change until the run is over.
    """
    experiment, configuration = random_engine_run(generator)
    limits = random_limits(generator)
    yield_every = EVERY[generator.integers(len(EVERY))]
    with reduced_limits(engine, limits, threads), np.errstate(all="ignore"):
        run = _Run(engine, experiment, configuration)
        trace, recorded, changed = run.recorded()
        violation = _first(judge(trace).worst) or changed
        if violation is not None:
            return violation
        losses, violation = run.compared(recorded, yield_every=yield_every)
        if violation is None and losses.tobytes() != trace["loss"].tobytes():
            violation = _first(judge(trace | {"loss": losses}).worst)
        return violation or run.resumed(recorded, generator, yield_every)


def _first(worst):
    for name in CAUSAL_ORDER:
        if name in worst and not worst[name] <= 1:
            return name, float(worst[name])
    return None


class _Run:
    """A run of the engine that can be repeated with other options."""

    def __init__(self, engine, experiment, configuration):
        experiment = experiment.trained()
        self.engine, self.recipe = engine, (experiment, configuration)
        self.options = configuration.train_options() | {"weights": experiment.weights}
        x, target, h_0, params = experiment[1:5]
        self.start = params, x, target, None if params.h_0 is not None else h_0

    def train(self, **options):
        return self.engine.train(*self.start, **(self.options | options))

    def recorded(self) -> tuple[dict[str, Any], dict[tuple[int, int], dict[str, bytes]], tuple[str, float] | None]:
        """The trace of the run, the bits of its updates by place, and the first tensor that has changed at its end."""
        recorder = Recorder(*self.recipe)
        returned, run = [], self.train(record=True)
        for update in run:
            recorder.append(self.engine.to_numpy(update))
            returned += [(value, _bits(value)) for value in (update, run.state())]
        bits = {(value.epoch, value.number): kept for value, kept in returned[::2]}
        return recorder.arrays(), bits, _changed(returned)

    def compared(self, recorded, yield_every) -> tuple[np.ndarray, tuple[str, float] | None]:
        """The losses of all updates of a run, and the first tensor whose bits differ from the recorded run."""
        updates = list(self.train(yield_every=yield_every))
        return np.concatenate([update.losses for update in updates]), _other_bits(updates, recorded)

    def resumed(self, recorded, generator, yield_every) -> tuple[str, float] | None:
        """The first tensor of a run without records, or of one that is resumed from it, whose bits differ or change."""
        returned, run = [], self.train()
        for update in run:
            returned += [(value, _bits(value)) for value in (update, run.state())]
        violation = _changed(returned) or _other_bits([update for update, _ in returned[::2]], recorded)
        state = returned[1 + 2 * int(generator.integers(len(recorded)))][0]
        options = ({"record": True}, {}, {"yield_every": yield_every})[generator.integers(3)]
        return violation or _other_bits(self.train(resume=state, **options), recorded)


def _bits(value) -> dict[str, Any]:
    """The bits of all arrays of an Update or a State, by the name of the tensor."""
    prefixes = {"gradients": "d", "velocity": "v"}
    named = {"initial": value.h} if isinstance(value, State) else {"loss": value.loss}
    for part in ("gradients", "parameters", "velocity", "activations", "adjoints"):
        arrays = getattr(value, part, None)
        if arrays is not None:
            named |= {prefixes.get(part, "") + name: array for name, array in arrays._asdict().items()}
    if "h" in named:
        named["initial"] = named["h"][0]
    named.pop("x", None)
    return {name: np.asarray(array).tobytes() for name, array in named.items() if array is not None}


def _changed(returned) -> tuple[str, float] | None:
    changed = [name for value, bits in returned for name, now in _bits(value).items() if now != bits[name]]
    return (min(changed, key=CAUSAL_ORDER.index), np.inf) if changed else None


def _other_bits(updates, recorded) -> tuple[str, float] | None:
    """The first tensor of the first of these updates whose bits, but for the loss, are not those that were recorded."""
    for update in updates:
        bits, expected = _bits(update), recorded[update.epoch, update.number]
        wrong = [name for name in bits if name != "loss" and bits[name] != expected.get(name)]
        if wrong:
            return min(wrong, key=CAUSAL_ORDER.index), np.inf
    return None
