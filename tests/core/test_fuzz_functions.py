"""Whatever is given to a public function as one of its arguments: a result in its dtypes, or an InputError."""

import inspect
import itertools
import warnings
from functools import cache
from typing import get_args, get_type_hints

import fuzz_inputs as inputs
import numpy as np
import pytest
from fuzz_arguments import changed_argument
from fuzz_trials import try_all
from refusal_calls import VARIANTS, arguments

import numpy_rnn


@cache
def _calls(rnn, dtype, networks):
    """For every public function, all of its arguments by name, and valid."""
    given = arguments(rnn, "one" if networks is None else (networks,), dtype)
    x, target = given["train"]["x"], given["train"]["target"]
    weights = rnn.from_numpy(np.random.default_rng(0).uniform(size=x.shape[:2]).astype(dtype))
    of_network, of_window = {"nonlinearity": "tanh"}, {"reduction": "sum", "weights": weights}
    of_loss = of_network | of_window | {"loss": "squared_error"}
    momentum = {"momentum": 0.5, "dampening": 0.0, "nesterov": False, "weight_decay": 0.1, "adagrad": False}
    of_run = of_loss | momentum | {"max_norm": 1.0, "max_value": None, "record": True, "yield_every": 2}
    of_stream = {name: value for name, value in of_run.items() if name != "weights"}
    prefixes = {"rnn": "rnn.", "linear": "linear."}
    more = {
        "forward": of_network,
        "bptt": of_loss,
        "adjoints": of_loss,
        "half_squared_error": of_window,
        "cross_entropy": of_window,
        "direction": momentum,
        "train": of_run | {"epochs": 2, "resume": given["resumed"]["resume"]},
        "train_stream": of_stream | {"steps": list(zip(x, target)), "velocity": given["moving_stream"]["velocity"]},
        "initial_parameters": {"bias": True, "networks": networks},
        "from_numpy": {"value": rnn.to_numpy(given["forward"]["params"]), "copy": False},
        "to_numpy": {"value": given["forward"]["params"]},
        "to_state_dict": prefixes,
        "from_state_dict": prefixes,
    }
    return {name: of_function | more.get(name, {}) for name, of_function in given.items() if name not in VARIANTS}


def test_every_public_function_is_tried(rnn):
    functions = {name: getattr(rnn, name) for name in rnn.__all__ if inspect.isfunction(getattr(rnn, name))}
    calls = _calls(rnn, "float32", None)
    assert calls.keys() == functions.keys()
    for name, function in functions.items():
        names = list(inspect.signature(function).parameters)
        if names[-1] in ("sgd", "options"):  # keywords, of the annotated kind
            [keywords] = get_args(get_type_hints(function)[names.pop()])
            names += get_type_hints(keywords)
        assert calls[name].keys() == set(names)


@pytest.mark.parametrize("name", [name for name in numpy_rnn.__all__ if inspect.isfunction(getattr(numpy_rnn, name))])
def test_public_functions(rnn, name):
    kinds = [_calls(rnn, dtype, networks) for dtype in ("float32", "float64") for networks in (None, 2)]
    try_all(100, lambda rng: _call(rng, rnn, name, inputs.pick(rng, kinds)[name]))


DTYPES = ("float32", "float64")
OF_COMPLEX = ("forward", "half_squared_error", "cross_entropy")  # which numpy_rnn differentiates by complex steps


def _call(rng, rnn, name, arguments):
    """Call a function with one argument changed."""

    def of_backend(array):
        try:
            return rnn.from_numpy(array)
        except (TypeError, ValueError):  # torch has no such dtype
            return array

    changed = inputs.pick(rng, list(arguments))
    value = changed_argument(rng, arguments[changed], of_backend)
    given = arguments | {changed: value}
    yield f"{rnn.__name__}.{name}, {changed} is {_shown(value)}"
    if not _is_tame(value):
        warnings.simplefilter("ignore", RuntimeWarning)
    result = getattr(rnn, name)(**given)
    if name in ("train", "train_stream", "windows"):
        result = list(itertools.islice(result, 9))
    if name in ("from_numpy", "to_numpy", "windows"):
        return
    for array in _arrays(result):
        dtype = str(array.dtype).removeprefix("torch.")
        assert dtype in DTYPES or (dtype == "complex128" and name in OF_COMPLEX), f"{dtype} in the result"
        is_finite = bool((abs(array) < np.inf).all())
        assert is_finite or not _is_tame(value), "numbers that are not finite in the result"


def _arrays(value):
    """All arrays in nested results."""
    if isinstance(value, tuple | list):
        return [array for part in value for array in _arrays(part)]
    if isinstance(value, dict):
        return _arrays(list(value.values()))
    return [value] if hasattr(value, "dtype") else []


def _is_tame(value):
    """Whether there is no number in it that takes the result out of its range."""
    if isinstance(value, int | float):
        return abs(value) < 1e6
    parts = (np.asarray(array.detach() if hasattr(array, "detach") else array) for array in _arrays(value))
    with np.errstate(all="ignore"):
        return all(array.dtype.kind not in "fc" or (abs(np.ma.getdata(array)) < 1e6).all() for array in parts)


def _shown(value):
    try:
        return f"{type(value).__name__} {value!r}"[:300].replace("\n", " ")
    except ValueError:  # Python writes no number of thousands of digits
        return f"{type(value).__name__} with a very large number"
