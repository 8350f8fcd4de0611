"""The explorer in headless Chromium: it computes what numpy_rnn computes, and shows it."""

import numpy as np
import pytest
from study_explorer import (
    COMPUTED,
    EQUATIONS,
    IN_BROWSER,
    MASKS,
    SETTINGS,
    WALK,
    Expected,
    T,
    as_written,
    assert_same,
    assert_same_parameters,
    choose,
    read,
)

import numpy_rnn
from numpy_rnn import Gradients, Parameters, windows
from numpy_rnn.sgd import sgd
from numpy_rnn.study.components.jacobians import jacobians, slopes, spectral_radius

pytestmark = [pytest.mark.needs_matplotlib, pytest.mark.slow, IN_BROWSER]

# -- what it computes -----------------------------------------------------------------------------------------------


def updates_of_all_truncations(epochs):
    """(epoch, k1, k2, update, uncut) of every update of every truncation, epochs and the cut in turn."""
    pairs = [(k1, k2) for k1 in range(1, T + 1) for k2 in range(k1, T + 1)]
    states = [(k1, k2, n) for k1, k2 in pairs for n in range(1, -(-T // k1) + 1)]
    return [(i % epochs, *state, i // epochs % 2) for i, state in enumerate(states)]


@pytest.mark.parametrize("name", SETTINGS)
def test_forward_gradient_and_step_are_those_of_numpy_rnn(name, shared, settings):
    setting = settings[name]
    states = updates_of_all_truncations(len(setting.snapshots))
    states = states if name == "two series" else states[::3]  # it has all options that change an update
    for state, result in zip(states, shared[name].evaluate(COMPUTED, states), strict=True):
        update = Expected(setting, *state)
        first, stop = update.start + 1, update.window.stop
        assert (result["first"], result["window"]) == (first, dict(zip(("start", "lossStart", "stop"), update.window)))
        for quantity in ("a", "y"):
            assert_same(result[quantity][1:], getattr(update.all, quantity)[:, 0])
        assert_same(result["h"], update.all.h[:, 0])
        for quantity in ("dy", "dh", "da"):
            assert_same(result[quantity][first : stop + 1], getattr(update.adjoints, quantity)[:, 0])
        assert_same_parameters(result["sum"], update.sum)
        assert_same_parameters(result["gradient"], update.gradient)
        assert_same_parameters(result["step"]["delta"], update.direction)
        assert_same_parameters(result["step"]["after"], update.after)
        assert_same(result["step"]["losses"], update.losses())


@pytest.mark.parametrize("name", SETTINGS)
def test_scaled_networks_are_those_of_numpy_rnn(name, shared, settings, numbers):
    setting = settings[name]
    for epoch, factor in ((0, 1.0), (-1, 0.1), (0, 3.0), (-1, 10.0)):
        params = setting.snapshots[epoch].params
        result = shared[name].evaluate(
            "([epoch, factor]) => scaled(data.snapshots.at(epoch).parameters, factor)", [epoch, factor]
        )
        params = params._replace(W_hh=factor * params.W_hh)
        options = {"nonlinearity": setting.configuration.nonlinearity}
        activations = numpy_rnn.forward(params, setting.x, setting.h_0 if params.h_0 is None else params.h_0, **options)
        h = activations.h[:, 0]
        assert_same(result["h"], h)
        assert_same(result["slopes"], slopes(h[1:], **options))
        J = jacobians(params.W_hh, h, **options)[-1, ::-1]
        for values, matrix in zip(result["singular"], J, strict=True):
            assert_same(values, np.linalg.svd(matrix, compute_uv=False))
        da = numpy_rnn.adjoints(params, activations, setting.target[-1:], **options).da[::-1, 0]
        assert_same(result["norms"], np.linalg.norm(da, axis=-1))
        assert numbers[name]["snapshots"][epoch]["spectral_radius"] * factor == pytest.approx(
            spectral_radius(params.W_hh), rel=1e-6
        )


@pytest.mark.parametrize("max_norm", [None, 0.5])
def test_descent_on_the_surface_is_that_of_numpy_rnn(max_norm, sine):
    w, b, rate, steps, length = 2.5, 0.5, 0.5, 80, 10
    path = sine.evaluate(
        "([start, max_norm]) => descend(start, max_norm)",
        [{"w": w, "b": b, "rate": rate, "steps": steps, "length": length}, max_norm],
    )
    params = Parameters(np.zeros((1, 1)), np.array([[w]]), np.ones((1, 1)), np.array([b]), np.zeros(1))
    for point in path:
        activations = numpy_rnn.forward(params, np.zeros((length, 1, 1)), np.zeros((1, 1)))
        gradients = numpy_rnn.bptt(params, activations, np.full((1, 1, 1), 0.3))
        norm = np.hypot(gradients.W_hh.item(), gradients.b_h.item())
        loss = numpy_rnn.half_squared_error(activations.y[-1:], np.full((1, 1, 1), 0.3))
        # Roundings grow by the slope of the cliff at every step that meets it.
        for key, value in {"w": params.W_hh.item(), "b": params.b_h.item(), "loss": loss, "norm": norm}.items():
            assert point[key] == pytest.approx(value, rel=1e-6, abs=1e-9), key
        assert sine.evaluate(f"surfaceLoss({point['w']}, {point['b']}, {length})") == pytest.approx(
            point["loss"], rel=1e-12
        )
        factor = 1 if max_norm is None else min(1, max_norm / (norm + 1e-6))
        s = Gradients(*map(np.zeros_like, params[:5]))._replace(
            W_hh=factor * gradients.W_hh, b_h=factor * gradients.b_h
        )
        params = sgd(params, s, rate)
    far, near = abs(path[-1]["b"]) > 10, path[-1]["loss"] < 0.3
    assert (far, near) == ((True, False) if max_norm is None else (False, True))


# -- what it shows of it --------------------------------------------------------------------------------------------


def expected_rows(update, setting, what, t, so_far):
    """The rows of numbers of a moment; those in bold, which are made, are the last, or of every parameter the last."""
    p, (x, a, h, y), start = update.params, update.all, update.start
    adjoints = {name: getattr(update.adjoints, name)[:, 0] for name in ("dy", "dh", "da")}
    at = {name: values[t - 1 - start] for name, values in adjoints.items() if t > start}
    biases = {name: [] if theta is None else [theta] for name, theta in p._asdict().items()}
    x, a, h, y, target = x[:, 0], a[:, 0], h[:, 0], y[:, 0], setting.target[:, 0]
    if what == "enter":
        return [h[t]]
    if what == "a":
        return [x[t - 1] @ p.W_xh, h[t - 1] @ p.W_hh, *biases["b_h"], a[t - 1]]
    if what == "h":
        return [a[t - 1], h[t]]
    if what == "y":
        return [h[t] @ p.W_hy, *biases["b_y"], y[t - 1]]
    if what == "loss":
        error = y[t - 1] - target[t - 1]
        return [y[t - 1], target[t - 1], error, [0.5 * (error**2).sum()]]
    if what == "dy":
        return [y[t - 1], target[t - 1], [update.N], at["dy"]]
    if what == "dh":
        later = adjoints["da"][t - start] @ p.W_hh.T if t < update.window.stop else []
        return [at["dy"] @ p.W_hy.T, later, at["dh"]]
    if what == "da":
        return [at["dh"], slopes(h[t : t + 1], setting.configuration.nonlinearity)[0], at["da"]]
    row = lambda theta: theta[1 if len(theta) > 1 else 0] if theta.ndim == 2 else theta  # noqa: E731
    present = [name for name, theta in p._asdict().items() if theta is not None]
    pick = lambda name, values: row(values) if name != "h_0" else values.reshape(-1)  # noqa: E731
    if what == "dW":
        dh_0 = at["da"] @ p.W_hh.T if t == 1 else np.zeros(len(p.W_hh))
        term = Gradients(
            np.outer(x[t - 1], at["da"]),
            np.outer(h[t - 1], at["da"]),
            np.outer(h[t], at["dy"]),
            at["da"],
            at["dy"],
            dh_0,
        )
        for name in present:
            so_far[name] = so_far.get(name, 0) + getattr(term, name)
        return [values for name in present for values in (pick(name, getattr(term, name)), pick(name, so_far[name]))]
    if what == "clip":
        pairs = [(getattr(update.sum, name), getattr(update.gradient, name)) for name in present]
        norms = [np.sqrt(sum((theta**2).sum() for theta in side)) for side in zip(*pairs)]
        return [norms, *(pick(name, values) for name, pair in zip(present, pairs) for values in pair)]
    rate = setting.configuration.learning_rate
    steps = [
        (getattr(p, name), -rate * getattr(update.direction, name), getattr(update.after, name)) for name in present
    ]
    return [pick(name, values) for name, step in zip(present, steps) for values in step]


def expected_moments(update, clips):
    """(what, t) of an update in the order in which it computes."""
    start, loss_start, stop = update.window
    yield "enter", start
    for t in range(start + 1, stop + 1):
        yield from ((what, t) for what in ("a", "h", "y"))
        if t > loss_start:
            yield "loss", t
    back = range(stop, update.start, -1)
    yield from ((what, t) for t in back for what in ("dy", "dh", "da"))
    yield from (("dW", t) for t in back)
    yield from ((what, stop) for what in (["clip"] if clips else []) + ["step"])


FRAMED = {"loss", "dy", "dh", "da", "dW", "clip", "step"}
LETTERS = {"loss": "ℓ", "enter": "h"}
ENDS = {"clip": "clipping", "step": "the step"}


@pytest.mark.parametrize(
    ("name", "pair", "uncut"), [("sine", (2, 4), 1), ("two series", (3, 5), 0), ("relu", (1, 3), 0)]
)
def test_every_moment_of_every_update_shows_its_numbers(name, pair, uncut, shared, settings):
    page, setting, epoch = shared[name], settings[name], 1
    choose(page, epoch=epoch, k1=pair[0], k2=pair[1], uncut=bool(uncut))
    page.evaluate("change({row: 2})")
    for n, window in enumerate(windows(T, *pair), start=1):
        choose(page, update=n)
        update, so_far = Expected(setting, epoch, *pair, n, uncut), {}
        moments = list(expected_moments(update, "max_norm" in SETTINGS[name]))
        seen = set()
        for i, ((what, t), shown) in enumerate(zip(moments, page.evaluate(WALK), strict=True)):
            assert shown["moment"] == f"{i} of {len(moments) - 1}: {ENDS.get(what, f'{LETTERS.get(what, what)}_{t}')}"
            if what in EQUATIONS:
                assert shown["equations"] == [EQUATIONS[what]]
            rows = expected_rows(update, setting, what, t, so_far)
            for (label, cells, _), row in zip(shown["rows"], rows, strict=True):
                if len(row):
                    assert [read(cell) for cell in cells] == [as_written(v) for v in row], (what, t, label)
                else:
                    assert cells == ["none: the window has no later step"]
            assert shown["rows"][-1][2] == "made"
            seen.add(f"{what} {t}")
            inside = {
                c for c in shown["computed"] if not c.startswith(("x", "target")) and int(c.split()[1]) > window.start
            }
            assert inside == {c for c in seen if c.split()[0] in EQUATIONS and int(c.split()[1]) > window.start}
            beyond = {c for c in seen if c.split()[0] in ("dy", "dh", "da") and int(c.split()[1]) <= window.start}
            assert set(shown["beyond"]) == beyond
            assert ("Beyond the cut" in shown["summary"]) == (what in ("dy", "dh", "da", "dW") and t <= window.start)
            added = sum(step[0] == "dW" for step in moments[: i + 1])
            assert shown["added"] == 3 * added
            losses = range(window.loss_start + 1, window.stop + 1)
            components = [[u, s] for u in losses for s in range(update.start + 1, u + 1)]
            if what in ("loss", "dy"):
                components = [[u, s] for u, s in components if u == t]
            elif what in ("dh", "da", "dW"):
                components = [[u, s] for u, s in components if s == t]
            assert shown["framed"] == (components if what in FRAMED else [])
        final = page.locator("#summary").text_content()
        before, after = (str(as_written(v)) for v in update.losses())
        words = [word.strip(".") for word in final.replace("−", "-").split() if word.strip(".-")[:1].isdigit()]
        assert {before, after} <= {
            str(float(word)) for word in words if word.replace(".", "").replace("e-", "").isdigit()
        }
    page.evaluate("change({row: 1})")


@pytest.mark.parametrize("name", ["sine", "two series"])
def test_every_mask_is_the_schedule_and_has_its_cost(name, shared, numbers):
    page, snapshots = shared[name], numbers[name]["snapshots"]
    pairs = [(k1, k2) for k2 in range(1, T + 1) for k1 in range(1, k2 + 1)]
    chosen = [(i % len(snapshots), k1, k2) for i, (k1, k2) in enumerate(pairs)]
    for (epoch, k1, k2), result in zip(chosen, page.evaluate(MASKS, chosen), strict=True):
        kept = [
            [t, s]
            for start, loss_start, stop in windows(T, k1, k2)
            for t in range(loss_start + 1, stop + 1)
            for s in range(start + 1, t + 1)
        ]
        assert sorted(result["kept"]) == kept
        assert result["all"] == T * (T + 1) // 2
        assert (result["#kept"], result["#all-components"]) == (str(len(kept)), str(result["all"]))
        for kind in ("cosine", "bias"):
            assert read(result[f"#{kind}"]) == as_written(snapshots[epoch][kind][k1 - 1][k2 - k1])


def test_the_epoch_changes_what_is_said_of_it(sine, numbers):
    for i, seen in enumerate(numbers["sine"]["snapshots"]):
        choose(sine, epoch=i)
        words = sine.locator("#state").text_content().replace(",", "").replace(")", "").split()
        assert words[:4] == ["Weights", "after", "epoch", str(seen["epoch"])]
        for word, key in {"(loss": "loss", "norm": "gradient_norm", "W_hh": "spectral_radius"}.items():
            assert read(words[words.index(word) + 1].strip(".")) == as_written(seen[key])
