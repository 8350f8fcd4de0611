"""Bugs that people make, planted in a network of their own: windows for the suite, and training loops that are traced.

The network shares no code with the package. A bug replaces some of its functions. Its gradient is by hand, or the exact
one of whatever its forward pass computes, by complex steps, as autograd would give it.
"""

from typing import Any, ClassVar, NamedTuple

import numpy as np

from numpy_rnn.conformance.traces.recorder import RecordedRun, Trace

SGD = "momentum", "dampening", "nesterov", "weight_decay", "max_norm", "max_value", "adagrad"


class Network:
    """One window and its step, as a port. Arrays may have an axis before that of the batch, for complex steps."""

    name, dtypes, exact, reported = "a network", ("float64",), False, ()
    capabilities: tuple[str, ...] = ("sgd_options",)
    lacks: tuple[str, ...] = ()

    def __init__(self, **bug):
        for name, value in bug.items():
            setattr(self, name, value.__get__(self) if callable(value) else value)
        self.has_intermediates = "intermediates" in self.capabilities

    # -- the forward pass

    def phi(self, a):
        return np.tanh(a) if self.nonlinearity == "tanh" else np.where(a.real > 0, a, 0)

    def cell(self, p, x, h):
        return x @ p["W_xh"] + h @ p["W_hh"] + p.get("b_h", 0) + p.get("b_hh", 0)

    def out(self, p, h):
        return h @ p["W_hy"] + p.get("b_y", 0)

    def forward(self, p, x, h_0):
        a, h, y = [], [h_0], []
        for x_t in x:
            a.append(self.cell(p, x_t, h[-1]))
            h.append(self.phi(a[-1]))
            y.append(self.out(p, h[-1]))
        return a, h, y

    def divisor(self, K, B, O):
        return K * B * (O if self.kind == "squared_error" else 1)

    def log(self, p):
        return np.log(p)

    def softmax(self, y):
        e = np.exp(y - y.real.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)

    def loss_of(self, y, target):
        """The loss of one step, and its gradient with respect to y."""
        if self.kind == "squared_error":
            return ((y - target) ** 2).sum((-2, -1)) / 2, y - target
        p = self.softmax(y)
        return -(target * self.log(p)).sum((-2, -1)), p - target

    def losses(self, y, target):
        found = [self.loss_of(*both) for both in zip(y[len(y) - len(target) :], target)]
        N = self.divisor(len(target), *target.shape[1:]) if self.mean else 1
        return sum(loss for loss, _ in found) / N, [dy / N for _, dy in found]

    # -- the backward pass

    def slope(self, h, before, a):
        return 1 - h * h if self.nonlinearity == "tanh" else 1.0 * (h > 0)

    def carry(self, p, da, dh):
        return da @ p["W_hh"].T

    def input_gradient(self, p, da, dh):
        return da @ p["W_xh"].T

    def order(self, T):
        return reversed(range(T))

    def row(self, x, before, h, dy, da):
        return {"W_xh": x.T @ da, "W_hh": before.T @ da, "W_hy": h.T @ dy, "b_h": da.sum(0), "b_y": dy.sum(0)}

    def backward(self, p, x, a, h, dy):
        T, flow, d = len(x), 0 * h[0], {name: 0 * theta for name, theta in p.items()}
        dh, da = [flow] * T, [flow] * T
        for t in self.order(T):
            dh[t] = dy[t] @ p["W_hy"].T + flow
            da[t] = dh[t] * self.slope(h[t + 1], h[t], a[t])
            flow = self.carry(p, da[t], dh[t])
            row = self.row(x[t], h[t], h[t + 1], dy[t], da[t])
            row["b_hh"] = row["b_h"]
            d = {name: d[name] + row[name] for name in d}
        return d, dh, da, flow

    def by_complex_steps(self, p, x, target, h_0):
        """The exact gradient of whatever loss the forward pass gives."""
        n, at, moved = sum(theta.size for theta in p.values()), 0, {}
        for name, theta in p.items():
            steps = np.zeros((n, theta.size))
            steps[range(at, at + theta.size), range(theta.size)] = 1e-50
            moved[name], at = theta + 1j * steps.reshape(n, *theta.shape), at + theta.size
        moved = {name: theta if theta.ndim == 3 else theta[:, None] for name, theta in moved.items()}
        loss, _ = self.losses(self.forward(moved, x, h_0)[2], target)
        parts = np.split(loss.imag / 1e-50, np.cumsum([theta.size for theta in p.values()])[:-1])
        return {name: part.reshape(p[name].shape) for name, part in zip(p, parts)}

    # -- the step

    def clipped(self, d, max_norm, max_value):
        if max_norm:
            norm = np.sqrt(sum((g * g).sum() for g in d.values()))
            return {name: g * min(1, max_norm / (norm + 1e-6)) for name, g in d.items()}
        return {name: np.clip(g, -max_value, max_value) for name, g in d.items()} if max_value else d

    def gradient(self, d, p, o):
        """The gradient that is used: clipped, and with the weight decay."""
        d = self.clipped(d, o["max_norm"], o["max_value"])
        return {name: g + self.decay(name, o) * p[name] for name, g in d.items()}

    def decay(self, name, o):
        return o["weight_decay"] or 0

    def velocity(self, g, v, o):
        return g if v is None else o["momentum"] * v + (1 - (o["dampening"] or 0)) * g

    def direction(self, g, v, before, o):
        return g + o["momentum"] * v if o["nesterov"] else v

    def squares(self, g, v):
        return g * g if v is None else v + g * g

    def root(self, v):
        return np.sqrt(v + 1e-8)

    def moved(self, name, theta, rate, delta):
        return theta - rate * delta

    def step(self, p, d, rate, velocity, o):
        new, v = {}, {}
        for name, g in self.gradient(d, p, o).items():
            before, delta = (velocity or {}).get(name), g
            if o["adagrad"]:
                v["v" + name] = self.squares(g, before)
                delta = g / self.root(v["v" + name])
            elif o["momentum"]:
                v["v" + name] = self.velocity(g, before, o)
                delta = self.direction(g, v["v" + name], before, o)
            new[name] = self.moved(name, p[name], rate, delta)
        return v | new

    # -- the port

    def given(self, p, x, target, h_0):
        return p, x, target, h_0

    def window_update(self, p, x, target, h_0, *, learning_rate, velocity=None, **options):
        o = dict.fromkeys(SGD) | options
        self.nonlinearity, self.kind = o.get("nonlinearity", "tanh"), o.get("loss", "squared_error")
        self.mean = o.get("reduction") == "mean"
        (D, _), (_, O) = p["W_xh"].shape, p["W_hy"].shape
        x, target = (np.eye(n)[v] if v.dtype.kind == "i" else v for v, n in ((x, D), (target, O)))
        p, x, target, h_0 = self.given(p, x, target, h_0)
        a, h, y = self.forward(p, x, h_0)
        loss, dy = self.losses(y, target)
        dy = [0 * y[0]] * (len(y) - len(dy)) + dy
        d, dh, da, flow = self.backward(p, x, a, h, dy)
        d = self.by_complex_steps(p, x, target, h_0) if self.exact else d
        report = {"loss": loss} | {"d" + name: g for name, g in d.items()}
        report |= self.step(p, d, learning_rate, velocity, o)
        if self.has_intermediates:
            report |= {"a": a, "h": h[1:], "y": y, "dy": dy, "dh": dh, "da": da}
        if "input_gradients" in self.capabilities:
            report |= {"dx": [self.input_gradient(p, *both) for both in zip(da, dh)], "dh_0": flow}
        return {name: np.array(value) for name, value in self.after(report).items()}

    def after(self, report):
        return report


