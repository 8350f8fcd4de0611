"""Right ports in the styles of practitioners: lists of lists, classes of arrays, functions that return gradients."""

import numpy as np
import program_styles
from public_rnns.language_models import MinCharRnn

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


class Einsum:
    """One einsum per stage, all intermediate values and options of torch.optim.SGD."""

    name, dtypes = "einsum", ("float32", "float64")
    capabilities: tuple[str, ...] = ("intermediates", "sgd_options", "input_gradients")
    lacks: tuple[str, ...] = ("relu", "mean", "dampening", "nesterov")
    backwards = "bh,ih->bi"

    def window_update(self, p, x, target, h_0, *, learning_rate, momentum=0, weight_decay=0, max_norm=None,
                      velocity=None, **_):  # fmt: skip
        T, K = len(x), len(target)
        a, h = np.empty((T, *h_0.shape), x.dtype), [h_0]
        for t in range(T):
            a[t] = np.einsum("bd,dh->bh", x[t], p["W_xh"]) + np.einsum("bi,ih->bh", h[-1], p["W_hh"]) + p.get("b_h", 0)
            h.append(np.tanh(a[t]))
        h = np.stack(h)
        y = np.einsum("tbh,ho->tbo", h[1:], p["W_hy"]) + p.get("b_y", 0)
        dy = np.concatenate((np.zeros_like(y[: T - K]), y[T - K :] - target))
        dh, da, flow = np.empty_like(a), np.empty_like(a), np.zeros_like(h_0)
        for t in reversed(range(T)):
            dh[t] = np.einsum("bo,ho->bh", dy[t], p["W_hy"]) + flow
            da[t] = dh[t] * (1 - h[t + 1] ** 2)
            flow = np.einsum(self.backwards, da[t], p["W_hh"])
        d = {"W_xh": np.einsum("tbi,tbj->ij", x, da), "W_hh": np.einsum("tbi,tbj->ij", h[:-1], da),
             "W_hy": np.einsum("tbi,tbj->ij", h[1:], dy), "b_h": da.sum((0, 1)), "b_y": dy.sum((0, 1))}  # fmt: skip
        d = {name: d[name] for name in p}
        report = {"loss": 0.5 * (dy * dy).sum(), "a": a, "h": h[1:], "y": y, "dy": dy, "dh": dh, "da": da}
        report |= {"dx": np.einsum("tbh,dh->tbd", da, p["W_xh"]), "dh_0": flow}
        norm = np.sqrt(sum((g**2).sum() for g in d.values()))
        factor = 1 if max_norm is None else min(1, max_norm / (norm + 1e-6))
        for name, theta in p.items():
            g = v = factor * d[name] + weight_decay * theta
            if momentum:
                v = g if velocity is None else momentum * velocity[name] + g
                report["v" + name] = v
            report |= {"d" + name: d[name], name: theta - learning_rate * v}
        return report


class Doubles(Einsum):
    """Arrays of float32 whose learning rate is a double, as in JavaScript, C and Java."""

    name, dtypes = "doubles", ("float32",)
    lacks = (*Einsum.lacks, "weight_decay", "max_norm")

    def window_update(self, p, *arrays, learning_rate, **options):
        report = super().window_update(p, *arrays, learning_rate=learning_rate, **options)
        for name in p:
            step = report[("v" if options.get("momentum") else "d") + name].astype(float)
            report[name] = (p[name].astype(float) - learning_rate * step).astype(np.float32)
        return report


class KerasStyle:
    """Always biases, the mean of squares without the half, and a velocity with the rate in it, as Keras has it."""

    name, dtypes = "Keras", ("float32",)
    capabilities = ("sgd_options", "rate_in_velocity")
    lacks = ("relu", "sum", "no biases", "dampening", "weight_decay", "max_norm")

    def window_update(self, p, x, target, h_0, *, learning_rate, momentum=0.0, nesterov=False, velocity=None, **_):
        inner = Einsum().window_update(p, x, target, h_0, learning_rate=0.0)
        mse = x.dtype.type(2 / target.size)  # the factor of its gradients; halved, as the definition has the half
        report = {"loss": inner["loss"] * mse / 2 * 1}
        for name, theta in p.items():
            g = inner["d" + name] * (mse / 2)
            m = -(theta.dtype.type(learning_rate) * g)
            v = m if velocity is None else velocity[name] * theta.dtype.type(momentum) + m
            step = theta.dtype.type(momentum) * v + m if nesterov else v
            report |= {"d" + name: g, name: theta + step} | ({"v" + name: v} if momentum else {})
        return report


class AlwaysAdagrad(MinCharRnn):
    """min-char-rnn as a class, with its own Adagrad and biases always."""

    lacks = (*MinCharRnn.lacks, "plain SGD", "no biases")

    def window_update(self, p, x, target, h_0, *, adagrad=False, **options):
        assert adagrad
        assert "b_h" in p
        return super().window_update(p, x, target, h_0, adagrad=True, **options)


def columns(p, inputs, targets, hprev, rnn=Einsum):
    """The loss of columns, (T, N, B), and its gradients in a tuple: Σe², without the half."""
    rows = {name: theta.T if name.startswith("W") else theta[:, 0] for name, theta in p.items()}
    series = inputs.swapaxes(1, 2), targets.swapaxes(1, 2)
    report = rnn().window_update(rows, *series, hprev.T, learning_rate=0.0)
    gradients = [report["d" + name] for name in p]
    return 2 * report["loss"], *(2 * (g.T if g.ndim == 2 else g[:, None]) for g in gradients), hprev


class Untransposed(Einsum):
    backwards = "bh,hi->bi"


def untransposed(p, inputs, targets, hprev):
    return columns(p, inputs, targets, hprev, Untransposed)


def loss_fun(p, inputs, targets, hprev):
    """min-char-rnn's lossFun, with its parameters in a dict."""
    model = [p[name] for name in ("W_xh", "W_hh", "W_hy", "b_h", "b_y")]
    loss, gradients, h = loss_and_gradients(inputs, targets, hprev, *model)
    return loss, *gradients, h
