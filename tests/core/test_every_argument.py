"""Every public function with each of its arguments changed: to what is not of its kind, and at random."""

import inspect
import itertools
import sys
import warnings
from functools import cache
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
from comparing import arrays_in, each, in_numpy
from fuzz_inputs import changed_array, pick
from fuzz_trials import try_all
from refusal_calls import VARIANTS, B, D, H, O, T, arguments, call, refused

import numpy_rnn
from numpy_rnn import Gradients, Parameters

# -- what is not of its kind ------------------------------------------------------------------------------------------

MASKED = np.ma.masked_array(np.ones((T, B, D)), np.zeros((T, B, D), bool))  # over finite numbers, too
FOREIGN = ["0.1", [0.5], (0.5,), {"x": 1}, object(), b"x", 1j, MASKED]  # no arrays, no numbers and no records


def arrays_of_other_dtypes(rnn, array):
    """By a word of the message, what is not the package's array of its dtype."""
    plain, is_torch = rnn.to_numpy(array), rnn.__name__ == "torch_rnn"
    swapped = ">f8" if sys.byteorder == "little" else "<f8"
    kinds = ("float16", "complex64", "int64", *(() if is_torch else ("longdouble", "object", swapped)))
    others = (plain.astype(kind) for kind in kinds)
    if is_torch:
        import torch

        others = map(torch.tensor, others)
    of_dtypes = {str(other.dtype): other for other in others}
    return of_dtypes | {"masked": np.ma.masked_array(plain, plain > 0), "expected": plain.tolist()}


CONVERSIONS = "from_numpy", "view", "to_numpy"  # which take tuples, and arrays of any dtype
OF_ARRAYS = [name for name in arguments(numpy_rnn) if name not in ("windows", "initial_parameters", "from_state_dict")]


def to_be_checked(given):
    """The arguments that are looked at, as the parameters of a resumed run are not, and at once, as steps are not."""
    return given.keys() - {"steps", "copy", *(["params"] if "resume" in given else [])}


@pytest.mark.parametrize("name", OF_ARRAYS)
def test_what_is_not_of_this_kind_dtype_or_shape_is_refused_by_every_function(rnn, name):
    """Things that are no arrays; masks, even over finite numbers; lists; dtypes that no network has; and what would
    broadcast.
    """
    given = arguments(rnn)[name]

    def with_one_other(value, change):
        """A record, or an array, with one array that is changed."""
        return value._replace(**{value._fields[1]: change(value[1])}) if isinstance(value, tuple) else change(value)

    for argument in to_be_checked(given):
        value = given[argument]
        may_be_none = name == "to_numpy" or argument in ("velocity", "h_0", "resume", "max_norm", "max_value", "value")
        for foreign in (*FOREIGN, *([] if may_be_none else [None])):
            if not (name in CONVERSIONS and isinstance(foreign, tuple)):
                refused(rnn, name, given | {argument: foreign})
        if name in CONVERSIONS or not (isinstance(value, Parameters) or hasattr(value, "ndim")):
            continue
        array = value[1] if isinstance(value, tuple) else value
        for says, other in arrays_of_other_dtypes(rnn, array).items():
            refused(rnn, name, given | {argument: with_one_other(value, lambda _, other=other: other)}, says)
        for cut in (lambda v: v[:1], lambda v: v[None], lambda v: v[..., :1][..., 0]):
            if (argument in ("x", "y") or name in ("bptt", "adjoints")) and cut(array).shape in ((1, B, D), (1, B, O)):
                continue  # a shorter series, or the target of the newest step
            if "stream" in name and argument == "h_0" and cut(array).shape == (1, H):
                continue  # a smaller batch
            refused(rnn, name, given | {argument: with_one_other(value, cut)})