class Loop(Network):
    """A training loop that is traced. A bug may replace its functions too."""

    sizes, k1, k2, epochs = (12, 2, 3, 4, 5), 3, 3, 2
    options: ClassVar[dict[str, Any]] = {}
    bias = two_biases = zero_start = False
    resets = True  # whether every epoch starts from the same state

    def windows(self, T):
        stops = [(new, min(new + self.k1, T)) for new in range(0, T, self.k1)]
        return [(max(0, stop - self.k2), new, stop) for new, stop in stops]

    def next_state(self, states, start):
        """The initial state of a window: states, by step, of this epoch."""
        return states[start]

    def at_epoch(self, h_0, states):
        return h_0 if self.resets else states[max(states)]

    def series(self, x, target):
        return x, target

    def loss_start(self, start, new):
        return new

    def logged(self, report, before, state):
        return report

    def velocity_after(self, velocity, is_last):
        return velocity

    def record(self):
        T, B, D, H, O = self.sizes
        normal = np.random.default_rng(3).normal
        x, target, h_0 = (
            normal(size=(T, B, D)),
            normal(size=(T, B, O)),
            np.tanh(normal(size=(B, H))) * (not self.zero_start),
        )
        p = {"W_xh": normal(size=(D, H)), "W_hh": normal(size=(H, H)) / 2, "W_hy": normal(size=(H, O)) / 2}
        p |= {"b_h": normal(size=H), "b_y": normal(size=O)} if self.bias or self.two_biases else {}
        p |= {"b_hh": normal(size=H)} if self.two_biases else {}
        options = {"learning_rate": 0.05, **self.options}
        if options.get("loss"):
            x, target = np.argmax(x, -1), np.argmax(target, -1)
        schedule = {"k1": self.k1, "k2": self.k2, "epochs": self.epochs}
        trace = Trace(p, x, target, h_0, resets=self.resets, **schedule, **options)
        x, target = self.series(x, target)
        velocity, states = None, {0: h_0}
        for epoch in range(1, self.epochs + 1):
            states = {0: self.at_epoch(h_0, states)}
            for start, new, stop in self.windows(T):
                state = self.next_state(states, start)
                targets = target[self.loss_start(start, new) : stop]
                report = self.window_update(p, x[start:stop], targets, state, velocity=velocity, **options)
                used = np.eye(D)[x[start:stop]] if x.ndim == 2 else x[start:stop]
                states |= dict(enumerate(self.forward(p, used, state)[1], start))
                logged = self.logged(dict(report), p, state)
                trace.update(epoch, (start, new, stop), logged.pop("initial", state), **logged)
                p = {name: report[name] for name in p}
                velocity = {name: report["v" + name] for name in p} if "vW_hh" in report else None
                velocity = self.velocity_after(velocity, stop == T)
        return RecordedRun(*trace.recorded())


