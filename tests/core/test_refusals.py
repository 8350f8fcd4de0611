"""What each function refuses by itself, or takes as it should, in both backends alike."""

import numpy as np
import pytest
from cases import bits

from numpy_rnn import InputError, Parameters

pytestmark = pytest.mark.with_reference

T, B, D, H, O = 4, 2, 3, 5, 1


def arrays(rnn, dtype="float64"):
    generator = np.random.default_rng(0)
    series = (generator.normal(size=size).astype(dtype) for size in ((T, B, D), (T, B, O), (B, H)))
    return rnn.initial_parameters(D, H, O, bias=True, dtype=dtype), *map(rnn.from_numpy, series)


def train(rnn, params, x, target, h_0, **options):
    return rnn.train(params, x, target, h_0, **({"k1": 2, "k2": 3, "learning_rate": 0.1, "epochs": 2} | options))


def test_sgd_leaves_every_parameter_in_its_place(rnn):
    """Also where only the later of two biases is there, which a run would refuse."""
    params, *_ = arrays(rnn)
    only = params._replace(b_h=None)
    updated = rnn.to_numpy(rnn.sgd(only, only, 0.5))
    assert updated.b_h is None
    assert updated.b_y.shape == (O,)


def arrays_in(value):
    """All arrays of nested tuples."""
    if isinstance(value, tuple):
        return [array for one in value for array in arrays_in(one)]
    return [] if value is None or isinstance(value, int) or not value.shape else [value]


@pytest.mark.parametrize("E", [None, 3], ids=["one network", "ensemble"])
@pytest.mark.parametrize("options", [{}, {"momentum": 0.9, "max_norm": 0.1}], ids=str)
def test_nothing_that_is_handed_out_changes_the_run(rnn, options, E):
    """Every array of every update and state is overwritten, where it can be; what cannot be is the run's own."""
    _, *series = arrays(rnn)
    given = rnn.initial_parameters(D, H, O, bias=True, dtype="float64", networks=E), *series
    untouched = [rnn.to_numpy(update) for update in train(rnn, *given, **options, record=True)]
    run = train(rnn, *given, **options, record=True)
    for update, expected in zip(run, untouched, strict=True):
        assert bits(update) == bits(expected)
        state = run.state()
        copies = rnn.from_numpy(rnn.to_numpy(update))
        for array in arrays_in((copies, update, state)):
            if rnn.__name__ == "torch_rnn":
                array.detach()[...] = 7.0
            elif array.flags.writeable:
                array[...] = 7.0
        if rnn.__name__ != "torch_rnn":
            own = arrays_in((update.parameters, update.velocity))
            assert not any(array.flags.writeable for array in own)
            assert all(array.flags.writeable for array in arrays_in((copies, update.activations, update.gradients)))


def test_parameters_are_read_when_train_is_called(rnn):
    params, *series = arrays(rnn)
    expected = rnn.to_numpy(next(train(rnn, params, *series)).loss)
    run = train(rnn, params, *series)
    (params.W_hh.detach() if rnn.__name__ == "torch_rnn" else params.W_hh)[...] = 0
    assert rnn.to_numpy(next(run).loss) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k1": 1.5}, "k1 is 1.5: expected a whole number of steps"),
        ({"k2": 3.5}, "k2 is 3.5: expected a whole number of steps"),
        ({"epochs": 1.5}, "epochs is 1.5: expected a whole number"),
    ],
)
def test_fractions_are_refused_at_once(rnn, options, message):
    with pytest.raises(InputError, match=message):
        train(rnn, *arrays(rnn), **options)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("which", ["W_xh", "b_y", "x", "target", "h_0"])
def test_numbers_that_are_not_finite_are_refused_at_once(rnn, which, bad):
    params, *series = arrays(rnn)
    named = rnn.to_numpy(params)._asdict() | dict(zip(("x", "target", "h_0"), map(rnn.to_numpy, series)))
    named[which].flat[-1] = bad
    params = rnn.from_numpy(Parameters(*(named[name] for name in ("W_xh", "W_hh", "W_hy", "b_h", "b_y"))))
    with pytest.raises(InputError, match=f"{which} contains NaN or infinity"):
        train(rnn, params, *(rnn.from_numpy(named[name]) for name in ("x", "target", "h_0")))


@pytest.mark.parametrize("function", ["bptt", "adjoints"])
def test_an_unknown_nonlinearity_is_refused_by_the_gradient(rnn, function):
    params, x, target, h_0 = arrays(rnn)
    activations = rnn.forward(params, x, h_0)
    with pytest.raises(InputError, match="unknown nonlinearity 'sin'"):
        getattr(rnn, function)(params, activations, target, nonlinearity="sin")


def test_the_loss_refuses_outputs_without_a_time_axis(rnn):
    _, _, target, _ = arrays(rnn)
    with pytest.raises(InputError, match=r"y has shape \(2, 1\): expected \(K, B, O\)"):
        rnn.half_squared_error(target[0], target[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_size": 0}, "the input size is 0"),
        ({"seed": -1}, "seed is -1: expected a whole number, 0 or more"),
        ({"networks": 0}, "networks is 0: expected a whole number, 1 or more"),
        ({"dtype": "int64"}, "dtype is int64: expected float32 or float64"),
    ],
)
def test_networks_that_cannot_be_are_refused(rnn, options, message):
    with pytest.raises(InputError, match=message):
        rnn.initial_parameters(**options)


@pytest.mark.needs_torch
def test_the_gradient_can_be_asked_for_where_torch_records_none():
    import torch

    import torch_rnn

    params, x, target, h_0 = arrays(torch_rnn)
    activations = torch_rnn.forward(params, x, h_0)
    expected = torch_rnn.bptt(params, activations, target)
    with torch.no_grad():
        found = torch_rnn.bptt(params, activations, target)
    assert all(torch.equal(one, other) for one, other in zip(found[:5], expected[:5]))
    assert found.h_0 is expected.h_0 is None
