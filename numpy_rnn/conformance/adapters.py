"""Ports of code in its own shape: a PyTorch module, a loss in JAX, a function with
gradients.
"""

import inspect
import itertools
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from numpy_rnn.common.checks import check_choice
from numpy_rnn.common.errors import InputError, errors_about, one_line
from numpy_rnn.common.records import NONLINEARITY_NAMES, LossName, Objective, Reduction
from numpy_rnn.conformance.arithmetics.arithmetic import N
from numpy_rnn.conformance.case import FIELDS
from numpy_rnn.conformance.definition import window_update
from numpy_rnn.conformance.ports import protocol
from numpy_rnn.conformance.ports.abilities import (
    ABILITIES,
    CAPABILITIES,
    Abilities,
    shapes_of,
)
from numpy_rnn.conformance.ports.port import Report, described
from numpy_rnn.conformance.random_cases import Recipe, restricted

LOSSES: dict[
    str, tuple[LossName, Reduction, float]
] = {  # of the definition, and a multiple
    "half_sum_of_squares": ("squared_error", "sum", 1.0),
    "half_mse": ("squared_error", "mean", 1.0),
    "sum_of_squares": ("squared_error", "sum", 0.5),
    "mse": ("squared_error", "mean", 0.5),
    "cross_entropy": ("cross_entropy", "sum", 1.0),
    "mean_cross_entropy": ("cross_entropy", "mean", 1.0),
}
TRIAL: dict[str, N] = dict(
    zip("TBDHOK", (5, 2, 3, 4, 6, 5))
)  # a case, to try the layouts on
ASSUMED = " assumed, as no layout gives the right loss"


class Adapter:
    """A port with one nonlinearity and one loss. stated: name, lacks, sizes, as of any
    port.
    """

    dtypes: Sequence[str] = ("float32", "float64")
    capabilities: tuple[str, ...]
    window_update: Callable[..., Report]

    def __init__(self, name: str, loss: str, nonlinearity: N, stated: Mapping[str, N]):
        with errors_about(name):
            check_choice("loss", loss, tuple(LOSSES))
            check_choice("nonlinearity", nonlinearity, NONLINEARITY_NAMES)
            for each in stated:
                check_choice("statement", each, (*protocol.STATEMENTS, "cases"))
        kind, reduction, self.factor = LOSSES[
            loss
        ]  # a product with the factor rounds nothing
        self.name, self.way = name, ""
        vars(self).update(stated)
        self.name += ", halved" * (self.factor == 0.5)
        self.objective = Objective(nonlinearity, kind, reduction)
        has = {*self.objective}
        self.capabilities = tuple(each for each in CAPABILITIES if each in has)
        others = list[str]()
        for ability in ABILITIES:
            is_choice = ability.group in Objective._fields
            if is_choice and ability.stated == "lacks" and ability.name not in has:
                others.append(ability.name)
        self.lacks = tuple(others) + tuple(stated.get("lacks", ()))

    def state(self, absent: Mapping[str, object]) -> None:
        """Add to what the port lacks the names whose value is true."""
        self.lacks += tuple(n for n in absent if absent[n] and n not in self.lacks)

    def find_way(self, ways: Iterable[tuple[str, dict[str, N]]]) -> bool:
        """Set `way` to the first with the right loss, or that computes one; whether it
        is right.
        """
        self.possible, failures = list[str](), list[str]()
        for self.way, fields in ways:
            recipe = Recipe(
                **TRIAL, dtype=self.dtypes[-1], objective=self.objective, seed=1
            )
            recipe = recipe._replace(step=None, **fields)
            recipe = restricted(recipe, Abilities(self.capabilities, self.lacks))
            expected = window_update(recipe.case())["loss"]
            try:
                with (
                    np.errstate(all="ignore"),
                    warnings.catch_warnings(action="ignore"),
                ):
                    loss = self.window_update(**protocol.port_arguments(recipe.case()))[
                        "loss"
                    ]
                    right = bool(np.isclose(loss, expected, rtol=1e-3))  # of one number
            except InputError:
                raise
            except Exception as error:
                failures.append(described(error))
                continue
            if right:
                return True
            self.possible.append(self.way)
        if not self.possible:
            reasons = one_line("; ".join(dict.fromkeys(failures)), 600)
            raise InputError(
                f"{self.name} cannot be called in any known way: {reasons}"
            )
        self.way = self.possible[0]
        return False