# -- the bugs --------------------------------------------------------------------------------------------------------

AUTO, INNER = {"exact": True}, {"capabilities": ("sgd_options", "intermediates")}
CLASSES = {"capabilities": ("cross_entropy",), "lacks": ("squared_error", "distributions", "large outputs", "mean")}
CHARACTERS = {"capabilities": ("cross_entropy", "class_inputs", "adagrad", "clip_by_value"), "lacks": (
    "relu", "mean", "batch", "squared_error", "distributions", "vector_inputs", "large outputs", "max_norm",
    "weight_decay",
)}  # fmt: skip
TANH = {"lacks": ("relu",)}
UNTRANSPOSED = {"carry": lambda s, p, da, dh: da @ p["W_hh"]}
NO_FLOW = {"carry": lambda s, p, da, dh: 0 * da}
FROM_H_T = {"row": lambda s, x, before, h, dy, da: Network.row(s, x, h, h, dy, da)}
NO_SLOPE = {"slope": lambda s, h, before, a: 1 + 0 * h}
OF_BEFORE = {"slope": lambda s, h, before, a: 1 - before * before}
NO_H_0 = {"given": lambda s, p, x, target, h_0: (p, x, target, 0 * h_0)}


def rate(factor):
    return {"moved": lambda s, name, theta, rate, delta: theta - factor * rate * delta}


def divisor(f):
    return {"divisor": lambda s, K, B, O: f(K, B, O)}


def of_rows(**changes):
    """Other gradients of one step: each from (x, before, h, dy, da)."""

    def row(s, *arrays):
        return Network.row(s, *arrays) | {name: f(*arrays) for name, f in changes.items()}

    return {"row": row}


def gradients(change):
    """Other gradients of the whole window: change(name, gradient)."""

    def backward(s, p, *arrays):
        d, *rest = Network.backward(s, p, *arrays)
        return {name: change(name, g) for name, g in d.items()}, *rest

    return {"backward": backward}


def gradient(name, f):
    """Another gradient of one parameter: from (dy, dh, da)."""

    def backward(s, p, x, a, h, dy):
        d, dh, da, flow = Network.backward(s, p, x, a, h, dy)
        return d | ({name: f(dy, dh, da)} if name in d else {}), dh, da, flow

    return {"backward": backward}


