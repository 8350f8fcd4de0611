"""One update and a run of TBPTT(k1, k2) as they should be, with the rounding of a correct program.

The update is that of the suite's definition, on values with proven rounding bounds; it shares no
line with the packages under test. tests/conformance proves it: the backward equations by complex
steps, the step by torch.optim, and the bounds by roundings of correct code. Only the windows of a
run are written here once more.
"""

import numpy as np
from comparing import bits
from draws import window_case
from hypothesis import currently_in_test_context, reject

from numpy_rnn.conformance.arithmetics.bounds import Bounds
from numpy_rnn.conformance.definition import window_update


def no_case(why):
    """Leave a case out of a property; elsewhere it is an error."""
    if currently_in_test_context():
        reject()
    raise AssertionError(f"{why}: choose another seed")


def expected_update(case):
    """The report of one window and its step: by name, values with bounds."""
    with np.errstate(all="ignore"):
        report = window_update(case, Bounds(case.dtype))
    if not all(np.isfinite(near.E).all() for near in report.values()):
        no_case("the rounding of a value has no bound")
    return report


def update_arrays(rnn, update):
    """The arrays of an Update in NumPy, by their names in a report."""
    found = {"loss": update.loss}
    records = [("", update.activations), ("", update.adjoints), ("d", update.gradients)]
    for prefix, record in [*records, ("", update.parameters), ("v", update.velocity)]:
        fields = {} if record is None else record._asdict()
        found |= {prefix + name: array for name, array in fields.items() if array is not None}
    arrays = {name: rnn.to_numpy(array) for name, array in found.items()}
    return arrays | {"h": arrays["h"][1:]}


def assert_right(found, expected, dtype):
    """Fail unless NumPy's arrays by name are those expected, in this dtype, up to the rounding."""
    assert found.keys() >= expected.keys(), expected.keys() - found.keys()
    for name, near in expected.items():
        array = found[name]
        assert (array.shape, array.dtype) == (near.value.shape, np.dtype(dtype)), name
        difference = np.abs(array.astype(np.float64) - near.value)
        assert (difference <= near.E).all(), f"{name} is off by {difference.max()}"


def definition(T, k1, k2):
    """Section 5 of DERIVATION.md, steps from 1: (steps of the window, new steps) of each update."""
    e, n = {0: 0}, 0
    while e[n] < T:
        n += 1
        e[n] = min(n * k1, T)
        s_n = max(0, e[n] - k2)
        steps = range(1, T + 1)
        yield [t for t in steps if s_n < t <= e[n]], [t for t in steps if e[n - 1] < t <= e[n]]


def assert_right_run(rnn, run, updates):
    """Fail unless these recorded updates are the run of TBPTT(k1, k2).

    The windows are those of the definition. The initial state of a window is the latest one
    computed for its step, to the bit. Each update is that of the witness, from the parameters, the
    velocity and the state that the run reports.
    """
    schedule, dtype = run.options.schedule, run.params.W_hh.dtype
    steps = list(range(1, len(run.x) + 1))
    slices = [(u.window.start, u.window.loss_start, u.window.stop) for u in updates]
    found = [(steps[start:stop], steps[new:stop]) for start, new, stop in slices]
    windows = list(definition(len(run.x), schedule.k1, schedule.k2))
    assert found == windows * schedule.epochs
    numbers = range(1, len(windows) + 1)
    expected = [(epoch, n) for epoch in range(1, schedule.epochs + 1) for n in numbers]
    assert [(u.epoch, u.number) for u in updates] == expected
    params, velocity, states = run.params, run.velocity, {}
    for update in updates:
        window, h = update.window, rnn.to_numpy(update.activations.h)
        if window.loss_start == 0:  # the first update of an epoch
            states = {0: np.broadcast_to(run.h_0, h[0].shape)}
        assert bits(h[0]) == bits(np.ascontiguousarray(states[window.start]))
        states |= dict(zip(range(window.start, window.stop + 1), h, strict=True))
        case = window_case(run, window, params, h[0], velocity)
        assert_right(update_arrays(rnn, update), expected_update(case), dtype)
        params, velocity = rnn.to_numpy((update.parameters, update.velocity))
