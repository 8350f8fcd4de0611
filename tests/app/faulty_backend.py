"""numpy_rnn with a number that is not finite at one update, to test that a divergence is located there."""

import numpy as np

import numpy_rnn
from numpy_rnn import Parameters

BY_STEP = {**dict.fromkeys(("a", "h", "y"), "activations"), **dict.fromkeys(("dy", "dh", "da"), "adjoints")}
TENSORS = {name: (part, name) for name, part in BY_STEP.items()} | {
    prefix + name: (part, name)
    for prefix, part in (("d", "gradients"), ("v", "velocity"), ("", "parameters"))
    for name in Parameters._fields
}  # where each one is in an update


class FaultyBackend:
    """numpy_rnn, in which a tensor of the update `place` has a number that is not finite, and so has `weight` from that
    update on; the loss stays as it is.

    step: of the window, for tensors with a time axis. network: of an ensemble; None: of a single network.
    """

    def __init__(self, place, tensor, step=None, network=None, weight="W_hh", value=np.nan):
        self.__dict__ |= {name: getattr(numpy_rnn, name) for name in numpy_rnn.__all__}
        self.train = lambda *arguments, **options: self.Training(self, numpy_rnn.train(*arguments, **options))
        self.place, self.tensor, self.step, self.network = place, tensor, step, network
        self.weight, self.value = weight, value

    class Training:
        def __init__(self, fault, training):
            self.fault, self.training, self.latest = fault, training, None

        def __iter__(self):
            for update in self.training:
                self.latest = self.fault.planted(update)
                yield self.latest

        def state(self):
            return self.training.state()._replace(parameters=self.latest.parameters)

    def planted(self, update):
        place = update.epoch, update.number
        if place < self.place:
            return update
        update = self.changed(update, "parameters", self.weight)
        if place > self.place or self.tensor == self.weight:
            return update
        if self.tensor == "loss":
            return update._replace(loss=self.in_one(update.loss))
        part, name = TENSORS[self.tensor]
        return update if getattr(update, part) is None else self.changed(update, part, name)

    def changed(self, update, part, name):
        tensors = getattr(update, part)
        array = np.array(getattr(tensors, name))
        if part in ("activations", "adjoints"):
            step = self.step if name == "h" else self.step - 1
            array[step] = self.in_one(array[step])
        else:
            array = self.in_one(array)
        return update._replace(**{part: tensors._replace(**{name: array})})

    def in_one(self, array):
        """A copy in which the first number of the network is not finite."""
        array = np.array(array, order="C")
        of_network = array[...] if self.network is None else array[self.network, ...]
        of_network.reshape(-1)[0] = self.value
        return array