def divided(count):
    """The loss divided by a number of its terms, and its gradient not."""

    def losses(s, y, target):
        loss, dy = Network.losses(s, y, target)
        return loss / count(target), dy

    return {"losses": losses}


def scaled(factor):
    """Another factor of clipping: from max_norm and the norm."""

    def clipped(s, d, max_norm, max_value):
        norm = np.sqrt(sum((g * g).sum() for g in d.values()))
        return {name: g * factor(max_norm, norm) for name, g in d.items()} if max_norm else d

    return {"clipped": clipped}


def one_list(s, p, x, a, h, dy):
    return Network.backward(s, p, x, a, [h[-1]] * len(h), dy)


def leaking(s, p, x, a, h, dy):
    """Sequence after sequence, with the flow of the last one."""
    d, flow = {name: 0 * theta for name, theta in p.items()}, 0 * h[0][:1]
    for b in range(len(h[0])):
        for t in reversed(range(len(x))):
            x_t, before, h_t, dy_t, a_t = (v[b : b + 1] for v in (x[t], h[t], h[t + 1], dy[t], a[t]))
            dh = dy_t @ p["W_hy"].T + flow
            da = dh * s.slope(h_t, before, a_t)
            flow, row = da @ p["W_hh"].T, s.row(x_t, before, h_t, dy_t, da)
            d = {name: d[name] + row[name] for name in d}
    return d, [], [], flow


def with_updated_W_hh(s, p, *arrays):
    d, *rest = Network.backward(s, p, *arrays)
    later, *_ = Network.backward(s, p | {"W_hh": p["W_hh"] - 0.1 * d["W_hh"]}, *arrays)
    return d | {"W_xh": later["W_xh"]}, *rest


def late_outputs(s, p, x, h_0):
    a, h, _ = Network.forward(s, p, x, h_0)
    return a, h, [s.out(p, before) for before in h[:-1]]


def backwards_in_time(s, p, x, h_0):
    a, h, y = Network.forward(s, p, x[::-1], h_0)
    return a, h, y[::-1]


def double_softmax(s, y, target):
    return -(target * np.log(s.softmax(s.softmax(y)))).sum((-2, -1)), y


def over_the_batch(s, y):
    e = np.exp(y - y.real.max(-2, keepdims=True))
    return e / e.sum(-2, keepdims=True)


def penalised(s, y, target):
    loss, dy = Network.losses(s, y, target)
    return loss + 0.01 * sum((s.p[name] ** 2).sum((-2, -1)) for name in ("W_xh", "W_hh", "W_hy")), dy


def remembering(s, p, x, h_0):
    s.p = p
    return Network.forward(s, p, x, h_0)


def own_state(s, p, x, target, h_0):
    kept, s.kept = getattr(s, "kept", 0 * h_0), 0.5 + 0 * h_0
    return p, x, target, kept if kept.shape == h_0.shape else 0 * h_0


def smoothed(s, y, target):
    return Network.loss_of(s, y, 0.9 * target + 0.1 / target.shape[-1])


def rolled(shift):
    return {"given": lambda s, p, x, target, h_0: (p, x, np.roll(target, shift, 0), h_0)}


def leaky(s, a):
    return np.tanh(a) if s.nonlinearity == "tanh" else np.where(a > 0, a, 0.01 * a)


class Bug(NamedTuple):
    """A bug: what replaces the right code, and the hint for it; "": none is known."""

    id: str
    hint: str
    changes: dict[str, Any]