# Weights for rows, as in x W_xh, or for columns; the axes of inputs and targets, whose
# N is D or O; those of the state.
AXES = (
    ("rows", "columns"),
    ("TBN", "BTN", "TNB", "NBT", "BNT", "TN"),
    ("BH", "HB", "H"),
)
LAYOUTS = tuple(map(" ".join, itertools.product(*AXES)))
LAYOUTS += tuple(
    f"{layout} last" for layout in LAYOUTS
)  # the target is that of the last step


class FunctionPort(Adapter):
    """A port of `function(params, x, target, h_0)`, which returns the loss and its
    gradients.

    h_0 may be left out. params: the parameters by name, W_xh, W_hh, W_hy, b_h and b_y,
    or by `names`, as {"W_xh": "Wx"}. The gradients are a dict by the same names, also
    with a d before them, or follow the loss in this order. layout: one of LAYOUTS;
    without it, they are tried on one case. classes: whether inputs are classes.
    step(params, gradients, learning_rate): the parameters after the step, or None if it
    changes them in place. Raises InputError on unknown names, and if the function
    cannot be called in any layout.
    """

    def __init__(
        self,
        function: Callable[..., N],
        loss: str = "half_sum_of_squares",
        nonlinearity: str = "tanh",
        *,
        step: Callable[..., N] | None = None,
        classes: bool = False,
        layout: str | None = None,
        names: Mapping[str, str] | None = None,
        **stated: N,
    ):
        name = str(getattr(function, "__name__", "function"))
        super().__init__(stated.pop("name", name), loss, nonlinearity, stated)
        self.function, self.step = function, step
        self.names = dict(zip(FIELDS, FIELDS)) | dict(names or {})
        self.arguments = len(inspect.signature(function).parameters)
        self.capabilities += ("class_inputs",) * classes
        self.state(
            {"h_0": self.arguments < 4, "vector_inputs": classes, "step": step is None}
        )
        if layout not in (None, *LAYOUTS):
            expected = ", ".join(map(" or ".join, (*AXES, ("last", "nothing"))))
            raise InputError(
                f"{self.name}: the layout is {layout!r}: expected {expected}"
            )
        layouts = LAYOUTS if layout is None else (layout,)
        is_right, errors = dict[bool, bool](), list[InputError]()
        for bias in (True, False):
            sizes = (
                (1 + ("B" in way.split()[1]), 1 if "last" in way else 5)
                for way in layouts
            )
            fields = [{"bias": bias, "B": B, "K": K} for B, K in sizes]
            try:
                is_right[bias] = self.find_way(zip(layouts, fields))
                layouts = (self.way,)
            except InputError as error:
                errors.append(error)
        if not is_right:
            raise errors[
                0
            ]  # the other one may be that of a function that gets no biases
        (self.way,), last = layouts, "last" in layouts[0]
        batch = "B" in self.way.split()[1]
        self.state({"older steps": not last, "many losses": last, "batch": not batch})
        self.state({"bias": True not in is_right, "no biases": False not in is_right})
        self.name += f" ({self.way}{'' if any(is_right.values()) else ASSUMED})"

    def window_update(
        self, params: Report, x: N, target: N, h_0: N, **options: N
    ) -> Report:
        """The loss, the gradients, and with a step the parameters after it."""
        learning_rate = options.get("learning_rate")
        _, axes, state, *last = self.way.split()

        def laid_out(array: N, letters: str) -> N:
            """An array with these axes as the function takes it."""
            if "B" not in axes:
                array, letters = (
                    array.take(0, letters.index("B")),
                    letters.replace("B", ""),
                )
            return np.einsum(
                f"{letters}->{''.join(sorted(letters, key=axes.index))}", array
            )

        x, h_0 = (
            laid_out(x, "TBN"[: x.ndim]),
            {"H": h_0[0], "HB": h_0.T, "BH": h_0}[state],
        )
        target, axis = (target[-1], "BN") if last else (target, "TBN")
        target = laid_out(target, axis[: target.ndim])
        theirs = {
            self.names[name]: self._given(theta) for name, theta in params.items()
        }
        loss, *gradients = self.function(*(theirs, x, target, h_0)[: self.arguments])
        own: N = (
            gradients[0] if isinstance(gradients[0], Sequence | Mapping) else gradients
        )
        if not isinstance(own, Mapping):
            own = {self.names[name]: gradient for name, gradient in zip(FIELDS, own)}
        loss = float(loss) if isinstance(loss, float) else np.asarray(loss)
        report: dict[str, N] = {"loss": self.factor * loss}
        report |= {"d" + k: v for k, v in self._back(params, own, self.factor).items()}
        if self.step is None or learning_rate is None:
            return report
        after = self.step(theirs, own, self.factor * learning_rate)
        return report | self._back(params, theirs if after is None else after)

    def _given(self, theta: np.ndarray) -> np.ndarray:
        """A parameter as the function takes it."""
        weights, _, state, *_ = self.way.split()
        changed = theta.T if theta.ndim == 2 else theta[:, None]
        return (
            changed
            if (weights == "columns" if theta.ndim == 2 else state == "HB")
            else theta
        )

    def _back(
        self, params: Report, arrays: Mapping[str, N], factor: float = 1.0
    ) -> Report:
        """Arrays of the function by our names, in the shapes of the parameters."""
        found = {}
        for name, theta in params.items():
            keys = (self.names[name], "d" + self.names[name])
            if not (key := next((key for key in keys if key in arrays), "")):
                raise KeyError(
                    f"{keys[0]} is not among the results {', '.join(map(str, arrays))}"
                )
            array, shape = factor * np.asarray(arrays[key]), self._given(theta).shape
            if array.shape != shape:
                raise ValueError(f"{key} has shape {array.shape}: expected {shape}")
            transposed = theta.ndim == 2 and self.way.startswith("columns")
            found[name] = array.T if transposed else array.reshape(theta.shape)
        return found


