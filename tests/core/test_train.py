"""The loop: which windows, which state enters, what is counted, and that nothing is changed behind a caller's back."""

import importlib
from itertools import islice, zip_longest

import numpy as np
import pytest
from cases import (
    Case,
    allowed,
    assert_within,
    bits,
    cases,
    each,
    fewer,
    of_step,
    one_update,
    random_case,
    reference_run,
    reference_update,
    reported,
    runs,
    taking_part,
    values,
    window_of,
)
from hypothesis import given

from numpy_rnn import Adjoints, Window

pytestmark = pytest.mark.with_reference

TRUNCATIONS = pytest.mark.parametrize(("k1", "k2"), [(1, 1), (1, 4), (2, 3), (3, 3), (3, 5), (7, 7), (8, 9)])  # T = 7
EXAMPLE = {"learning_rate": 0.05, "epochs": 2}


def example(**options) -> Case:
    return random_case(2, 7, 2, 3, 5, 1, **options)


# -- against the definition -----------------------------------------------------------------------------------------


@fewer(2)
@given(run=runs(dtypes=["float64"]))
def test_train_is_the_definition_update_for_update(rnn, run):
    """The run goes free: state and parameters are carried by train itself, and apart from it by the transcription."""
    case, options = run
    updates = rnn.train(*case.for_train(rnn), **options, **case.options, record=True)
    for update, reference in zip_longest(updates, reference_run(case, **options)):
        assert (update.epoch, update.number) == (reference.epoch, reference.number)
        steps = list(range(1, len(case.x) + 1))
        assert steps[update.window.start : update.window.stop] == reference.window
        assert steps[update.window.loss_start : update.window.stop] == reference.new
        expected = reference.expected
        limit = allowed(expected)
        if max(v.max() for v in limit.parameters if v is not None) > 1e-6:
            return  # about one run in a thousand amplifies its own rounding so far that it says no more
        assert_within(reported(rnn, update), values(expected, "float64"), limit)


@fewer(2)
@given(run=runs())
def test_train_is_forward_loss_gradient_and_update(rnn, run):
    """Every update of a run is what the backend's own functions make of the reported state, parameters and velocity."""
    case, options = run
    before, velocity = case.params, None
    for update in rnn.train(*case.for_train(rnn), **options, **case.options, record=True):
        at_once = reported(rnn, update)
        window = window_of(case, rnn.to_numpy(update), before)
        limit = allowed(reference_update(window, velocity=velocity, **of_step(options)))
        in_parts = one_update(rnn, window, velocity=velocity, **of_step(options))
        assert_within(taking_part(at_once, window), taking_part(in_parts, window), taking_part(limit, window))
        if case.params.h_0 is not None and window.params.h_0 is None:
            assert bits((at_once.parameters.h_0, at_once.velocity and at_once.velocity.h_0)) == bits(
                (before.h_0, velocity and velocity.h_0)
            )
        before, velocity = at_once.parameters, at_once.velocity


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_every_loss_is_counted_once_in_an_epoch(rnn, reduction):
    """While the weights stand still, the losses of an epoch add up to that of one pass over the series, whatever k1 and
    k2. Under "mean" each loss is divided by its own number of terms.
    """
    case = example(reduction=reduction)
    T = len(case.x)
    whole = reference_update(case._replace(options=case.options | {"reduction": "sum"})).loss
    params, x, target, h_0 = case.of(rnn)
    for k1 in range(1, T + 2):
        for k2 in range(k1, T + 3):
            options = {"k1": k1, "k2": k2, "learning_rate": 0.0, "epochs": 2}
            updates = list(map(rnn.to_numpy, rnn.train(params, x, target, h_0, **options, **case.options)))
            for epoch in (1, 2):
                of_epoch = [u for u in updates if u.epoch == epoch]
                terms = [case.target[: u.window.loss_steps].size if reduction == "mean" else 1 for u in of_epoch]
                total = sum(u.loss * n for u, n in zip(of_epoch, terms, strict=True))
                assert_within(total, values(whole, "float64"), 2 * whole.off)


# -- the carried state ----------------------------------------------------------------------------------------------


@given(run=runs())
def test_the_state_that_enters_is_the_latest_computed_for_its_step(rnn, run):
    """As a learned initial state does for step 0: the one that the latest update left."""
    case, options = run
    before, latest = case.params, {}
    for update in map(rnn.to_numpy, rnn.train(*case.for_train(rnn), **options, **case.options, record=True)):
        if update.window.start == 0:
            latest[0] = before.h_0 if case.h_0 is None else case.h_0
        start, _, stop = update.window
        assert bits(update.activations.h[0]) == bits(latest[start])
        latest |= dict(zip(range(start, stop + 1), update.activations.h, strict=True))
        before = update.parameters


@pytest.mark.needs_torch
def test_the_initial_state_of_torch_carries_no_graph(monkeypatch):
    """It is a constant; and a graph that it carried would grow with every update."""
    module = importlib.import_module("torch_rnn.bptt")
    entered = []

    def spy(params, x, h_0, phi):
        entered.append(h_0)
        return unroll(params, x, h_0, phi)

    unroll = module.unroll
    monkeypatch.setattr(module, "unroll", spy)
    import torch_rnn

    list(torch_rnn.train(*example().of(torch_rnn), k1=1, k2=3, **EXAMPLE))
    assert len(entered) == 14
    assert not any(h_0.requires_grad for h_0 in entered)


# -- what a caller sees ---------------------------------------------------------------------------------------------