@pytest.mark.needs_torch
@pytest.mark.parametrize("name", OF_ARRAYS)
def test_arrays_of_the_other_package_are_refused_with_its_name(rnn, name):
    import torch_rnn

    other = torch_rnn if rnn is numpy_rnn else numpy_rnn
    says = "torch_rnn takes tensors" if rnn is numpy_rnn else "numpy_rnn takes NumPy arrays"
    if VARIANTS.get(name, name) == "from_numpy" and rnn is torch_rnn:
        return  # which takes NumPy arrays
    given, theirs = arguments(rnn)[name], arguments(other)[name] | {"x": arguments(other)["forward"]["x"]}
    for argument in to_be_checked(given):
        if isinstance(given[argument], tuple) or hasattr(given[argument], "ndim"):
            changed = theirs["x" if argument == "value" else argument]
            refused(rnn, name, given | {argument: changed}, f"this is {rnn.__name__}", says)


@pytest.mark.needs_torch
def test_torch_activations_without_a_graph_or_of_equal_parameters():
    import torch

    import torch_rnn as rnn

    given = arguments(rnn)["bptt"]
    with torch.no_grad():
        bare = call(rnn, "forward", arguments(rnn)["forward"])
    for name in ("bptt", "adjoints"):
        refused(rnn, name, given | {"activations": bare}, "no autograd graph", "torch.no_grad()", "from_numpy")
    equal = rnn.from_numpy(rnn.to_numpy(given["params"]))
    refused(rnn, "bptt", given | {"params": equal}, "not of these parameters", "equal")
    plain = each(lambda theta: theta.detach(), given["params"])
    refused(rnn, "bptt", given | {"params": plain}, "does not require a gradient")
    assert type(call(rnn, "bptt", given)) is Gradients


# -- changed at random ------------------------------------------------------------------------------------------------


@cache
def _calls(rnn, dtype, networks):
    """For every public function, all of its arguments by name, and valid."""
    given = arguments(rnn, "one" if networks is None else (networks,), dtype)
    x, target = given["train"]["x"], given["train"]["target"]
    weights = rnn.from_numpy(np.random.default_rng(0).uniform(size=x.shape[:2]).astype(dtype))
    of_window = {"reduction": "sum", "weights": weights}
    of_loss = of_window | {"nonlinearity": "tanh", "loss": "squared_error"}
    momentum = {"momentum": 0.5, "dampening": 0.0, "nesterov": False, "weight_decay": 0.1, "adagrad": False}
    of_run = of_loss | momentum | {"max_norm": 1.0, "max_value": None, "record": True, "yield_every": 2}
    of_stream = {name: value for name, value in of_run.items() if name != "weights"}
    more = {
        "forward": {"nonlinearity": "tanh"},
        "direction": momentum,
        "train": of_run | {"epochs": 2, "resume": given["resumed"]["resume"]},
        "train_stream": of_stream | {"steps": list(zip(x, target)), "velocity": given["moving_stream"]["velocity"]},
        "initial_parameters": {"bias": True, "networks": networks},
        "from_numpy": {"value": rnn.to_numpy(given["forward"]["params"]), "copy": False},
        "to_numpy": {"value": given["forward"]["params"]},
        **dict.fromkeys(("bptt", "adjoints"), of_loss),
        **dict.fromkeys(("half_squared_error", "cross_entropy"), of_window),
        **{function: {"rnn": "rnn.", "linear": "linear."} for function in ("to_state_dict", "from_state_dict")},
    }
    return {name: of_function | more.get(name, {}) for name, of_function in given.items()}


@pytest.mark.parametrize("name", [name for name in numpy_rnn.__all__ if inspect.isfunction(getattr(numpy_rnn, name))])
def test_every_public_function_computes_or_refuses(rnn, name):
    """Whatever is given as one of its arguments: a result in its dtypes, or an InputError."""
    function = getattr(rnn, name)
    names = list(inspect.signature(function).parameters)
    if names[-1] in ("sgd", "options"):  # keywords, of the annotated kind
        [keywords] = get_args(get_type_hints(function)[names.pop()])
        names += get_type_hints(keywords)
    kinds = [_calls(rnn, dtype, networks)[name] for dtype in ("float32", "float64") for networks in (None, 2)]
    assert kinds[0].keys() == set(names)
    try_all(100, lambda rng: _call(rng, rnn, name, pick(rng, kinds)))