def jax_port(
    loss: Callable[..., N], name: str = "half_sum_of_squares", **options: N
) -> Adapter:
    """A port of a loss in JAX, `loss(params, x, target, h_0)`; options: those of
    `function_port`.

    As JAX compiles for every shape, `sizes` is "few", four shapes, unless given.
    """
    import jax

    dtypes = (
        ("float32", "float64") if jax.config.read("jax_enable_x64") else ("float32",)
    )
    own: dict[str, N] = {"sizes": "few", "dtypes": dtypes} | options
    return FunctionPort(jax.jit(jax.value_and_grad(loss)), name, **own)


PARTS = {"W_xh": "weight_ih", "W_hh": "weight_hh", "b_h": "bias_ih"}
TORCH_LOSSES = {
    "MSELoss": ("mse", "sum_of_squares"),
    **dict.fromkeys(
        ("CrossEntropyLoss", "NLLLoss"),
        ("mean_cross_entropy", "cross_entropy"),
    ),
}
HARMLESS = (
    "RNN",
    "RNNCell",
    "Linear",
    "Identity",
    "Flatten",
    "LogSoftmax",
    "Sequential",
)
EXPECTED = (
    "one nn.RNN or nn.RNNCell, of one layer, and one nn.Linear, both with "
    "biases or none"
)


