"""`numpy_rnn.train`, read by epoch or after every update."""

import numpy_rnn
from benchmarks.cases import Case
from benchmarks.implementations import Call, Results


def prepare(case: Case) -> Call:
    """Return a call of `numpy_rnn.train`."""
    arrays = case.arrays()
    keywords = case.options.keywords()

    def read_epochs() -> Results:
        losses = []
        for update in numpy_rnn.train(*arrays, **keywords, yield_every="epoch"):
            losses.append(update.losses)
        return losses, update.parameters[:3]

    def read_updates() -> Results:
        losses = []
        for update in numpy_rnn.train(*arrays, **keywords):
            losses.append(float(update.loss))
        return losses, update.parameters[:3]

    if case.every_update:
        return read_updates
    return read_epochs
