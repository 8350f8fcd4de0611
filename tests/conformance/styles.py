"""Right ports in the styles of practitioners: lists of lists, classes of arrays, functions that return gradients."""

import numpy as np
import program_styles
from ports_for_tests import Layer, Untransposed
from public_rnns import MinCharRnn

from benchmarks.rows.min_char_rnn import loss_and_gradients


class Lists:
    """Pure Python: no arrays until the report is made."""

    name, dtypes, lacks = "lists", ("float64",), ("relu", "mean", "bias")
    capabilities = ("intermediates",)

    def window_update(self, p, x, target, h_0, *, learning_rate, **_):
        p = {name: theta.tolist() for name, theta in p.items()}
        report, d = program_styles.window(p, x.tolist(), target.tolist(), h_0.tolist())
        report |= {"d" + name: gradient for name, gradient in d.items()}
        for name, theta in p.items():
            report[name] = [[w - learning_rate * g for w, g in zip(*rows)] for rows in zip(theta, d[name])]
        return {name: np.array(value) for name, value in report.items()}


class Einsum(Layer):
    """One einsum per stage, with all intermediate values and some options of torch.optim.SGD."""

    def __init__(self):
        super().__init__("momentum", "dampening", "nesterov", has=("intermediates", "sgd_options"))


class Doubles(Layer):
    """Arrays of float32 whose learning rate is a double, as in JavaScript, C and Java."""

    def __init__(self):
        super().__init__()
        self.dtypes = ("float32",)

    def window_update(self, p, *arrays, learning_rate, **options):
        report = super().window_update(p, *arrays, learning_rate=learning_rate, **options)
        steps = {name: learning_rate * report["d" + name].astype(float) for name in p}
        return report | {name: (p[name].astype(float) - steps[name]).astype(np.float32) for name in p}


class KerasStyle:
    """Always biases, the mean of squares without the half, and a velocity with the rate in it, as Keras has it."""

    name, dtypes = "Keras", ("float32",)
    capabilities = ("sgd_options", "rate_in_velocity")
    lacks = ("relu", "sum", "no biases", "dampening", "weight_decay", "max_norm")

    def window_update(self, p, x, target, h_0, *, learning_rate, momentum=0.0, nesterov=False, velocity=None, **_):
        inner = Layer().window_update(p, x, h_0, target, learning_rate=0.0, reduction="sum")
        mse = x.dtype.type(2 / target.size)  # the factor of its gradients
        report = {"loss": inner["loss"] * (mse / 2)}  # halved, as the definition has a half
        for name, theta in p.items():
            g = inner["d" + name] * (mse / 2)
            m = -(theta.dtype.type(learning_rate) * g)
            v = m if velocity is None else velocity[name] * theta.dtype.type(momentum) + m
            step = theta.dtype.type(momentum) * v + m if nesterov else v
            report |= {"d" + name: g, name: theta + step} | ({"v" + name: v} if momentum else {})
        return report


class AlwaysAdagrad(MinCharRnn):
    """min-char-rnn as a class, with its own Adagrad and biases always."""

    def __init__(self):
        super().__init__(lacks=(*MinCharRnn.lacks, "plain SGD", "no biases"))

    def window_update(self, p, x, target, h_0, *, adagrad=False, **options):
        assert adagrad
        assert "b_h" in p
        return super().window_update(p, x, target, h_0, adagrad=True, **options)


def columns(p, inputs, targets, hprev, rnn=Layer):
    """The loss of columns, (T, N, B), and its gradients in a tuple: Σe², without the half."""
    rows = {name: theta.T if name.startswith("W") else theta[:, 0] for name, theta in p.items()}
    report = rnn().window_update(
        rows, inputs.swapaxes(1, 2), hprev.T, targets.swapaxes(1, 2), learning_rate=0.0, reduction="sum"
    )
    gradients = [report["d" + name] for name in p]
    return 2 * report["loss"], *(2 * (g.T if g.ndim == 2 else g[:, None]) for g in gradients), hprev


def untransposed(p, inputs, targets, hprev):
    return columns(p, inputs, targets, hprev, Untransposed)


def loss_fun(p, inputs, targets, hprev):
    """min-char-rnn's lossFun, with its parameters in a dict."""
    model = [p[name] for name in ("W_xh", "W_hh", "W_hy", "b_h", "b_y")]
    loss, gradients, h = loss_and_gradients(inputs, targets, hprev, *model)
    return loss, *gradients, h
