"""The rows of this project's own packages, used as their README shows."""

from collections.abc import Iterator
from functools import partial
from importlib import import_module
from typing import Any

from benchmarks.prepared import Prepared, Tasks, results, run_results
from benchmarks.tasks import CHARACTERS, EVERY, FORWARD, GRADIENT, OTHER, OURS, REFERENCE, RUN, STEP
from benchmarks.workloads import Case

MODULES = {
    OURS: "numpy_rnn",
    EVERY: "numpy_rnn",
    REFERENCE: "numpy_rnn.reference",
    OTHER: "torch_rnn",
}


def tasks(row: str) -> Tasks:
    package = Package(import_module(MODULES[row]))
    if row == EVERY:
        return {RUN: package.run_by_update}
    training = {STEP: package.step, RUN: package.run, CHARACTERS: package.characters}
    return (
        training
        if row == REFERENCE
        else {FORWARD: package.forward, GRADIENT: package.gradient, **training}
    )


class Package:
    """The tasks of a package."""

    def __init__(self, rnn: Any):
        self.rnn = rnn

    def arrays(self, case: Case) -> Iterator[Any]:
        """The case in arrays of the package."""
        return map(self.rnn.from_numpy, case.arrays())

    def forward(self, case: Case) -> Prepared:
        params, x, _, h_0 = self.arrays(case)
        call = partial(self.rnn.forward, params, x, h_0)
        return Prepared(call, lambda: {"y": self.rnn.to_numpy(call().y)})

    def gradient(self, case: Case) -> Prepared:
        rnn, (params, x, target, h_0) = self.rnn, self.arrays(case)

        def call():
            activations = rnn.forward(params, x, h_0)
            return rnn.half_squared_error(activations.y, target), rnn.bptt(
                params, activations, target
            )

        def result():
            loss, gradients = call()
            return results(rnn.to_numpy(loss), self.weights(gradients))

        return Prepared(call, result)

    def step(self, case: Case) -> Prepared:
        """The next update of a training whose window is the series: so its user makes steps."""

        def updates(epochs):
            return self.rnn.train(
                *self.arrays(case), **case.options.keywords() | {"epochs": epochs}
            )

        def result():
            (update,) = updates(1)
            loss = self.rnn.to_numpy(update.loss)
            return results(loss, self.weights(update.gradients), self.weights(update.parameters))

        return Prepared(partial(next, iter(updates(10**12))), result)

    def run(self, case: Case) -> Prepared:
        """A run whose losses are read once per epoch."""
        arrays, options = tuple(self.arrays(case)), case.options.keywords()

        def call():
            losses = []
            for update in self.rnn.train(*arrays, **options, yield_every="epoch"):
                losses.append(update.losses)
            return losses, update.parameters

        return self._run(
            call, lambda of_epoch: self.rnn.to_numpy(of_epoch).sum(axis=0, dtype="float64")
        )

    def run_by_update(self, case: Case) -> Prepared:
        """A run whose loss is read after every update."""
        arrays, options = tuple(self.arrays(case)), case.options.keywords()
        read = float if case.networks == 1 else self.rnn.to_numpy

        def call():
            losses = [0.0] * case.options.schedule.epochs
            for update in self.rnn.train(*arrays, **options):
                losses[update.epoch - 1] = losses[update.epoch - 1] + read(update.loss)
            return losses, update.parameters

        return self._run(call, lambda of_epoch: of_epoch)

    def _run(self, call, total):
        def result():
            losses, parameters = call()
            return run_results(list(map(total, losses)), self.weights(parameters))

        return Prepared(call, result)

    def characters(self, case: Case) -> Prepared:
        arrays, options = tuple(self.arrays(case)), case.options.keywords()

        def call():
            (update,) = self.rnn.train(*arrays, **options, yield_every="epoch")
            return update.losses

        return Prepared(call, lambda: {"losses": self.rnn.to_numpy(call())})

    def weights(self, parameters: Any) -> list[Any]:
        """W_xh, W_hh and W_hy as arrays of NumPy."""
        return [self.rnn.to_numpy(W) for W in parameters[:3]]
