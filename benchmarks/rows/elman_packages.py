"""The rows of this project's own packages, used as their README shows."""

from collections.abc import Iterator, Sequence
from functools import partial
from importlib import import_module
from typing import Any

from benchmarks.rows import (
    AGAIN,
    CHARACTERS,
    EVERY,
    OTHER,
    OURS,
    REFERENCE,
    RUN,
    STEP,
    TASKS,
    Prepared,
    Row,
    present,
    report,
    run_report,
)
from benchmarks.workloads import MAX_GRADIENT, Case, first_updates
from numpy_rnn.common.training import EPOCH

ALL = (*TASKS, CHARACTERS)
ABOUTS: dict[
    str, tuple[str, int | str, tuple[str, ...], str]
] = {  # of every row: package, results per epoch or per update, tasks, and how it is written
    OURS: ("numpy_rnn", EPOCH, ALL, "this package: forward and bptt of the reference; steps and runs by the engine"),
    AGAIN: ("numpy_rnn", EPOCH, ALL, "numpy_rnn, timed a second time"),
    EVERY: ("numpy_rnn", 1, (RUN,), "runs by the engine, with parameters and gradients read after every update"),
    REFERENCE: (
        "numpy_rnn.reference",
        EPOCH,
        (STEP, RUN, CHARACTERS),
        "the reference's training loop, written to be read",
    ),
    OTHER: ("torch_rnn", EPOCH, ALL, "the same network in PyTorch, with gradients by torch.autograd"),
}


def row(name: str) -> Row:
    module, yield_every, tasks, about = ABOUTS[name]
    return Package(import_module(module), yield_every).row(name, about, tasks)


class Package:
    """The tasks of a package. yield_every: of runs, whose results are the losses of the epochs."""

    def __init__(self, rnn: Any, yield_every: int | str = EPOCH):
        self.rnn, self.yield_every = rnn, yield_every

    def row(self, name: str, about: str, tasks: Sequence[str] = ALL) -> Row:
        all_tasks = dict(zip(ALL, (self.forward, self.gradient, self.step, self.run, self.characters), strict=True))
        return Row(name, about, present, {task: all_tasks[task] for task in tasks})

    def given(self, case: Case) -> Iterator[Any]:
        """The case in arrays of the package."""
        return map(self.rnn.from_numpy, case.arrays())

    def forward(self, case: Case) -> Prepared:
        params, x, _, h_0 = self.given(case)
        call = partial(self.rnn.forward, params, x, h_0)
        return Prepared(call, lambda: {"y": self.rnn.to_numpy(call().y)})

    def gradient(self, case: Case) -> Prepared:
        rnn, (params, x, target, h_0) = self.rnn, self.given(case)

        def call():
            activations = rnn.forward(params, x, h_0)
            return rnn.half_squared_error(activations.y, target), rnn.bptt(params, activations, target)

        return Prepared(call, lambda: report(*self._numpy(*call())))

    def step(self, case: Case) -> Prepared:
        """The next update of a training whose window is the series: so its user makes steps."""
        params, x, target, h_0 = self.given(case)
        T = len(x)

        def updates(epochs):
            options = {"k1": T, "k2": T, "learning_rate": case.learning_rate, "epochs": epochs}
            return self.rnn.train(params, x, target, h_0, **options)

        def result():
            (update,) = updates(1)
            return report(*self._numpy(update.loss, update.gradients, update.parameters))

        return Prepared(partial(next, iter(updates(10**12))), result)

    def run(self, case: Case) -> Prepared:
        params, x, target, h_0 = self.given(case)
        k1, k2 = (len(x), len(x)) if case.k2 is None else (1, case.k2)
        options = {"k1": k1, "k2": k2, "learning_rate": case.learning_rate, "epochs": case.epochs}
        single, to_numpy = case.networks == 1, self.rnn.to_numpy

        def every_update():
            losses = [0.0] * case.epochs
            for update in self.rnn.train(params, x, target, h_0, **options):
                losses[update.epoch - 1] += float(update.loss) if single else to_numpy(update.loss)
            return losses, update.parameters

        def once_per_epoch():
            losses = []
            for update in self.rnn.train(params, x, target, h_0, **options, yield_every=EPOCH):
                of_epoch = to_numpy(update.losses)
                losses.append(sum(of_epoch.tolist()) if single else of_epoch.sum(axis=0, dtype="float64"))
            return losses, update.parameters

        call = once_per_epoch if self.yield_every == EPOCH else every_update

        def result():
            losses, parameters = call()
            return run_report(losses, *self._numpy(parameters))

        return Prepared(call, result)

    def characters(self, case: Case) -> Prepared:
        def training(case):
            params, x, target, h_0 = self.given(case)
            options = {"k1": case.k2, "k2": case.k2, "learning_rate": case.learning_rate, "epochs": case.epochs}
            options |= {"loss": "cross_entropy", "max_value": MAX_GRADIENT, "adagrad": True}

            def call():
                (update,) = self.rnn.train(params, x, target, h_0, **options, yield_every=EPOCH)
                return update.losses, update.parameters

            return call

        def result():
            return run_report(*self._numpy(*training(first_updates(case))()))

        return Prepared(training(case), result)

    def _numpy(self, *values):
        """Arrays of NumPy; of parameters, only what the case has: no learned initial state, and few have biases."""
        found = map(self.rnn.to_numpy, values)
        return [[p for p in value if p is not None] if isinstance(value, tuple) else value for value in found]
