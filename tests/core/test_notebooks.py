"""What a notebook shows of the packages: short records, signatures with every option,
and the public names.
"""

import importlib
import inspect

import numpy as np
import pytest

import numpy_rnn
from numpy_rnn.common.records import TrainKeywords
from numpy_rnn.common.signatures import with_keywords

OPTIONS = {"k1": 2, "k2": 3, "learning_rate": 0.1, "epochs": 1}


def updates_of(rnn, **more):
    """Return the updates of a run on four steps."""
    x, h_0 = rnn.from_numpy((np.zeros((4, 1, 1)), np.zeros((1, 6))))
    params = rnn.initial_parameters(
        dtype="float64", networks=more.pop("networks", None)
    )
    return list(rnn.train(params, x, x, h_0, **OPTIONS, **more))


def test_records_are_shown_without_their_numbers(rnn):
    params = rnn.initial_parameters(bias=True)
    shapes = "W_xh (1, 6), W_hh (6, 6), W_hy (6, 1)"
    expected = f"Parameters({shapes}, b_h (6,), b_y (1,), float32)"
    assert repr(params) == str(params) == expected
    second = updates_of(rnn, record=True)[1]
    assert repr(second) == (
        "Update(epoch=1, number=2, window=Window(start=1, loss_start=2, stop=4),"
        f" loss=0; gradients, parameters, activations, adjoints of {shapes}, float64)"
    )
    assert repr(second.activations) == (
        "Activations(x (3, 1, 1), a (3, 1, 6), h (4, 1, 6), y (3, 1, 1), float64)"
    )
    assert repr(second.adjoints) == (
        "Adjoints(dy (3, 1, 1), dh (3, 1, 6), da (3, 1, 6), dx (3, 1, 1), dh_0 (1, 6),"
        " float64)"
    )
    assert "loss=(5,);" in repr(updates_of(rnn, networks=5)[0])


def test_records_of_other_values_can_be_shown():
    """Code that is being written may put anything in them."""
    mixed = numpy_rnn.Parameters(np.ones((1, 2), "f4"), np.eye(2), [1.0])
    expected = "Parameters(W_xh (1, 2) float32, W_hh (2, 2) float64, W_hy list)"
    assert repr(mixed) == expected


@pytest.mark.with_reference
def test_signature_of_train_has_every_option(rnn):
    """The defaults are those of a call: each may be given, and changes nothing."""
    parameters = inspect.signature(rnn.train).parameters
    given = {}
    named = []
    for name, parameter in parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY:
            named.append(name)
            assert parameter.annotation is not parameter.empty, name
            if parameter.default is not parameter.empty:
                given[name] = parameter.default
    assert {*named} == {*TrainKeywords.__annotations__}
    assert list(parameters)[:4] == ["params", "x", "target", "h_0"]
    assert named[:4] == ["k1", "k2", "learning_rate", "epochs"]
    assert {*OPTIONS} == {*named} - given.keys()
    for plain, told in zip(updates_of(rnn), updates_of(rnn, **given), strict=True):
        for theta, same in zip(plain.parameters[:3], told.parameters[:3]):
            assert (rnn.to_numpy(theta) == rnn.to_numpy(same)).all()
    assert parameters["nonlinearity"].default == "tanh"
    assert "'relu'" in str(parameters["nonlinearity"].annotation)


def test_signature_has_the_arrays_of_its_package():
    def f(x, **options):
        return x

    decorated = with_keywords(TrainKeywords, np.ndarray)(f)
    assert decorated(3, k1=4) == 3
    annotation = inspect.signature(decorated).parameters["learning_rate"].annotation
    assert annotation == float | np.ndarray


@pytest.mark.needs_torch
def test_names_of_a_package_are_the_public_ones():
    """Modules are not for users; `audit` has no counterpart."""
    for name, more in (("numpy_rnn", []), ("torch_rnn", ["audit"])):
        package = importlib.import_module(name)
        assert dir(package) == sorted([*package.__all__, *more])