WINDOWS = [Bug(*row) for row in (
    ("a1", "W_hh used without its transpose", UNTRANSPOSED),
    ("a2", "h_t for h_{t-1} in dW_hh", FROM_H_T),
    ("a3", "the flow back leaves out φ′", {"carry": lambda s, p, da, dh: dh @ p["W_hh"].T}),
    ("a4", "without the first step", {"order": lambda s, T: reversed(range(1, T))}),
    ("a5", "gradients with rows that are the sum of all rows", gradients(
        lambda name, g: 0 * g + g.sum(0) if g.ndim == 2 else g)),
    ("a6", "one state for all steps", {"backward": one_list}),
    ("a7", "", {"order": lambda s, T: [T - 1, *reversed(range(T))]}),
    ("b1", "loss × O, gradients × O", AUTO | divisor(lambda K, B, O: K * B)),
    ("b2", "clipping per tensor", {"clipped": lambda s, d, norm, _: {
        n: Network.clipped(s, {n: g}, norm, None)[n] for n, g in d.items()}}),
    ("b3", "max_norm left out", AUTO | {"clipped": lambda s, d, max_norm, max_value: d}),
    ("b4", "zeros for h_0", AUTO | NO_H_0),
    ("b5", "no weight decay of the biases", AUTO | {
        "decay": lambda s, name, o: 0 if name in ("b_h", "b_y") else o["weight_decay"] or 0}),
    ("c1", "softmax applied twice", CLASSES | AUTO | {"loss_of": double_softmax}),
    ("c2", "dh_next dropped", CLASSES | NO_FLOW),
    ("c3", "softmax over the batch", CLASSES | AUTO | {"softmax": over_the_batch}),
    ("c4", "the loss of the last step alone", CLASSES | AUTO | {
        "losses": lambda s, y, target: Network.losses(s, y[-1:], target[-1:])}),
    ("c8", "", CLASSES | AUTO | {"loss_of": smoothed}),
    ("d1", "loss × B·O, gradients × B·O", AUTO | divisor(lambda K, B, O: K)),
    ("d2", "dh_next dropped", NO_FLOW),
    ("d3", "the series in reversed order", AUTO | {"forward": backwards_in_time}),
    ("d5", "a learning rate of", AUTO | rate(0.5)),
    ("d6", "W_hh transposed throughout", AUTO | {
        "cell": lambda s, p, x, h: x @ p["W_xh"] + h @ p["W_hh"].swapaxes(-1, -2) + p.get("b_h", 0)}),
    ("d7", "sigmoid for tanh", AUTO | TANH | {"phi": lambda s, a: 1 / (1 + np.exp(-a))}),
    ("d8", "tanh of the outputs", AUTO | {"out": lambda s, p, h: np.tanh(Network.out(s, p, h))}),
    ("e1", "1 − h_{t-1}² for 1 − h_t²", CHARACTERS | OF_BEFORE),
    ("e2", "10⁻⁸ outside the root", CHARACTERS | {"root": lambda s, v: np.sqrt(v) + 1e-8}),
    ("e3", "the velocity, or sum of squares, of before left out", CHARACTERS | {"squares": lambda s, g, v: g * g}),
    ("e4", "", CHARACTERS | {"squares": lambda s, g, v: 0.1 * g * g + 0.9 * (0 if v is None else v)}),
    ("e5", "loss × 1/ln 2", CHARACTERS | {"log": lambda s, p: np.log2(p)}),
    ("e6", "dh_next dropped", CHARACTERS | NO_FLOW),
    ("e8", "targets one step late", CHARACTERS | rolled(1)),
    ("e9", "", CHARACTERS | {"after": lambda s, report: report | {"loss": np.nan}}),
    ("f1", "W_hh used without its transpose", UNTRANSPOSED),
    ("f2", "1 − a² for 1 − h²", TANH | {"slope": lambda s, h, before, a: 1 - a * a}),
    ("f3", "", of_rows(W_hh=lambda x, before, h, dy, da: (before.astype("f").T @ da.astype("f")).astype("d"))),
    ("f4", "", {"after": lambda s, report: report | {"dW_xh": report["dW_xh"].T}}),
    ("f5", "mean of the losses, gradient of their sum", {"lacks": ("mean",)} | divided(lambda target: target.size)),
    ("g1", "dampening at the first step too", {
        "velocity": lambda s, g, v, o: Network.velocity(s, g, 0 * g if v is None else v, o)}),
    ("g2", "nesterov forgotten, or from the velocity before the step", {
        "direction": lambda s, g, v, before, o: g + o["momentum"] * (v if before is None else before)
        if o["nesterov"] else v}),
    ("g3", "velocities × -1", {
        "velocity": lambda s, g, v, o: (0 if v is None else o["momentum"] * v) - g,
        "direction": lambda s, g, v, before, o: g - o["momentum"] * v if o["nesterov"] else -v,
        "lacks": ("dampening",)}),
    ("g4", "weight_decay left out", {"decay": lambda s, name, o: 0}),
    ("g6", "weight decay before clipping", {"gradient": lambda s, d, p, o: s.clipped(
        {n: g + (o["weight_decay"] or 0) * p[n] for n, g in d.items()}, o["max_norm"], o["max_value"])}),
    ("g7", "a learning rate of", rate(0.9)),
    ("h1", "relu′ missing", {"slope": lambda s, h, before, a: 1 - h * h if s.nonlinearity == "tanh" else 1 + 0 * h}),
    ("h2", "the flow back leaks into the next sequence", {"backward": leaking}),
    ("h3", "loss × B, gradients × B", divisor(lambda K, B, O: K * O)),
    ("h4", "", gradient("b_h", lambda dy, dh, da: np.sum(dh, (0, 1)))),
    ("h5", "targets one step early", rolled(-1)),
    ("h6", "", {"backward": with_updated_W_hh}),
    ("h7", "", {"phi": leaky, "slope": lambda s, h, before, a:
        1 - h * h if s.nonlinearity == "tanh" else np.where(a > 0, 1, 0.01)}),
    ("i1", "h_t for h_{t-1} in dW_hh", INNER | FROM_H_T),
    ("i2", "tanh′ missing", INNER | TANH | NO_SLOPE),
    ("i3", "float32", INNER | gradients(lambda name, g: np.float64(np.float32(g)) if name == "W_hh" else g)),
    ("i4", "do not change", INNER | {
        "moved": lambda s, name, theta, rate, delta: theta - rate * delta if name in ("W_hy", "b_y") else theta}),
    ("i5", "a learning rate rounded to float32", INNER | {
        "moved": lambda s, name, theta, rate, delta: theta - np.float64(np.float32(rate)) * delta}),
    ("i6", "", {"capabilities": ("sgd_options", "input_gradients"),
        "input_gradient": lambda s, p, da, dh: dh @ p["W_xh"].T}),
    ("i7", "db_h of the first step alone", INNER | gradient("b_h", lambda dy, dh, da: da[0].sum(0))),
    ("i8", "a learning rate of", INNER | rate(2)),
    ("j1", "tanh′ missing", CLASSES | {"lacks": (*CLASSES["lacks"], "relu")} | NO_SLOPE),
    ("j2", "mean of the losses, gradient of their sum", CLASSES | divided(lambda target: target[..., 0].size)),
    ("j3", "the flow back leaks into the next sequence", CLASSES | {"backward": leaking}),
    ("j4", "", CLASSES | {"after": lambda s, report: report | {"dW_hy": report["dW_hy"] / 0.0}}),
    ("j5", "", CLASSES | {"given": lambda s, p, x, target, h_0: (p, x, target, h_0[::-1] + 0.5)}),
    ("j6", "loss × 1/ln 10", CLASSES | {"log": lambda s, p: np.log10(p)}),
    ("k1", "zeros for h_0", AUTO | NO_H_0),
    ("k2", "inputs in reversed order", AUTO | {
        "given": lambda s, p, x, target, h_0: (p, x[::-1], target, h_0)}),
    ("k3", "loss × K·O, gradients × K·O", AUTO | divisor(lambda K, B, O: B)),
    ("k4", "times the weights", AUTO | {"losses": penalised, "forward": remembering}),
    ("l1", "dW_hh transposed", INNER | of_rows(W_hh=lambda x, before, h, dy, da: da.T @ before)),
    ("l2", "W_hh used without its transpose", INNER | UNTRANSPOSED),
    ("l3", "clipping without 10⁻⁶", INNER | scaled(lambda max_norm, norm: min(1, max_norm / norm))),
    ("l4", "loss × O, gradients × O", INNER | divisor(lambda K, B, O: K * B)),
    ("l6", "no weight decay of the biases", INNER | {
        "decay": lambda s, name, o: (o["weight_decay"] or 0) * name.startswith("W")}),
    ("l9", "a learning rate of", INNER | rate(1.1)),
    ("l11", "another answer to the same case", INNER | {"given": own_state}),
    ("l12", "clipping also scales up", INNER | scaled(lambda max_norm, norm: max_norm / (norm + 1e-6))),
    ("l13", "", INNER | {"direction": lambda s, g, v, before, o: (1 + o["momentum"]) * v if o["nesterov"] else v}),
    ("n1", "1 − h_{t-1}² for 1 − h_t²", TANH | OF_BEFORE),
    ("n2", "output read from h_{t-1}", AUTO | {"forward": late_outputs}),
    ("n3", "", {"backward": lambda s, p, x, *arrays: Network.backward(s, p, [x[0], *x[:-1]], *arrays)}),
    ("n5", "db_y of the last step alone", gradient("b_y", lambda dy, dh, da: dy[-1].sum(0))),
)]  # fmt: skip


