"""One update and a run of TBPTT(k1, k2) as they should be, with the rounding that is allowed to a correct computation.

The update is that of the suite's definition, on values with proven rounding bounds; it shares no line with the packages
under test. tests/conformance proves it: the backward equations by complex steps, the step by torch.optim, the values by
ball arithmetic, and the bounds by roundings of correct code. Only the windows of a run are written here once more.
"""

from collections import defaultdict
from typing import NamedTuple

import numpy as np
from cases import network, window_case
from comparing import bits, each
from hypothesis import currently_in_test_context, reject

from numpy_rnn import Activations, Adjoints, Gradients, Parameters
from numpy_rnn.common.records import WindowCase
from numpy_rnn.conformance.arithmetics.bounds import Bounds
from numpy_rnn.conformance.arithmetics.rounding import Near
from numpy_rnn.conformance.case import initial_state, present, with_rows
from numpy_rnn.conformance.definition import window_update


def no_case(why):
    """Leave a case out of a property; elsewhere it is an error."""
    if currently_in_test_context():
        reject()
    raise AssertionError(f"{why}: choose another seed")


class Expected(NamedTuple):
    """The results of one update, everything Near; or the same in NumPy, of a package."""

    activations: Activations
    loss: Near
    adjoints: Adjoints
    gradients: Gradients
    parameters: Parameters
    velocity: Gradients | None = None


def assert_right(found, expected, dtype, name="value"):
    """Fail unless NumPy's arrays are those expected, in this dtype, up to the allowed rounding."""
    if isinstance(expected, tuple):
        assert type(found) is type(expected), (
            f"{name} is a {type(found)}, expected a {type(expected)}"
        )
        for field, *values in zip(expected._fields, found, expected, strict=True):
            assert_right(*values, dtype, f"{name}.{field}")
    elif expected is None:
        assert found is None, f"{name} is there, expected None"
    else:
        assert (found.shape, found.dtype) == (expected.shape, np.dtype(dtype)), name
        difference = np.abs(found.astype(np.float64) - expected.value)
        assert (difference <= expected.E).all(), f"{name} is off by {difference.max()}"


def expected_update(case) -> Expected:
    """One window and its step, or stacked ones. A case whose rounding has no finite bound is left out."""
    case = with_rows(case)
    of = Bounds(case.params.W_hh.dtype)
    with np.errstate(all="ignore"):
        report = window_update(case, of)
    if not all(np.isfinite(near.E).all() for near in report.values()):
        no_case("the rounding of a value has no bound")

    def record(kind, prefix=""):
        return kind(
            *(
                report[prefix + name] if name in present(case.params) else None
                for name in kind._fields
            )
        )

    x, initial = of.given(case.x), of.given(initial_state(case))
    h = of.stack([initial, *(report["h"][t] for t in range(len(case.x)))])
    adjoints = Adjoints(*(report[name] for name in Adjoints._fields))
    velocity = record(Gradients, "v") if case.step.has_velocity else None
    activations = Activations(x, report["a"], h, report["y"])
    return Expected(
        activations, report["loss"], adjoints, record(Gradients, "d"), record(Parameters), velocity
    )


def definition(T, k1, k2):
    """DERIVATION.md, section 5, with steps numbered from 1: (steps of the window, new steps) of every update."""
    e, n = {0: 0}, 0
    while e[n] < T:
        n += 1
        e[n] = min(n * k1, T)
        s_n = max(0, e[n] - k2)
        yield (
            [t for t in range(1, T + 1) if s_n < t <= e[n]],
            [t for t in range(1, T + 1) if e[n - 1] < t <= e[n]],
        )