@fewer(2)
@given(run=runs())
def test_inputs_stay_and_nothing_handed_out_is_changed_later(rnn, run):
    case, options = run
    given_values = case.for_train(rnn)
    before = bits(given_values)
    updates, kept = [], []
    for update in rnn.train(*given_values, **options, **case.options, record=True):
        updates.append(update)
        kept.append(bits(update))
        assert bits(given_values) == before
    assert [bits(update) for update in updates] == kept
    assert bits(given_values) == before


@TRUNCATIONS
def test_two_runs_side_by_side_do_not_meet(rnn, k1, k2):
    one, other = example().of(rnn), example(nonlinearity="relu", bias=False).of(rnn)
    options = {"k1": k1, "k2": k2, **EXAMPLE, "learning_rate": 0.01}
    alone = [bits(u) for u in rnn.train(*one, **options)]
    pairs = list(zip(rnn.train(*one, **options), rnn.train(*other, **options, nonlinearity="relu"), strict=True))
    assert [bits(u) for u, _ in pairs] == alone
    assert bits(pairs[-1][1]) != alone[-1]


@TRUNCATIONS
def test_recording_changes_nothing_else(rnn, k1, k2):
    given_values = example().of(rnn)
    plain, recorded = (list(rnn.train(*given_values, k1=k1, k2=k2, **EXAMPLE, record=r)) for r in (False, True))
    assert [bits(u[:7]) for u in plain] == [bits(u[:7]) for u in recorded]
    assert all(u.activations is None and u.adjoints is None for u in plain)
    assert all(isinstance(u.adjoints, Adjoints) for u in recorded)
    assert all(isinstance(u.window, Window) for u in recorded)


@given(case=cases(all_counted=True))
def test_the_layout_of_the_arrays_does_not_matter(rnn, case):
    """Strided and transposed views of the same numbers give the same run, within rounding."""

    def awkward(array):
        spread = np.zeros((*array.shape[::-1], 2), array.dtype)
        spread[..., 1] = array.T
        return spread[..., 1].T

    options = {"k1": 2, "k2": 3, "learning_rate": 0.01, "epochs": 1}
    arrays = case.for_train(rnn)
    params, *views = each(lambda v: _as_backend(rnn)(awkward(v)), case.arrays)
    plain = rnn.to_numpy(next(rnn.train(*arrays, **options, **case.options)))
    strided = rnn.to_numpy(next(rnn.train(params, *views, **options, **case.options)))
    start, loss_start, stop = plain.window
    window = case._replace(x=case.x[start:stop], target=case.target[loss_start:stop])  # the first: s_n = 0
    limit = allowed(reference_update(window, options["learning_rate"]))
    assert_within(strided[3:6], plain[3:6], (limit.loss, limit.gradients, limit.parameters))


def _as_backend(rnn):
    """An array of the backend with the strides that it is given."""
    if rnn.__name__ != "torch_rnn":
        return lambda array: array
    return importlib.import_module("torch").from_numpy


def test_no_epochs_are_no_updates(rnn):
    assert list(rnn.train(*example().of(rnn), k1=1, k2=1, learning_rate=0.1, epochs=0)) == []


def test_updates_come_one_at_a_time(rnn):
    """A run of a billion epochs can be begun."""
    updates = rnn.train(*example().of(rnn), k1=7, k2=7, learning_rate=0.01, epochs=10**9)
    assert [u.epoch for u in islice(updates, 3)] == [1, 2, 3]


@pytest.mark.needs_torch
@pytest.mark.parametrize("grad", [True, False], ids=["grad", "no_grad"])
def test_torch_updates_hold_no_graph_and_a_surrounding_no_grad_does_not_matter(grad):
    import torch

    import torch_rnn

    with torch.set_grad_enabled(grad):
        arrays = example(learned=True).for_train(torch_rnn)
        updates = list(torch_rnn.train(*arrays, k1=1, k2=3, momentum=0.9, max_norm=1.0, **EXAMPLE, record=True))
    for update in updates:
        of_update = update.gradients, update.velocity, update.activations, update.adjoints
        for tensor in (update.loss, *(tensor for part in of_update for tensor in part)):
            assert tensor is None or not tensor.requires_grad
        assert all(theta.is_leaf and theta.requires_grad for theta in update.parameters)
    assert len(updates) == 14


@pytest.mark.needs_torch
def test_torch_parameters_may_be_plain_tensors_and_stay_so():
    """Those that no gradient is recorded for train as well as any, and are not made to require one."""
    import torch_rnn

    params, *data = example(learned=True).for_train(torch_rnn)
    plain = type(params)(*(theta.detach().clone() for theta in params))
    updates = [list(torch_rnn.train(p, *data, k1=1, k2=3, **EXAMPLE)) for p in (params, plain)]
    assert [bits(u) for u in updates[0]] == [bits(u) for u in updates[1]]
    assert not any(theta.requires_grad for theta in plain)
    assert all(theta.is_leaf and theta.grad is None for theta in (*params, *plain))


# -- the main job ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_main_job_learns_the_sine_wave(rnn, dtype):
    """The default experiment, written out: seed 0 ends below a tenth of the loss that it begins with."""
    series = np.sin(np.linspace(2, 10, 21)).astype(dtype)
    x, target = (rnn.from_numpy(v.reshape(20, 1, 1)) for v in (series[:-1], series[1:]))
    h_0 = rnn.from_numpy(np.zeros((1, 6), dtype))
    params = rnn.initial_parameters(dtype=dtype)
    losses = np.zeros(301)
    for update in rnn.train(params, x, target, h_0, k1=1, k2=1, learning_rate=0.1, epochs=300):
        losses[update.epoch] += float(update.loss)
    assert losses[300] < losses[1] / 10
    assert losses[300] < losses[100] < losses[10] < losses[1]