# -- bugs of a training loop -----------------------------------------------------------------------------------------

SEEN, BOX = {"capabilities": ("intermediates",)}, {"capabilities": ()}
TWO_BIASES, OVERLAPPING = {"two_biases": True}, {"k1": 2, "k2": 4}
OF_CLASSES = {"options": {"loss": "cross_entropy"}}
RESET = {"next_state": lambda s, states, start: states[0]}
NEVER_RESET = {"at_epoch": lambda s, h_0, states: states[max(states)]}


def accumulating(s, p, *arrays):
    d, *rest = Network.backward(s, p, *arrays)
    s.kept = {name: g + getattr(s, "kept", {}).get(name, 0) for name, g in d.items()}
    return s.kept, *rest


def stale(s, states, start):
    """The state of the window before, whatever it was."""
    kept, s.kept = getattr(s, "kept", states[0]), states[start]
    return kept if start else states[0]


LOOPS = [Bug(*row) for row in (
    ("b6", "gradients add up from update to update", BOX | TWO_BIASES | {"backward": accumulating}),
    ("b7", "state reset at every window", BOX | TWO_BIASES | RESET),
    ("b8", "state not reset between epochs", BOX | TWO_BIASES | NEVER_RESET),
    ("b10", "gradients add up from update to update", BOX | {"backward": accumulating}),
    ("c5", "do not change", BOX | OF_CLASSES | {"logged": lambda s, report, p, state: report | p}),
    ("c6", "state reset at every window", BOX | OF_CLASSES | RESET),
    ("c7", "state reset at every window", BOX | OF_CLASSES | {
        "logged": lambda s, report, p, state: report | {"initial": 0 * state}, "zero_start": True}),
    ("d4", "the window starts from the state after step 2", BOX | {
        "next_state": lambda s, states, start: states[max(start - 1, 0)]}),
    ("e7", "state not reset between epochs", BOX | OF_CLASSES | NEVER_RESET),
    ("e10", "the window starts from the state after step 1", BOX | OF_CLASSES | {
        "next_state": lambda s, states, start: states[max(start - 2, 0)]}),
    ("l5", "gradients add up from update to update", SEEN | {"backward": accumulating}),
    ("l7", "the window starts from the state after step", SEEN | OVERLAPPING | {"next_state": stale}),
    ("l8", "mean of the losses, gradient of their sum", SEEN | {
        "logged": lambda s, report, p, state: report | {"loss": report["loss"] / 30}}),
    ("l10", "", SEEN | {"series": lambda s, x, target: (x[:, ::-1], target)}),
    ("m1", "state reset at every window", SEEN | RESET),
    ("m2", "sliding window starts from the newest state", SEEN | OVERLAPPING | {
        "next_state": lambda s, states, start: states[max(states)] if start else states[0]}),
    ("m3", "the velocity, or sum of squares, of before left out", SEEN | {
        "options": {"momentum": 0.9}, "velocity_after": lambda s, velocity, is_last: None if is_last else velocity}),
    ("m4", "losses of older steps counted again", SEEN | OVERLAPPING | {"loss_start": lambda s, start, new: start}),
    ("m5", "the last, shorter window left out", SEEN | {
        "k1": 5, "k2": 5, "windows": lambda s, T: Loop.windows(s, T)[:-1]}),
    ("m6", "targets one step late", SEEN | {"series": lambda s, x, target: (x, np.roll(target, 1, 0))}),
    ("m7", "gradients after clipping", SEEN | {"options": {"max_norm": 0.5}, "logged": lambda s, report, p, state:
        report | {"d" + n: g for n, g in s.clipped({n: report["d" + n] for n in p}, 0.5, None).items()}}),
)]  # fmt: skip