def assert_right_run(rnn, run, updates, velocity=None):
    """Fail unless these recorded updates are the run of TBPTT(k1, k2), each network by itself.

    The windows are those of the definition. The initial state of a window is the latest one computed for its step, to
    the bit. Each update is that of the witness, from the parameters, the velocity and the state that the run reports.
    A learned initial state moves in the windows that begin with the series, and in no other.
    """
    (k1, k2, epochs), _, _ = run.options
    steps = list(range(1, len(run.x) + 1))
    found = [(u.epoch, u.number, steps[u.window.start : u.window.stop], steps[u.window.loss_start : u.window.stop])
             for u in updates]  # fmt: skip
    windows = list(enumerate(definition(len(run.x), k1, k2), start=1))
    assert found == [(epoch, n, *pair) for epoch in range(1, epochs + 1) for n, pair in windows]
    everything, alike = (
        [(update.window, reported(rnn, update)) for update in updates],
        defaultdict(list),
    )
    networks = list(np.ndindex(run.params.W_hh.shape[:-2]))
    for n in (
        networks if len(networks) < 5 else (networks[0], networks[len(networks) // 2], networks[-1])
    ):
        alone = network(run, n)
        before, moving, latest = alone.params, velocity and each(lambda v, n=n: v[n], velocity), {}
        for window, update in everything:
            result = part_of_network(update, n)
            if window.start == 0:
                latest[0] = before.h_0 if run.h_0 is None else alone.h_0
            initial = latest[window.start]
            assert bits(result.activations.h[0]) == bits(initial)
            latest |= dict(
                zip(range(window.start, window.stop + 1), result.activations.h, strict=True)
            )
            learned = run.h_0 is None and window.start == 0
            case = window_case(alone, window, before, None if learned else initial, moving)
            form = (
                len(case.x),
                len(case.target),
                learned,
                moving and tuple(v is None for v in moving),
            )
            alike[form].append((with_rows(case), without_h_0(result, learned)))
            if not learned:
                state = result.parameters.h_0, result.velocity and result.velocity.h_0
                assert bits(state) == bits((before.h_0, moving and moving.h_0))
            before, moving = result.parameters, result.velocity
    for (_, _, learned, _), pairs in alike.items():
        cases, results = zip(*pairs)
        assert_right(
            stacked(results),
            without_h_0(expected_update(one_case(cases)), learned),
            run.params.W_hh.dtype,
        )


def stacked(values):
    """Tuples of arrays as one, with the axis of windows after that of time."""
    return each(lambda *arrays: np.stack(arrays, max(arrays[0].ndim - 2, 0)), *values)


def one_case(cases):
    """Windows of the same form as one case, whose arrays are stacked."""
    arrays = {
        name: stacked([getattr(case, name) for case in cases]) for name in WindowCase._fields[:4]
    }
    weights = None if cases[0].weights is None else np.stack([case.weights for case in cases], 1)
    step = cases[0].step._replace(
        learning_rate=np.array([case.step.learning_rate for case in cases])
    )
    return cases[0]._replace(
        **arrays, weights=weights, step=step, velocity=stacked([case.velocity for case in cases])
    )


def reported(rnn, update) -> Expected:
    """The same from an Update that `train` recorded."""
    parts = (
        update.activations,
        update.loss,
        update.adjoints,
        update.gradients,
        update.parameters,
        update.velocity,
    )
    return rnn.to_numpy(Expected(*parts))


def part_of_network(result: Expected, n) -> Expected:
    """Network n's part of the arrays of an ensemble."""

    def by_step(value):
        return each(lambda sequence: sequence[(slice(None), *n)], value)

    adjoints = by_step(result.adjoints._replace(dh_0=None))._replace(dh_0=result.adjoints.dh_0[n])
    gradients, parameters, velocity = each(lambda theta: theta[n], result[3:])
    return Expected(
        by_step(result.activations), result.loss[n], adjoints, gradients, parameters, velocity
    )


def without_h_0(result: Expected, learned) -> Expected:
    """The same without a learned initial state, unless it is that of the window."""
    if learned:
        return result
    velocity = None if result.velocity is None else result.velocity._replace(h_0=None)
    return result._replace(parameters=result.parameters._replace(h_0=None), velocity=velocity)
