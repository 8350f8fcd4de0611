"""Valid calls of every public function, values that none takes for an argument, and what a refusal must be."""

from functools import cache

import numpy as np
import pytest
from cases import Kind, Sizes, random_run

from numpy_rnn import InputError

T, B, D, H, O = 4, 2, 3, 5, 6


@cache
def valid(rnn, E=(), learned=False):
    """By function, or variant of one, all of its arguments by name, and valid. None of them is changed."""
    run = random_run(0, Sizes(T, B, D, H, O, E), Kind(learned=learned, weighted=True))
    data = {name: rnn.from_numpy(getattr(run, name)) for name in ("params", "x", "target", "h_0", "weights")}
    params, x, target, h_0, weights = data.values()
    objective = run.options.objective._asdict()
    of_loss = {"reduction": "sum", "weights": weights}
    momentum = {"momentum": 0.9, "dampening": 0.0, "nesterov": False, "weight_decay": 0.1, "adagrad": False}
    rest = {
        "k1": 1,
        "k2": 2,
        "learning_rate": 0.1,
        "record": False,
        "yield_every": 1,
        "max_norm": 1.0,
        "max_value": None,
    }
    series = data | objective | momentum | rest | {"epochs": 1}
    resumed = rnn.train(**series)
    velocity = next(resumed).velocity
    stream = {
        "params": params,
        "steps": untouchable(),
        "h_0": h_0,
        "velocity": velocity,
        **objective,
        **momentum,
        **rest,
    }
    activations = rnn.forward(params, x, params.h_0 if h_0 is None else h_0)
    window = {"params": params, "activations": activations, "target": target, "weights": weights} | objective
    gradients = rnn.bptt(params, activations, target)
    single = rnn.from_numpy(random_run(0, Sizes(1, 1, D, H, O)).params)
    distributions = rnn.from_numpy(np.full(activations.y.shape, 1 / O))
    return {
        "forward": {"params": params, "x": x, "h_0": activations.h[0], "nonlinearity": "tanh"},
        "bptt": window,
        "adjoints": window,
        "half_squared_error": {"y": activations.y, "target": target, **of_loss},
        "cross_entropy": {"y": activations.y, "target": distributions, **of_loss},
        "clip_by_global_norm": {"gradients": gradients, "max_norm": 1.0},
        "clip_by_value": {"gradients": gradients, "max_value": 1.0},
        "direction": {"params": params, "gradients": gradients, "velocity": velocity, **momentum},
        "sgd": {"params": params, "delta": gradients, "learning_rate": 0.1},
        "train": series,
        "train, resumed": series | {"resume": resumed.state()},
        "train_stream": stream,
        "windows": {"steps": 5, "k1": 1, "k2": 2},
        "initial_parameters": {"input_size": D, "hidden_size": H, "output_size": O, "bias": True, "dtype": "float32",
                               "seed": 0, "networks": 2},
        "from_numpy": {"value": rnn.to_numpy(x)},
        "to_numpy": {"value": x},
        "to_state_dict": {"params": single},
        "from_state_dict": {"state": rnn.to_state_dict(single)},
    }  # fmt: skip


def untouchable():
    """A stream that fails if a step is asked for: what is refused is refused before."""
    raise AssertionError("a step was asked for")
    yield


def call(rnn, name, given):
    return getattr(rnn, name.partition(",")[0])(**given)


def refusal(rnn, name, given, *names):
    """The message of the InputError that the call raises: one line of moderate length, with one of the names."""
    with pytest.raises(InputError) as refused:
        call(rnn, name, given)
    message = str(refused.value)
    assert "\n" not in message
    assert len(message) < 400
    assert any(word in message for word in ("expected", "choose", "needs")), message
    assert not names or any(part in message for part in names), message
    return message


MASKED = np.ma.masked_array(np.ones((T, B, D)), np.zeros((T, B, D), bool))  # over finite numbers, too
FOREIGN = "0.1", [0.5], (0.5,), {"x": 1}, object(), b"x", 1j, np.array(object()), MASKED, None
ANY_NUMBER = np.nan, np.inf, True, 10**400
NUMBERS: dict[str, tuple] = dict.fromkeys(
    ("k1", "k2", "yield_every", "input_size", "hidden_size", "output_size", "networks"), (0, 1.0)
)
NUMBERS |= dict.fromkeys(("steps", "epochs", "seed"), (-1, 1.0)) | {"dampening": ANY_NUMBER}
NUMBERS |= dict.fromkeys(("learning_rate", "momentum", "weight_decay", "max_norm", "max_value"), (-1.0, *ANY_NUMBER))
NUMBERS["learning_rate"] += (np.timedelta64(1, "s"),)
NUMBERS |= {"bias": (1, 0.0), "record": (1, 0.0), "nesterov": (1, 0.0), "adagrad": (1, 0.0)}
OTHER_NAMES = {"steps": "stream", "state": "rnn.", "delta": "gradient", "resume": "velocity"}
NONE_IS_VALID = {"velocity", "weights", "resume", "max_norm", "max_value", "networks", "value"}
NUMBERS_ARE_VALID = {"from_numpy", "to_numpy"}
FINITE = {"train", "train, resumed", "train_stream", "to_state_dict"}  # which refuse NaN


def spoiled_arrays(rnn, name, array):
    """An array of another dtype, with a mask or NaN, a list, and shapes that would broadcast."""
    plain = rnn.to_numpy(array)
    kinds = ("float16", "complex64", "int64", *(() if rnn.__name__ == "torch_rnn" else ("longdouble", "object", ">f8")))
    others = [plain.astype(kind) for kind in kinds]
    if rnn.__name__ == "torch_rnn":
        import torch

        others = list(map(torch.tensor, others))
    cuts = [array[:1], array[None], array[..., :1][..., 0]]
    nan = rnn.from_numpy(np.where(np.arange(plain.size).reshape(plain.shape) == plain.size - 1, np.nan, plain))
    return [*others, np.ma.masked_array(plain, plain > 0), plain.tolist(), *cuts, *([nan] if name in FINITE else [])]


def spoiled(rnn, name, argument, value):
    """Values that no call takes for this argument."""
    may_be = {"none": argument in NONE_IS_VALID and not name.startswith("clip"), "tuple": name in NUMBERS_ARE_VALID}
    yield from (v for v in FOREIGN if not ((v is None and may_be["none"]) or (type(v) is tuple and may_be["tuple"])))
    yield from NUMBERS.get(argument, ())
    if isinstance(value, tuple):
        field = next(field for field in value._fields[1:] if hasattr(getattr(value, field), "ndim"))
        yield from (value._replace(**{field: v}) for v in spoiled_arrays(rnn, name, getattr(value, field)))
    elif hasattr(value, "ndim") and name not in NUMBERS_ARE_VALID:
        yield from spoiled_arrays(rnn, name, value)


def other_names(argument, value):
    """What a message may call an argument: by its name, as an option is called, or by a field."""
    names = {argument, argument.rstrip("s"), argument.replace("_", " "), OTHER_NAMES.get(argument, argument)}
    return names | {f"{field} " for field in getattr(value, "_fields", ())} | {"the array is"}


def fits_too(name, argument, value):
    """Whether the shape is that of a shorter series, of the newest step's target, or of a smaller batch."""
    shape = tuple(getattr(value, "shape", ()))
    of_window = name in ("bptt", "adjoints", "half_squared_error", "cross_entropy", "forward")
    shorter = of_window and argument in ("x", "target", "activations") and shape in ((1, B, D), (1, B, O))
    return shorter or (name == "train_stream" and argument == "h_0" and shape == (1, H))