ODD: tuple[Any, ...] = (
    None, "", "x", "0.1", b"x", True, 0, -1, 3, 1.5, 2 + 1j, float("nan"), float("inf"), -float("inf"), 10**30, 10**400,
    -(10**5000), [], (), {}, [1.0], [[1.0]], (1.0,), {"a": 1}, object(), int, len, range(3), iter(()), set(),
    np.float64(2), np.int64(2), np.bool_(True), np.array(None), np.array(1.0), np.array([1.0, 2.0]),
    np.array(["x"]), np.array([object()]), np.datetime64("2000"))  # fmt: skip


def changed_argument(rng, value, rnn):
    """One argument changed: by another kind of thing, or in one of its parts."""
    if rng.random() < 0.25:
        return pick(rng, ODD)
    if isinstance(value, tuple | list | dict) and value:
        parts = dict(value if isinstance(value, dict) else enumerate(value))
        place, kind = pick(rng, list(parts)), rng.integers(8)
        if kind == 0:
            del parts[place]
        elif kind == 1:  # one more, under another name
            parts[pick(rng, ("x", 1, None, "x" * 5000, "a\nb", "rnn.weight_ih_l1"))] = parts[place]
        elif kind > 2:
            parts[place] = None if kind == 3 else changed_argument(rng, parts[place], rnn)
        if isinstance(value, dict):
            return parts
        is_record = kind > 2 and hasattr(value, "_fields")
        return type(value)(*parts.values()) if is_record else pick(rng, (tuple, list))(parts.values())
    if hasattr(value, "shape") and hasattr(value, "ndim"):
        array = np.asarray(in_numpy(value))
        kind = rng.integers(12)
        if kind == 0:
            return array.tolist()
        if kind == 1:
            return np.ma.masked_invalid(np.where(np.arange(array.size).reshape(array.shape) == 1, np.nan, array))
        if kind == 2:
            return array
        changed = changed_array(rng, array)
        try:
            return rnn.from_numpy(changed)
        except (TypeError, ValueError):  # torch has no such dtype
            return changed
    return pick(rng, ODD)


OF_COMPLEX = ("forward", "half_squared_error", "cross_entropy")  # which numpy_rnn differentiates by complex steps


def _call(rng, rnn, name, arguments):
    """Call a function with one argument changed."""
    changed = pick(rng, list(arguments))
    value = changed_argument(rng, arguments[changed], rnn)
    given = arguments | {changed: value}
    yield f"{rnn.__name__}.{name}, {changed} is {_shown(value)}"
    if not _is_tame(value):
        warnings.simplefilter("ignore", RuntimeWarning)
    result = getattr(rnn, name)(**given)
    if name in ("train", "train_stream", "windows"):
        result = list(itertools.islice(result, 9))
    if name in ("from_numpy", "to_numpy", "windows"):
        return
    for array in arrays_in(result):
        dtypes = ("float32", "float64", *(["complex128"] if name in OF_COMPLEX else []))
        assert str(array.dtype).removeprefix("torch.") in dtypes
        assert not _is_tame(value) or bool((abs(array) < np.inf).all()), "numbers that are not finite in the result"


def _is_tame(value):
    """Whether there is no number in it that takes the result out of its range."""
    if isinstance(value, int | float):
        return abs(value) < 1e6
    parts = map(np.asarray, map(in_numpy, arrays_in(value)))
    with np.errstate(all="ignore"):
        return all(array.dtype.kind not in "fc" or (abs(np.ma.getdata(array)) < 1e6).all() for array in parts)


def _shown(value):
    try:
        return f"{type(value).__name__} {value!r}"[:300].replace("\n", " ")
    except ValueError:  # Python writes no number of thousands of digits
        return f"{type(value).__name__} with a very large number"