class TorchPort(Adapter):
    """A port of a module with one nn.RNN or nn.RNNCell, of one layer, and one
    nn.Linear.

    The module gets x and the initial state, or x alone, and returns the outputs, of all
    steps or of the last one, or a tuple that begins with them. Whether x is (T, B, D)
    or (B, T, D), and the state (B, H) or (1, B, H), is tried on one case. A class or
    function that makes the module from D, H and O lets the sizes vary. The second
    hidden bias, bias_hh, is zero and not trained.

    loss: an nn.MSELoss, an nn.CrossEntropyLoss, an nn.NLLLoss of a module that ends
    with log_softmax, or any function of outputs and target that is named in
    `loss_name`. optimizer: called as torch.optim.SGD; None: no step is checked. Raises
    InputError, by name, on anything else that the module, the loss or the optimizer
    has.
    """

    def __init__(
        self,
        module: N,
        loss: N = None,
        loss_name: str | None = None,
        optimizer: N = "SGD",
        **stated: N,
    ):
        import torch

        self.torch, is_module = torch, isinstance(module, torch.nn.Module)
        self.optimizer = torch.optim.SGD if optimizer == "SGD" else optimizer
        loss = (loss or torch.nn.MSELoss)() if isinstance(loss, type | None) else loss
        self.modules, self.loss_function = dict[tuple[int, ...], N](), loss
        self.make = (lambda D, H, O: module) if is_module else module
        label = stated.pop(
            "name", type(module).__name__ if is_module else module.__name__
        )
        _, rnn, out = self._parts(tuple(TRIAL[letter] for letter in "DHO"))
        fixed = {"D": rnn.input_size, "H": rnn.hidden_size, "O": out.out_features}
        if is_module:
            shapes = shapes_of(stated.get("sizes") or {})
            stated = stated | {"sizes": [dict(shape) | fixed for shape in shapes]}
        kind, expected = type(loss).__name__, f"nn.{', nn.'.join(TORCH_LOSSES)}"
        if kind in TORCH_LOSSES:
            loss_name = TORCH_LOSSES[kind][loss.reduction == "sum"]
            usual = {"weight": None, "label_smoothing": 0.0}
            usual |= {
                "ignore_index": min(-1, getattr(loss, "ignore_index", -1))
            }  # of no class
            for name in (n for n, v in usual.items() if getattr(loss, n, v) != v):
                raise InputError(
                    f"{label}: the loss {kind} has the option {name}: expected none"
                )
        elif loss_name is None:
            expected += ", or a function with its loss_name"
            raise InputError(
                f"{label}: the loss {kind} is not known: expected {expected}"
            )
        super().__init__(label, loss_name, rnn.nonlinearity, stated)
        if self.optimizer is not None:
            made = type(self.optimizer(rnn.parameters(), lr=0.5))
            if made is not torch.optim.SGD and made.__module__.startswith("torch."):
                raise InputError(
                    f"{label} has optim.{made.__name__}: expected torch.optim.SGD"
                )
            self.capabilities += ("sgd_options", "clip_by_value")
        ways = itertools.product(("TBD", "BTD"), ("BH", "1BH", "none"))
        fields = {"bias": rnn.bias, "K": 1, **fixed}
        cases = ((" ".join(way), fields | {"no_h_0": way[1] == "none"}) for way in ways)
        is_right = self.find_way(cases)
        axes, state = self.way.split()
        if state == "none":  # a module that takes a state is tested with it
            self.way = next(
                (each for each in self.possible if each.startswith(axes)), self.way
            )
        self.state(
            {"bias": not rnn.bias, "no biases": rnn.bias, "step": not self.optimizer}
        )
        self.state({"h_0": self.way.endswith("none"), "many losses": self.last_alone})
        self.name += " (x {}, state {}{})".format(
            *self.way.split(), "" if is_right else ASSUMED
        )

    def _parts(self, sizes: tuple[int, ...]) -> tuple[N, N, N]:
        """The module of these sizes, its RNN and its nn.Linear."""
        nn = self.torch.nn
        if sizes not in self.modules:
            self.modules[sizes] = self.make(*sizes)
            if foreign := self._foreign_parts(self.modules[sizes]):
                name = type(self.modules[sizes]).__name__
                raise InputError(
                    f"{name} has {', '.join(foreign)}: expected {EXPECTED}"
                )
        parts = list(self.modules[sizes].modules())
        rnn = next(part for part in parts if isinstance(part, nn.RNN | nn.RNNCell))
        return (
            self.modules[sizes],
            rnn,
            next(p for p in parts if isinstance(p, nn.Linear)),
        )

    def _foreign_parts(self, module: N) -> list[str]:
        """Names of the parts, but containers, losses and dropout of 0, that are none of
        ours.
        """
        parts = [
            part
            for part in module.modules()
            if type(part).__module__.startswith("torch.nn")
        ]
        layers = [
            p for p in parts if not (hasattr(p, "reduction") or any(p.children()))
        ]
        kinds = Counter(
            type(part).__name__ for part in layers if getattr(part, "p", None) != 0
        )
        found = [f"nn.{kind}" for kind in kinds if kind not in HARMLESS]
        counts = {"nn.RNN or nn.RNNCell": kinds["RNN"] + kinds["RNNCell"]}
        counts |= {"nn.Linear": kinds["Linear"]}
        found += [f"{n} {words}" for words, n in counts.items() if n > 1]
        found += [f"no {words}" for words, n in counts.items() if not (n or found)]
        for name, usual in {"num_layers": 1, "bidirectional": False}.items():
            values = {getattr(part, name, usual) for part in layers} - {usual}
            found += [f"{name}={value}" for value in values]
        biases = {
            p.bias is None or p.bias is False for p in layers if hasattr(p, "bias")
        }
        return found + ["biases in one of the layers"] * (len(biases) > 1)

    def window_update(
        self, params: Report, x: N, target: N, h_0: N, **options: N
    ) -> Report:
        """The loss, autograd's gradients, and the parameters after the optimizer's
        step.
        """
        torch = self.torch
        module, rnn, out = self._parts((*params["W_xh"].shape, params["W_hy"].shape[1]))
        module.to(getattr(torch, str(params["W_hh"].dtype))).train()
        suffix = "_l0" * isinstance(rnn, torch.nn.RNN)
        own = {"W_hy": out.weight, "b_y": out.bias}
        own |= {name: getattr(rnn, part + suffix, None) for name, part in PARTS.items()}
        own = {name: own[name] for name in params}
        for name, theta in own.items():
            theta.data, theta.grad = torch.tensor(params[name].T).contiguous(), None
        if rnn.bias:
            getattr(rnn, "bias_hh" + suffix).data.zero_()
        axes, state = self.way.split()
        x, h_0 = torch.tensor(x), torch.tensor(h_0)
        states = {"BH": (h_0,), "1BH": (h_0[None],), "none": ()}[state]
        y = module(x if axes == "TBD" else x.transpose(0, 1), *states)
        y = y[0] if isinstance(y, tuple) else y
        self.last_alone = y.ndim == 2
        y = y[None] if self.last_alone else y if axes == "TBD" else y.transpose(0, 1)
        y, target = y[-len(target) :], torch.tensor(target)
        if self.objective.loss == "cross_entropy":  # whose classes are the second axis
            y, target = y.flatten(0, 1), target.flatten(0, 1)
        loss = self.factor * self.loss_function(y, target)
        loss.backward()
        report = {"loss": loss} | {
            "d" + name: theta.grad.clone() for name, theta in own.items()
        }
        if "learning_rate" in options:
            report |= self._step(own, options)
        return {name: array.detach().numpy().T.copy() for name, array in report.items()}

    def _step(self, own: dict[str, N], options: dict[str, N]) -> N:
        """The parameters after the optimizer's step, and the velocities if there are
        any.
        """
        torch = self.torch
        if options.get("max_norm") is not None:
            torch.nn.utils.clip_grad_norm_(own.values(), options["max_norm"])
        elif options.get("max_value") is not None:
            torch.nn.utils.clip_grad_value_(own.values(), options["max_value"])
        names = ("momentum", "dampening", "nesterov", "weight_decay")
        used = {name: options[name] for name in names if options.get(name)}
        optimizer = self.optimizer(own.values(), lr=options["learning_rate"], **used)
        for name, v in (options.get("velocity") or {}).items():
            optimizer.state[own[name]]["momentum_buffer"] = torch.tensor(
                v.T
            ).contiguous()
        optimizer.step()
        if not options.get("momentum"):
            return own
        buffers = {
            name: optimizer.state[theta]["momentum_buffer"]
            for name, theta in own.items()
        }
        return own | {"v" + name: buffer for name, buffer in buffers.items()}


function_port, torch_port = FunctionPort, TorchPort
